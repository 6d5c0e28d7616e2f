import Foundation

/// What text.json says of a model.
struct TextRules: Decodable {
    let lowercase: Bool
    let maxTokens: Int
    let truncation: String
    let headTokens: Int
    let windowStep: Int
    let maxWindows: Int
    let maxBytes: Int
    let maxWordCharacters: Int
    let htmlBreak: String

    static func read(_ url: URL) throws -> TextRules {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return try decoder.decode(TextRules.self, from: Data(contentsOf: url))
    }

    /// Turns HTML line breaks into spaces.
    func withoutBreaks(_ text: String) -> String {
        text.replacingOccurrences(of: htmlBreak, with: " ", options: .regularExpression)
    }
}

/// Texts to token ids, as the model was trained with. A text that spells a special token, such as "[SEP]", does not
/// become it. Everything works on Unicode scalars: a Swift Character may be several of them.
final class BertTokenizer {
    typealias Scalar = Unicode.Scalar

    /// By the bytes of a token: two strings that Unicode calls equivalent, such as "é" and "e" with an accent after it,
    /// are one key to Swift, and two tokens to the model.
    private let ids: [[UInt8]: Int32]
    private let rules: TextRules
    private let unknown: Int32
    private let first: Int32
    private let last: Int32
    let pad: Int32

    /// `vocabulary` are the lines of vocab.txt.
    init(vocabulary: [String], rules: TextRules) {
        var ids = [[UInt8]: Int32](minimumCapacity: vocabulary.count)
        for (id, token) in vocabulary.enumerated() { ids[Array(token.utf8)] = Int32(id) }
        self.ids = ids
        self.rules = rules
        pad = ids[Array("[PAD]".utf8)]!
        unknown = ids[Array("[UNK]".utf8)]!
        first = ids[Array("[CLS]".utf8)]!
        last = ids[Array("[SEP]".utf8)]!
    }

    /// The rows of a text, each from [CLS] to [SEP]: one, or several with `truncation: windows`.
    func rows(_ text: String) -> [[Int32]] {
        parts(words(text).flatMap(pieces)).map { [first] + $0 + [last] }
    }

    private func parts(_ tokens: [Int32]) -> [[Int32]] {
        let room = rules.maxTokens - 2
        let over = tokens.count - room
        if over <= 0 { return [tokens] }
        if rules.truncation == "windows" {
            let count = min(1 + (over + rules.windowStep - 1) / rules.windowStep, rules.maxWindows)
            return (0..<count).map { i in
                let start = min(i * rules.windowStep, over)
                return Array(tokens[start..<start + room])
            }
        }
        return [Array(tokens.prefix(rules.headTokens) + tokens.suffix(room - rules.headTokens))]
    }

    private func words(_ text: String) -> [[Scalar]] {
        var words: [[Scalar]] = [[]]
        for scalar in plain(text) {
            if scalar == " " {
                words.append([])
            } else if Self.isPunctuation(scalar) {
                words.append([scalar])
                words.append([])
            } else {
                words[words.count - 1].append(scalar)
            }
        }
        return words.filter { !$0.isEmpty }
    }

    private func plain(_ text: String) -> [Scalar] {
        var out: [Scalar] = []
        for scalar in rules.withoutBreaks(cut(text)).unicodeScalars { appendNormalized(scalar, to: &out) }
        return out
    }

    /// The first bytes of a text as UTF-8. A cut letter becomes U+FFFD, which is removed later.
    private func cut(_ text: String) -> String {
        text.utf8.count <= rules.maxBytes ? text : String(decoding: text.utf8.prefix(rules.maxBytes), as: UTF8.self)
    }

    /// Cleans, lower-cases and strips accents of one scalar, so that none changes by its neighbours.
    private func appendNormalized(_ scalar: Scalar, to out: inout [Scalar]) {
        if Self.isWhite(scalar) {
            out.append(" ")
            return
        }
        if Self.isControl(scalar) { return }
        let alone = Self.isIdeograph(scalar)
        if alone { out.append(" ") }
        if rules.lowercase {
            for letter in Self.letters(of: scalar) { out.append(contentsOf: Self.lowercase(letter)) }
        } else {
            out.append(scalar)
        }
        if alone { out.append(" ") }
    }

    /// The longest pieces of the vocabulary, from the left; [UNK] for a word that cannot be spelt or is too long.
    private func pieces(_ word: [Scalar]) -> [Int32] {
        if word.count > rules.maxWordCharacters { return [unknown] }
        var found: [Int32] = []
        var start = 0
        while start < word.count {
            var end = word.count
            var id: Int32?
            while end > start {
                id = ids[Array((start > 0 ? "##" : "").utf8) + Self.string(word[start..<end]).utf8]
                if id != nil { break }
                end -= 1
            }
            guard let piece = id else { return [unknown] }
            found.append(piece)
            start = end
        }
        return found
    }

    /// NFD without combining marks.
    static func letters(of scalar: Scalar) -> [Scalar] {
        String(scalar).decomposedStringWithCanonicalMapping.unicodeScalars.filter {
            $0.properties.generalCategory != .nonspacingMark
        }
    }

    static func lowercase(_ scalar: Scalar) -> [Scalar] {
        Array(scalar.properties.lowercaseMapping.unicodeScalars)
    }

    static func string<S: Sequence>(_ scalars: S) -> String where S.Element == Scalar {
        var view = String.UnicodeScalarView()
        view.append(contentsOf: scalars)
        return String(view)
    }

    private static func isWhite(_ scalar: Scalar) -> Bool {
        if scalar.value == 0x09 || scalar.value == 0x0A || scalar.value == 0x0D { return true }
        switch scalar.properties.generalCategory {
        case .spaceSeparator, .lineSeparator, .paragraphSeparator: return true
        default: return false
        }
    }

    private static func isControl(_ scalar: Scalar) -> Bool {
        if scalar.value == 0xFFFD { return true }
        switch scalar.properties.generalCategory {
        case .control, .format, .privateUse: return true
        default: return false
        }
    }

    private static func isPunctuation(_ scalar: Scalar) -> Bool {
        switch scalar.value {
        case 33...47, 58...64, 91...96, 123...126: return true
        default: break
        }
        switch scalar.properties.generalCategory {
        case .connectorPunctuation, .dashPunctuation, .openPunctuation, .closePunctuation, .initialPunctuation,
            .finalPunctuation, .otherPunctuation:
            return true
        default: return false
        }
    }

    private static func isIdeograph(_ scalar: Scalar) -> Bool {
        switch scalar.value {
        case 0x4E00...0x9FFF, 0x3400...0x4DBF, 0x20000...0x2A6DF, 0x2A700...0x2B73F, 0x2B740...0x2B81F,
            0x2B920...0x2CEAF, 0xF900...0xFAFF, 0x2F800...0x2FA1F:
            return true
        default: return false
        }
    }
}

/// A text as MediaPipe should get it: its tokenizer lower-cases ASCII only and strips no accents.
func forMediaPipe(_ text: String, rules: TextRules) -> String {
    let plain = rules.withoutBreaks(text)
    if !rules.lowercase { return plain }
    let letters = plain.unicodeScalars.flatMap { BertTokenizer.letters(of: $0).flatMap(BertTokenizer.lowercase) }
    return BertTokenizer.string(letters)
}
