"""When a training is not worth continuing: the loss is not a number, or nothing was learnt."""

from __future__ import annotations

import logging
import math

from tfsent.errors import TrainingError
from tfsent.training.engine.checkpoints import Progress

logger = logging.getLogger(__name__)

WINDOW = 100
"""Batches over which a guard looks back: fewer are luck."""
ALONE = 0.999
"""From this share of the reviews on, a class stands alone."""
HOPELESS = 5.0
"""Times the loss of a model that looks at no text: no model that is merely too sure of itself has that."""
_CURES = (
    "Usually the learning rate is too high (train.learning_rate; try a third of it) or the warm-up too short "
    "(train.warmup_fraction)"
)


class Guard:
    """Ends a training that explodes, or that learns nothing once the warm-up is over.

    Args:
        chance: `chance_loss` of what is learnt from.
        majority: the share of the largest class among the validation reviews.
        warmup_steps: before these are done, nothing is expected.
        progress: remembers the losses seen, as a training that is resumed must be ended where it would have been.
    """

    def __init__(self, chance: float, majority: float, warmup_steps: int, progress: Progress):
        self.chance, self.majority, self.warmup_steps, self.progress = chance, majority, warmup_steps, progress

    def see(self, step: int, loss: float) -> None:
        """Look at the loss of a batch; `step` counts from the start of the training.

        Raises:
            TrainingError: it is no use to go on.
        """
        if not math.isfinite(loss):
            raise TrainingError(
                f"The loss became {loss} at step {step}. {_CURES}, or bfloat16 is too coarse (train.precision=float32)."
            )
        losses = self.progress.losses = [*self.progress.losses[1 - WINDOW :], loss]
        if len(losses) < WINDOW:
            return
        mean = sum(losses) / WINDOW
        lowest = self.progress.lowest = min(self.progress.lowest or mean, mean)
        if mean > 0.99 * self.chance and mean > 2 * lowest:
            raise TrainingError(
                f"The loss explodes: {mean:.3f} over the {WINDOW} batches up to step {step}, after {lowest:.3f}; "
                f"a model that looks at no text has {self.chance:.3f}. {_CURES}. If this is what you want: "
                "train.guards=false."
            )
        if step >= self.warmup_steps + 2 * WINDOW and mean > 0.99 * self.chance:
            raise TrainingError(
                f"Nothing is learnt: the loss is {mean:.3f} over the {WINDOW} batches up to step {step}, the warm-up "
                f"long over, and a model that looks at no text has {self.chance:.3f}. Look at the labels first "
                f"(`tfsent data`). {_CURES}, or it is far too low. If this is what you want: train.guards=false."
            )

    def see_epoch(self, step: int, validation_loss: float, largest_share: float) -> None:
        """Look at the validation after an epoch.

        Raises:
            TrainingError: it is no use to go on.
        """
        collapsed = largest_share > ALONE > self.majority and validation_loss > 0.98 * self.chance
        if collapsed and step >= self.warmup_steps + WINDOW:
            raise TrainingError(
                f"The model puts all validation reviews into one class, and {1 - self.majority:.1%} of them belong "
                f"elsewhere; its loss is {validation_loss:.3f}, and that of a model that looks at no text "
                f"{self.chance:.3f}. {_CURES}, or a rare class wants train.class_weight=balanced. If this is what you "
                "want: train.guards=false."
            )

    def see_end(self, best: dict[str, float]) -> None:
        """Look at the best epoch when all is done: fewer batches than a guard wants to see may have come to nothing.

        Args:
            best: `val_loss` and `val_accuracy` of it.

        Raises:
            TrainingError: the loss is that of a training that exploded.
        """
        accuracy, loss = best["val_accuracy"], best["val_loss"]
        exploded = loss > HOPELESS * self.chance
        if not exploded and (accuracy > self.majority + 1e-6 or loss <= 0.98 * self.chance):
            return
        found = (
            f"Nothing was learnt. The best validation accuracy is {accuracy:.2%}, at a loss of {loss:.3f}; a model "
            f"that looks at no text has {self.majority:.2%} and {self.chance:.3f}. {_CURES}, or there are too few "
            "steps (train.epochs)"
        )
        if exploded:
            raise TrainingError(f"{found}. If this is what you want: train.guards=false.")
        logger.info(f"Careful: {found}. Look at the labels, too (`tfsent data`).")
