import Foundation
import XCTest
@testable import Sentiment // your app's module

/// Replays golden.jsonl: the same ids, and the answers that the file gave where it was exported.
final class GoldenTests: XCTestCase {
    private struct Line: Decodable {
        let text: String
        let ids: [[Int32]]
        let probabilities: [Float]
        let label: String?
    }

    func testGoldenTextsAgree() throws {
        // The tests run inside the app, whose bundle has the model.
        let folder = try XCTUnwrap(Bundle.main.url(forResource: "model", withExtension: nil))
        let golden = try Data(contentsOf: folder.appendingPathComponent("golden.jsonl"))
        let model = try ExportedModel(folder: folder)
        let classifier = try LiteRTClassifier(folder: folder)
        for raw in golden.split(separator: UInt8(ascii: "\n")) {
            let line = try JSONDecoder().decode(Line.self, from: Data(raw))
            XCTAssertEqual(classifier.rows(line.text), line.ids, line.text)
            // By the probabilities of the file: near the threshold this processor may answer the other class.
            if let label = line.label { XCTAssertEqual(model.answer(line.probabilities).label, label, line.text) }
            for (found, expected) in zip(try classifier.classify(line.text).probabilities, line.probabilities) {
                // Quantised kernels round differently from processor to processor.
                XCTAssertEqual(found, expected, accuracy: 0.03, line.text)
            }
        }
    }
}
