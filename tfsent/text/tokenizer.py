"""One TensorFlow graph from raw text to BERT's token ids: `string[b]` → ragged `int32[r, None]`.

Training, evaluation, prediction and the exported SavedModel run the same graph. It implements BERT's tokenizer
(J. Devlin et al. 2018, `tokenization.py` of google-research/bert) as Hugging Face `tokenizers` does. Tests and a
benchmark compare the ids. The steps are:

1. Take at most `MAX_BYTES` of a text. Drop bytes that are not UTF-8, lone surrogates included.
2. Replace HTML line breaks by spaces. BERT does not do this; IMDb is full of them.
3. Remove NUL, U+FFFD and the categories Cc, Cf and Co. Replace each white space by a plain space.
4. Make each CJK ideograph a word of its own.
5. For uncased vocabularies: apply NFD, remove combining marks (category Mn), then lower-case.
6. Split words at white space and at punctuation (ASCII symbols and category P). Each mark is a word of its own.
7. Apply greedy longest-match-first WordPiece. A word of over 100 characters, or with a part that is not in the
   vocabulary, is [UNK].
8. Truncate to `max_tokens`, and add [CLS] and [SEP].

Steps 3 to 6 are a table of code points (`code_points.py`). A text of plain ASCII takes a shortcut with the same result.

Two differences from Hugging Face are known. A text that spells a special token, such as "[SEP]", is split like any
other text; Hugging Face makes it the token, so a review could end itself. And a few musical and Hangul tone marks may
be ordered differently, see `code_points.py`. Neither occurs in IMDb's 100,000 texts.

The graph uses only ops of TensorFlow and of tensorflow-text 2.12, so TensorFlow Serving runs it from 2.12 on.
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
from tfsent.text.spec import (
    HTML_BREAK,
    MAX_BYTES,
    MAX_WINDOWS,
    MAX_WORD,
    SPECIAL_TOKENS,
    TextSpec,
    check_vocabulary,
    read_text_files,
    write_text_files,
)

AT_ONCE = 2**20
"""Bytes of texts that a server tokenises together."""
_INSIDE_WORD = r"[0-9A-Za-z]"
_BETWEEN_WORDS = r"[\t\n\r -/:-@\[-`{-~]"
_PLAIN = rf"(?:{_INSIDE_WORD}{{0,{MAX_WORD}}}{_BETWEEN_WORDS})*{_INSIDE_WORD}{{0,{MAX_WORD}}}"
"""Printable ASCII without a word that is too long: its only normalisation is lower case."""
_LONG_WORD = rf"[^ ]{{{MAX_WORD + 1},}}"


class Rows(NamedTuple):
    """Token ids of texts: one row a text, or several with `truncation="windows"`."""

    ids: tf.RaggedTensor
    """Ragged `int32[r, None]`; each row is [CLS] … [SEP] with at most `max_tokens`."""
    owner: tf.Tensor
    """`int64[r]`, rising: the index of a row's text."""
    lengths: tf.Tensor
    """`int64[b]`: tokens of each text before truncation, without [CLS] and [SEP]."""


class Piece(NamedTuple):
    """A token of a text, for debugging."""

    token: str
    id: int
    start: int
    """The token stands for `text[start:stop]`."""
    stop: int
    kept: bool
    """Whether truncation keeps it."""


class Tokenizer:
    """The graph of a `TextSpec` over a vocabulary.

    Args:
        spec: the text specification.
        vocabulary: WordPiece tokens; the index is the id.

    Raises:
        EncoderError: a special token is missing, or a token occurs twice.
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
        # Its limit is in bytes, BERT's in characters: `normalize` has replaced longer words before.
        self._wordpiece = tf_text.FastWordpieceTokenizer(
            [token.translate(self._stand_ins) for token in vocabulary],
            max_bytes_per_word=4 * MAX_WORD,
            token_out_type=tf.int32,
        )

    def normalize(self, texts: tf.Tensor) -> tf.Tensor:
        """Apply steps 1 to 6: `string[b]` → `string[b]`, the input of the WordPiece op.

        Characters beyond ASCII become their stand-ins. Characters in no token and words that are too long become
        `UNKNOWN`.
        """
        texts = tf.strings.substr(texts, 0, MAX_BYTES)
        texts = tf.strings.regex_replace(texts, HTML_BREAK, " ")
        others = tf.where(~tf.strings.regex_full_match(texts, _PLAIN))
        plain = tf.strings.lower(texts) if self.spec.lowercase else texts
        return tf.tensor_scatter_nd_update(plain, others, self._normalize_any(tf.gather_nd(texts, others)))

    def _normalize_any(self, texts: tf.Tensor) -> tf.Tensor:
        """Map each code point through the table: `string[b]` → `string[b]`, for any text."""
        code_points = tf.strings.unicode_decode(texts, "UTF-8", errors="ignore")
        page = tf.gather(self._pages, tf.bitwise.right_shift(code_points.flat_values, PAGE_BITS))
        entry = page * PAGE + tf.bitwise.bitwise_and(code_points.flat_values, PAGE - 1)
        outputs = tf.gather(self._outputs, entry)
        # The first output of each code point, and so of each text.
        starts = tf.concat([[0], tf.cumsum(tf.gather(self._counts, entry))], axis=0)
        normalized = tf.RaggedTensor.from_row_splits(
            tf.boolean_mask(outputs, outputs >= 0), tf.gather(starts, code_points.row_splits), validate=False
        )
        return tf.strings.regex_replace(tf.strings.unicode_encode(normalized, "UTF-8"), _LONG_WORD, chr(UNKNOWN))

    def tokenize(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Return all tokens, without truncation, [CLS] and [SEP]: `string[b]` → ragged `int32[b, None]`."""
        return self._wordpiece.tokenize(self.normalize(texts))

    def of_any_size(self, texts: tf.Tensor) -> Rows:
        """Return the model's rows of texts, `string[b]`, in bounded memory, as a server must.

        Many bytes are tokenised text by text: a request of 16 texts of 1 MB would take 800 MB at once.
        """
        size = tf.reduce_sum(tf.minimum(tf.strings.length(texts), MAX_BYTES))
        return tf.cond(size <= AT_ONCE, lambda: self(texts), lambda: self._one_by_one(texts))

    def _one_by_one(self, texts: tf.Tensor) -> Rows:
        def rows_of(text: tf.Tensor) -> tuple[tf.RaggedTensor, tf.Tensor]:
            rows = self(text[None])
            return rows.ids, rows.lengths[0]

        spec = tf.RaggedTensorSpec([None, None], tf.int32, ragged_rank=1), tf.TensorSpec([], tf.int64)
        ids, lengths = tf.map_fn(rows_of, texts, fn_output_signature=spec, parallel_iterations=1)
        return Rows(ids.values, ids.value_rowids(), lengths)

    def __call__(self, texts: tf.Tensor) -> Rows:
        """Return the model's rows of texts, `string[b]`."""
        ids = self.tokenize(texts)
        lengths = ids.row_lengths()
        if self.spec.truncation == "windows":
            kept, owner = self._windows(ids)
        else:
            kept, owner = self._truncate(ids), tf.range(ids.nrows())
        ends = [tf.fill([kept[0].nrows(), 1], special) for special in (self.cls_id, self.sep_id)]
        return Rows(tf.concat([ends[0], *kept, ends[1]], axis=1), owner, lengths)

    def _truncate(self, ids: tf.RaggedTensor) -> list[tf.RaggedTensor]:
        """Return the head and the tail of each row; together they fit between [CLS] and [SEP].

        Of [1 2 3 4 5 6 7 8], with room for 4: `head` keeps [1 2 3 4], `tail` [5 6 7 8], and `head_tail` with a
        `head_fraction` of 0.25 keeps [1] and [6 7 8].
        """
        head, tail = self.spec.head_tokens, self.spec.room - self.spec.head_tokens
        start, stop = ids.row_starts(), ids.row_limits()
        if head == 0:
            return [_take(ids, tf.maximum(start, stop - tail), stop)]
        # A row that fits is all head.
        long = stop - start > head + tail
        first = _take(ids, start, tf.where(long, start + head, stop))
        return [first, _take(ids, tf.where(long, stop - tail, stop), stop)] if tail else [first]

    def _windows(self, ids: tf.RaggedTensor) -> tuple[list[tf.RaggedTensor], tf.Tensor]:
        """Cover each row with windows. The last one ends where the row ends, so every window of a long row is full.

        Of [1 2 3 4 5 6 7 8 9], with room for 4 and a `window_overlap` of 0.25: [1 2 3 4], [4 5 6 7], [6 7 8 9].
        """
        room, step = self.spec.room, self.spec.window_step
        lengths = ids.row_lengths()
        over = tf.maximum(lengths - room, 0)
        count = tf.minimum(1 + (over + step - 1) // step, MAX_WINDOWS)
        owner = tf.repeat(tf.range(ids.nrows()), count)
        start = tf.minimum(tf.ragged.range(count).flat_values * step, tf.gather(over, owner))
        start += tf.gather(ids.row_starts(), owner)
        return [_take(ids, start, tf.minimum(start + room, tf.gather(ids.row_limits(), owner)))], owner

    def inputs(self, ids: tf.RaggedTensor, length: int | None = None) -> dict[str, tf.Tensor]:
        """Pad rows to the model's inputs: `token_ids`, `segment_ids`, `int32[r, s]`, and `padding_mask`, `bool[r, s]`.

        Args:
            ids: rows, ragged `int32[r, None]`.
            length: s; None for the longest row.
        """
        token_ids = ids.to_tensor(self.pad_id, shape=[None, length])
        # By length, not by id: a text may spell the padding token.
        padding_mask = tf.sequence_mask(ids.row_lengths(), tf.shape(token_ids)[1])
        return {"token_ids": token_ids, "segment_ids": tf.zeros_like(token_ids), "padding_mask": padding_mask}

    def explain(self, text: str) -> list[Piece]:
        """Return the tokens of one text with the characters that each stands for, those that truncation cuts included.

        This runs in Python, character by character, and is slow. The ids are those of the graph.
        """
        words = [self._pieces(word) for word in self._words(text)]
        pieces = [piece for word in words for piece in word]
        head, tail = self.spec.head_tokens, self.spec.room - self.spec.head_tokens
        if self.spec.truncation == "windows" or len(pieces) <= head + tail:
            return pieces
        return [p._replace(kept=i < head or i >= len(pieces) - tail) for i, p in enumerate(pieces)]

    def _words(self, text: str) -> list[list[tuple[str, int, int]]]:
        """Return the words of the normalised text: each character with its place in the text."""
        text = text.encode("utf-8", "ignore")[:MAX_BYTES].decode("utf-8", "ignore")
        table = code_point_table(self.spec.lowercase)
        breaks = {match.start(): match.end() for match in re.finditer(HTML_BREAK, text)}
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
    """Return the rows `ids.flat_values[start[i]:stop[i]]`."""
    positions = tf.ragged.range(start, stop)
    return positions.with_flat_values(tf.gather(ids.flat_values, positions.flat_values))
