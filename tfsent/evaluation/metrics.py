"""Probabilities and labels → metrics, by the definitions of scikit-learn and SciPy, with 95% confidence intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from scipy import stats
from sklearn import metrics as sk

from tfsent.evaluation.analysis import Analysis
from tfsent.evaluation.probabilities import metrics_of_probabilities
from tfsent.model.decision import MOST_PROBABLE, Decision

DRAWS = 2000
"""Samples of the bootstrap."""


@dataclass(frozen=True)
class ClassMetrics:
    """Metrics of one class."""

    precision: float
    recall: float
    f1: float
    support: int
    """Reviews of this class."""


@dataclass(frozen=True)
class Metrics:
    """What `tfsent evaluate` measures.

    Intervals are 95% confidence intervals: of the accuracy after E. B. Wilson (1927), of the others by the bootstrap
    (B. Efron, 1979) over the reviews, with a fixed seed.
    """

    reviews: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    balanced_accuracy: float
    """Mean recall of the classes that have reviews."""
    balanced_accuracy_interval: tuple[float, float]
    macro_f1: float
    """Mean F1 of the classes that have reviews or are predicted."""
    macro_f1_interval: tuple[float, float]
    matthews: float
    """Matthews' correlation coefficient (B. W. Matthews, 1975; J. Gorodkin, 2004, for several classes): 1 is perfect,
    0 no better than chance."""
    matthews_interval: tuple[float, float]
    roc_auc: float | None
    """This and what follows: see `metrics_of_probabilities`. None where a class has no review."""
    roc_auc_interval: tuple[float, float] | None
    pr_auc: float | None
    pr_auc_interval: tuple[float, float] | None
    log_loss: float
    """In nats."""
    log_loss_interval: tuple[float, float]
    brier: float
    brier_interval: tuple[float, float]
    calibration_error: float
    """Expected calibration error: 0.02 means that confidence and accuracy are two points apart on average."""
    calibration_error_interval: tuple[float, float]
    classes: dict[str, ClassMetrics]
    confusion_matrix: list[list[int]]
    """Rows: the true class. Columns: the predicted class."""
    temperature: float = 1.0
    """By which the model's logits are divided, see `model.decision`."""
    threshold: float | None = None
    """Of the second class; None where the most probable class is answered."""
    calibration_error_before: float | None = None
    """Without the temperature; None where the model has none, or where only the finished file was at hand."""
    without_reviews: tuple[str, ...] = ()
    """Classes of the model that these reviews lack."""
    never_predicted: tuple[str, ...] = ()
    """Classes that have reviews and are never predicted."""
    unknown_labels: dict[str, int] = field(default_factory=dict)
    """Labels of the file that the model does not know, with their rows, which are left out."""
    unknown_tokens: float | None = None
    """Share of the tokens that are [UNK]; None where the model's tokenizer is not at hand."""
    unknown_texts: float | None = None
    """Share of the reviews that are nothing but [UNK]."""
    split: str = ""
    """`test` or `validation` of a run; empty for reviews from elsewhere."""
    origin: str = ""
    """Where the reviews come from."""
    fingerprint: str = ""
    """SHA-256 of the reviews and labels."""
    analysis: Analysis | None = field(default=None, compare=False, repr=False)
    """Where the model is good and where it is not: reliability, slices, worst errors."""

    def to_dict(self) -> dict[str, Any]:
        """Return the metrics ready for JSON, without the analysis, which has its own."""
        tree = asdict(replace(self, analysis=None))
        del tree["analysis"]
        return {key: list(value) if isinstance(value, tuple) else value for key, value in tree.items()}


def compute_metrics(
    probabilities: np.ndarray,
    labels: np.ndarray,
    label_names: tuple[str, ...],
    decision: Decision = MOST_PROBABLE,
    **about: Any,
) -> Metrics:
    """Compute the metrics of a classifier.

    Args:
        probabilities: `float32[n, classes]`, rows summing to 1.
        labels: `int32[n]`, an index into `label_names`.
        label_names: the classes in the order of the columns.
        decision: chooses the predicted class.
        **about: other fields of the result, such as `split` and `origin`.

    Example:
        >>> compute_metrics(np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 1]), ("negative", "positive")).accuracy
        1.0
    """
    classes = np.arange(len(label_names))
    predicted = decision.choose(probabilities)
    correct = int((predicted == labels).sum())
    interval = stats.binomtest(correct, len(labels)).proportion_ci(0.95, method="wilson")
    per_class = sk.precision_recall_fscore_support(labels, predicted, labels=classes, zero_division=0.0)
    columns = [ClassMetrics(*column) for column in zip(*(values.tolist() for values in per_class), strict=True)]
    exact = probabilities.astype(np.float64)  # rows of float32 sum to 1 only nearly, and scikit-learn insists
    exact /= exact.sum(axis=1, keepdims=True)
    confusion = sk.confusion_matrix(labels, predicted, labels=classes)
    support, predictions = confusion.sum(axis=1), confusion.sum(axis=0)
    return Metrics(
        reviews=len(labels),
        accuracy=correct / len(labels),
        accuracy_interval=(float(interval.low), float(interval.high)),
        **_with_intervals(confusion),
        **metrics_of_probabilities(exact, labels),
        temperature=decision.temperature,
        threshold=decision.threshold if len(label_names) == 2 else None,
        classes=dict(zip(label_names, columns, strict=True)),
        confusion_matrix=confusion.tolist(),
        without_reviews=tuple(label_names[i] for i in np.flatnonzero(support == 0)),
        never_predicted=tuple(label_names[i] for i in np.flatnonzero((support > 0) & (predictions == 0))),
        **about,
    )


def _with_intervals(confusion: np.ndarray) -> dict[str, Any]:
    """Return the metrics that follow from a confusion matrix, each with its interval.

    A draw of reviews with replacement is a multinomial draw of the matrix's cells.
    """
    cells = np.flatnonzero(confusion)
    counts = confusion.ravel()[cells]
    draws = np.random.default_rng(0).multinomial(counts.sum(), counts / counts.sum(), size=DRAWS)
    values = _of_cells(np.vstack([counts, draws]), cells, len(confusion))
    found: dict[str, Any] = {}
    for name, (value, *drawn) in values.items():
        found[name] = float(value)
        found[f"{name}_interval"] = tuple(np.quantile(drawn, [0.025, 0.975]).tolist())
    return found


def _of_cells(draws: np.ndarray, cells: np.ndarray, classes: int) -> Mapping[str, np.ndarray]:
    """Compute metrics of many confusion matrices, `int[draws, cells]`, given by their cells that are not 0."""
    true, predicted = np.divmod(cells, classes)
    support = draws @ (true[:, None] == np.arange(classes)).astype(float)  # [draws, classes]
    predictions = draws @ (predicted[:, None] == np.arange(classes)).astype(float)
    hits = draws @ ((true == predicted)[:, None] & (true[:, None] == np.arange(classes))).astype(float)
    there = support > 0
    recall = np.divide(hits, support, out=np.zeros_like(hits), where=there)
    either = support + predictions
    f1 = np.divide(2 * hits, either, out=np.zeros_like(hits), where=either > 0)
    total, correct = support.sum(axis=1), hits.sum(axis=1)
    spread = (total**2 - (predictions**2).sum(axis=1)) * (total**2 - (support**2).sum(axis=1))
    covariance = correct * total - (support * predictions).sum(axis=1)
    return {
        "balanced_accuracy": recall.sum(axis=1) / there.sum(axis=1),
        "macro_f1": f1.sum(axis=1) / (either > 0).sum(axis=1),
        "matthews": np.divide(covariance, np.sqrt(spread), out=np.zeros_like(covariance), where=spread > 0),
    }
