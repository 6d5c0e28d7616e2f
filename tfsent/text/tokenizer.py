"""One TensorFlow graph from raw text to BERT's token ids: `string[b]` → ragged `int32[r, None]`.

Training, evaluation, prediction and the exported SavedModel run this same graph. The specification is
BERT's own tokenizer (Devlin et al. 2018, `tokenization.py` of google-research/bert) as Hugging Face `tokenizers`
implements it; ids are the same, by test and by benchmark. In this order:

1. at most `MAX_BYTES` of a text are looked at; bytes that are not UTF-8 (lone surrogates among them) are dropped;
2. HTML line breaks become spaces: ours, not BERT's, because IMDb is full of them;
3. NUL, U+FFFD and the categories Cc, Cf and Co are removed, all white space becomes a plain space;
4. each CJK ideograph becomes a word of its own;
5. uncased vocabularies: NFD, combining marks (category Mn) removed, then lower case; cased ones: neither;
6. words are split at white space and at punctuation (each mark its own word: ASCII's symbols and category P);
7. greedy longest-match-first WordPiece; a word of over 100 characters, or with a part that is not in the vocabulary,
   is [UNK];
8. truncation to `max_tokens`, then [CLS] … [SEP].

Steps 3 to 6 are a table of code points (`tfsent.unicode`). A text of plain ASCII, which most English reviews are, takes
a shortcut that comes to the same.

Known differences from Hugging Face: a text that spells a special token, such as "[SEP]", is split like any other text
(theirs makes it the token, so that a review could end itself); and the order of a few musical and Hangul tone marks,
which `tfsent.unicode` explains. Neither occurs in IMDb's 100,000 texts.

Only ops of TensorFlow itself and of tensorflow-text 2.12's op library are used, so that TensorFlow Serving from 2.12 on
can run the graph.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_text as tf_text

from tfsent.text.code_points import PAGE, PAGE_BITS, UNKNOWN, code_point_table, stand_ins, vocabulary_table
from tfsent.text.spec import SPECIAL_TOKENS, TextSpec, check_vocabulary, read_text_files, write_text_files

MAX_BYTES = 1_000_000
"""A cap on the bytes of one text: a server must not be brought down by one request."""
MAX_WORD = 100
"""Characters of the longest word that is looked up; BERT's own limit."""
MAX_WINDOWS = 32
"""A cap on the windows of one text, for the same reason; at 512 tokens that is some 9,000 words."""

_HTML_BREAK = r"(?i)<br[ \t\n\r\f]*/?>"
_INSIDE_WORD = r"[0-9A-Za-z]"
_BETWEEN_WORDS = r"[\t\n\r -/:-@\[-`{-~]"
_PLAIN = rf"(?:{_INSIDE_WORD}{{0,{MAX_WORD}}}{_BETWEEN_WORDS})*{_INSIDE_WORD}{{0,{MAX_WORD}}}"
"""Printable ASCII without a word that is too long: there, lower case is all the normalisation there is."""
_LONG_WORD = rf"[^ ]{{{MAX_WORD + 1},}}"


class Rows(NamedTuple):
    """What texts become: one row a text, or several with `truncation="windows"`."""

    ids: tf.RaggedTensor
    """Ragged `int32[r, None]`, each row [CLS] … [SEP] of at most `max_tokens`."""
    owner: tf.Tensor
    """`int64[r]`, rising: the text a row is of."""
    lengths: tf.Tensor
    """`int64[b]`: tokens of each text, uncut, without [CLS] and [SEP]."""


class Piece(NamedTuple):
    """A token of a text, for people who debug."""

    token: str
    id: int
    start: int
    """The token stands for `text[start:stop]`."""
    stop: int
    kept: bool
    """Whether truncation leaves it."""


class Tokenizer:
    """The graph of a `TextSpec` over a vocabulary.

    Args:
        spec: the text specification.
        vocabulary: WordPiece tokens, the line number being the id.

    Raises:
        EncoderError: the vocabulary lacks a special token or names one token twice.
    """

    def __init__(self, spec: TextSpec, vocabulary: Sequence[str]):
        check_vocabulary(vocabulary)
        self.spec = spec
        self.vocabulary = tuple(vocabulary)
        self.pad_id, self.unk_id, self.cls_id, self.sep_id = (self.vocabulary.index(t) for t in SPECIAL_TOKENS)
        self._alphabet = frozenset("".join(vocabulary))
        self._stand_ins = stand_ins(self._alphabet)
        self._pages, self._outputs = vocabulary_table(spec.lowercase, self._alphabet)
        self._counts = np.count_nonzero(self._outputs >= 0, axis=1)
        # Its limit is in bytes and BERT's in characters: longer words never reach it.
        self._wordpiece = tf_text.FastWordpieceTokenizer(
            [token.translate(self._stand_ins) for token in vocabulary],
            max_bytes_per_word=4 * MAX_WORD,
            token_out_type=tf.int32,
        )

    def normalize(self, texts: tf.Tensor) -> tf.Tensor:
        """Steps 1 to 6: `string[b]` → `string[b]`, as the WordPiece op is to see it.

        Characters beyond ASCII have become their stand-ins by then, those in no token and words that are too long
        `UNKNOWN`.
        """
        texts = tf.strings.substr(texts, 0, MAX_BYTES)
        texts = tf.strings.regex_replace(texts, _HTML_BREAK, " ")
        others = tf.where(~tf.strings.regex_full_match(texts, _PLAIN))
        plain = tf.strings.lower(texts) if self.spec.lowercase else texts
        return tf.tensor_scatter_nd_update(plain, others, self._normalize_any(tf.gather_nd(texts, others)))

    def _normalize_any(self, texts: tf.Tensor) -> tf.Tensor:
        """`string[b]` → `string[b]`, whatever the text: each code point through the table."""
        code_points = tf.strings.unicode_decode(texts, "UTF-8", errors="ignore")
        page = tf.gather(self._pages, tf.bitwise.right_shift(code_points.flat_values, PAGE_BITS))
        entry = page * PAGE + tf.bitwise.bitwise_and(code_points.flat_values, PAGE - 1)
        outputs = tf.gather(self._outputs, entry)
        # Where each code point's outputs begin, and so where each text's do.
        starts = tf.concat([[0], tf.cumsum(tf.gather(self._counts, entry))], axis=0)
        normalized = tf.RaggedTensor.from_row_splits(
            tf.boolean_mask(outputs, outputs >= 0), tf.gather(starts, code_points.row_splits), validate=False
        )
        return tf.strings.regex_replace(tf.strings.unicode_encode(normalized, "UTF-8"), _LONG_WORD, chr(UNKNOWN))

    def tokenize(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """All tokens, uncut and without [CLS] and [SEP]: `string[b]` → ragged `int32[b, None]`."""
        return self._wordpiece.tokenize(self.normalize(texts))

    def __call__(self, texts: tf.Tensor) -> Rows:
        """The model's rows of some texts, `string[b]`."""
        ids = self.tokenize(texts)
        lengths = ids.row_lengths()
        if self.spec.truncation == "windows":
            kept, owner = self._windows(ids)
        else:
            kept, owner = self._truncate(ids), tf.range(ids.nrows())
        ends = [tf.fill([kept[0].nrows(), 1], special) for special in (self.cls_id, self.sep_id)]
        return Rows(tf.concat([ends[0], *kept, ends[1]], axis=1), owner, lengths)

    def _truncate(self, ids: tf.RaggedTensor) -> list[tf.RaggedTensor]:
        """Each row's head and tail, which together fit beside [CLS] and [SEP]."""
        head, tail = self._head_and_tail()
        start, stop = ids.row_starts(), ids.row_limits()
        if head == 0:
            return [_take(ids, tf.maximum(start, stop - tail), stop)]
        # A row that fits is all head, and its tail is empty.
        long = stop - start > head + tail
        first = _take(ids, start, tf.where(long, start + head, stop))
        return [first, _take(ids, tf.where(long, stop - tail, stop), stop)] if tail else [first]

    def _head_and_tail(self) -> tuple[int, int]:
        room = self.spec.max_tokens - 2
        head = {"head": room, "tail": 0}.get(self.spec.truncation, round(room * self.spec.head_fraction))
        return head, room - head

    def _windows(self, ids: tf.RaggedTensor) -> tuple[list[tf.RaggedTensor], tf.Tensor]:
        """Cover each row with windows; the last one ends where the row ends, so that every window is full."""
        room = self.spec.max_tokens - 2
        step = max(1, room - round(room * self.spec.window_overlap))
        lengths = ids.row_lengths()
        over = tf.maximum(lengths - room, 0)
        count = tf.minimum(1 + (over + step - 1) // step, MAX_WINDOWS)
        owner = tf.repeat(tf.range(ids.nrows()), count)
        start = tf.minimum(tf.ragged.range(count).flat_values * step, tf.gather(over, owner))
        start += tf.gather(ids.row_starts(), owner)
        return [_take(ids, start, tf.minimum(start + room, tf.gather(ids.row_limits(), owner)))], owner

    def inputs(self, ids: tf.RaggedTensor, length: int | None = None) -> dict[str, tf.Tensor]:
        """What the model takes: `token_ids`, `segment_ids` `int32[r, s]` and `padding_mask` `bool[r, s]`.

        Args:
            ids: rows, ragged `int32[r, None]`.
            length: the `s` to pad to; by default the longest row.
        """
        token_ids = ids.to_tensor(self.pad_id, shape=[None, length])
        # By length and not by id: a text may spell the padding token.
        padding_mask = tf.sequence_mask(ids.row_lengths(), tf.shape(token_ids)[1])
        return {"token_ids": token_ids, "segment_ids": tf.zeros_like(token_ids), "padding_mask": padding_mask}

    def explain(self, text: str) -> list[Piece]:
        """The tokens of one text with the place in it that each stands for, cut ones included.

        In Python, character by character, and slow; the ids are those of the graph.
        """
        words = [self._pieces(word) for word in self._words(text)]
        pieces = [piece for word in words for piece in word]
        head, tail = self._head_and_tail()
        if self.spec.truncation == "windows" or len(pieces) <= head + tail:
            return pieces
        return [p._replace(kept=i < head or i >= len(pieces) - tail) for i, p in enumerate(pieces)]

    def _words(self, text: str) -> list[list[tuple[str, int, int]]]:
        """The words of the normalised text: of each character, where in the text it comes from."""
        text = text.encode("utf-8", "ignore")[:MAX_BYTES].decode("utf-8", "ignore")
        table = code_point_table(self.spec.lowercase)
        breaks = {match.start(): match.end() for match in re.finditer(_HTML_BREAK, text)}
        words: list[list[tuple[str, int, int]]] = [[]]
        at = 0
        while at < len(text):
            stop = breaks.get(at, at + 1)
            for output in [ord(" ")] if at in breaks else table[ord(text[at])].tolist():
                if output == ord(" "):
                    words.append([])
                elif output >= 0:
                    words[-1].append((chr(output), at, stop))
            at = stop
        return [word for word in words if word]

    def _pieces(self, word: list[tuple[str, int, int]]) -> list[Piece]:
        known = (character if character in self._alphabet else chr(UNKNOWN) for character, *_ in word)
        spelling = "".join(known).translate(self._stand_ins)
        whole = [Piece("[UNK]", self.unk_id, word[0][1], word[-1][2], True)]
        if len(word) > MAX_WORD:
            return whole
        ids, starts, stops = (part.numpy()[0].tolist() for part in self._wordpiece.tokenize_with_offsets([spelling]))
        if ids == [self.unk_id]:
            return whole
        # The offsets are in bytes.
        character = np.repeat(np.arange(len(spelling)), [len(c.encode()) for c in spelling])
        spans = [(word[character[a]][1], word[character[b - 1]][2]) for a, b in zip(starts, stops, strict=True)]
        return [Piece(self.vocabulary[i], i, *span, True) for i, span in zip(ids, spans, strict=True)]

    def save(self, folder: Path) -> None:
        """Write `vocab.txt` and `text.json` into a folder."""
        write_text_files(folder, self.spec, self.vocabulary)

    @classmethod
    def load(cls, folder: Path) -> Tokenizer:
        """Read what `save` wrote.

        Raises:
            ArtifactError: a file is missing or damaged.
        """
        return cls(*read_text_files(folder))


def _take(ids: tf.RaggedTensor, start: tf.Tensor, stop: tf.Tensor) -> tf.RaggedTensor:
    """`ids.flat_values[start[i]:stop[i]]` for every i."""
    positions = tf.ragged.range(start, stop)
    return positions.with_flat_values(tf.gather(ids.flat_values, positions.flat_values))
