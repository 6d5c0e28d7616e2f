package org.tfsent.sample

import android.content.Context
import com.google.mediapipe.tasks.core.BaseOptions
import com.google.mediapipe.tasks.text.textclassifier.TextClassifier

/**
 * model-mediapipe.tflite in MediaPipe Tasks, which keeps the head of a long text and stops at a NUL. MediaPipe sorts
 * classes by their scores and knows no threshold: the label is chosen here.
 */
class MediaPipeClassifier(context: Context, folder: String = "model") : AutoCloseable {
    private val model = ExportedModel(context, folder)
    private val classifier = TextClassifier.createFromOptions(
        context,
        TextClassifier.TextClassifierOptions.builder()
            .setBaseOptions(BaseOptions.builder().setModelAssetPath("$folder/model-mediapipe.tflite").build())
            .build()
    )

    @Synchronized
    fun classify(text: String): Answer {
        val found = classifier.classify(forMediaPipe(text, model.rules)).classificationResult().classifications()[0]
        val shares = found.categories().associate { it.categoryName() to it.score() }
        return model.answer(FloatArray(model.labels.size) { i -> shares.getValue(model.labels[i]) })
    }

    override fun close() = classifier.close()
}
