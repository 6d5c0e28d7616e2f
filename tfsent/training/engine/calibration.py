"""After training: the temperature and the threshold, chosen on the validation reviews."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

import keras
import numpy as np

from tfsent.console import progress_bar
from tfsent.inference.keras_run import logits_of
from tfsent.model.classifier import divide_logits
from tfsent.model.decision import MOST_PROBABLE, Decision, decide, probabilities_of
from tfsent.training.engine.setup import TrainingSetup

logger = logging.getLogger(__name__)


def settle(classifier: keras.Model, setup: TrainingSetup) -> Decision:
    """Choose the decision that a recipe asks for, and fold the temperature into the classifier.

    Args:
        classifier: the trained one, in float32.
        setup: of its training.
    """
    train = setup.config.train
    if not train.calibrate and train.threshold is None:
        return MOST_PROBABLE
    tokens, labels = setup.validation_tokens, setup.splits.validation.labels
    with _here(), progress_bar("calibrating", len(labels)) as bar:
        logits = logits_of(classifier, tokens, setup.spec.max_tokens, setup.pad_id, bar.update)
    decision = decide(logits, tokens.owner, labels, calibrate=train.calibrate, aim=train.threshold)
    divide_logits(classifier, decision.temperature)
    describe(logits, tokens.owner, labels, decision, train.threshold)
    return decision


@contextlib.contextmanager
def _here() -> Iterator[None]:
    """Compute in this process alone: the others have nothing left to do."""
    distribution = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(distribution)


def describe(logits: np.ndarray, owner: np.ndarray, labels: np.ndarray, decision: Decision, aim: str | None) -> None:
    """Log what was chosen, and what it changes on the validation reviews.

    Args:
        logits: before the temperature, `float32[rows, classes]`.
        owner: the review of each row.
        labels: `int32[n]`.
        decision: what was chosen.
        aim: what the threshold was to serve.
    """
    after = probabilities_of(logits, owner, decision.temperature)
    if decision.temperature != 1:
        before = probabilities_of(logits, owner)
        losses = [float(-np.log(np.clip(p[np.arange(len(labels)), labels], 1e-7, 1)).mean()) for p in (before, after)]
        logger.info(
            f"Calibrated: temperature {decision.temperature:.3f}, validation log loss {losses[0]:.4f} → "
            f"{losses[1]:.4f}."
        )
    if aim is not None and decision.threshold is None:
        logger.warning(
            f"No threshold reaches {aim} on the {len(labels):,} validation reviews, so the more probable class is "
            "answered. `tfsent decide RUN --threshold AIM` chooses again."
        )
    elif aim is not None:
        predicted = decision.choose(after)
        hits = int(((predicted == 1) & (labels == 1)).sum())
        logger.info(
            f"Threshold {decision.threshold:.4f} for {aim}: validation accuracy {(predicted == labels).mean():.2%}, "
            f"precision {hits / max(int(predicted.sum()), 1):.2%}, recall {hits / max(int(labels.sum()), 1):.2%}."
        )
