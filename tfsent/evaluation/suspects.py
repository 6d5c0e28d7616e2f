"""Labels that may be wrong, by confident learning (C. Northcutt, L. Jiang, I. Chuang, JAIR 70, 2021), and a table that
a person corrects and `tfsent train` reads. The better the model, the more of the suspects are wrong indeed.

The probabilities must come from a model that did not learn these reviews: one that did repeats their labels, the wrong
ones included. A model that learnt one half of the reviews judges the other half.
"""

from __future__ import annotations

import csv
import importlib.util
import logging
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfsent.data.reviews import Reviews
from tfsent.errors import ConfigError, DataError, RunError
from tfsent.evaluation.reliability import normalized
from tfsent.storage import atomic

logger = logging.getLogger(__name__)

HEADER = ("suspect", "label", "suggested_label", "score")
"""The first columns of the table; `p_CLASS` for each class and `text` follow."""


@dataclass(frozen=True)
class Suspect:
    """A review whose label may be wrong."""

    row: int
    """Of the reviews, from 0."""
    label: str
    """As given."""
    suggested_label: str
    score: float
    """Probability of the given label: the smaller, the more suspicious."""
    text: str

    def to_dict(self) -> dict[str, Any]:
        """Return the suspect ready for JSON."""
        return asdict(self)


def require_cleanlab() -> None:
    """Check that cleanlab is installed, before a model works for minutes.

    Raises:
        ConfigError: it is not.
    """
    if importlib.util.find_spec("cleanlab") is None:
        raise ConfigError("Wrong labels are found by cleanlab, which is not installed: pip install 'tfsent[clean]'")


def find_suspects(reviews: Reviews, probabilities: np.ndarray) -> tuple[Suspect, ...]:
    """Find reviews whose labels may be wrong.

    Args:
        reviews: labelled ones that the model did not learn from.
        probabilities: `float32[n, classes]`, its answers.

    Returns:
        The suspects, the most suspicious first.

    Raises:
        ConfigError: cleanlab, which finds them, is not installed.
        DataError: the reviews have one class only.
    """
    require_cleanlab()
    from cleanlab.filter import find_label_issues  # type: ignore[import-untyped, import-not-found]

    if len(there := np.unique(reviews.labels)) < 2:
        raise DataError(
            f"All {len(reviews):,} reviews have the label {reviews.label_names[there[0]]!r}. Wrong labels are found "
            "among reviews of at least two."
        )
    exact = normalized(probabilities)
    # One process: the work takes seconds, and the children would load TensorFlow.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of rare classes, in cleanlab's own terms
        rows = find_label_issues(reviews.labels, exact, return_indices_ranked_by="self_confidence", n_jobs=1)
    return tuple(_suspect(reviews, exact, int(row)) for row in rows)


def write_suspects(path: Path, reviews: Reviews, probabilities: np.ndarray, suspects: Sequence[Suspect]) -> None:
    """Write all reviews as CSV: the suspects first, then the others by falling suspicion.

    A person corrects the column `label`, or deletes rows, and trains with `--set data.train=FILE`: the other columns
    are ignored there.

    Args:
        path: of the CSV.
        reviews: see `find_suspects`.
        probabilities: see `find_suspects`.
        suspects: of `find_suspects`.

    Raises:
        RunError: the path is a folder or a file of something else, or cannot be written.
    """
    require_own(path)
    exact, names = normalized(probabilities), reviews.label_names
    own = exact[np.arange(len(exact)), reviews.labels]
    first = [one.row for one in suspects]
    others = np.setdiff1d(np.arange(len(reviews)), first)
    ranked = [*first, *others[np.argsort(own[others], kind="stable")].tolist()]
    with atomic.replacing(path) as staged, staged.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow([*HEADER, *(f"p_{name}" for name in names), "text"])
        for place, row in enumerate(ranked):
            suspicious = "yes" if place < len(first) else "no"
            likeliest = names[int(exact[row].argmax())]
            scores = (f"{value:.6f}" for value in (own[row], *exact[row]))
            writer.writerow([suspicious, names[reviews.labels[row]], likeliest, *scores, reviews.texts[row]])
    may = f"{len(suspects):,} of {len(reviews):,} labels may be wrong" if suspects else "No label is suspicious"
    logger.info(f"{may}. Correct the column label of {path}, then train with --set data.train={path}.")


def _suspect(reviews: Reviews, exact: np.ndarray, row: int) -> Suspect:
    label, likeliest = int(reviews.labels[row]), int(exact[row].argmax())
    names = reviews.label_names
    return Suspect(row, names[label], names[likeliest], float(exact[row, label]), reviews.texts[row])


def require_own(path: Path) -> None:
    """Refuse to replace a file that is not such a table.

    Raises:
        RunError: see `write_suspects`.
    """
    if path.is_dir():
        raise RunError(f"{path} is a folder. Expected a file for the label errors.")
    if path.is_file():
        with path.open("rb") as handle:
            if not handle.readline().startswith(",".join(HEADER).encode()):
                raise RunError(f"{path} exists, and is no table of label errors. Name another file.")
