"""Reviews → token ids, once: what the text graph makes of them is kept (`cache.py`), and training again finds it.

    ids.bin      the rows, int32, one behind the other
    table.npz    lengths, owners, lengths of the reviews

The key is made of the reviews' fingerprint, the text specification, the vocabulary
and `TOKENIZER_VERSION`. Nothing here loads TensorFlow unless there are texts to tokenise, so that a
machine without it can train on tokens that were made elsewhere.
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
    """Tokenised reviews, as rows for the model: one a review, or several with `truncation: windows`.

    Row i, [CLS] and [SEP] included, is `rows[i]`, `int32[lengths[i]]` as bytes in a file, and belongs to review
    `owner[i]`. `lengths int32[rows]`, `owner int32[rows]`, rising; `review_lengths int32[reviews]` are the reviews' own
    tokens, uncut.
    """

    rows: RowStore
    lengths: np.ndarray
    owner: np.ndarray
    review_lengths: np.ndarray

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, row: int) -> np.ndarray:
        """The ids of a row, `int32[length]`."""
        return np.frombuffer(self.rows[row], np.int32)

    def pad(self, rows: np.ndarray, length: int, pad_id: int, total: int | None = None) -> dict[str, np.ndarray]:
        """The model's inputs for these rows: `int32[b, length]` twice and `bool[b, length]`.

        Args:
            rows: `int64[n]`.
            length: what to pad to.
            pad_id: the id of [PAD].
            total: rows in all, `b`; those beyond `rows` are of padding, with one token, as no softmax may be over none.
        """
        total = len(rows) if total is None else total
        token_ids = np.full((total, length), pad_id, np.int32)
        for i, row in enumerate(rows.tolist()):
            token_ids[i, : self.lengths[row]] = self[row]
        used = np.concatenate([self.lengths[rows], np.ones(total - len(rows), np.int32)])
        padding_mask = np.arange(length) < used[:, None]
        return {"token_ids": token_ids, "segment_ids": np.zeros_like(token_ids), "padding_mask": padding_mask}

    def reviews_begun(self, rows: np.ndarray) -> int:
        """How many reviews have their first row among these: over all rows, each review counts once."""
        return int(np.count_nonzero((rows == 0) | (self.owner[rows] != self.owner[rows - 1])))

    def mean_by_review(self, values: np.ndarray) -> np.ndarray:
        """`float32[rows, k]` → `float32[reviews, k]`: the mean over each review's rows."""
        sums = np.zeros((len(self.review_lengths), values.shape[1]), np.float32)
        np.add.at(sums, self.owner, values)
        return sums / np.bincount(self.owner, minlength=len(sums))[:, None].astype(np.float32)


def load_tokens(reviews: Reviews, spec: TextSpec, vocabulary: Sequence[str]) -> Tokens:
    """The tokens of some reviews: those that were kept, else made now and kept.

    Args:
        reviews: the reviews.
        spec: the text specification.
        vocabulary: WordPiece tokens, the line number being the id.

    Raises:
        ConfigError: they were not kept, and there is no TensorFlow to make them with.
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
            f"No tokens of these reviews are kept in {downloads.cache_dir()}, and TensorFlow is not here to make them. "
            "Expected a TFSENT_CACHE from a machine that trained on them, or: pip install tensorflow tensorflow-text"
        ) from error
    tokens = tokenize_all(Tokenizer(spec, vocabulary), reviews.texts)

    def write(folder: Path) -> None:
        tokens.rows.copy_to(folder / "ids.bin")
        np.savez(folder / "table.npz", **{name: getattr(tokens, name) for name in _TABLE})

    cache.put(key, 4 * int(tokens.lengths.sum()), write)
    return tokens


def tokenize_all(tokenizer: Tokenizer, texts: Sequence[str], batch: int = 1024) -> Tokens:
    """Run the text graph over all texts, on all cores, once."""
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
    """Batches of texts through the graph, in order. Threads, as the ops let go of Python's lock; a tf.data pipeline
    over a Python generator takes a third longer."""
    import tensorflow as tf

    workers = os.cpu_count() or 1
    waiting: deque[Future[Rows]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(texts), batch):
            raw = [encode(text) for text in texts[start : start + batch]]
            waiting.append(pool.submit(tokenizer, tf.constant(raw, tf.string)))
            # Not all at once: the texts may be more than memory holds.
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        yield from (future.result() for future in waiting)


def encode(text: str) -> bytes:
    """UTF-8, without lone surrogates: the graph drops them where they come as bytes."""
    return text.encode("utf-8", "ignore")


def key_of_tokens(reviews: Reviews, spec: TextSpec, vocabulary: Sequence[str]) -> str:
    """A name that differs whenever an id of these tokens could."""
    return cache.key_of(
        {
            "reviews": reviews.fingerprint,
            "spec": asdict(spec),
            "vocabulary": hashlib.sha256("\n".join(vocabulary).encode()).hexdigest(),
            "tokenizer": TOKENIZER_VERSION,
        }
    )
