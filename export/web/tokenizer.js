// Texts to token ids, as the model was trained with: the specification is text.json, the vocabulary vocab.txt.
// A text that spells a special token, such as "[SEP]", does not become it.

import { ALONE, IDEOGRAPH, KINDS, LETTER, MARK, REMOVED, SPACE } from "./code_points.js";

export class Tokenizer {
  // spec: the object in text.json. vocabulary: the text of vocab.txt; a line's number is its token's id.
  constructor(spec, vocabulary) {
    this.spec = spec;
    this.ids = new Map(vocabulary.replace(/\n$/, "").split("\n").map((token, id) => [token.replace(/\r+$/, ""), id]));
    [this.pad, this.unknown, this.first, this.last] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"].map((t) => this.ids.get(t));
    this.longest = Math.max(...[...this.ids.keys()].map((token) => token.length));
    this.lineBreak = new RegExp(spec.html_break, "g");
  }

  // The rows of a text, each from [CLS] to [SEP]: one, or several with `truncation: windows`.
  rows(text) {
    const ids = this.words(text).flatMap((word) => this.pieces([...word]));
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

  // Cut, without halves of surrogate pairs; then one code point at a time, so that no letter changes by its neighbours.
  words(text) {
    const bytes = new TextEncoder().encode(text.replace(/[\ud800-\udfff]/gu, ""));
    // Half a character at the cut becomes U+FFFD, which is removed.
    const whole = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes.subarray(0, this.spec.max_bytes));
    let plain = "";
    for (const character of whole.replace(this.lineBreak, " ")) plain += this.normalized(character);
    return plain.split(" ").filter((word) => word);
  }

  normalized(character) {
    const kind = KINDS[character.codePointAt(0)];
    if (kind === SPACE) return " ";
    if (kind === REMOVED || (kind === MARK && this.spec.lowercase)) return "";
    const plain = (kind === LETTER || kind === IDEOGRAPH) && this.spec.lowercase ? uncased(character) : character;
    return kind === ALONE || kind === IDEOGRAPH ? ` ${plain} ` : plain;
  }

  // The longest pieces of the vocabulary, from the left; [UNK] for a word that cannot be spelt or is too long.
  pieces(word) {
    if (word.length > this.spec.max_word_characters) return [this.unknown];
    const ids = [];
    const find = (start, end) => this.ids.get((start ? "##" : "") + word.slice(start, end).join(""));
    for (let start = 0; start < word.length; ) {
      let end = Math.min(word.length, start + this.longest);
      let id;
      while (end > start && (id = find(start, end)) === undefined) end--;
      if (end === start) return [this.unknown];
      ids.push(id);
      start = end;
    }
    return ids;
  }
}

// Without accents and in lower case. A letter such as ≠ comes apart into a symbol and a mark.
function uncased(character) {
  let plain = "";
  for (const letter of character.normalize("NFD")) {
    const kind = KINDS[letter.codePointAt(0)];
    if (kind === ALONE) plain += ` ${letter} `;
    else if (kind !== MARK) plain += letter.toLowerCase();
  }
  return plain;
}
