"""One TensorFlow graph from raw text to BERT's token ids: `string[b]` → ragged `int32[b, None]`.

Training (in tf.data), evaluation, prediction and the exported SavedModel run this same graph. It follows BERT's own
tokenizer (Devlin et al. 2018, `tokenization.py` of google-research/bert) in these steps:

1. bytes that are not UTF-8 are dropped; at most `MAX_BYTES` of a text are looked at;
2. HTML line breaks become spaces (IMDb is full of them);
3. control characters, NUL and U+FFFD are removed, all white space becomes a plain space;
4. uncased vocabularies: NFD, combining marks (category Mn) removed, lower case;
5. words are split at white space, at punctuation (each mark its own word) and around each CJK ideograph;
6. greedy longest-match-first WordPiece; a word of over 100 bytes, or with a piece that is not in the
   vocabulary, is [UNK]. A text that spells a special token, such as "[SEP]", is split like any other text;
7. truncation to `max_tokens`, then [CLS] … [SEP].

Only ops of TensorFlow itself and of tensorflow-text 2.12's op library are used, so that TensorFlow Serving from 2.12 on
can run the graph.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import tensorflow as tf
import tensorflow_text as tf_text

from tfsent.errors import ArtifactError, EncoderError

MAX_BYTES = 1_000_000
"""A cap on the bytes of one text: a server must not be brought down by one request."""

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")

_HTML_BREAK = r"(?i)<br\s*/?>"
_WHITE_SPACE = r"[\t\n\r\p{Z}]"
_CONTROL = r"[\p{Cc}\p{Cf}\p{Co}\x{FFFD}]"
_COMBINING_MARK = r"\p{Mn}"


@dataclass(frozen=True)
class TextSpec:
    """Everything but the vocabulary that decides which ids a text becomes. Stored with every artifact."""

    lowercase: bool
    max_tokens: int
    """Length with [CLS] and [SEP], at least 3."""
    truncation: str = "head_tail"
    """`head`, `tail` or `head_tail`: which end of a long text is kept."""
    head_fraction: float = 0.25
    """Share of the kept tokens that `head_tail` takes from the start."""


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
        self._wordpiece = tf_text.FastWordpieceTokenizer(list(vocabulary), token_out_type=tf.int32)

    def normalize(self, texts: tf.Tensor) -> tf.Tensor:
        """Steps 1 to 4: `string[b]` → `string[b]`, clean UTF-8."""
        texts = tf.strings.substr(texts, 0, MAX_BYTES)
        texts = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="ignore")
        texts = tf.strings.regex_replace(texts, _HTML_BREAK, " ")
        texts = tf.strings.regex_replace(texts, _WHITE_SPACE, " ")
        texts = tf.strings.regex_replace(texts, _CONTROL, "")
        if self.spec.lowercase:
            texts = tf_text.normalize_utf8(texts, "NFD")
            texts = tf.strings.regex_replace(texts, _COMBINING_MARK, "")
            texts = tf.strings.lower(texts, encoding="utf-8")
        return texts

    def tokenize(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """All tokens, uncut and without [CLS] and [SEP]: `string[b]` → ragged `int32[b, None]`."""
        return self._wordpiece.tokenize(self.normalize(texts))

    def truncate(self, ids: tf.RaggedTensor) -> tf.RaggedTensor:
        """Cut each row to what fits and put [CLS] and [SEP] around it: ragged `int32[b, None]` → the same."""
        room = self.spec.max_tokens - 2
        head = {"head": room, "tail": 0}.get(self.spec.truncation, round(room * self.spec.head_fraction))
        tail = room - head
        lengths = ids.row_lengths()
        # A row that fits is taken whole by `first`, and `last` is empty; only a longer one is cut in two.
        long = lengths > room
        first = _take(ids, tf.zeros_like(lengths), tf.where(long, tf.cast(head, lengths.dtype), lengths))
        last = _take(ids, tf.where(long, lengths - tail, lengths), lengths)
        ends = [tf.fill([ids.nrows(), 1], special) for special in (self.cls_id, self.sep_id)]
        return tf.concat([ends[0], first, last, ends[1]], axis=1)

    def __call__(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """`string[b]` → ragged `int32[b, None]`, each row [CLS] … [SEP] of at most `max_tokens`."""
        return self.truncate(self.tokenize(texts))

    def inputs(self, texts: tf.Tensor, length: int | None = None) -> dict[str, tf.Tensor]:
        """What the model takes: `token_ids`, `segment_ids` `int32[b, s]` and `padding_mask` `bool[b, s]`.

        Args:
            texts: `string[b]`.
            length: the `s` to pad to; by default the longest row.
        """
        ids = self(texts)
        token_ids = ids.to_tensor(self.pad_id, shape=[None, length])
        # By length and not by id: a text may spell the padding token.
        padding_mask = tf.sequence_mask(ids.row_lengths(), tf.shape(token_ids)[1])
        return {"token_ids": token_ids, "segment_ids": tf.zeros_like(token_ids), "padding_mask": padding_mask}

    def save(self, folder: Path) -> None:
        """Write `vocab.txt` and `text.json` into a folder."""
        (folder / "vocab.txt").write_text("\n".join(self.vocabulary) + "\n", encoding="utf-8")
        (folder / "text.json").write_text(json.dumps(asdict(self.spec), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Tokenizer:
        """Read what `save` wrote.

        Raises:
            ArtifactError: a file is missing or damaged.
        """
        try:
            spec = TextSpec(**json.loads((folder / "text.json").read_text(encoding="utf-8")))
            return cls(spec, read_vocabulary(folder / "vocab.txt"))
        except (OSError, TypeError, ValueError) as error:
            raise ArtifactError(f"Cannot read the text specification in {folder}: {error}.") from error


def _take(ids: tf.RaggedTensor, start: tf.Tensor, stop: tf.Tensor) -> tf.RaggedTensor:
    """`ids[i, start[i]:stop[i]]` for every row i."""
    positions = tf.ragged.range(start, stop)
    return tf.gather(ids, positions, batch_dims=1)


def read_vocabulary(path: Path) -> tuple[str, ...]:
    """The tokens of a `vocab.txt`, one a line. Only the line feed ends a line: a token may hold other separators."""
    text = path.read_text(encoding="utf-8")
    return tuple(line.rstrip("\r") for line in text.removesuffix("\n").split("\n"))


def check_vocabulary(vocabulary: Sequence[str]) -> None:
    """Refuse a vocabulary WordPiece cannot work with.

    Raises:
        EncoderError: it lacks a special token or names one token twice.
    """
    missing = [token for token in SPECIAL_TOKENS if token not in vocabulary]
    if missing:
        raise EncoderError(
            f"The vocabulary ({len(vocabulary):,} tokens) lacks {', '.join(missing)}. Expected a BERT WordPiece "
            "vocabulary, one token a line."
        )
    if len(set(vocabulary)) != len(vocabulary):
        seen: set[str] = set()
        twice = next(token for token in vocabulary if token in seen or seen.add(token))  # type: ignore[func-returns-value]
        raise EncoderError(f"The vocabulary names the token {twice!r} twice; an id would be ambiguous.")
