"""Token ids → batches. The plan is NumPy and known in advance: which reviews make which batch follows from their
lengths, a seed and the epoch, so the number of steps is exact and any step can be jumped to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tfsent.errors import DataError

if TYPE_CHECKING:
    import tensorflow as tf

    from tfsent.text import Tokenizer

CHUNK = 4096
"""Reviews sorted by length together. Larger means less padding and less chance in which reviews meet in a batch."""
LENGTH_STEP = 16
"""Batches are padded to a multiple of this, so that few shapes occur."""


@dataclass(frozen=True)
class Tokens:
    """Tokenised reviews: row i is `ids[offsets[i]:offsets[i + 1]]`. `ids int32[tokens]`, `offsets int64[n + 1]`."""

    ids: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each review, `int64[n]`."""
        return np.diff(self.offsets)

    def pad(self, rows: np.ndarray, length: int, pad_id: int) -> dict[str, np.ndarray]:
        """The model's inputs for these rows: `int32[b, length]` twice and `bool[b, length]`."""
        columns = np.arange(length)
        padding_mask = columns < self.lengths[rows, None]
        positions = np.where(padding_mask, self.offsets[rows, None] + columns, 0)
        token_ids = np.where(padding_mask, self.ids[positions], pad_id).astype(np.int32)
        return {"token_ids": token_ids, "segment_ids": np.zeros_like(token_ids), "padding_mask": padding_mask}


def tokenize_all(tokenizer: Tokenizer, texts: Sequence[str], batch: int = 512) -> Tokens:
    """Run the text graph over all texts in tf.data, once."""
    import tensorflow as tf

    raw = [text.encode("utf-8", "replace") for text in texts]
    if len(raw) <= batch:
        # Tracing the graph for tf.data takes longer than a few texts do.
        rows = tokenizer(tf.constant(raw, tf.string, [len(raw)]))
        return Tokens(rows.values.numpy(), np.concatenate([[0], np.cumsum(rows.row_lengths().numpy())]))
    dataset = tf.data.Dataset.from_generator(
        lambda: (np.array(raw[i : i + batch], object) for i in range(0, len(raw), batch)),
        output_signature=tf.TensorSpec([None], tf.string),
    ).map(tf.autograph.experimental.do_not_convert(tokenizer), num_parallel_calls=2)
    parts = [(rows.values.numpy(), rows.row_lengths().numpy()) for rows in dataset]
    ids = np.concatenate([values for values, _ in parts])
    lengths = np.concatenate([lengths for _, lengths in parts])
    return Tokens(ids, np.concatenate([[0], np.cumsum(lengths)]))


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
    return -(-length // LENGTH_STEP) * LENGTH_STEP


def make_dataset(tokens: Tokens, labels: np.ndarray, plan: BatchPlan, pad_id: int) -> tf.data.Dataset:
    """The batches of all epochs of a plan, as a `tf.data.Dataset` of `(inputs, labels int32[b])`."""
    import tensorflow as tf

    def batches() -> Iterator[tuple[dict[str, np.ndarray], np.ndarray]]:
        for epoch in range(plan.epochs):
            for rows, length in plan.epoch(epoch):
                yield tokens.pad(rows, length, pad_id), labels[rows]

    ids = tf.TensorSpec([None, None], tf.int32)
    inputs = {"token_ids": ids, "segment_ids": ids, "padding_mask": tf.TensorSpec([None, None], tf.bool)}
    dataset = tf.data.Dataset.from_generator(batches, output_signature=(inputs, tf.TensorSpec([None], tf.int32)))
    return dataset.apply(tf.data.experimental.assert_cardinality(plan.steps * plan.epochs)).prefetch(2)
