package org.tfsent.sample

/**
 * A text as MediaPipe should get it: its tokenizer lower-cases ASCII only and strips no accents. HTML line breaks
 * become spaces; for an uncased vocabulary, letters lose their accents and become lower case, one code point at a time.
 */
fun forMediaPipe(text: String, rules: TextRules): String {
    val plain = rules.lineBreak.replace(text, " ")
    if (!rules.lowercase) return plain
    val out = StringBuilder()
    for (point in BertTokenizer.points(plain)) {
        for (letter in BertTokenizer.lettersOf(point)) out.appendCodePoint(Character.toLowerCase(letter))
    }
    return out.toString()
}
