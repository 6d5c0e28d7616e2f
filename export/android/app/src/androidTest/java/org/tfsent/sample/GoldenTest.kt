package org.tfsent.sample

import androidx.test.ext.junit.runners.AndroidJUnit4
import androidx.test.platform.app.InstrumentationRegistry
import kotlin.math.abs
import org.json.JSONObject
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test
import org.junit.runner.RunWith

/** Replays golden.jsonl on the device: the same ids, and the answers that the file gave where it was exported. */
@RunWith(AndroidJUnit4::class)
class GoldenTest {
    @Test
    fun goldenTextsAgree() {
        val context = InstrumentationRegistry.getInstrumentation().targetContext
        val model = ExportedModel(context, "model")
        val lines = model.read("golden.jsonl").trimEnd().split("\n").map { JSONObject(it) }
        LiteRtClassifier(context).use { classifier ->
            for (line in lines) {
                val text = line.getString("text")
                val ids = line.getJSONArray("ids")
                val expected = List(ids.length()) { r -> ids.getJSONArray(r).let { IntArray(it.length(), it::getInt) } }
                val rows = classifier.rows(text)
                assertTrue(text, rows.size == expected.size)
                rows.zip(expected).forEach { (found, wanted) -> assertArrayEquals(text, wanted, found) }
                val shares = line.getJSONArray("probabilities")
                // By the probabilities of the file: near the threshold this processor may answer the other class.
                val exported = model.answer(FloatArray(shares.length()) { shares.getDouble(it).toFloat() })
                if (line.has("label")) assertEquals(text, line.getString("label"), exported.label)
                classifier.classify(text).probabilities.forEachIndexed { i, share ->
                    // Quantised kernels round differently from processor to processor.
                    assertTrue("$text: $share", abs(share - shares.getDouble(i)) < 0.03)
                }
            }
        }
    }
}
