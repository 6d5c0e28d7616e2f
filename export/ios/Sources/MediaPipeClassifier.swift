import Foundation
import MediaPipeTasksText

/// model-mediapipe.tflite in MediaPipe Tasks, which keeps the head of a long text and stops at a NUL. MediaPipe sorts
/// classes by their scores and knows no threshold: the label is chosen here.
final class MediaPipeClassifier {
    private let model: ExportedModel
    private let classifier: TextClassifier

    init(folder: URL) throws {
        model = try ExportedModel(folder: folder)
        classifier = try TextClassifier(modelPath: model.path("model-mediapipe.tflite"))
    }

    func classify(_ text: String) throws -> Answer {
        let found = try classifier.classify(text: forMediaPipe(text, rules: model.rules))
        let categories = found.classificationResult.classifications[0].categories
        let shares = Dictionary(uniqueKeysWithValues: categories.map { ($0.categoryName ?? "", $0.score) })
        return model.answer(model.labels.map { shares[$0] ?? 0 })
    }
}
