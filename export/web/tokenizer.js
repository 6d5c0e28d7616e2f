// Texts to token ids, as the model was trained with: the specification is text.json, the vocabulary vocab.txt.
// A text that spells a special token, such as "[SEP]", does not become it.

const CONTROL = /^[\p{Cc}\p{Cf}\p{Co}\ufffd]$/u;
const WHITE = /^\p{White_Space}$/u;
const MARK = /\p{Mn}/gu;
const PUNCTUATION = /^[!-/:-@\[-`{-~\p{P}]$/u;
const IDEOGRAPHS = [
  [0x4e00, 0x9fff], [0x3400, 0x4dbf], [0x20000, 0x2a6df], [0x2a700, 0x2b73f],
  [0x2b740, 0x2b81f], [0x2b920, 0x2ceaf], [0xf900, 0xfaff], [0x2f800, 0x2fa1f],
];

export class Tokenizer {
  // spec: the object in text.json. vocabulary: the text of vocab.txt; a line's number is its token's id.
  constructor(spec, vocabulary) {
    this.spec = spec;
    this.ids = new Map(vocabulary.replace(/\n$/, "").split("\n").map((token, id) => [token.replace(/\r+$/, ""), id]));
    [this.pad, this.unknown, this.first, this.last] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"].map((t) => this.ids.get(t));
    this.lineBreak = new RegExp(spec.html_break, "g");
  }

  // The rows of a text, each from [CLS] to [SEP]: one, or several with `truncation: windows`.
  rows(text) {
    const ids = this.words(text).flatMap((word) => this.pieces(word));
    return this.parts(ids).map((part) => [this.first, ...part, this.last]);
  }

  parts(ids) {
    const { max_tokens, truncation, head_tokens, window_step, max_windows } = this.spec;
    const room = max_tokens - 2;
    if (ids.length <= room) return [ids];
    if (truncation === "windows") {
      const count = Math.min(1 + Math.ceil((ids.length - room) / window_step), max_windows);
      const starts = Array.from({ length: count }, (_, i) => Math.min(i * window_step, ids.length - room));
      return starts.map((start) => ids.slice(start, start + room));
    }
    return [[...ids.slice(0, head_tokens), ...ids.slice(ids.length - (room - head_tokens))]];
  }

  words(text) {
    const words = [[]];
    for (const character of this.plain(text)) {
      if (character === " ") words.push([]);
      else if (PUNCTUATION.test(character)) words.push([character], []);
      else words.at(-1).push(character);
    }
    return words.filter((word) => word.length);
  }

  // Clean, lower-case and strip accents one code point at a time, so that no letter changes by its neighbours.
  plain(text) {
    const bytes = new TextEncoder().encode(text.replace(/[\ud800-\udfff]/gu, ""));
    const whole = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes.subarray(0, this.spec.max_bytes));
    let plain = "";
    for (const character of whole.replace(this.lineBreak, " ")) plain += this.normalized(character);
    return plain;
  }

  normalized(character) {
    if ("\t\n\r".includes(character)) return " ";
    if (CONTROL.test(character)) return "";
    if (WHITE.test(character)) return " ";
    let plain = character;
    if (this.spec.lowercase) {
      const letters = [...character.normalize("NFD").replace(MARK, "")];
      plain = letters.map((letter) => letter.toLowerCase()).join("");
    }
    const point = character.codePointAt(0);
    return IDEOGRAPHS.some(([from, to]) => from <= point && point <= to) ? ` ${plain} ` : plain;
  }

  // The longest pieces of the vocabulary, from the left; [UNK] for a word that cannot be spelt or is too long.
  pieces(word) {
    if (word.length > this.spec.max_word_characters) return [this.unknown];
    const ids = [];
    for (let start = 0; start < word.length; ) {
      let end = word.length;
      let id;
      while (end > start && (id = this.ids.get((start ? "##" : "") + word.slice(start, end).join(""))) === undefined) end--;
      if (end === start) return [this.unknown];
      ids.push(id);
      start = end;
    }
    return ids;
  }
}
