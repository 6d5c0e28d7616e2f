"""Elements of SVG, axes with round ticks, and the frame that a plot is drawn in. Colours come from style.css."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from markupsafe import Markup

WIDTH, HEIGHT = 400, 260
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 30, 44
"""Margins. The label of the y axis stands above it, where it is read without turning the head."""


def tag(name: str, *content: str, **attributes: str | float | None) -> Markup:
    """Return an element. Content and values are escaped; `class_` is `class`, `stroke_width` is `stroke-width`.

    Args:
        name: of the element.
        *content: elements or text.
        **attributes: those that are None are left out; numbers are rounded to a tenth of a pixel.
    """
    written = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _short(value))
        for key, value in attributes.items()
        if value is not None
    )
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), written, Markup("").join(content))


def _short(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")


@dataclass(frozen=True)
class Axis:
    """From numbers to ticks."""

    low: float
    high: float
    ticks: tuple[float, ...]
    label: str
    write: Callable[[float], str]

    def share(self, value: float) -> float:
        """Return where a value lies between the ends, 0 to 1; values beyond them are at the ends."""
        return min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)


def axis(low: float, high: float, label: str, *, percent: bool = False, about: int = 5) -> Axis:
    """Return an axis whose ends and ticks are round numbers.

    Args:
        low: the smallest value.
        high: the largest value.
        label: what it measures.
        percent: whether the values are shares, whose ends stay within 0 and 1.
        about: how many ticks, more or less.
    """
    if not high > low:
        low, high = low - (abs(low) or 1) / 10, high + (abs(high) or 1) / 10
    step = _round_step((high - low) / about)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    if percent:
        first, last = max(first, 0), min(last, round(1 / step))
    ticks = tuple(i * step for i in range(first, last + 1))
    return Axis(ticks[0], ticks[-1], ticks, label, _writer(step, percent))


def whole_axis(low: int, high: int, label: str, about: int = 8) -> Axis:
    """Return an axis of whole numbers that all can be told apart, such as epochs."""
    step = max(1, math.ceil((high - low) / about))
    ticks = tuple(map(float, range(low, high + 1, step)))
    return Axis(low - 0.5, high + 0.5, ticks, label, lambda value: f"{value:.0f}")


def _round_step(step: float) -> float:
    power = 10 ** math.floor(math.log10(step))
    return power * next(nice for nice in (1, 2, 2.5, 5, 10) if step <= nice * power * (1 + 1e-9))


def _writer(step: float, percent: bool) -> Callable[[float], str]:
    unit = 100 if percent else 1
    decimals = max(0, -math.floor(math.log10(step * unit) + 1e-9))
    if float(f"{step * unit:.{decimals}f}") != float(f"{step * unit:.12g}"):  # steps of 2.5 want one more
        decimals += 1
    return lambda value: f"{value * unit:,.{decimals}f}{'%' if percent else ''}"


@dataclass(frozen=True)
class Frame:
    """A plot's area and its two axes."""

    x_axis: Axis
    y_axis: Axis
    height: int = HEIGHT

    @property
    def bottom(self) -> float:
        """Where the x axis lies."""
        return self.height - BOTTOM

    def x(self, value: float) -> float:
        """Return the pixel of a value."""
        return LEFT + self.x_axis.share(value) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        """Return the pixel of a value."""
        return self.bottom - self.y_axis.share(value) * (self.bottom - TOP)

    def draw(self, key: str, title: str, description: str, marks: Iterable[Markup]) -> Markup:
        """Return the whole SVG.

        Args:
            key: distinguishes the ids of the page.
            title: what a screen reader says first.
            description: what it says next.
            marks: drawn above the grid.
        """
        middle = LEFT + (WIDTH - LEFT - RIGHT) / 2
        labels = (
            tag("text", self.y_axis.label, x=0, y=14, class_="label"),
            tag("text", self.x_axis.label, x=middle, y=self.height - 6, class_="label", text_anchor="middle"),
        )
        return tag(
            "svg",
            tag("title", title, id=f"{key}-title"),
            tag("desc", description, id=f"{key}-about"),
            *self._grid(),
            *labels,
            *marks,
            class_="plot",
            viewBox=f"0 0 {WIDTH} {self.height}",
            role="img",
            aria_labelledby=f"{key}-title {key}-about",
        )

    def _grid(self) -> Iterable[Markup]:
        for tick in self.y_axis.ticks:
            y, zero = self.y(tick), tick == self.y_axis.low
            yield tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="axis" if zero else "grid")
            yield tag("text", self.y_axis.write(tick), x=LEFT - 7, y=y + 4, class_="tick", text_anchor="end")
        for tick in self.x_axis.ticks:
            x = self.x(tick)
            yield tag("line", x1=x, x2=x, y1=self.bottom, y2=self.bottom + 4, class_="axis")
            yield tag("text", self.x_axis.write(tick), x=x, y=self.bottom + 18, class_="tick", text_anchor="middle")

    def path(self, points: Iterable[tuple[float, float]], class_: str) -> Markup:
        """Return a line through points."""
        steps = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in points)
        return tag("polyline", points=steps, class_=class_)

    def whisker(self, x: float, low: float, high: float, class_: str) -> Markup:
        """Return an interval of the y axis."""
        at, ends = self.x(x), (self.y(low), self.y(high))
        caps = (tag("line", x1=at - 3, x2=at + 3, y1=end, y2=end) for end in ends)
        return tag("g", tag("line", x1=at, x2=at, y1=ends[0], y2=ends[1]), *caps, class_=class_)

    def upright(self, x: float, class_: str = "mark") -> Markup:
        """Return a line across the plot at a value of the x axis."""
        return tag("line", x1=self.x(x), x2=self.x(x), y1=TOP, y2=self.bottom, class_=class_)


def dot(x: float, y: float, class_: str, radius: float = 4) -> Markup:
    """Return a circle."""
    return tag("circle", cx=x, cy=y, r=radius, class_=class_)


def square(x: float, y: float, class_: str, half: float = 4) -> Markup:
    """Return a square, which is told from a circle without its colour."""
    return tag("rect", x=x - half, y=y - half, width=2 * half, height=2 * half, class_=class_)


def cross(x: float, y: float, class_: str, half: float = 4.5) -> Markup:
    """Return a cross."""
    strokes = f"M{x - half:.1f} {y - half:.1f}l{2 * half} {2 * half}m0 {-2 * half}l{-2 * half} {2 * half}"
    return tag("path", d=strokes, class_=class_)
