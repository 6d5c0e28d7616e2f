"""`RUN/report.html`: one file that a person opens, prints and sends. It has no script and asks no other host."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from tfsent.evaluation.report import formats, plots
from tfsent.evaluation.report.answers import digits_for, how_good, may_ship, where_not
from tfsent.evaluation.report.facts import Facts, read_facts
from tfsent.evaluation.report.marked_text import mark
from tfsent.evaluation.report.measured import Measured
from tfsent.storage import atomic, run_directory

HERE = Path(__file__).parent
MATRIX = 12
"""Classes of the largest confusion matrix that is shown whole."""
SLICES, ROWS, ERRORS = 15, 200, 20
"""Slices shown at once; rows of any table; errors."""

MEANINGS = {
    "accuracy": ("accuracy", "share of the reviews whose label is right"),
    "balanced_accuracy": ("balanced accuracy", "mean recall of the classes"),
    "macro_f1": ("macro F1", "mean F1 of the classes"),
    "matthews": ("Matthews’ correlation", "1 is perfect, 0 is chance"),
    "roc_auc": ("ROC-AUC", "how often a review of a class ranks above one of another"),
    "pr_auc": ("precision-recall AUC", "mean precision over all thresholds"),
    "log_loss": ("log loss", "in nats; lower is better"),
    "brier": ("Brier score", "squared error of the probabilities; lower is better"),
    "calibration_error": ("calibration error", "mean distance of confidence and accuracy; lower is better"),
}
SHARES = ("accuracy", "balanced_accuracy", "macro_f1", "calibration_error")
"""Figures that are written in percent."""


def write_report(run: Path) -> Path:
    """Write `report.html` from the files that are in a run. No model is opened.

    Args:
        run: the run directory, or one of several seeds: the best is reported on.

    Returns:
        Its path.

    Raises:
        RunError: the directory holds no finished run, or cannot be written to.
    """
    run = run_directory.require_run(run)
    path = run / "report.html"
    atomic.write_text(path, render(read_facts(run)))
    return path


def render(facts: Facts) -> str:
    """Return the page. Every text of the run is escaped, and what is no Unicode is replaced."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        name: getattr(formats, name)
        for name in ("percent", "points", "signed", "decimal", "count", "difference", "p_value", "size", "short")
    }
    page = environment.get_template("report.html.j2").render(
        style=Markup((HERE / "style.css").read_text(encoding="utf-8")),
        facts=facts,
        good=how_good(facts),
        where=where_not(facts),
        ship=may_ship(facts),
        shown=facts.metrics or facts.validation,
        mark=mark,
        between=formats.between,
        hide=formats.without_folders,
        limits={"matrix": MATRIX, "slices": SLICES, "rows": ROWS, "errors": ERRORS},
        run=in_shell(facts),
        **_drawn(facts),
    )
    return page.encode("utf-8", "replace").decode("utf-8")  # a lone half of a surrogate pair cannot be written


def figure_rows(measured: Measured, digits: int) -> list[tuple[str, str, str, str]]:
    """Return the name of each figure, its value, its interval and its meaning."""
    rows = []
    for key, (name, meaning) in MEANINGS.items():
        if (found := measured.figures.get(key)) is None:
            continue
        if key in SHARES:
            interval = formats.between(found.low, found.high, digits)
            rows.append((name, formats.percent(found.value, digits), interval, meaning))
        else:
            known = found.low is not None and found.high is not None
            interval = f"{formats.decimal(found.low)} to {formats.decimal(found.high)}" if known else formats.MISSING
            rows.append((name, formats.decimal(found.value), interval, meaning))
    return rows


def in_shell(facts: Facts) -> str:
    """Return the name of the run as a command takes it."""
    return shlex.quote(facts.name if not facts.name.startswith("-") else f"./{facts.name}")


def _drawn(facts: Facts) -> dict[str, Any]:
    """Return the plots and what stands beside them; None for what there are no figures for."""
    measured, analysis, exports = facts.metrics or facts.validation, facts.analysis, facts.exports
    digits = digits_for(how_good(facts).figure, measured.reviews if measured else 0)
    decided = _decided(facts.metrics) if facts.metrics and analysis else None
    low = plots.lowest(analysis.reliability, analysis.reliability_before) if analysis else (0.0, 0.0)
    split = facts.split("validation")
    of_accuracy = split.reviews if split and facts.metric == "accuracy" else 0
    return {
        "digits": digits,
        "rows": figure_rows(measured, digits) if measured else [],
        "headline_bar": _headline_bar(facts),
        "loss_curve": plots.learning_curve(facts.history, "loss", facts.best, 0),
        "metric_curve": plots.learning_curve(facts.history, _other_than_loss(facts), facts.best, of_accuracy),
        "roc": plots.roc(analysis.roc, decided and decided[0]) if analysis and analysis.roc else None,
        "precision_recall": plots.precision_recall(
            analysis.precision_recall, decided and decided[1], decided[2] if decided else None
        )
        if analysis and analysis.precision_recall
        else None,
        "decided": decided,
        "reliability": plots.reliability("after", analysis.reliability, low) if analysis else None,
        "before": plots.reliability("before", analysis.reliability_before, low)
        if analysis and analysis.reliability_before
        else None,
        "scores": _scores(facts),
        "lengths": _lengths(facts),
        "slice_bar": _slice_bar(facts),
        "candidates": plots.candidates(exports.of("phone"), exports.accuracy) if exports else None,
    }


def _other_than_loss(facts: Facts) -> str:
    return "accuracy" if facts.metric == "loss" else facts.metric


def _headline_bar(facts: Facts) -> Markup | None:
    """Draw the headline between the most frequent class's accuracy and 100%."""
    good = how_good(facts)
    if good.figure is None:
        return None
    floor = good.majority if good.majority is not None else 0.0
    return plots.interval_bar(good.figure, min(floor, good.figure.low or good.figure.value), 1.0, good.majority, 280)


def _decided(measured: Measured | None) -> tuple[tuple[float, float], tuple[float, float] | None, float] | None:
    """Return where two classes are told apart: on the ROC curve, on precision and recall, and the second's share."""
    if measured is None or len(measured.confusion) != 2:
        return None
    (right, false), (missed, hits) = measured.confusion
    if not right + false or not missed + hits:
        return None
    recall, share = hits / (missed + hits), (missed + hits) / (right + false + missed + hits)
    precision = (recall, hits / (hits + false)) if hits + false else None
    return (false / (right + false), recall), precision, share


def _scores(facts: Facts) -> Markup | None:
    if facts.analysis is None:
        return None
    two = len(facts.classes) == 2
    threshold = (0.5 if facts.decision.threshold is None else facts.decision.threshold) if two else None
    label = "probability of the second class" if two else "confidence"
    return plots.histogram("scores", f"Reviews by {label}", facts.analysis.scores, label, share=True, line=threshold)


def _lengths(facts: Facts) -> Markup | None:
    found = facts.analysis.lengths if facts.analysis else None
    if found is None:
        return None
    end, cut = float(found.max_tokens), not facts.config or facts.config.text.truncation != "windows"
    title, label = "Reviews by length", "tokens"
    return plots.histogram("lengths", title, found.histogram, label, share=False, line=end, pale=cut)


def _slice_bar(facts: Facts) -> Any:
    """Return what draws the interval of a slice, on one scale for all."""
    slices = facts.analysis.slices if facts.analysis else ()
    known = [one for one in slices if one.verdict != "too few"] or list(slices)
    low = min((one.interval[0] for one in known), default=0.0)
    high = max((one.interval[1] for one in known), default=1.0)
    return lambda one: plots.interval_bar(plots.Figure(one.accuracy, *one.interval), low, high, one.rest)
