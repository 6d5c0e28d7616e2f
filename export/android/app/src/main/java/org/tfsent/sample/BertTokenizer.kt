package org.tfsent.sample

import java.text.Normalizer

/** What text.json says of a model. */
class TextRules(
    val lowercase: Boolean,
    val maxTokens: Int,
    val truncation: String,
    val headTokens: Int,
    val windowStep: Int,
    val maxWindows: Int,
    val maxBytes: Int,
    val maxWordCharacters: Int,
    htmlBreak: String
) {
    val lineBreak = Regex(htmlBreak)
}

/**
 * Texts to token ids, as the model was trained with. A text that spells a special token, such as "[SEP]", does not
 * become it. `vocabulary` are the lines of vocab.txt.
 */
class BertTokenizer(vocabulary: List<String>, private val rules: TextRules) {
    private val ids = HashMap<String, Int>(2 * vocabulary.size)
    private val unknown: Int
    private val first: Int
    private val last: Int
    val pad: Int

    init {
        vocabulary.forEachIndexed { id, token -> ids[token] = id }
        pad = ids.getValue("[PAD]")
        unknown = ids.getValue("[UNK]")
        first = ids.getValue("[CLS]")
        last = ids.getValue("[SEP]")
    }

    /** The rows of a text, each from [CLS] to [SEP]: one, or several with `truncation: windows`. */
    fun rows(text: String): List<IntArray> {
        val tokens = ArrayList<Int>()
        for (word in words(text)) addPieces(word, tokens)
        return parts(tokens).map { part -> intArrayOf(first) + part.toIntArray() + intArrayOf(last) }
    }

    private fun parts(tokens: List<Int>): List<List<Int>> {
        val room = rules.maxTokens - 2
        val over = tokens.size - room
        if (over <= 0) return listOf(tokens)
        if (rules.truncation == "windows") {
            val count = minOf(1 + (over + rules.windowStep - 1) / rules.windowStep, rules.maxWindows)
            return List(count) { i -> minOf(i * rules.windowStep, over) }.map { tokens.subList(it, it + room) }
        }
        return listOf(tokens.take(rules.headTokens) + tokens.takeLast(room - rules.headTokens))
    }

    private fun words(text: String): List<List<Int>> {
        val words = arrayListOf(ArrayList<Int>())
        for (point in plain(text)) {
            when {
                point == SPACE -> words.add(ArrayList())
                isPunctuation(point) -> {
                    words.add(arrayListOf(point))
                    words.add(ArrayList())
                }
                else -> words.last().add(point)
            }
        }
        return words.filter { it.isNotEmpty() }
    }

    private fun plain(text: String): List<Int> {
        val out = ArrayList<Int>(text.length)
        for (point in points(rules.lineBreak.replace(cut(text), " "))) addNormalized(point, out)
        return out
    }

    /** The first bytes of a text as UTF-8, without halves of surrogate pairs. */
    private fun cut(text: String): String {
        val whole = StringBuilder()
        for (point in points(text)) if (point !in 0xD800..0xDFFF) whole.appendCodePoint(point)
        val bytes = whole.toString().toByteArray(Charsets.UTF_8)
        return String(bytes, 0, minOf(bytes.size, rules.maxBytes), Charsets.UTF_8)
    }

    /** Cleans, lower-cases and strips accents of one code point, so that none changes by its neighbours. */
    private fun addNormalized(point: Int, out: MutableList<Int>) {
        if (isWhite(point)) out.add(SPACE)
        if (isWhite(point) || isControl(point)) return
        val alone = isIdeograph(point)
        if (alone) out.add(SPACE)
        if (rules.lowercase) lettersOf(point).forEach { out.add(Character.toLowerCase(it)) } else out.add(point)
        if (alone) out.add(SPACE)
    }

    /** The longest pieces of the vocabulary, from the left; [UNK] for a word that cannot be spelt or is too long. */
    private fun addPieces(word: List<Int>, out: MutableList<Int>) {
        val found = ArrayList<Int>()
        var start = 0
        while (start < word.size) {
            var end = if (word.size > rules.maxWordCharacters) start else word.size
            var id: Int? = null
            while (end > start) {
                id = ids[(if (start > 0) "##" else "") + string(word, start, end)]
                if (id != null) break
                end--
            }
            if (id == null) {
                out.add(unknown)
                return
            }
            found.add(id)
            start = end
        }
        out.addAll(found)
    }

    companion object {
        private const val SPACE = 0x20

        fun points(text: String): IntArray = text.codePoints().toArray()

        /** NFD without combining marks. */
        fun lettersOf(point: Int): List<Int> =
            points(Normalizer.normalize(String(Character.toChars(point)), Normalizer.Form.NFD))
                .filter { Character.getType(it) != Character.NON_SPACING_MARK.toInt() }

        private fun string(word: List<Int>, start: Int, end: Int): String {
            val spelt = StringBuilder()
            for (i in start until end) spelt.appendCodePoint(word[i])
            return spelt.toString()
        }

        private fun isWhite(point: Int) =
            point == 0x09 || point == 0x0A || point == 0x0D || Character.isSpaceChar(point)

        private fun isControl(point: Int): Boolean {
            val type = Character.getType(point)
            return point == 0xFFFD || type == Character.CONTROL.toInt() || type == Character.FORMAT.toInt() ||
                type == Character.PRIVATE_USE.toInt()
        }

        private val PUNCTUATION = listOf(
            Character.CONNECTOR_PUNCTUATION, Character.DASH_PUNCTUATION, Character.START_PUNCTUATION,
            Character.END_PUNCTUATION, Character.INITIAL_QUOTE_PUNCTUATION, Character.FINAL_QUOTE_PUNCTUATION,
            Character.OTHER_PUNCTUATION
        ).map { it.toInt() }.toSet()

        private fun isPunctuation(point: Int) =
            point in 33..47 || point in 58..64 || point in 91..96 || point in 123..126 ||
                Character.getType(point) in PUNCTUATION

        private fun isIdeograph(point: Int) =
            point in 0x4E00..0x9FFF || point in 0x3400..0x4DBF || point in 0x20000..0x2A6DF ||
                point in 0x2A700..0x2B73F || point in 0x2B740..0x2B81F || point in 0x2B920..0x2CEAF ||
                point in 0xF900..0xFAFF || point in 0x2F800..0x2FA1F
    }
}
