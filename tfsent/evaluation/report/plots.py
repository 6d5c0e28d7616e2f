"""The plots of a report, as inline SVG. Every series differs from the others in its shape as well as in its colour."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from tfsent.evaluation.analysis import Curve, Histogram, Reliability
from tfsent.evaluation.intervals import wilson
from tfsent.evaluation.report.exported import ExportedFile
from tfsent.evaluation.report.facts import Epoch
from tfsent.evaluation.report.formats import count, percent, short, size
from tfsent.evaluation.report.frame import (
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Axis,
    Frame,
    axis,
    cross,
    dot,
    square,
    tag,
    whole_axis,
)
from tfsent.evaluation.report.measured import Figure

SHARE = axis(0, 1, "", percent=True)


def learning_curve(history: Sequence[Epoch], metric: str, best: Epoch | None, reviews: int) -> Markup | None:
    """Draw a figure of training and validation by epoch; None where no epoch has it.

    Args:
        history: the epochs.
        metric: a column, such as `loss`; validation's begins with `val_`.
        best: the epoch that is kept.
        reviews: validation reviews, for the intervals of an accuracy; 0 draws none.
    """
    series = {
        key: [(row.number, row.values[name]) for row in history if name in row.values]
        for key, name in (("train", metric), ("validation", f"val_{metric}"))
    }
    values = [value for points in series.values() for _, value in points]
    if not values:
        return None
    name, share = metric.replace("_", " "), metric != "loss"
    bars = [(x, *wilson(round(y * reviews), reviews)) for x, y in series["validation"] if reviews and 0 <= y <= 1]
    ends = [*values, *(end for _, *two in bars for end in two)]
    low = min(ends) if share else 0.0
    epochs = [row.number for row in history]
    frame = Frame(
        whole_axis(min(epochs), max(epochs), "epoch"),
        axis(low, max(ends), "loss in nats" if metric == "loss" else name, percent=share),
    )
    marks = [frame.upright(best.number)] if best else []
    marks += [frame.whisker(*bar, "whisker b") for bar in bars]
    for key, (shape, class_) in {"train": (square, "a"), "validation": (dot, "b")}.items():
        marks.append(frame.path(series[key], f"line {class_}"))
        marks += [shape(frame.x(x), frame.y(y), f"point {class_}") for x, y in series[key]]
    if best:
        right = frame.x(best.number) > WIDTH - 90
        at, anchor = frame.x(best.number) + (-5 if right else 5), "end" if right else "start"
        marks.append(tag("text", "kept", x=at, y=TOP + 10, class_="note", text_anchor=anchor))
    said = "; ".join(f"{key}: " + ", ".join(f"{value:.4f}" for _, value in points) for key, points in series.items())
    return frame.draw(f"curve-{metric}", f"{name.capitalize()} by epoch", f"{said}.", marks)


def roc(curve: Curve, point: tuple[float, float] | None) -> Markup:
    """Draw true positives against false positives, with the point at which the model decides."""
    frame = Frame(_named("false positive rate"), _named("true positive rate"))
    marks = [frame.path([(0, 0), (1, 1)], "diagonal"), *_curve(frame, curve, point)]
    return frame.draw("roc", "ROC curve", _said(curve, point, "true positive rate", "false positive rate"), marks)


def precision_recall(curve: Curve, point: tuple[float, float] | None, share: float | None) -> Markup:
    """Draw precision against recall.

    Args:
        curve: recall and precision.
        point: at which the model decides.
        share: of the reviews that are of the second class, which is the precision of chance.
    """
    frame = Frame(_named("recall"), _named("precision"))
    marks = [] if share is None else [frame.path([(0, share), (1, share)], "diagonal")]
    marks += _curve(frame, curve, point)
    return frame.draw("pr", "Precision-recall curve", _said(curve, point, "precision", "recall"), marks)


def _named(label: str) -> Axis:
    return Axis(SHARE.low, SHARE.high, SHARE.ticks, label, SHARE.write)


def _curve(frame: Frame, curve: Curve, point: tuple[float, float] | None) -> list[Markup]:
    marks = [frame.path(curve, "line b")]
    return marks if point is None else [*marks, dot(frame.x(point[0]), frame.y(point[1]), "point b", 5)]


def _said(curve: Curve, point: tuple[float, float] | None, y: str, x: str) -> str:
    decided = f" The model decides at a {x} of {percent(point[0])} and a {y} of {percent(point[1])}." if point else ""
    return f"A curve of {len(curve)} points: {y} against {x}.{decided}"


def reliability(key: str, found: Reliability, low: tuple[float, float]) -> Markup:
    """Draw accuracy against confidence, with the 95% interval of each bin.

    Args:
        key: of the ids.
        found: the bins.
        low: where the axes begin.
    """
    frame = Frame(axis(low[0], 1, "confidence", percent=True), axis(low[1], 1, "accuracy", percent=True))
    largest = max((one.reviews for one in found.bins), default=1)
    marks = [frame.path([(max(low), max(low)), (1, 1)], "diagonal")]
    for one in found.bins:
        marks.append(frame.whisker(one.confidence, *one.interval, "whisker b"))
        # The area of a dot shows how many reviews it stands for.
        radius = max(2.5, 8 * (one.reviews / largest) ** 0.5)
        marks.append(dot(frame.x(one.confidence), frame.y(one.accuracy), "point b", radius))
    said = "; ".join(
        f"confidence {percent(one.confidence)}, accuracy {percent(one.accuracy)}, {count(one.reviews)} reviews"
        for one in found.bins
    )
    return frame.draw(key, "Accuracy by confidence", f"{said}.", marks)


def lowest(*found: Reliability | None) -> tuple[float, float]:
    """Return where the axes of reliability diagrams begin, so that several can be compared."""
    bins = [one for each in found if each for one in each.bins]
    confidence = min((one.confidence for one in bins), default=0.0)
    accuracy = min((one.interval[0] for one in bins), default=0.0)
    return int(confidence * 10) / 10, int(min(confidence, accuracy) * 10) / 10


def histogram(
    key: str, title: str, found: Histogram, label: str, *, share: bool, line: float | None, pale: bool = False
) -> Markup | None:
    """Draw counts between edges; of two series one stands up and one hangs down. None where there are no counts.

    Args:
        key: of the ids.
        title: for screen readers.
        found: the counts; more than two series are added up.
        label: of the x axis.
        share: whether the edges are shares.
        line: a value to draw an upright line at.
        pale: whether the bars right of it are pale.
    """
    series, bins = list(found.counts.values()), len(found.edges) - 1
    series = [counts for counts in series if len(counts) == bins]
    if bins < 1 or not any(map(sum, series)):
        return None
    up = series[0] if len(series) == 1 else series[1] if len(series) == 2 else _sums(series)
    down = series[0] if len(series) == 2 else (0,) * bins
    reach = axis(-max(down), max(up), "reviews")
    reach = Axis(reach.low, reach.high, reach.ticks, "reviews", lambda value: count(abs(value)))
    frame = Frame(axis(found.edges[0], found.edges[-1], label, percent=share), reach)
    zero = frame.y(0)
    marks = []
    for place, heights in enumerate((up, down)):
        for left, right, height in zip(found.edges, found.edges[1:], heights, strict=False):
            x1, x2, y = frame.x(left), frame.x(right), frame.y(-height if place else height)
            if height:
                top, tall = min(y, zero), max(abs(y - zero), 0.7)  # a single review is seen
                wide, class_ = max(x2 - x1 - 1, 0.7), "bar a" if place else "bar b"
                class_ += " pale" if pale and line is not None and left >= line else ""
                marks.append(tag("rect", x=x1 + 0.5, y=top, width=wide, height=tall, class_=class_))
    marks.append(tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=zero, y2=zero, class_="axis"))
    if line is not None and found.edges[0] <= line <= found.edges[-1]:
        marks.append(frame.upright(line))
    total = sum(map(sum, series))
    return frame.draw(key, title, f"{count(total)} reviews in {bins} bins of {label}.", marks)


def _sums(series: Sequence[Sequence[int]]) -> tuple[int, ...]:
    return tuple(map(sum, zip(*series, strict=True)))


def candidates(files: Sequence[ExportedFile], accuracy: float | None) -> Markup | None:
    """Draw accuracy against size; None with fewer than two files.

    Args:
        files: of one target.
        accuracy: of the trained model.
    """
    known = [(one.megabytes or 0.0, one.accuracy, one) for one in files if one.megabytes and one.accuracy is not None]
    if len(known) < 2:
        return None
    heights = [height for _, height, _ in known] + ([] if accuracy is None else [accuracy])
    room = max(0.004, (max(heights) - min(heights)) * 0.35)
    frame = Frame(
        axis(0, max(wide for wide, _, _ in known) * 1.08, "MB"),
        axis(max(min(heights) - room, 0), min(max(heights) + room, 1), "accuracy", percent=True),
    )
    marks = [] if accuracy is None else [frame.path([(0, accuracy), (frame.x_axis.high, accuracy)], "diagonal")]
    taken: list[tuple[float, float, float]] = []
    for wide, height, one in sorted(known, key=lambda each: each[0]):
        x, y = frame.x(wide), frame.y(height)
        shape, class_ = {"ships": (dot, "point b"), "spare": (dot, "hollow b")}.get(one.state, (cross, "stroke a"))
        marks += [shape(x, y, class_, 5), _free_label(short(one.name, 20), x, y, taken)]
    said = "; ".join(f"{one.name}: {size(wide)}, {percent(height)}, {one.state}" for wide, height, one in known)
    return frame.draw("candidates", "Accuracy by size of the file", f"{said}.", marks)


def _free_label(text: str, x: float, y: float, taken: list[tuple[float, float, float]]) -> Markup:
    """Return a label beside a point, at a height where no other label is."""
    half = 3.6 * len(text)
    x = min(max(x, LEFT + half), WIDTH - RIGHT - half)
    heights = (y - 11, y + 20, y - 25, y + 34, y - 39)
    free = (h for h in heights if all(abs(h - other) > 13 or abs(x - at) > half + wide for at, other, wide in taken))
    place = next(free, heights[0])
    taken.append((x, place, half))
    return tag("text", text, x=x, y=place, class_="note", text_anchor="middle")


def interval_bar(figure: Figure, low: float, high: float, reference: float | None, width: int = 140) -> Markup:
    """Draw a figure and its interval as a small bar. The text beside it says the same, so screen readers skip it.

    Args:
        figure: a share.
        low: the value of the left end.
        high: the value of the right end.
        reference: a value to mark, such as the accuracy of the other reviews.
        width: in pixels.
    """
    scale = Axis(low, high if high > low else low + 1, (), "", str)

    def x(value: float) -> float:
        return 5 + scale.share(value) * (width - 10)

    marks = [tag("line", x1=5, x2=width - 5, y1=9, y2=9, class_="track")]
    if reference is not None:
        marks.append(tag("line", x1=x(reference), x2=x(reference), y1=1, y2=17, class_="mark"))
    if figure.low is not None and figure.high is not None:
        ends = x(figure.low), x(figure.high)
        marks.append(tag("line", x1=ends[0], x2=max(ends[1], ends[0] + 1), y1=9, y2=9, class_="span"))
    marks.append(dot(x(figure.value), 9, "point b", 4.5))
    return tag("svg", *marks, class_="interval", viewBox=f"0 0 {width} 18", aria_hidden="true", focusable="false")
