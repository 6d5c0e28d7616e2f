"""Token ids → batches. The plan is NumPy and known in advance: which reviews make which batch follows from their
lengths, a seed and the epoch, so the number of steps is exact and any step can be jumped to.
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
"""So many reviews are sorted by length together, or as many as make so many batches if that is more: the fewer, the
more padding; the more, the less chance in which reviews meet in a batch."""
MOST_SHAPES = 24
PADDING = 0.025
"""Of lengths for XLA: how many there may be, and the share of padding that fewer of them are not to exceed. With
20, IMDb at 65,536 tokens a batch was padded by more than 5%."""


@dataclass(frozen=True)
class Shapes:
    """Which shapes a batch may have."""

    lengths: tuple[int, ...]
    """Batches are padded to the first of these that is long enough; no review is longer than the last."""
    full: bool = False
    """Batches of one length have one number of rows as well: rows of padding fill up the last."""
    rows_multiple: int = 1
    """The number of rows is a multiple of this, so that every device has as many."""

    def length(self, longest: int) -> int:
        """What a batch is padded to."""
        return self.lengths[bisect.bisect_left(self.lengths, longest)]

    def max_rows(self, length: int, max_tokens: int) -> int:
        """How many reviews a batch may have: full ones a multiple of 8, that 2, 4 or 8 devices have as many each."""
        most = max_tokens // length
        return most - most % 8 if self.full and most > 8 else most

    def rows(self, count: int, length: int, max_tokens: int) -> int:
        """How many rows a batch of `count` reviews has, rows of padding counted."""
        count = self.max_rows(length, max_tokens) if self.full else count
        return -(-count // self.rows_multiple) * self.rows_multiple

    @property
    def padded(self) -> bool:
        """Whether there may be rows of padding, and so weights."""
        return self.full or self.rows_multiple > 1


def bucket_lengths(max_tokens: int) -> tuple[int, ...]:
    """For ops that run one by one: as short texts are padded to finer lengths, little padding. Multiples of 16
    throughout would be a quarter of all tokens on texts of 27 on average."""
    every = *range(2, 32, 2), *range(32, 64, 4), *range(64, 128, 8), *range(128, max_tokens, 16)
    return *(length for length in every if length < max_tokens), max_tokens


def xla_bucket_lengths(lengths: np.ndarray, max_tokens: int) -> tuple[int, ...]:
    """For XLA, which compiles a program for every shape: the fewest that pad texts of these lengths by `PADDING` or
    less, found by dynamic programming, and never more than `MOST_SHAPES`.

    Args:
        lengths: tokens of each row, `int32[rows]`.
        max_tokens: what the longest may be.
    """
    candidates = [*range(8, max_tokens, 8), max_tokens]
    below = np.cumsum(np.bincount(lengths, minlength=max_tokens + 1))[candidates].tolist()
    # For the rows up to each candidate: their tokens with padding, and the lengths that give so few.
    best = [(count * length, (length,)) for count, length in zip(below, candidates, strict=True)]
    for _ in range(MOST_SHAPES - 1):
        if best[-1][0] * (1 - PADDING) <= lengths.sum():
            break
        # From the longest down, for what is shorter must not have its one more yet.
        for end, length in reversed(list(enumerate(candidates))):
            one_more = [
                (tokens + (below[end] - count) * length, (*chosen, length))
                for (tokens, chosen), count in zip(best[:end], below[:end], strict=True)
            ]
            best[end] = min([best[end], *one_more])
    return best[-1][1]


class BatchPlan:
    """Which rows make which batch, epoch by epoch.

    Rows are shuffled, cut into chunks (see `CHUNK`), sorted by length inside each, cut into batches of at most
    `max_tokens` tokens with the padding counted, and the batches shuffled. Every row is in exactly one batch of an
    epoch, and every epoch has `steps` batches.

    Args:
        lengths: tokens of each row, `int32[rows]`, [CLS] and [SEP] counted in.
        max_tokens: budget of a batch.
        seed: the same seed gives the same plan; `None` keeps the batches in order of length (for evaluation).
        epochs: how many epochs there will be.
        shapes: which shapes batches may have; `bucket_lengths` of the longest row if not given.

    Raises:
        DataError: one review alone is over the budget.
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

    def fingerprint(self) -> str:
        """SHA-256 of the first epoch's batches; on any number of devices the same."""
        digest = hashlib.sha256()
        for rows, length in self.epoch(0):
            digest.update(np.array([length, *rows], "<i8").tobytes())
        return digest.hexdigest()

    def rows(self) -> int:
        """Rows of the first epoch, those of padding counted."""
        return sum(self.shapes.rows(len(rows), length, self.max_tokens) for rows, length in self.epoch(0))

    def padding(self) -> float:
        """Share of the first epoch's tokens that is padding."""
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
        """Cut rows in order of length into batches, from the longest down, so that each fills its budget."""
        batches, end = [], len(rows)
        while end > 0:
            length = self.shapes.length(int(self.lengths[rows[end - 1]]))
            start = max(0, end - self.shapes.max_rows(length, self.max_tokens))
            batches.append((rows[start:end], length))
            end = start
        return batches
