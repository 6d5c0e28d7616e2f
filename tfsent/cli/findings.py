"""What `tfsent evaluate` finds beyond the metrics, as a person reads it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from tfsent.console import print_table

if TYPE_CHECKING:
    from tfsent.evaluation.analysis import Analysis, Slice

SLICES = 20
"""That are shown, at most."""
ERRORS = 5
CHARACTERS = 60
"""Of the text of a review."""
DIFFERENCE = {"alike": "not shown"}
"""Verdicts in other words: a small slice may differ, and its reviews be too few to show it."""


def print_analysis(found: Analysis) -> None:
    """Print the slices that are large enough to compare, and the most confident errors."""
    if found.lengths is not None and found.lengths.reviews_cut:
        click.echo(f"{found.lengths.reviews_cut:.1%} of the reviews are longer than the model reads: they are cut.")
    _print_slices([one for one in found.slices if one.by != "confidence"])
    if not found.errors:
        return
    click.echo()
    rows = [
        (_one_line(one.text), one.true_label, one.predicted_label, f"{one.probability:.1%}")
        for one in found.errors[:ERRORS]
    ]
    print_table("The most confident errors", ("text", "true label", "predicted", "probability"), rows)
    if found.near_duplicates:
        are = "error is" if found.near_duplicates == 1 else "errors are"
        click.echo(f"{found.near_duplicates:,} confident {are} left out: their texts nearly occur in train.")


def _print_slices(slices: Sequence[Slice]) -> None:
    """Print slices from the worst, and how many are too small or not shown."""
    told = [one for one in slices if one.verdict != "too few"]
    if told:
        click.echo()
        header = ("reviews by", "reviews", "accuracy (95%)", "the others", "difference")
        print_table("", header, [_slice_row(one) for one in told[:SLICES]])
        worse = sum(one.verdict == "worse" for one in told)
        shown = f"{worse or 'None'} of these {len(told)} {'are' if worse > 1 else 'is'} shown to be worse"
        click.echo(f"{shown} than the others (Fisher's exact test, corrected after Holm).")
    if len(told) > SLICES:
        click.echo(f"{len(told) - SLICES} more are not shown here.")
    if few := len(slices) - len(told):
        click.echo(f"{few} more {'has' if few == 1 else 'have'} too few reviews to tell.")


def _slice_row(one: Slice) -> tuple[str, ...]:
    low, high = one.interval
    rest = "–" if one.rest is None else f"{one.rest:.1%}"
    accuracy = f"{one.accuracy:.1%} ({100 * low:.1f}–{100 * high:.1f})"
    return (f"{one.by}: {one.value}", f"{one.reviews:,}", accuracy, rest, DIFFERENCE.get(one.verdict, one.verdict))


def _one_line(text: str) -> str:
    """Return the beginning of a text on one line."""
    line = " ".join(text.split())
    return line if len(line) <= CHARACTERS else f"{line[: CHARACTERS - 1]}…"
