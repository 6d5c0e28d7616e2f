"""Reviews → token ids, made once and cached: the next training finds them.

    ids.bin      the rows, int32, one after the other
    table.npz    lengths, owners, lengths of the reviews

The key in the cache is made of the reviews' fingerprint, the text specification, the vocabulary and
`TOKENIZER_VERSION`. TensorFlow is loaded only to tokenise: a machine without it can train on cached tokens.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from array import array
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tfsent.errors import ConfigError
from tfsent.storage import cache, downloads
from tfsent.storage.row_store import RowStore
from tfsent.text.spec import TOKENIZER_VERSION, TextSpec

if TYPE_CHECKING:
    from tfsent.data.reviews import Reviews
    from tfsent.text.tokenizer import Rows, Tokenizer

_TABLE = ("lengths", "owner", "review_lengths")


@dataclass(frozen=True)
class Tokens:
    """Tokenised reviews as rows for the model: one a review, or several with `truncation: windows`."""

    rows: RowStore
    """Row i is `int32[lengths[i]]` as bytes, [CLS] and [SEP] included."""
    lengths: np.ndarray
    """`int32[rows]`."""
    owner: np.ndarray
    """`int32[rows]`, rising: the index of a row's review."""
    review_lengths: np.ndarray
    """`int32[reviews]`: tokens of each review before truncation, without [CLS] and [SEP]."""

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, row: int) -> np.ndarray:
        """Return the ids of a row, `int32[length]`."""
        return np.frombuffer(self.rows[row], np.int32)

    def pad(self, rows: np.ndarray, length: int, pad_id: int, total: int | None = None) -> dict[str, np.ndarray]:
        """Pad rows to the model's inputs: `token_ids`, `segment_ids`, `int32[b, s]`, and `padding_mask`, `bool[b, s]`.

        Args:
            rows: indices, `int64[n]`.
            length: s.
            pad_id: the id of [PAD].
            total: b; the rows beyond n are padding. They have one token, for a softmax over none is not a number.
        """
        total = len(rows) if total is None else total
        token_ids = np.full((total, length), pad_id, np.int32)
        for i, row in enumerate(rows.tolist()):
            token_ids[i, : self.lengths[row]] = self[row]
        used = np.concatenate([self.lengths[rows], np.ones(total - len(rows), np.int32)])
        padding_mask = np.arange(length) < used[:, None]
        return {"token_ids": token_ids, "segment_ids": np.zeros_like(token_ids), "padding_mask": padding_mask}

    def piece_counts(self, pieces: int) -> np.ndarray:
        """Return how often each piece of a vocabulary occurs in the rows, `int64[pieces]`."""
        counts = np.zeros(pieces, np.int64)
        for row in range(len(self)):
            np.add.at(counts, self[row], 1)
        return counts

    def reviews_begun(self, rows: np.ndarray) -> int:
        """Return how many reviews have their first row among these: over all rows, each review counts once."""
        return int(np.count_nonzero((rows == 0) | (self.owner[rows] != self.owner[rows - 1])))


def load_tokens(reviews: Reviews, spec: TextSpec, vocabulary: Sequence[str]) -> Tokens:
    """Return the tokens of reviews from the cache; tokenise and cache them where they are not there.

    Args:
        reviews: the reviews.
        spec: the text specification.
        vocabulary: WordPiece tokens; the index is the id.

    Raises:
        ConfigError: they are not cached, and TensorFlow is not installed.
    """
    folder = cache.get(key := key_of_tokens(reviews, spec, vocabulary))
    if folder is not None:
        with np.load(folder / "table.npz") as table:
            lengths, owner, review_lengths = (table[name] for name in _TABLE)
        return Tokens(RowStore.of_file(folder / "ids.bin", 4 * lengths), lengths, owner, review_lengths)
    try:
        from tfsent.text.tokenizer import Tokenizer
    except ImportError as error:
        raise ConfigError(
            f"The tokens of these reviews are not cached in {downloads.cache_dir()}, and TensorFlow is not installed "
            "to make them. Expected a TFSENT_CACHE of a machine that trained on them, or: pip install tensorflow "
            "tensorflow-text"
        ) from error
    tokens = tokenize_all(Tokenizer(spec, vocabulary), reviews.texts)

    def write(folder: Path) -> None:
        tokens.rows.copy_to(folder / "ids.bin")
        np.savez(folder / "table.npz", **{name: getattr(tokens, name) for name in _TABLE})

    cache.put(key, 4 * int(tokens.lengths.sum()), write)
    return tokens


def tokenize_all(tokenizer: Tokenizer, texts: Sequence[str], batch: int = 1024) -> Tokens:
    """Run the text graph over all texts, on all cores.

    Args:
        tokenizer: the graph.
        texts: the texts.
        batch: texts at a time.
    """
    store, row_lengths, owners, review_lengths = RowStore(), array("i"), array("i"), array("i")
    for rows in _tokenized(tokenizer, texts, batch):
        ids, splits = rows.ids.flat_values.numpy().tobytes(), rows.ids.row_splits.numpy() * 4
        for start, stop in itertools.pairwise(splits.tolist()):
            store.append(ids[start:stop])
        row_lengths.frombytes((np.diff(splits) // 4).astype(np.int32).tobytes())
        owners.frombytes((rows.owner.numpy() + len(review_lengths)).astype(np.int32).tobytes())
        review_lengths.frombytes(rows.lengths.numpy().astype(np.int32).tobytes())
    return Tokens(store, *(np.array(numbers, np.int32) for numbers in (row_lengths, owners, review_lengths)))


def _tokenized(tokenizer: Tokenizer, texts: Sequence[str], batch: int) -> Iterator[Rows]:
    """Run batches of texts through the graph, in order.

    Threads work, for the ops release Python's lock. A tf.data pipeline over a Python generator takes a third longer.
    """
    import tensorflow as tf

    workers = os.cpu_count() or 1
    waiting: deque[Future[Rows]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(texts), batch):
            raw = [encode(text) for text in texts[start : start + batch]]
            waiting.append(pool.submit(tokenizer, tf.constant(raw, tf.string)))
            # Not all at once: the texts may exceed memory.
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        yield from (future.result() for future in waiting)


def encode(text: str) -> bytes:
    """Encode as UTF-8, without lone surrogates, which the graph drops as well."""
    return text.encode("utf-8", "ignore")


def key_of_tokens(reviews: Reviews, spec: TextSpec, vocabulary: Sequence[str]) -> str:
    """Return a name that differs whenever an id of these tokens may differ."""
    return cache.key_of(
        {
            "reviews": reviews.fingerprint,
            "spec": asdict(spec),
            "vocabulary": hashlib.sha256("\n".join(vocabulary).encode()).hexdigest(),
            "tokenizer": TOKENIZER_VERSION,
        }
    )
