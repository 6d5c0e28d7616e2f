"""Token ids → batches. The plan is NumPy and known in advance: which reviews make which batch follows from their
lengths, a seed and the epoch, so the number of steps is exact and any step can be jumped to.
"""

from __future__ import annotations

import itertools
import os
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tfsent.errors import DataError
from tfsent.spool import Spool

if TYPE_CHECKING:
    import tensorflow as tf

    from tfsent.text import Rows, Tokenizer

CHUNK = 4096
"""Reviews sorted by length together. Larger means less padding and less chance in which reviews meet in a batch."""
LENGTH_STEPS = ((32, 2), (64, 4), (128, 8), (512, 16))
"""Batches are padded to a multiple of the second number up to the first: few shapes, and yet, as short texts are padded
to finer lengths, little padding. 16 throughout would be a quarter of all tokens on texts of 27 on average."""


@dataclass(frozen=True)
class Tokens:
    """Tokenised reviews, as rows for the model: one a review, or several with `truncation: windows`.

    Row i, [CLS] and [SEP] included, is `rows[i]`, `int32[lengths[i]]` as bytes in a file, and belongs to review
    `owner[i]`. `lengths int32[rows]`, `owner int32[rows]`, rising; `review_lengths int32[reviews]` are the reviews' own
    tokens, uncut.
    """

    rows: Spool
    lengths: np.ndarray
    owner: np.ndarray
    review_lengths: np.ndarray

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, row: int) -> np.ndarray:
        """The ids of a row, `int32[length]`."""
        return np.frombuffer(self.rows[row], np.int32)

    def pad(self, rows: np.ndarray, length: int, pad_id: int) -> dict[str, np.ndarray]:
        """The model's inputs for these rows: `int32[b, length]` twice and `bool[b, length]`."""
        token_ids = np.full((len(rows), length), pad_id, np.int32)
        for i, row in enumerate(rows.tolist()):
            token_ids[i, : self.lengths[row]] = self[row]
        padding_mask = np.arange(length) < self.lengths[rows, None]
        return {"token_ids": token_ids, "segment_ids": np.zeros_like(token_ids), "padding_mask": padding_mask}

    def reviews_begun(self, rows: np.ndarray) -> int:
        """How many reviews have their first row among these: over all rows, each review counts once."""
        return int(np.count_nonzero((rows == 0) | (self.owner[rows] != self.owner[rows - 1])))

    def mean_by_review(self, values: np.ndarray) -> np.ndarray:
        """`float32[rows, k]` → `float32[reviews, k]`: the mean over each review's rows."""
        sums = np.zeros((len(self.review_lengths), values.shape[1]), np.float32)
        np.add.at(sums, self.owner, values)
        return sums / np.bincount(self.owner, minlength=len(sums))[:, None].astype(np.float32)


def tokenize_all(tokenizer: Tokenizer, texts: Sequence[str], batch: int = 1024) -> Tokens:
    """Run the text graph over all texts, on all cores, once."""
    spool, row_lengths, owners, review_lengths = Spool(), array("i"), array("i"), array("i")
    for rows in _tokenized(tokenizer, texts, batch):
        ids, splits = rows.ids.flat_values.numpy().tobytes(), rows.ids.row_splits.numpy() * 4
        for start, stop in itertools.pairwise(splits.tolist()):
            spool.append(ids[start:stop])
        row_lengths.frombytes((np.diff(splits) // 4).astype(np.int32).tobytes())
        owners.frombytes((rows.owner.numpy() + len(review_lengths)).astype(np.int32).tobytes())
        review_lengths.frombytes(rows.lengths.numpy().astype(np.int32).tobytes())
    return Tokens(spool, *(np.array(numbers, np.int32) for numbers in (row_lengths, owners, review_lengths)))


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


class BatchPlan:
    """Which rows make which batch, epoch by epoch.

    Rows are shuffled, cut into chunks of `CHUNK`, sorted by length inside each, cut into batches of at most
    `max_tokens` tokens with the padding counted, and the batches shuffled. Every row is in exactly one batch of an
    epoch, and every epoch has `steps` batches.

    Args:
        lengths: tokens of each review, `int64[n]`.
        max_tokens: budget of a batch.
        seed: the same seed gives the same plan; `None` keeps the batches in order of length (for evaluation).
        epochs: how many epochs there will be.

    Raises:
        DataError: one review alone is over the budget.
    """

    def __init__(self, lengths: np.ndarray, max_tokens: int, *, seed: int | None = None, epochs: int = 1):
        longest = _rounded(int(lengths.max(initial=0)))
        if longest > max_tokens:
            raise DataError(
                f"train.batch_tokens is {max_tokens}, and one review takes {longest} tokens with padding. "
                f"Set it to {longest} or more."
            )
        self.lengths = lengths
        self.max_tokens = max_tokens
        self.seed = seed
        self.epochs = epochs
        self.steps = max(len(self._batches(epoch)) for epoch in range(epochs))

    def epoch(self, epoch: int) -> list[tuple[np.ndarray, int]]:
        """The `steps` batches of an epoch: rows `int64[b]`, and the length to pad them to."""
        batches = self._batches(epoch)
        # Chance makes an epoch a batch or two shorter than another. Keras wants one number of steps, so the batches
        # with the most rows are halved until it is reached; there are at least as many rows as steps.
        while len(batches) < self.steps:
            at = max(range(len(batches)), key=lambda i: len(batches[i][0]))
            rows, length = batches[at]
            half = len(rows) // 2
            batches[at : at + 1] = [(rows[:half], length), (rows[half:], length)]
        return batches

    def padding(self) -> float:
        """Share of the first epoch's tokens that is padding."""
        padded = sum(len(rows) * length for rows, length in self._batches(0))
        return 1 - int(self.lengths.sum()) / padded if padded else 0.0

    def _batches(self, epoch: int) -> list[tuple[np.ndarray, int]]:
        if self.seed is None:
            return self._cut(np.argsort(self.lengths, kind="stable"))
        rng = np.random.default_rng([self.seed, epoch])
        order = rng.permutation(len(self.lengths))
        chunks = np.split(order, range(CHUNK, len(order), CHUNK))
        batches = [batch for c in chunks for batch in self._cut(c[np.argsort(self.lengths[c], kind="stable")])]
        return [batches[i] for i in rng.permutation(len(batches))]

    def _cut(self, rows: np.ndarray) -> list[tuple[np.ndarray, int]]:
        """Cut rows in order of length into batches, from the longest down, so that each fills its budget."""
        batches, end = [], len(rows)
        while end > 0:
            length = _rounded(int(self.lengths[rows[end - 1]]))
            start = max(0, end - self.max_tokens // length)
            batches.append((rows[start:end], length))
            end = start
        return batches


def _rounded(length: int) -> int:
    step = next((step for up_to, step in LENGTH_STEPS if length <= up_to), LENGTH_STEPS[-1][1])
    return -(-length // step) * step


def make_dataset(
    tokens: Tokens,
    labels: np.ndarray,
    plan: BatchPlan,
    pad_id: int,
    position: Callable[[], tuple[int, int]] | None = None,
) -> tf.data.Dataset:
    """The batches of an epoch of a plan, as a `tf.data.Dataset` of `(inputs, labels int32[b])`.

    `position` is asked on every iteration which epoch it is, and how many of its steps are done already; without it,
    it is the whole first epoch.
    """
    import tensorflow as tf

    def batches() -> Iterator[tuple[dict[str, np.ndarray], np.ndarray]]:
        epoch, done = position() if position else (0, 0)
        for rows, length in plan.epoch(epoch)[done:]:
            yield tokens.pad(rows, length, pad_id), labels[rows]

    ids = tf.TensorSpec([None, None], tf.int32)
    inputs = {"token_ids": ids, "segment_ids": ids, "padding_mask": tf.TensorSpec([None, None], tf.bool)}
    dataset = tf.data.Dataset.from_generator(batches, output_signature=(inputs, tf.TensorSpec([None], tf.int32)))
    if position is None:
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(plan.steps))
    return dataset.prefetch(2)
