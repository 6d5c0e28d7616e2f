"""Two models on the same reviews: which is better, whether that may be chance, and which reviews they answer
differently.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats

from tfsent.data.reviews import Reviews
from tfsent.errors import RunError
from tfsent.evaluation.paired_bootstrap import Difference, paired_differences
from tfsent.storage import atomic

LEVEL = 0.05
HEADER = ("change", "true_label", "label_a", "label_b", "probability_a", "probability_b", "row", "text")
"""The columns of a file of flips."""


@dataclass(frozen=True)
class Flip:
    """A review that the two answer differently."""

    row: int
    """Of the reviews, from 0."""
    change: str
    """`gained`: only B has it right; `lost`: only A has; `both wrong`."""
    true_label: str
    label_a: str
    label_b: str
    probability_a: float
    """Of the true label, after A."""
    probability_b: float
    text: str


@dataclass(frozen=True)
class Comparison:
    """What `tfsent compare` finds."""

    a: str
    b: str
    reviews: int
    split: str
    """`test` or `validation`; empty for reviews from elsewhere."""
    origin: str
    fingerprint: str
    accuracy: Difference
    macro_f1: Difference
    """Mean F1 of the classes that have reviews or are predicted, as in `Metrics`."""
    log_loss: Difference
    """In nats; the smaller the better."""
    gained: int
    """Reviews that only B has right."""
    lost: int
    """Reviews that only A has right."""
    both_wrong: int
    """Reviews that both have wrong, with different answers."""
    mcnemar_p: float
    """How likely so uneven a split of the gained and lost is where both are equally good: McNemar's exact test
    (Q. McNemar, Psychometrika 12, 1947)."""
    flips: tuple[Flip, ...]
    """Those whose true label gains or loses most probability first."""

    @property
    def verdict(self) -> str:
        """The finding in a sentence or two."""
        return _verdict(self)

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison ready for JSON. Of the flips, without their texts: `row` names them."""
        flips = [{key: value for key, value in asdict(flip).items() if key != "text"} for flip in self.flips]
        tree = asdict(self) | {"verdict": self.verdict, "flips": flips}
        for name in ("accuracy", "macro_f1", "log_loss"):
            tree[name]["interval"] = list(tree[name]["interval"])
        return tree


def compare_answers(
    reviews: Reviews,
    probabilities: tuple[np.ndarray, np.ndarray],
    predicted: tuple[np.ndarray, np.ndarray],
    names: tuple[str, str] = ("A", "B"),
    split: str = "",
) -> Comparison:
    """Compare the answers of two models.

    Args:
        reviews: labelled ones.
        probabilities: of A and of B, `float32[n, classes]`, in the order of `reviews.label_names`.
        predicted: what A and B answer, `int[n]`.
        names: of the two, such as their paths.
        split: see `Comparison`.
    """
    right_a, right_b = (one == reviews.labels for one in predicted)
    gained, lost = int((right_b & ~right_a).sum()), int((right_a & ~right_b).sum())
    return Comparison(
        *names,
        len(reviews),
        split,
        reviews.origin,
        reviews.fingerprint,
        *paired_differences(reviews, probabilities, predicted),
        gained,
        lost,
        int(((predicted[0] != predicted[1]) & ~right_a & ~right_b).sum()),
        mcnemar(gained, lost),
        _flips(reviews, probabilities, predicted),
    )


def mcnemar(gained: int, lost: int) -> float:
    """Return the p-value of McNemar's exact test: of a fair coin that falls `gained` times on one side.

    Args:
        gained: reviews that only one of two models has right.
        lost: reviews that only the other has right.
    """
    return float(scipy.stats.binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


def _flips(
    reviews: Reviews, probabilities: tuple[np.ndarray, np.ndarray], predicted: tuple[np.ndarray, np.ndarray]
) -> tuple[Flip, ...]:
    names, labels = reviews.label_names, reviews.labels
    rows = np.flatnonzero(predicted[0] != predicted[1])
    own_a, own_b = (one[rows, labels[rows]].astype(np.float64) for one in probabilities)
    found = []
    for i in np.argsort(-np.abs(own_b - own_a), kind="stable").tolist():
        row = int(rows[i])
        true, a, b = int(labels[row]), int(predicted[0][row]), int(predicted[1][row])
        change = "gained" if b == true else "lost" if a == true else "both wrong"
        words = names[true], names[a], names[b]
        found.append(Flip(row, change, *words, float(own_a[i]), float(own_b[i]), reviews.texts[row]))
    return tuple(found)


def _verdict(found: Comparison) -> str:
    return " ".join([_about_accuracy(found), *_about_probabilities(found.log_loss)])


def _about_accuracy(found: Comparison) -> str:
    low, high = (100 * end for end in found.accuracy.interval)
    if not found.gained + found.lost:
        same = "on the same reviews" if found.both_wrong else f"and wrong alike on all {found.reviews:,} reviews"
        return f"No difference in accuracy: A and B are right {same}."
    alone = f"B alone is right on {_reviews(found.gained)}, A alone on {found.lost:,}"
    chance = f"chance gives so uneven a split in {_cases(found.mcnemar_p)}"
    if found.mcnemar_p >= LEVEL:
        interval = f"The true difference, B minus A, is between {low:+.2f} and {high:+.2f} points (95%)"
        return f"No difference in accuracy is shown. {alone}: {chance}. {interval}."
    better, worse = ("B", "A") if found.gained > found.lost else ("A", "B")
    low, high = (low, high) if better == "B" else (-high, -low)
    points = abs(100 * found.accuracy.difference)
    interval = f"95% confidence interval {low:.2f} to {high:.2f}"
    return f"{better} is better than {worse}, by {points:.2f} points of accuracy ({interval}). {alone}: {chance}."


def _about_probabilities(loss: Difference) -> list[str]:
    """Return a sentence where the probabilities of one are shown to be better."""
    low, high = loss.interval
    if low <= 0 <= high:
        return []
    better, (less, more) = ("B", (loss.b, loss.a)) if high < 0 else ("A", (loss.a, loss.b))
    return [f"The probabilities of {better} are better: log loss {less:.4f} against {more:.4f}."]


def _reviews(count: int) -> str:
    return f"{count:,} review{'' if count == 1 else 's'}"


def _cases(p: float) -> str:
    if p < 0.001:
        return "less than 1 of 1,000 cases"
    return f"{100 * p:.{1 if p < 0.1 else 0}f} of 100 cases"


def write_flips(path: Path, flips: Sequence[Flip]) -> None:
    """Write all flips as CSV.

    Raises:
        RunError: the path is a folder or a file of something else, or cannot be written.
    """
    require_flips(path)
    with atomic.replacing(path) as staged, staged.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(HEADER)
        for flip in flips:
            tree = asdict(flip)
            writer.writerow([f"{tree[key]:.6f}" if isinstance(tree[key], float) else tree[key] for key in HEADER])


def require_flips(path: Path) -> None:
    """Refuse to replace a file that is not one of flips.

    Raises:
        RunError: see `write_flips`.
    """
    if path.is_dir():
        raise RunError(f"{path} is a folder. Expected a file for the flips.")
    if path.is_file():
        with path.open("rb") as handle:
            if not handle.readline().startswith(",".join(HEADER).encode()):
                raise RunError(f"{path} exists, and is no file of flips. Name another with --output.")
