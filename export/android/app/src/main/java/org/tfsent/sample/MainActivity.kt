package org.tfsent.sample

import android.app.Activity
import android.os.Bundle
import android.widget.Button
import android.widget.EditText
import android.widget.LinearLayout
import android.widget.TextView
import java.util.concurrent.Executors

/** A text field, a button, and the answer. */
class MainActivity : Activity() {
    private val worker = Executors.newSingleThreadExecutor()

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        val text = EditText(this).apply { hint = "A review" }
        val button = Button(this).apply { this.text = "Classify"; isEnabled = false }
        val answer = TextView(this).apply { textSize = 20f }
        setContentView(LinearLayout(this).apply {
            orientation = LinearLayout.VERTICAL
            fitsSystemWindows = true
            setPadding(32, 32, 32, 32)
            listOf(text, button, answer).forEach { addView(it) }
        })
        worker.execute {
            val classifier = LiteRtClassifier(this)
            runOnUiThread { button.isEnabled = true }
            button.setOnClickListener {
                val review = text.text.toString()
                worker.execute {
                    val started = System.nanoTime()
                    val found = classifier.classify(review)
                    val milliseconds = (System.nanoTime() - started) / 1e6
                    runOnUiThread {
                        answer.text = "%s, %.1f%%\n%.1f ms".format(found.label, 100 * found.probability, milliseconds)
                    }
                }
            }
        }
    }

    override fun onDestroy() {
        worker.shutdown()
        super.onDestroy()
    }
}
