"""The commands on a trained model: evaluate, predict, export."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tfsent.api import models
from tfsent.errors import BudgetError, ConfigError, DataError

if TYPE_CHECKING:
    from tfsent.exporting.parity import ParityReport

CHUNK = 512
"""Texts predicted at a time: with --json and --csv the results of a long file appear while it is read."""

_export_set_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a key below export., e.g. export.budget.int8_flips=0.02, here and now only.",
)
_run_argument = click.argument("run", type=click.Path(path_type=Path))


@click.command(short_help="Evaluate a run on reviews it never learnt from.")
@_run_argument
@click.option(
    "--split",
    type=click.Choice(["test", "validation"]),
    default="test",
    show_default=True,
    help="test is for reporting, validation for choosing settings.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def evaluate(run: Path, split: str, as_json: bool) -> None:
    """Evaluate the model in RUN on reviews it never learnt from.

    Writes metrics.json and predictions.csv into the run. `--split validation` is for choosing settings, and writes
    metrics-validation.json and predictions-validation.csv; only `test` is for reporting.
    """
    result = models.evaluate(run, split)
    from tfsent.cli import tables

    if as_json:
        click.echo(json.dumps(result.to_dict(), indent=2))
    else:
        tables.print_metrics(result)


@click.command(short_help="Classify texts with a run, a SavedModel or a .tflite file.")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("texts", nargs=-1, metavar="[TEXT]... | -")
@click.option("--file", "file", type=click.Path(path_type=Path), help="A file of UTF-8 text, one review a line.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--csv", "as_csv", is_flag=True, help="CSV with a header.")
def predict(model: Path, texts: tuple[str, ...], file: Path | None, as_json: bool, as_csv: bool) -> None:
    """Classify texts with MODEL: a run, a SavedModel folder or a .tflite file.

    Texts are arguments, or lines of --file, or lines of standard input (`-`). Blank lines are skipped. A text that
    begins with a dash comes after `--`.

    \b
      tfsent predict runs/quickstart "Loved every minute." "A waste of time."
      tfsent predict runs/quickstart -- "-5 of 10"
      tfsent predict runs/quickstart/export/mobile/model-int8.tflite --file reviews.txt --csv > out.csv
    """
    if as_json and as_csv:
        raise ConfigError("--json and --csv are two output formats. Give one of them.")
    rows = _read_texts(texts, file)
    predictor = models.load(model)
    from tfsent.cli import tables

    chunks = (predictor.predict(rows[i : i + CHUNK]) for i in range(0, len(rows), CHUNK))
    predictions = (prediction for chunk in chunks for prediction in chunk)
    if as_json:
        tables.print_json(predictions)
    elif as_csv:
        tables.print_csv(predictions, predictor.label_names)
    else:
        tables.print_predictions(predictions)


@click.command(short_help="Export a run for server and phone, and verify each file.")
@_run_argument
@click.option(
    "--to", "targets", multiple=True, type=click.Choice(models.TARGETS), help="Once or twice.  [default: both]"
)
@_export_set_option
@click.option("--json", "as_json", is_flag=True, help="Print verify.json instead of a table.")
def export(run: Path, targets: tuple[str, ...], overrides: tuple[str, ...], as_json: bool) -> None:
    """Export the model in RUN, run each file through its own runtime on held-out reviews, compare.

    `serving` is a SavedModel for TensorFlow Serving that takes raw text; `mobile` are float32 and int8 .tflite files.
    When a file strays from the trained model by more than the recipe's budget, nothing is published and the exit code
    is 1.
    """
    try:
        report = models.export(run, targets or models.TARGETS, overrides)
    except BudgetError as error:
        _print_report(error.report, as_json)
        raise
    _print_report(report, as_json)
    if not as_json:
        from tfsent.storage.run_directory import require_run

        best = require_run(run)  # of several seeds
        click.echo("Published: " + ", ".join(str(best / folder) for folder in report.published))


def _print_report(report: ParityReport, as_json: bool) -> None:
    from tfsent.cli import tables

    if as_json:
        click.echo(json.dumps(report.to_dict(), indent=2))
    else:
        tables.print_parity(report)


def _read_texts(texts: tuple[str, ...], file: Path | None) -> list[str]:
    """Arguments, lines of a file, or lines of standard input.

    Raises:
        DataError: none or several of them, a table, no text at all, or bytes that are not UTF-8.
    """
    from tfsent.recipe.loader import is_data

    if bool(texts) == bool(file):
        raise DataError("predict takes texts, or --file FILE, or - for standard input. Give one of them.")
    if str(file) == "-":
        texts, file = ("-",), None
    if file is None and texts == ("-",):
        return _read_lines("standard input", sys.stdin.buffer.read())
    if file is not None:
        if is_data(str(file)) and file.suffix.lower() != ".txt":
            raise DataError(f"{file} holds more than texts, by its name. Expected a file with one review a line.")
        return _read_lines(str(file), file.read_bytes())
    for number, text in enumerate(texts, 1):
        if not text.strip():
            raise DataError(f"Text {number} is blank. Expected a review.")
        if any("\ud800" <= char <= "\udfff" for char in text):  # how Python hands on what it cannot decode
            raise DataError(f"Text {number} is not UTF-8. Expected a review in UTF-8.")
    return list(texts)


def _read_lines(name: str, raw: bytes) -> list[str]:
    """Those that are not blank; how many are is said."""
    lines = raw.removeprefix(b"\xef\xbb\xbf").removesuffix(b"\n").split(b"\n")
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            row = line.decode("utf-8").rstrip("\r")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{name}, line {number}: byte {error.start + 1} (0x{line[error.start]:02x}) is not UTF-8. Save the "
                "file as UTF-8, or convert it: iconv -f latin1 -t utf-8"
            ) from None
        if row.strip():
            rows.append(row)
    if not rows:
        raise DataError(f"{name} holds no text. Expected one review a line.")
    if blank := len(lines) - len(rows):
        click.echo(f"{blank:,} blank line{'s are' if blank > 1 else ' is'} left out.", err=True)
    return rows


COMMANDS = (evaluate, predict, export)
