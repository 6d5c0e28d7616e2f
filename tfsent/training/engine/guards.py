"""When a training is not worth continuing, and what a finished one is worth."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping

from tfsent.errors import TrainingError

logger = logging.getLogger(__name__)

_ADVICE = (
    "Usually the learning rate is too high (train.learning_rate; try a third of it) or the warm-up too short "
    "(train.warmup_fraction)"
)


def require_finite(loss: float, step: int) -> None:
    """Stop a training whose loss is not a number.

    Args:
        loss: mean loss of the epoch so far, in nats.
        step: of the whole training, from 1.

    Raises:
        TrainingError: the loss is infinite or not a number.
    """
    if not math.isfinite(loss):
        raise TrainingError(
            f"The loss became {loss} at step {step}. {_ADVICE}, or bfloat16 is too coarse (train.precision=float32)."
        )


def warn_if_nothing_was_learnt(best: Mapping[str, float], majority: float, unknown: str | None = None) -> None:
    """Compare the best epoch with always predicting the majority class, and log a warning where it is no better.

    Args:
        best: logs of the best epoch, with `val_accuracy` and `val_unpredicted_classes`.
        majority: the share of the largest class among the validation examples.
        unknown: what to say of tokens that the vocabulary does not have; None where there are few.
    """
    advice = unknown or f"{_ADVICE}, or there are too few steps (train.epochs)."
    accuracy, unpredicted = best["val_accuracy"], round(best["val_unpredicted_classes"])
    if unpredicted and accuracy <= majority + 1e-6:
        logger.warning(
            f"Nothing was learnt: the best validation accuracy is {accuracy:.2%}, and always predicting the majority "
            f"class has {majority:.2%}. {advice} Check the labels, too (tfsent data)."
        )
    elif unpredicted:
        logger.warning(
            f"The model never predicts {unpredicted} of the classes on the validation reviews. Give rare classes more "
            "weight (train.class_weight=balanced), or collect more examples of them (tfsent data counts them)."
        )
