"""Training the head alone: the features of each text are computed once and cached, and an epoch takes seconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from tfsent.console import progress_bar
from tfsent.data.reviews import Reviews
from tfsent.model.classifier import split_head
from tfsent.storage import cache
from tfsent.storage.environment import version_of
from tfsent.text.batch_plan import BatchPlan
from tfsent.text.feed import BatchLoader
from tfsent.text.token_store import Tokens, key_of_tokens
from tfsent.training.engine.faults import explained
from tfsent.training.engine.setup import TrainingSetup

Position = Callable[[], tuple[int, int]]


def head_part(
    setup: TrainingSetup, classifier: keras.Model, position: Position
) -> tuple[keras.Model, BatchLoader, BatchLoader]:
    """Return the head of a classifier, with its training and validation batches.

    Args:
        setup: of the recipe.
        classifier: of `setup.build_model`. The head shares its layers with it.
        position: see `BatchLoader`.
    """
    encoder, head = split_head(classifier)
    examples, validation = setup.examples, setup.splits.validation
    return (
        head,
        _loader(setup, encoder, examples.reviews, examples.targets, setup.tokens, setup.plan, position),
        _loader(setup, encoder, validation, validation.labels, setup.validation_tokens, setup.validation_plan, None),
    )


def _loader(
    setup: TrainingSetup,
    encoder: keras.Model,
    reviews: Reviews,
    targets: np.ndarray,
    tokens: Tokens,
    plan: BatchPlan,
    position: Position | None,
) -> BatchLoader:
    features = _features(setup, encoder, reviews, tokens)

    def inputs(rows: np.ndarray, length: int, total: int) -> dict[str, np.ndarray]:
        return {"features": np.pad(features[rows], ((0, total - len(rows)), (0, 0)))}

    return BatchLoader(inputs, targets[tokens.owner], plan, position=position)


def _features(setup: TrainingSetup, encoder: keras.Model, reviews: Reviews, tokens: Tokens) -> np.ndarray:
    """Return the pooled encoder output of each row, `float32[rows, hidden]`, from the cache where it is there."""
    parts = {
        "tokens": key_of_tokens(reviews, setup.spec, setup.encoder.vocabulary),
        "encoder": {key: setup.encoder.provenance.get(key) for key in ("files", "layers")},
        "pooling": setup.config.model.pooling,
        "policy": setup.precision,
        "backend": setup.devices.backend,
        "versions": [version_of("tfsent"), version_of("keras")],  # other code may compute other features
    }
    folder = cache.get(key := cache.key_of(parts))
    if folder is not None:
        return np.load(folder / "features.npy")
    batch_tokens = setup.config.train.batch_tokens
    plan = BatchPlan(tokens.lengths, batch_tokens, shapes=setup.plan.shapes)
    features = np.zeros((len(tokens), encoder.output_shape[-1]), np.float32)
    with progress_bar("encoding", len(tokens)) as bar, explained(batch_tokens):
        for rows, length in plan.epoch(0):
            total = plan.shapes.rows(len(rows), length, plan.max_tokens)
            inputs = tokens.pad(rows, length, setup.pad_id, total)
            features[rows] = np.asarray(encoder.predict_on_batch(inputs), np.float32)[: len(rows)]
            bar.update(len(rows))

    def write(folder: Path) -> None:
        np.save(folder / "features.npy", features)

    cache.put(key, features.nbytes, write)
    return features
