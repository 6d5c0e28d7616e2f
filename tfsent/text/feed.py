"""A batch plan and token ids → the batches a model reads, as tf.data or, without TensorFlow, as a PyDataset."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from tfsent.text.token_store import Tokens

if TYPE_CHECKING:
    import tensorflow as tf
from tfsent.text.batch_plan import BatchPlan


class BatchLoader:
    """The batches of a plan: `(inputs, targets [b, …])`, and with rows of padding `(inputs, targets, weights
    float32[b])`. Targets are what `ClassifierLoss` takes, such as labels, `int32[b]`.

    A row of padding has weight 0. A real row has weight (all rows) / (real rows), so that Keras's mean over all rows,
    Σ wᵢ·lossᵢ / all, is the mean over the real rows, Σ lossᵢ / real. In training the rows are those of the batch, in
    evaluation those of the whole plan.

    Args:
        inputs: `(rows int64[n], length, total)` → arrays by name, whose first dimension is `total`.
        targets: one for each row, `[rows, …]`.
        plan: which rows make which batch.
        position: gives, at every iteration, the epoch and how many of its steps are done; None for the whole first
            epoch.
        shard: `(i, n)` for the i-th of n processes: it gets the i-th of n equal parts of every batch.
    """

    def __init__(
        self,
        inputs: Callable[[np.ndarray, int, int], dict[str, np.ndarray]],
        targets: np.ndarray,
        plan: BatchPlan,
        *,
        position: Callable[[], tuple[int, int]] | None = None,
        shard: tuple[int, int] = (0, 1),
    ):
        self.inputs, self.targets, self.plan, self.position, self.shard = inputs, targets, plan, position, shard
        self._weight = None if position else plan.rows() / len(plan.lengths)

    def batches(self) -> list[Callable[[], tuple[Any, ...]]]:
        """Return a function for each batch from the position to the end of the epoch; it makes NumPy arrays."""
        epoch, done = self.position() if self.position else (0, 0)
        return [functools.partial(self._make, *batch) for batch in self.plan.epoch(epoch)[done:]]

    def _make(self, rows: np.ndarray, length: int) -> tuple[Any, ...]:
        total = self.plan.shapes.rows(len(rows), length, self.plan.max_tokens)
        inputs, targets = self.inputs(rows, length, total), self.targets[rows]
        if not self.plan.shapes.padded:
            return inputs, targets
        weights = np.full(len(rows), self._weight or total / len(rows), np.float32)
        i, n = self.shard
        part = slice(i * total // n, (i + 1) * total // n)
        missing = total - len(rows)
        return (
            {name: array[part] for name, array in inputs.items()},
            np.pad(targets, ((0, missing), *((0, 0) for _ in targets.shape[1:])))[part],
            np.pad(weights, (0, missing))[part],
        )

    def tensorflow(self) -> tf.data.Dataset:
        """Return a `tf.data.Dataset`, which makes a batch while the step before runs."""
        import tensorflow as tf

        def made() -> Iterator[tuple[Any, ...]]:
            return (make() for make in self.batches())

        like = self._make(*self.plan.epoch(0)[0])
        signature = tf.nest.map_structure(lambda array: tf.TensorSpec([None] * array.ndim, array.dtype), like)
        data = tf.data.Dataset.from_generator(made, output_signature=signature)
        if tf.distribute.has_strategy():
            # To build a model under a strategy, Keras takes the mean of a batch over the replicas. Bool has no mean.
            data = data.map(lambda *batch: tf.nest.map_structure(_numeric, batch))
        if self.position is None:
            data = data.apply(tf.data.experimental.assert_cardinality(self.plan.steps))
        return data.prefetch(2)

    def keras(self) -> Any:
        """Return the same batches as a `keras.utils.PyDataset`, for a machine without TensorFlow."""
        import keras

        found = self.batches()

        class Batches(keras.utils.PyDataset):
            def __len__(self) -> int:
                return len(found)

            def __getitem__(self, index: int) -> tuple[Any, ...]:
                return found[index]()

        return Batches()


def _numeric(tensor: tf.Tensor) -> tf.Tensor:
    import tensorflow as tf

    return tf.cast(tensor, tf.int32) if tensor.dtype == tf.bool else tensor


def token_loader(tokens: Tokens, targets: np.ndarray, plan: BatchPlan, pad_id: int, **options: Any) -> BatchLoader:
    """Return batches of `token_ids` and `segment_ids`, `int32[b, s]`, and `padding_mask`, `bool[b, s]`.

    Args:
        tokens: the rows.
        targets: `[reviews, …]`; a row has the target of its review.
        plan: over the rows.
        pad_id: the id of [PAD].
        **options: of `Feed`.
    """

    def inputs(rows: np.ndarray, length: int, total: int) -> dict[str, np.ndarray]:
        return tokens.pad(rows, length, pad_id, total)

    return BatchLoader(inputs, targets[tokens.owner], plan, **options)
