"""The command on two models: `tfsent compare`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tfsent.api import comparing
from tfsent.console import print_table
from tfsent.errors import ConfigError

if TYPE_CHECKING:
    from tfsent.evaluation.comparison import Comparison, Flip

SHOWN = 5
"""Flips each way that the terminal shows."""
CHARACTERS = 44
"""Of the text of a flip."""


@click.command(short_help="Compare two models on the same reviews.")
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option(
    "--split",
    type=click.Choice(["test", "validation"]),
    help="The held-out reviews that both are asked about.  [default: test]",
)
@click.option("--data", metavar="FILE", help="Labelled reviews of yours: CSV, TSV, JSON lines, Parquet or a folder.")
@click.option("--text", metavar="COLUMN", help="The column of the texts.  [default: as run A, or text]")
@click.option("--label", metavar="COLUMN", help="The column of the labels.  [default: as run A, or label]")
@click.option("--output", type=click.Path(path_type=Path), metavar="CSV", help="Write all reviews that flip here.")
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="How to read FILE, e.g. data.delimiter=';'."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def compare(
    a: Path,
    b: Path,
    split: str | None,
    data: str | None,
    text: str | None,
    label: str | None,
    output: Path | None,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Compare the models A and B on the same reviews: which is better, and may that be chance?

    Each is a run, a SavedModel or a .tflite file. Both are asked about the held-out reviews of their runs, which must
    be the same; or, with --data, about reviews of yours that neither has learnt.

    Shows the differences in accuracy, macro F1 and log loss with 95% confidence intervals (10,000 paired bootstrap
    samples), McNemar's exact test of the accuracy, and the reviews that the two answer differently.

    \b
      tfsent compare runs/a runs/b
      tfsent compare runs/a runs/a/export/mobile/model.tflite --output flips.csv
      tfsent compare runs/a runs/b --data march.csv --text body --label stars
    """
    words = [f"data.{key}={json.dumps(name)}" for key, name in (("text", text), ("label", label)) if name is not None]
    words += overrides
    if data is None and words:
        raise ConfigError("--text, --label and --set are about a file of yours. Name it with --data.")
    if data is not None and split is not None:
        raise ConfigError("--split chooses held-out reviews of runs, --data reviews of yours. Give one of them.")
    found = comparing.compare(a, b, split or "test", data=data, overrides=words, output=output)
    if as_json:
        click.echo(json.dumps(found.to_dict(), indent=2))
        return
    print_comparison(found)
    if output is not None:
        click.echo(f"All {len(found.flips):,} flips: {output}")


def print_comparison(found: Comparison) -> None:
    """Print the verdict, the metrics and a few of the flips."""
    click.echo(f"A: {found.a}")
    click.echo(f"B: {found.b}")
    click.echo(f"{found.reviews:,} reviews: {found.origin}")
    click.echo()
    click.echo(found.verdict)
    click.echo()
    rows = []
    for name, one in (("accuracy", found.accuracy), ("macro F1", found.macro_f1)):
        low, high = (f"{100 * end:+.2f}" for end in one.interval)
        rows.append((name, f"{one.a:.2%}", f"{one.b:.2%}", f"{100 * one.difference:+.2f} pt", f"{low} to {high}"))
    loss = found.log_loss
    low, high = (f"{end:+.4f}" for end in loss.interval)
    rows.append(("log loss in nats", f"{loss.a:.4f}", f"{loss.b:.4f}", f"{loss.difference:+.4f}", f"{low} to {high}"))
    print_table("", ("", "A", "B", "B − A", "95% interval of B − A"), rows)
    if not found.flips:
        return
    click.echo()
    click.echo(
        f"{len(found.flips):,} reviews flip: {found.gained:,} only B has right, {found.lost:,} only A, "
        f"{found.both_wrong:,} neither. McNemar's exact test: p = {found.mcnemar_p:.2g}."
    )
    for change, title in (
        ("gained", "Only B is right"),
        ("lost", "Only A is right"),
        ("both wrong", "Neither is right"),
    ):
        if few := [flip for flip in found.flips if flip.change == change][:SHOWN]:
            click.echo()
            header = ("text", "true label", "A says", "B says", "A: P(true)", "B: P(true)")
            print_table(title, header, [_row(flip) for flip in few])


def _row(flip: Flip) -> tuple[str, ...]:
    line = " ".join(flip.text.split())
    text = line if len(line) <= CHARACTERS else f"{line[: CHARACTERS - 1]}…"
    labels = flip.true_label, flip.label_a, flip.label_b
    return (text, *labels, f"{flip.probability_a:.1%}", f"{flip.probability_b:.1%}")


COMMANDS = (compare,)
