import Foundation
import TensorFlowLite

/// model.tflite in TensorFlow Lite. One thread at a time: an interpreter is not thread-safe.
final class LiteRTClassifier {
    private let model: ExportedModel
    private let tokenizer: BertTokenizer
    private let interpreter: Interpreter

    init(folder: URL, threads: Int = 2) throws {
        model = try ExportedModel(folder: folder)
        tokenizer = try model.tokenizer()
        var options = Interpreter.Options()
        options.threadCount = threads
        options.isXNNPackEnabled = true
        interpreter = try Interpreter(modelPath: model.path("model.tflite"), options: options)
    }

    func classify(_ text: String) throws -> Answer {
        let rows = tokenizer.rows(text)
        var mean = [Float](repeating: 0, count: model.labels.count)
        for row in rows {
            for (i, share) in try run(row).enumerated() { mean[i] += share / Float(rows.count) }
        }
        return model.answer(mean)
    }

    /// Token ids of a text: what GoldenTests compares.
    func rows(_ text: String) -> [[Int32]] { tokenizer.rows(text) }

    /// Runs the shortest signature that holds a row: a short text costs little.
    private func run(_ row: [Int32]) throws -> [Float] {
        let signature = model.signatures.first { row.count <= $0.length }!
        let padding = signature.length - row.count
        let ids = row + [Int32](repeating: tokenizer.pad, count: padding)
        let mask = [Int32](repeating: 1, count: row.count) + [Int32](repeating: 0, count: padding)
        let runner = try interpreter.signatureRunner(with: signature.name)
        try runner.invoke(with: [
            "ids": Self.bytes(ids),
            "mask": Self.bytes(mask),
            "segment_ids": Self.bytes([Int32](repeating: 0, count: signature.length)),
        ])
        var probabilities = [Float](repeating: 0, count: model.labels.count)
        let data = try runner.output(named: "probabilities").data
        _ = probabilities.withUnsafeMutableBytes { data.copyBytes(to: $0) }
        return probabilities
    }

    private static func bytes(_ values: [Int32]) -> Data { values.withUnsafeBufferPointer { Data(buffer: $0) } }
}
