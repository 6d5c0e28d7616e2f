"""The three questions of the first screen: how good, where not, may it ship?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tfsent.evaluation.analysis import Slice
from tfsent.evaluation.intervals import wilson
from tfsent.evaluation.report.exported import FOLDERS, OPTIONS, TARGETS, ExportedFile, Exports
from tfsent.evaluation.report.facts import Facts
from tfsent.evaluation.report.formats import count, percent, short, without_folders
from tfsent.evaluation.report.measured import ClassRow, Figure, Measured

SHOWN_SLICES = 3


@dataclass(frozen=True)
class HowGood:
    """The headline."""

    figure: Figure | None
    name: str
    """Of the figure, such as `accuracy`."""
    majority: float | None
    """Accuracy of answering the most frequent class always."""
    others: tuple[tuple[str, Figure], ...]
    measured_on: str
    cautions: tuple[str, ...]
    measure_first: bool
    """Whether `tfsent evaluate` has yet to measure the test reviews."""


@dataclass(frozen=True)
class WhereNot:
    """What the model is worse at."""

    worse: tuple[Slice, ...]
    """The first of them."""
    all_worse: int
    compared: int
    """Slices that are large enough to tell."""
    too_few: int
    weakest: ClassRow | None
    """The class with the smallest recall, where it is below that of the others."""
    never_predicted: tuple[str, ...]
    measured: bool
    """Whether there are slices."""


@dataclass(frozen=True)
class Target:
    """A place that a model is exported to."""

    name: str
    option: str
    """Of `tfsent export --to`."""
    folder: str
    file: ExportedFile | None
    """The one that ships, or was to; None where nothing was exported."""
    verdict: str
    """`yes`, `no` or `not exported`."""
    reason: str


@dataclass(frozen=True)
class MayShip:
    """Which files may ship."""

    targets: tuple[Target, ...]
    """Empty where `tfsent export` has not been run."""
    headline: str
    warnings: tuple[str, ...]


def digits_for(figure: Figure | None, reviews: int) -> int:
    """Return the decimals of a percentage that its interval justifies: two where it is less than a point wide."""
    if figure is None or figure.low is None or figure.high is None:
        return 2 if reviews >= 10_000 else 1
    return 2 if figure.high - figure.low < 0.01 else 1


def how_good(facts: Facts) -> HowGood:
    """Return the headline: of the test reviews, else of the validation reviews, else of the best epoch."""
    unfinished = ("Training was interrupted: this is the model as it was then.",) if facts.interrupted else ()
    if facts.metrics:
        cautions = (*unfinished, *_cautions(facts.metrics), *_faults(facts, "metrics.json"))
        return _of_measured(facts.metrics, f"{count(facts.metrics.reviews)} test reviews", cautions, False)
    flatters = "The best epoch was chosen by these reviews, so the figures flatter."
    if facts.validation:
        cautions = (*unfinished, flatters, *_cautions(facts.validation), *_faults(facts, "metrics.json"))
        on = f"{count(facts.validation.reviews)} validation reviews"
        return _of_measured(facts.validation, on, cautions, True)
    return _of_epoch(facts, (*unfinished, flatters, *_faults(facts, "metrics.json")))


def _of_measured(measured: Measured, on: str, cautions: tuple[str, ...], first: bool) -> HowGood:
    names = {"macro_f1": "macro F1", "calibration_error": "calibration error"}
    return HowGood(
        figure=measured.figures["accuracy"],
        name="accuracy",
        majority=measured.majority,
        others=tuple((name, measured.figures[key]) for key, name in names.items() if key in measured.figures),
        measured_on=f"{on}: {origin}" if (origin := without_folders(measured.origin)) else on,
        cautions=cautions,
        measure_first=first,
    )


def _cautions(measured: Measured) -> tuple[str, ...]:
    found = []
    if measured.without_reviews:
        found.append(f"These reviews have none of {_names(measured.without_reviews)}.")
    if measured.unknown_labels:
        rows = sum(measured.unknown_labels.values())
        found.append(f"{count(rows)} rows with labels that the model does not know are left out.")
    if measured.unknown_tokens is not None and measured.unknown_tokens > 0.05:
        found.append(f"{percent(measured.unknown_tokens)} of the tokens are unknown to the vocabulary.")
    return tuple(found)


def _faults(facts: Facts, *names: str) -> tuple[str, ...]:
    return tuple(f"{facts.faults[name]} `tfsent evaluate` writes it anew." for name in names if name in facts.faults)


def _of_epoch(facts: Facts, cautions: tuple[str, ...]) -> HowGood:
    best, split = facts.best, facts.split("validation")
    if best is None:
        return HowGood(None, "accuracy", None, (), "", _faults(facts, "metrics.json", "history.csv"), True)
    accuracy, reviews = best.values.get("val_accuracy"), split.reviews if split else 0
    figure = None if accuracy is None else Figure(accuracy)
    windows = facts.config is None or facts.config.text.truncation == "windows"  # a long review then counts as several
    if accuracy is not None and 0 <= accuracy <= 1 and reviews and not windows:
        figure = Figure(accuracy, *wilson(round(accuracy * reviews), reviews))
    on = f"{count(reviews)} validation reviews" if reviews else "the validation reviews"
    return HowGood(
        figure=figure,
        name="validation accuracy",
        majority=max(split.classes.values()) / reviews if split and reviews and split.classes else None,
        others=(("validation macro F1", Figure(best.values["val_macro_f1"])),) if "val_macro_f1" in best.values else (),
        measured_on=f"{on}, after epoch {best.number} of {len(facts.history)}, the best one",
        cautions=cautions,
        measure_first=True,
    )


def where_not(facts: Facts) -> WhereNot:
    """Return the worst slices that are shown to be worse, and the classes that are never predicted."""
    slices = facts.analysis.slices if facts.analysis else ()
    slices = tuple(one for one in slices if one.by != "confidence")  # to be wrong where it is unsure is no fault
    measured = facts.metrics or facts.validation
    few = sum(one.verdict == "too few" for one in slices)
    worse = tuple(one for one in slices if one.verdict == "worse")
    return WhereNot(
        worse=worse[:SHOWN_SLICES],
        all_worse=len(worse),
        compared=len(slices) - few,
        too_few=few,
        weakest=_weakest(measured.classes) if measured else None,
        never_predicted=measured.never_predicted if measured else (),
        measured=facts.analysis is not None,
    )


def _weakest(classes: Sequence[ClassRow]) -> ClassRow | None:
    known = [row for row in classes if row.reviews and row.recall is not None]
    return min(known, key=lambda row: row.recall or 0.0, default=None)


def may_ship(facts: Facts) -> MayShip:
    """Return which file may ship to which target, and why not."""
    exports = facts.exports
    if exports is None:
        return MayShip((), "Not exported yet", _export_faults(facts))
    # MediaPipe's file comes with the phone's, where the encoder allows it: it is never asked for alone.
    targets = tuple(_target(exports, key) for key in TARGETS if key != "mediapipe" or exports.of(key))
    asked = [one for one in targets if one.verdict != "not exported"]
    blocked = [one for one in asked if one.verdict == "no"]
    if not blocked:
        headline = "Yes"
    elif len(blocked) == len(asked):
        headline = "No"
    else:
        headline = "Not all of it"
    if exports.of_other_model:
        headline = "Not as it is"
    return MayShip(targets, headline, _warnings(facts, exports))


def _target(exports: Exports, target: str) -> Target:
    files = exports.of(target)
    about = TARGETS[target], OPTIONS[target], FOLDERS[target]
    if not files:
        return Target(*about, None, "not exported", "")
    file = next((one for one in files if one.state == "ships"), None)
    if file is None:
        # Where all are over budget, the one that nothing replaced is the one that was to ship.
        file = next((one for one in files if not one.not_chosen), files[-1])
        return Target(*about, file, "no", file.reason)
    if not exports.published:
        return Target(*about, file, "no", "another file is over its budget, so nothing was published")
    if gone := [place for place in exports.gone if place.startswith(FOLDERS[target])]:
        return Target(*about, file, "no", f"{short(gone[0])} is no longer there: export again")
    return Target(*about, file, "yes", "")


def _warnings(facts: Facts, exports: Exports) -> tuple[str, ...]:
    found = list(_export_faults(facts))
    if exports.of_other_model:
        found.append("The files were exported before the model changed: export again.")
    if exports.never_predicted:
        found.append(f"The trained model never predicts {_names(exports.never_predicted)} on these reviews.")
    return tuple(found)


def _export_faults(facts: Facts) -> tuple[str, ...]:
    return (f"{facts.faults['verify.json']} `tfsent export` writes it anew.",) if "verify.json" in facts.faults else ()


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(f"“{short(name, 40)}”" for name in names[:4])
    return shown if len(names) <= 4 else f"{shown} and {len(names) - 4} more"
