"""From logits to a label: the temperature that calibrates the probabilities, and the threshold that a label needs.

Both are chosen on validation and kept beside the model, in `decision.json`. The temperature is in the weights of the
last layer: every form of the model has it. The threshold is applied by whoever names a label. Nothing here needs Keras.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from tfsent.errors import ArtifactError, ConfigError

NAME = "decision.json"
COOLEST, HOTTEST = 0.2, 20.0
"""Between these the temperature is searched."""


@dataclass(frozen=True)
class Decision:
    """How a model decides."""

    temperature: float = 1.0
    """By which the logits that were trained are divided. The saved weights have it."""
    threshold: float | None = None
    """Of two classes the second is answered where its probability is greater; None: the most probable class."""
    aim: str | None = None
    """What the threshold was chosen for, such as `f1`; None where there is no threshold."""

    def choose(self, probabilities: np.ndarray) -> np.ndarray:
        """Return the class of each row, `int64[n]`.

        Args:
            probabilities: `float32[n, classes]`.
        """
        if self.threshold is None or probabilities.shape[1] != 2:
            return probabilities.argmax(axis=1)
        return (probabilities[:, 1].astype(np.float64) > self.threshold).astype(np.int64)


MOST_PROBABLE = Decision()
"""Of a model without a threshold."""


def write_decision(folder: Path, decision: Decision) -> None:
    """Write `decision.json` into a folder."""
    (folder / NAME).write_text(json.dumps(asdict(decision), indent=2) + "\n", encoding="utf-8")


def read_decision(folder: Path) -> Decision:
    """Read `decision.json`. A model of an earlier version has none: it answers the most probable class.

    Raises:
        ArtifactError: the file is damaged.
    """
    path = folder / NAME
    if not path.exists():
        return MOST_PROBABLE
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        decision = Decision(**{field.name: found[field.name] for field in fields(Decision)})
        if not _positive(decision.temperature) or not (decision.threshold is None or 0 <= decision.threshold <= 1):
            raise ValueError(f"temperature {decision.temperature}, threshold {decision.threshold}")
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ArtifactError(
            f"{path} cannot be read ({error}). Expected a temperature above 0, and a threshold from 0 to 1 or null."
        ) from error
    return decision


def _positive(number: float) -> bool:
    return math.isfinite(number) and number > 0


def probabilities_of(logits: np.ndarray, owner: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Return the probabilities of texts, `float32[n, classes]`: the mean over the rows of each.

    Args:
        logits: `float32[rows, classes]`.
        owner: `int64[rows]`, the text of each row, ascending; a long text may have several.
        temperature: divides the logits.
    """
    import scipy.special

    of_rows = scipy.special.softmax(logits / np.float32(temperature), axis=1)
    if len(owner) and owner[-1] + 1 == len(owner):
        return of_rows
    sums = np.zeros((int(owner[-1]) + 1 if len(owner) else 0, logits.shape[1]), np.float32)
    np.add.at(sums, owner, of_rows)
    return sums / np.bincount(owner)[:, None].astype(np.float32)


def decide(logits: np.ndarray, owner: np.ndarray, labels: np.ndarray, *, calibrate: bool, aim: str | None) -> Decision:
    """Choose how a model decides.

    Args:
        logits: `float32[rows, classes]` of reviews that the model did not learn from.
        owner: see `probabilities_of`.
        labels: `int32[n]`, the true classes.
        calibrate: whether a temperature is fitted.
        aim: see `choose_threshold`; None for no threshold.

    Returns:
        The decision. Where no threshold reaches the aim, it has none.
    """
    temperature = fit_temperature(logits, owner, labels) if calibrate else 1.0
    if aim is None:
        return Decision(temperature)
    scores = probabilities_of(logits, owner, temperature)[:, 1]
    threshold = choose_threshold(scores, labels, aim)
    return Decision(temperature, threshold, None if threshold is None else aim)


def fit_temperature(logits: np.ndarray, owner: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature with the smallest log loss (C. Guo et al., ICML 2017).

    The targets are those of J. Platt (1999): of n reviews, 1 / (n + 2) of each label goes to the other classes. A model
    without an error on few reviews would otherwise become ever surer.

    Args:
        logits: `float32[rows, classes]` of reviews that the model did not learn from.
        owner: see `probabilities_of`.
        labels: `int32[n]`, the true classes.
    """
    import scipy.optimize

    exact, classes = logits.astype(np.float64), logits.shape[1]
    rest = 1 / (len(labels) + 2)
    targets = np.full((len(labels), classes), rest / (classes - 1))
    targets[np.arange(len(labels)), labels] = 1 - rest

    def loss(power: float) -> float:
        probabilities = probabilities_of(exact, owner, math.exp(power))
        return float(-(targets * np.log(np.clip(probabilities, 1e-300, 1))).sum(axis=1).mean())

    found = scipy.optimize.minimize_scalar(loss, bounds=(math.log(COOLEST), math.log(HOTTEST)), method="bounded")
    return round(math.exp(found.x), 4)


def require_two_classes(aim: str | None, classes: int) -> None:
    """Refuse an aim that the number of classes does not allow.

    Raises:
        ConfigError: there is an aim, and not two classes.
    """
    if aim is not None and classes != 2:
        raise ConfigError(
            f"train.threshold is {aim!r}, and the data has {classes} classes. A threshold is for two: set it to null."
        )


def choose_threshold(scores: np.ndarray, labels: np.ndarray, aim: str) -> float | None:
    """Return the threshold of the second class that serves an aim best.

    `accuracy` and `f1` (of the second class) take the threshold with the largest value; of several the one nearest to
    0.5. `precision>=x` takes the one with the largest recall among those that keep the precision, and `recall>=x` the
    other way round.

    Args:
        scores: `float[n]`, probability of the second class, of reviews that the model did not learn from.
        labels: `int[n]`, 0 or 1.
        aim: one of these.

    Returns:
        A threshold halfway between two scores; None where no threshold reaches the precision.
    """
    ordered = np.unique(scores.astype(np.float64))
    thresholds = np.concatenate([[0.0], (ordered[1:] + ordered[:-1]) / 2, [1.0]])
    chosen = np.searchsorted(np.sort(scores.astype(np.float64)), thresholds, side="right")
    hits = np.searchsorted(np.sort(scores[labels == 1].astype(np.float64)), thresholds, side="right")
    positive = int((labels == 1).sum())
    predicted, true = len(scores) - chosen, positive - hits
    precision = np.divide(true, predicted, out=np.zeros(len(true)), where=predicted > 0)
    recall = true / max(positive, 1)
    name, _, limit = aim.partition(">=")
    if name == "accuracy":
        worth = (true + (len(scores) - positive) - (predicted - true)).astype(float)
    elif name == "f1":
        worth = 2 * true / np.maximum(predicted + positive, 1)
    else:
        kept, other = (precision, recall) if name == "precision" else (recall, precision)
        worth = np.where((kept >= float(limit)) & (predicted > 0), other, -1.0)
    if worth.max() < 0:
        return None
    best = np.flatnonzero(worth == worth.max())
    return float(thresholds[best[np.abs(thresholds[best] - 0.5).argmin()]])
