import Foundation

/// The files of RUN/export/mobile, in a folder of the app's bundle.
struct ExportedModel {
    let folder: URL
    let labels: [String]
    let rules: TextRules
    /// The length of each signature of model.tflite by its name, the shortest first.
    let signatures: [(name: String, length: Int)]

    init(folder: URL) throws {
        struct Manifest: Decodable { let signatures: [String: Int] }
        self.folder = folder
        rules = try TextRules.read(folder.appendingPathComponent("text.json"))
        labels = try Self.lines(folder.appendingPathComponent("labels.txt"))
        let manifest = try Data(contentsOf: folder.appendingPathComponent("manifest.json"))
        signatures = try JSONDecoder().decode(Manifest.self, from: manifest).signatures
            .map { (name: $0.key, length: $0.value) }
            .sorted { $0.length < $1.length }
    }

    func tokenizer() throws -> BertTokenizer {
        BertTokenizer(vocabulary: try Self.lines(folder.appendingPathComponent("vocab.txt")), rules: rules)
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

/// What a model says of a text. `probabilities` are in the order of the labels.
struct Answer {
    let label: String
    let probability: Float
    let probabilities: [Float]

    init(labels: [String], probabilities: [Float]) {
        let best = probabilities.indices.max { probabilities[$0] < probabilities[$1] }!
        label = labels[best]
        probability = probabilities[best]
        self.probabilities = probabilities
    }
}
