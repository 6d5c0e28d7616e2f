package org.tfsent.sample

import android.content.Context
import org.json.JSONObject

/** The files of RUN/export/mobile, in a folder of the app's assets. */
class ExportedModel(private val context: Context, val folder: String) {
    val labels: List<String> = lines("labels.txt")
    val vocabulary: List<String> by lazy { lines("vocab.txt") }

    /** The length of each signature of model.tflite by its name, the shortest first. */
    val signatures: List<Pair<String, Int>>
    val rules: TextRules
    private val decision = Decision(threshold())

    init {
        val lengths = JSONObject(read("manifest.json")).getJSONObject("signatures")
        signatures = lengths.keys().asSequence().map { it to lengths.getInt(it) }.sortedBy { it.second }.toList()
        val text = JSONObject(read("text.json"))
        rules = TextRules(
            lowercase = text.getBoolean("lowercase"),
            maxTokens = text.getInt("max_tokens"),
            truncation = text.getString("truncation"),
            headTokens = text.getInt("head_tokens"),
            windowStep = text.getInt("window_step"),
            maxWindows = text.getInt("max_windows"),
            maxBytes = text.getInt("max_bytes"),
            maxWordCharacters = text.getInt("max_word_characters"),
            htmlBreak = text.getString("html_break")
        )
    }

    /** The answer that follows from the probabilities of a text. */
    fun answer(probabilities: FloatArray): Answer {
        val chosen = decision.choose(probabilities)
        return Answer(labels[chosen], probabilities[chosen], probabilities)
    }

    fun bytes(name: String): ByteArray = context.assets.open("$folder/$name").use { it.readBytes() }

    fun read(name: String): String = bytes(name).toString(Charsets.UTF_8)

    // Models of earlier versions have no decision.json.
    private fun threshold(): Double? {
        if ("decision.json" !in context.assets.list(folder).orEmpty()) return null
        val stored = JSONObject(read("decision.json"))
        return if (stored.get("threshold") == JSONObject.NULL) null else stored.getDouble("threshold")
    }

    // Only a line feed ends a line: a token may contain other separators.
    private fun lines(name: String): List<String> = read(name).removeSuffix("\n").split("\n").map { it.trimEnd('\r') }
}

/** What a model says of a text. `probabilities` are in the order of the labels; `probability` is the label's. */
class Answer(val label: String, val probability: Float, val probabilities: FloatArray)
