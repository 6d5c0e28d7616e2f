"""Where a model is good and where it is not: what `RUN/analysis.json` keeps, and the report shows."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pydantic

from tfsent.errors import RunError

Interval = tuple[float, float]
Curve = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Bin:
    """Reviews of like confidence."""

    low: float
    high: float
    reviews: int
    confidence: float
    """Mean probability of the most probable class."""
    accuracy: float
    """Share of the reviews whose most probable class is the true one."""
    interval: Interval
    """95%, after E. B. Wilson (1927)."""


@dataclass(frozen=True)
class Reliability:
    """Confidence against accuracy (C. Guo et al., 2017)."""

    error: float
    """Expected calibration error over 15 bins, see `evaluation.probabilities`."""
    bins: tuple[Bin, ...]
    """Those that have reviews."""


@dataclass(frozen=True)
class Histogram:
    """Counts between edges."""

    edges: tuple[float, ...]
    """One more than there are counts."""
    counts: dict[str, tuple[int, ...]]
    """By series, such as a class."""


@dataclass(frozen=True)
class Lengths:
    """Lengths of the reviews in tokens, [CLS] and [SEP] included, and what is cut."""

    histogram: Histogram
    max_tokens: int
    reviews_cut: float
    """Share of the reviews that are longer."""


@dataclass(frozen=True)
class Slice:
    """Reviews that have something in common."""

    by: str
    """Such as `length`, `script` or a column of the data."""
    value: str
    """Such as `over 512 tokens`."""
    reviews: int
    accuracy: float
    interval: Interval
    """95%, after Wilson."""
    rest: float | None
    """Accuracy of the other reviews; None where there are none."""
    verdict: str
    """`worse`, `better` or `alike` against the rest, or `too few` to tell."""


@dataclass(frozen=True)
class WorstError:
    """A review that the model has wrong with confidence."""

    row: int
    """Of the split, from 0."""
    text: str
    true_label: str
    predicted_label: str
    probability: float
    """Of the predicted label."""
    attributions: tuple[tuple[int, int, float], ...] | None = None
    """First character, character after the last, and what the word adds to the logit of the predicted label against
    the others; see `evaluation.explanation`. None where they were not computed."""


@dataclass(frozen=True)
class Analysis:
    """What `tfsent evaluate` finds beyond the metrics."""

    reviews: int
    split: str
    fingerprint: str
    """Of the reviews, as in `Metrics`."""
    reliability: Reliability
    reliability_before: Reliability | None
    """Without the temperature; None where the model has none."""
    roc: Curve | None
    """False positive rate and true positive rate of the second class; None with more classes, or where one has no
    review. At most 200 points."""
    precision_recall: Curve | None
    """Recall and precision of the second class."""
    scores: Histogram
    """Of two classes: probability of the second class, a series for each true class. Of more: confidence, with the
    series `right` and `wrong`."""
    lengths: Lengths | None
    """None where the model's tokenizer is not at hand."""
    slices: tuple[Slice, ...]
    """The worst first; those that are too small last."""
    errors: tuple[WorstError, ...]
    """The most confident first."""
    near_duplicates: int | None
    """Confident errors set aside, as their text nearly occurs in train; None where the training reviews were not at
    hand."""

    def to_dict(self) -> dict[str, Any]:
        """Return the analysis ready for JSON."""
        return json.loads(json.dumps(asdict(self)))


def read_analysis(path: Path) -> Analysis:
    """Read what `evaluate` wrote.

    Raises:
        RunError: the file is missing or damaged.
    """
    try:
        return pydantic.TypeAdapter(Analysis).validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read. `tfsent evaluate` writes it anew.") from error
