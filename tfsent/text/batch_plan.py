"""Row lengths → batches. The plan is known in advance: which rows make which batch follows from their lengths, a seed
and the epoch. So the number of steps is exact, and training can resume at any step.
"""

from __future__ import annotations

import bisect
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tfsent.errors import DataError

if TYPE_CHECKING:
    pass

CHUNK = 4096
BATCHES_OF_A_CHUNK = 100
"""Rows sorted together: `CHUNK`, or those of so many batches where that is more. Smaller: more padding. Larger: batches
are less random."""
MOST_SHAPES = 24
PADDING = 0.025
"""For XLA: the largest number of lengths, and the share of padding at which fewer are enough. With 20 lengths, IMDb at
65,536 tokens a batch had more than 5% of padding."""


@dataclass(frozen=True)
class Shapes:
    """The shapes that batches may have."""

    lengths: tuple[int, ...]
    """A batch is padded to the first of these that is long enough; no row is longer than the last."""
    full: bool = False
    """Whether all batches of a length have the same number of rows; rows of padding fill the last one."""
    rows_multiple: int = 1
    """The number of rows is a multiple of this, the number of devices."""

    def length(self, longest: int) -> int:
        """Return the length that a batch is padded to."""
        return self.lengths[bisect.bisect_left(self.lengths, longest)]

    def max_rows(self, length: int, max_tokens: int) -> int:
        """Return how many rows fit into a batch. Full batches have a multiple of 8, for 2, 4 or 8 devices."""
        most = max_tokens // length
        return most - most % 8 if self.full and most > 8 else most

    def rows(self, count: int, length: int, max_tokens: int) -> int:
        """Return the rows of a batch of `count` rows, rows of padding included."""
        count = self.max_rows(length, max_tokens) if self.full else count
        return -(-count // self.rows_multiple) * self.rows_multiple

    @property
    def padded(self) -> bool:
        """Whether there may be rows of padding, and so weights."""
        return self.full or self.rows_multiple > 1


def bucket_lengths(max_tokens: int) -> tuple[int, ...]:
    """Return many lengths, finer for short texts, for ops that run one by one.

    With multiples of 16 alone, a quarter of the tokens would be padding on texts of 27 tokens on average.

    Example:
        >>> bucket_lengths(36)
        (2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32, 36)
    """
    every = *range(2, 32, 2), *range(32, 64, 4), *range(64, 128, 8), *range(128, max_tokens, 16)
    return *(length for length in every if length < max_tokens), max_tokens


def xla_bucket_lengths(lengths: np.ndarray, max_tokens: int) -> tuple[int, ...]:
    """Return few lengths, for XLA compiles a program for each: the fewest with at most `PADDING`, or `MOST_SHAPES`.

    They are found by dynamic programming.

    Args:
        lengths: tokens of each row, `int32[rows]`.
        max_tokens: the last length.

    Example:
        >>> xla_bucket_lengths(np.array([8] * 90 + [32] * 10), 32)
        (8, 32)
    """
    candidates = [*range(8, max_tokens, 8), max_tokens]
    below = np.cumsum(np.bincount(lengths, minlength=max_tokens + 1))[candidates].tolist()
    # For the rows up to each candidate: their fewest tokens with padding, and the lengths that give them.
    best = [(count * length, (length,)) for count, length in zip(below, candidates, strict=True)]
    for _ in range(MOST_SHAPES - 1):
        if best[-1][0] * (1 - PADDING) <= lengths.sum():
            break
        # From the longest down: shorter candidates must not have this round's length yet.
        for end, length in reversed(list(enumerate(candidates))):
            one_more = [
                (tokens + (below[end] - count) * length, (*chosen, length))
                for (tokens, chosen), count in zip(best[:end], below[:end], strict=True)
            ]
            best[end] = min([best[end], *one_more])
    return best[-1][1]


class BatchPlan:
    """Which rows make which batch, epoch by epoch.

    Rows are shuffled, cut into chunks (see `CHUNK`), sorted by length inside each, and cut into batches of at most
    `max_tokens` tokens, padding included. The batches are shuffled. Every row is in exactly one batch of an epoch, and
    every epoch has `steps` batches.

    Args:
        lengths: tokens of each row, [CLS] and [SEP] included, `int32[rows]`.
        max_tokens: of a batch.
        seed: the same seed gives the same plan; None keeps batches in order of length, for evaluation.
        epochs: of the training.
        shapes: of the batches; None for `bucket_lengths` of the longest row.

    Raises:
        DataError: one row alone exceeds `max_tokens`.
    """

    def __init__(
        self,
        lengths: np.ndarray,
        max_tokens: int,
        *,
        seed: int | None = None,
        epochs: int = 1,
        shapes: Shapes | None = None,
    ):
        shapes = shapes or Shapes(bucket_lengths(int(lengths.max(initial=2))))
        longest = shapes.length(int(lengths.max(initial=0)))
        if longest > max_tokens:
            raise DataError(
                f"train.batch_tokens is {max_tokens}, and one review takes {longest} tokens with padding. "
                f"Set it to {longest} or more."
            )
        self.lengths = lengths
        self.max_tokens = max_tokens
        self.seed = seed
        self.epochs = epochs
        self.shapes = shapes
        self.steps = max(len(self._batches(epoch)) for epoch in range(epochs))

    def epoch(self, epoch: int) -> list[tuple[np.ndarray, int]]:
        """Return the `steps` batches of an epoch: rows, `int64[b]`, and the length to pad them to."""
        batches = self._batches(epoch)
        # Shuffling may give an epoch a batch or two less than another, and Keras needs one number of steps. So the
        # batches with the most rows are halved; there are at least as many rows as steps.
        while len(batches) < self.steps:
            at = max(range(len(batches)), key=lambda i: len(batches[i][0]))
            rows, length = batches[at]
            half = len(rows) // 2
            batches[at : at + 1] = [(rows[:half], length), (rows[half:], length)]
        return batches

    def fingerprint(self) -> str:
        """Return the SHA-256 of the first epoch's batches; it does not depend on the number of devices."""
        digest = hashlib.sha256()
        for rows, length in self.epoch(0):
            digest.update(np.array([length, *rows], "<i8").tobytes())
        return digest.hexdigest()

    def rows(self) -> int:
        """Return the rows of the first epoch, rows of padding included."""
        return sum(self.shapes.rows(len(rows), length, self.max_tokens) for rows, length in self.epoch(0))

    def padding(self) -> float:
        """Return the share of the first epoch's tokens that is padding."""
        shapes = ((self.shapes.rows(len(rows), length, self.max_tokens), length) for rows, length in self._batches(0))
        padded = sum(rows * length for rows, length in shapes)
        return 1 - int(self.lengths.sum()) / padded if padded else 0.0

    def _batches(self, epoch: int) -> list[tuple[np.ndarray, int]]:
        if self.seed is None:
            return self._cut(np.argsort(self.lengths, kind="stable"))
        rng = np.random.default_rng([self.seed, epoch])
        order = rng.permutation(len(self.lengths))
        rows_of_a_batch = self.max_tokens * len(order) // max(int(self.lengths.sum()), 1)
        size = max(CHUNK, BATCHES_OF_A_CHUNK * rows_of_a_batch)
        chunks = np.split(order, range(size, len(order), size))
        batches = [batch for c in chunks for batch in self._cut(c[np.argsort(self.lengths[c], kind="stable")])]
        return [batches[i] for i in rng.permutation(len(batches))]

    def _cut(self, rows: np.ndarray) -> list[tuple[np.ndarray, int]]:
        """Cut rows in order of length into batches, from the longest down, so that each is as full as possible."""
        batches, end = [], len(rows)
        while end > 0:
            length = self.shapes.length(int(self.lengths[rows[end - 1]]))
            start = max(0, end - self.shapes.max_rows(length, self.max_tokens))
            batches.append((rows[start:end], length))
            end = start
        return batches
