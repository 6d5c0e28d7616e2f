import Foundation

/// The files of RUN/export/mobile, in a folder of the app's bundle.
struct ExportedModel {
    let folder: URL
    let labels: [String]
    let rules: TextRules
    private let decision: Decision
    /// The length of each signature of model.tflite by its name, the shortest first.
    let signatures: [(name: String, length: Int)]

    init(folder: URL) throws {
        struct Manifest: Decodable { let signatures: [String: Int] }
        self.folder = folder
        rules = try TextRules.read(folder.appendingPathComponent("text.json"))
        labels = try Self.lines(folder.appendingPathComponent("labels.txt"))
        decision = try Decision.read(folder.appendingPathComponent("decision.json"))
        let manifest = try Data(contentsOf: folder.appendingPathComponent("manifest.json"))
        signatures = try JSONDecoder().decode(Manifest.self, from: manifest).signatures
            .map { (name: $0.key, length: $0.value) }
            .sorted { $0.length < $1.length }
    }

    func tokenizer() throws -> BertTokenizer {
        BertTokenizer(vocabulary: try Self.lines(folder.appendingPathComponent("vocab.txt")), rules: rules)
    }

    /// The answer that follows from the probabilities of a text.
    func answer(_ probabilities: [Float]) -> Answer {
        let chosen = decision.choose(probabilities)
        return Answer(label: labels[chosen], probability: probabilities[chosen], probabilities: probabilities)
    }

    func path(_ name: String) -> String { folder.appendingPathComponent(name).path }

    // Only a line feed ends a line: a token may contain other separators.
    private static func lines(_ url: URL) throws -> [String] {
        var lines = try String(contentsOf: url, encoding: .utf8).unicodeScalars
            .split(separator: "\n", omittingEmptySubsequences: false)
            .map { BertTokenizer.string($0.last == "\r" ? $0.dropLast() : $0) }
        if lines.last == "" { lines.removeLast() }
        return lines
    }
}

/// How a label is chosen, as decision.json says. The temperature in that file is in the weights already.
struct Decision: Decodable {
    let threshold: Double?

    /// Models of earlier versions have no such file.
    static func read(_ url: URL) throws -> Decision {
        guard FileManager.default.fileExists(atPath: url.path) else { return Decision(threshold: nil) }
        return try JSONDecoder().decode(Decision.self, from: Data(contentsOf: url))
    }

    /// The class of a text. Of two classes it is the second where that one's probability is greater than the threshold.
    /// Without a threshold, and of other numbers of classes, it is the most probable one, of equals the first.
    func choose(_ probabilities: [Float]) -> Int {
        if let threshold = threshold, probabilities.count == 2 { return Double(probabilities[1]) > threshold ? 1 : 0 }
        return probabilities.firstIndex(of: probabilities.max()!)!
    }
}

/// What a model says of a text. `probabilities` are in the order of the labels; `probability` is the label's.
struct Answer {
    let label: String
    let probability: Float
    let probabilities: [Float]
}
