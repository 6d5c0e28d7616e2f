"""Training the head alone: what the encoder makes of each text is computed once and kept; an epoch takes seconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from tfsent.console import progress_bar
from tfsent.data.reviews import Reviews
from tfsent.storage import cache
from tfsent.text.batch_plan import BatchPlan
from tfsent.text.feed import BatchLoader
from tfsent.text.token_store import Tokens, key_of_tokens
from tfsent.training.engine.devices import memory_explained
from tfsent.training.engine.setup import TrainingSetup


def freeze(
    setup: TrainingSetup, classifier: keras.Model, plan: BatchPlan, position: Callable[[], tuple[int, int]]
) -> tuple[keras.Model, BatchLoader, BatchLoader]:
    """The head of a classifier, and what it reads.

    Args:
        setup: of the recipe.
        classifier: of `material.model`.
        plan: the batches to learn from.
        position: see `Feed`.

    Returns:
        A model from `features float32[b, hidden]` to logits that shares its layers with the classifier: what it learns,
        the classifier has learnt. The feeds to learn from and to choose by.
    """
    first = next(layer for layer in classifier.layers if layer.name.endswith("_dropout"))
    head = _head(classifier, first)
    encoder = keras.Model(classifier.inputs, first.input)
    splits, validation_plan = setup.splits, setup.validation_feed().plan
    features = [
        _features(setup, encoder, reviews, tokens)
        for reviews, tokens in ((splits.train, setup.tokens), (splits.validation, setup.validation_tokens))
    ]
    train = _feed(features[0], splits.train.labels[setup.tokens.owner], plan, position)
    validation = _feed(features[1], splits.validation.labels[setup.validation_tokens.owner], validation_plan, None)
    return head, train, validation


def _head(classifier: keras.Model, first: keras.layers.Layer) -> keras.Model:
    """The layers from the first dropout to the logits, which follow one another."""
    features = keras.Input(first.input.shape[1:], name="features")
    x = features
    for layer in classifier.layers[classifier.layers.index(first) :]:
        x = layer(x)
    return keras.Model({"features": features}, x, name="head")


def _features(setup: TrainingSetup, encoder: keras.Model, reviews: Reviews, tokens: Tokens) -> np.ndarray:
    """What the encoder and the pooling make of each row, `float32[rows, hidden]`."""
    parts = {
        "tokens": key_of_tokens(reviews, setup.spec, setup.encoder.vocabulary),
        "encoder": setup.encoder.provenance["files"],
        "pooling": setup.config.model.pooling,
        "policy": setup.precision,
        "backend": setup.devices.backend,
    }
    folder = cache.get(key := cache.key_of(parts))
    if folder is not None:
        return np.load(folder / "features.npy")
    plan = BatchPlan(tokens.lengths, setup.config.train.batch_tokens, shapes=setup.shapes)
    features = np.zeros((len(tokens), encoder.output_shape[-1]), np.float32)
    with progress_bar("encoding", len(tokens)) as bar, memory_explained(setup.config.train):
        for rows, length in plan.epoch(0):
            total = plan.shapes.rows(len(rows), length, plan.max_tokens)
            inputs = tokens.pad(rows, length, setup.pad_id, total)
            features[rows] = np.asarray(encoder.predict_on_batch(inputs), np.float32)[: len(rows)]
            bar.update(len(rows))

    def write(folder: Path) -> None:
        np.save(folder / "features.npy", features)

    cache.put(key, features.nbytes, write)
    return features


def _feed(
    features: np.ndarray, labels: np.ndarray, plan: BatchPlan, position: Callable[[], tuple[int, int]] | None
) -> BatchLoader:
    def inputs(rows: np.ndarray, length: int, total: int) -> dict[str, np.ndarray]:
        return {"features": np.pad(features[rows], ((0, total - len(rows)), (0, 0)))}

    return BatchLoader(inputs, labels, plan, position=position)
