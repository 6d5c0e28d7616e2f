package org.tfsent.sample

import android.content.Context
import java.nio.ByteBuffer
import java.nio.ByteOrder
import org.tensorflow.lite.Interpreter

/** model.tflite in LiteRT. An interpreter is not thread-safe: calls wait for each other. */
class LiteRtClassifier(context: Context, folder: String = "model", threads: Int = 2) : AutoCloseable {
    private val model = ExportedModel(context, folder)
    private val tokenizer = BertTokenizer(model.vocabulary, model.rules)
    private val options = Interpreter.Options().setNumThreads(threads)
    private val interpreter = Interpreter(direct(model.bytes("model.tflite")), options)

    @Synchronized
    fun classify(text: String): Answer {
        val rows = tokenizer.rows(text)
        val mean = FloatArray(model.labels.size)
        for (row in rows) run(row).forEachIndexed { i, share -> mean[i] += share / rows.size }
        return model.answer(mean)
    }

    /** Token ids of a text: what GoldenTest compares. */
    fun rows(text: String): List<IntArray> = tokenizer.rows(text)

    /** Runs the shortest signature that holds a row: a short text costs little. */
    private fun run(row: IntArray): FloatArray {
        val (name, length) = model.signatures.first { row.size <= it.second }
        val ids = IntArray(length) { i -> if (i < row.size) row[i] else tokenizer.pad }
        val mask = IntArray(length) { i -> if (i < row.size) 1 else 0 }
        val inputs = mapOf<String, Any>(
            "ids" to arrayOf(ids),
            "mask" to arrayOf(mask),
            "segment_ids" to arrayOf(IntArray(length))
        )
        val probabilities = arrayOf(FloatArray(model.labels.size))
        interpreter.runSignature(inputs, mapOf<String, Any>("probabilities" to probabilities), name)
        return probabilities[0]
    }

    override fun close() = interpreter.close()

    private fun direct(bytes: ByteArray): ByteBuffer =
        ByteBuffer.allocateDirect(bytes.size).order(ByteOrder.nativeOrder()).apply { put(bytes).rewind() }
}
