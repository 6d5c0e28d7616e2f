"""The commands on a trained model: evaluate, predict, export."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tfsent.api import answers, models
from tfsent.errors import BudgetError, ConfigError, DataError

if TYPE_CHECKING:
    from tfsent.evaluation.metrics import Metrics
    from tfsent.exporting.parity import ParityReport

CHUNK = 512
"""Texts predicted at a time: with --json and --csv the results of a long file appear while it is read."""

_export_set_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a key below export., e.g. export.mobile.max_flips=0.02, here and now only.",
)
_run_argument = click.argument("run", type=click.Path(path_type=Path))


_data_set_option = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="How to read FILE, e.g. data.delimiter=';'."
)
_text_option = click.option("--text", metavar="COLUMN", help="The column of the texts.  [default: as the run, or text]")


@click.command(short_help="Evaluate a run on its held-out reviews, or any model on a file.")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--split",
    type=click.Choice(["test", "validation"]),
    help="Of a run's own reviews: test is for reporting, validation for choosing settings.  [default: test]",
)
@click.option("--data", metavar="FILE", help="Labelled reviews of yours: CSV, TSV, JSON lines, Parquet or a folder.")
@_text_option
@click.option("--label", metavar="COLUMN", help="The column of the labels.  [default: as the run, or label]")
@click.option("--output", type=click.Path(path_type=Path), help="Where predictions go.  [default: beside FILE]")
@click.option("--by", multiple=True, metavar="COLUMN", help="A column of FILE whose values are slices. Several times.")
@click.option(
    "--label-errors", type=click.Path(path_type=Path), metavar="CSV", help="Write FILE with likely label errors first."
)
@_data_set_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def evaluate(
    model: Path,
    split: str | None,
    data: str | None,
    text: str | None,
    label: str | None,
    output: Path | None,
    by: tuple[str, ...],
    label_errors: Path | None,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Evaluate MODEL, any form of one: on held-out reviews of its run, or, with --data, on reviews of yours.

    Of a run, writes metrics.json, predictions.csv and analysis.json into it, and renews report.html. `--split
    validation` is for choosing settings, and adds -validation to the names; only `test` is for reporting.

    With --data, writes FILE's predictions to NAME.predictions.csv beside it. Rows whose label the model does not know
    are left out, counted and named.

    Slices are reviews that have something in common: length, script, words of negation, a column named by --by. The
    worst come first. --label-errors lists all reviews, those first whose label is likely wrong (pip install
    'tfsent[clean]'): correct the column `label`, and train with `--set data.train=CSV`. The model must not have learnt
    from FILE.

    \b
      tfsent evaluate runs/quickstart
      tfsent evaluate runs/quickstart --data march.csv --text body --label stars --by country
      tfsent evaluate runs/quickstart/export/mobile/model.tflite --data march.csv
    """
    words = [*_columns(text, label), *overrides]
    if data is None:
        if words or by:
            raise ConfigError("--text, --label, --by and --set are about a file of yours. Name it with --data.")
        result = answers.evaluate(model, split or "test", output=output, label_errors=label_errors)
    elif split is not None:
        raise ConfigError("--split chooses reviews of the run, --data reviews of yours. Give one of them.")
    else:
        output = output or Path(data).with_name(f"{Path(data).name.split('.')[0]}.predictions.csv")
        result = answers.evaluate(model, data=data, overrides=words, by=by, output=output, label_errors=label_errors)
    _print_evaluation(result, as_json)
    if as_json:
        return
    for what, place in (("Predictions", output), ("Likely label errors first", label_errors)):
        if place is not None:
            click.echo(f"{what}: {place}")
    if data is None and (report := models.report_of(model)) is not None:
        click.echo(f"Report: {report}")


def _print_evaluation(result: Metrics, as_json: bool) -> None:
    from tfsent.cli import findings, tables

    if as_json:
        analysis = None if result.analysis is None else result.analysis.to_dict()
        click.echo(json.dumps({**result.to_dict(), "analysis": analysis}, indent=2))
        return
    tables.print_metrics(result)
    if result.analysis is not None:
        findings.print_analysis(result.analysis)


def _columns(text: str | None, label: str | None) -> list[str]:
    """Return overrides for the columns that were named."""
    named = {"data.text": text, "data.label": label}
    return [f"{key}={json.dumps(column)}" for key, column in named.items() if column is not None]


@click.command(short_help="Classify texts or a table with a run, a SavedModel or a .tflite file.")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("texts", nargs=-1, metavar="[TEXT]... | -")
@click.option("--file", "file", type=click.Path(path_type=Path), help="A file of UTF-8 text, one review a line.")
@click.option(
    "--data",
    multiple=True,
    metavar="FILE",
    help="A table: CSV, TSV, JSON lines or Parquet; a glob in quotes; several times; - reads JSON lines.",
)
@click.option("--output", type=click.Path(path_type=Path), help="Where the answers go: a file, or a folder of shards.")
@_text_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "csv", "parquet"]),
    help="Of the shards in a folder.  [default: as the first file]",
)
@click.option("--overwrite", is_flag=True, help="Replace what is at --output.")
@click.option(
    "--runner",
    type=click.Choice(["direct", "flink", "spark", "dataflow"]),
    help="Give the job to Apache Beam.  [default: this process]",
)
@click.option(
    "--beam-option",
    "beam_options",
    multiple=True,
    metavar="--NAME=VALUE",
    help="An option of Beam's own, e.g. '--direct_num_workers=2'. Several times.",
)
@_data_set_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line; of --data, what was done.")
@click.option("--csv", "as_csv", is_flag=True, help="CSV with a header.")
def predict(
    model: Path,
    texts: tuple[str, ...],
    file: Path | None,
    data: tuple[str, ...],
    output: Path | None,
    text: str | None,
    form: str | None,
    overwrite: bool,
    runner: str | None,
    beam_options: tuple[str, ...],
    overrides: tuple[str, ...],
    as_json: bool,
    as_csv: bool,
) -> None:
    """Classify texts with MODEL: a run, a SavedModel folder or a .tflite file.

    Texts are arguments, or lines of --file, or lines of standard input (`-`). Blank lines are skipped. A text that
    begins with a dash comes after `--`.

    --data classifies every row of a table and writes all of its columns and the answers to --output, whose ending says
    the format: .csv, .tsv, .jsonl or .parquet. The file may be larger than memory. The same command continues what was
    interrupted. `--data -` reads JSON lines and writes one for each as they come.

    Several files go into a folder: for each 16,384 rows of a file a shard, NAME-00000.jsonl and so on, whole or not
    there. OUT/manifest.json lists them with their SHA-256, and says `"complete": true` at the end. Another model or
    changed files are refused; --overwrite begins anew.

    --runner gives the same job to Apache Beam (pip install 'tfsent[beam]'): `direct` on this machine, or a cluster
    whose workers all see MODEL, the files and OUT under the same paths. On one machine, leave it out: `direct` holds
    the rows in memory.

    \b
      tfsent predict runs/quickstart "Loved every minute." "A waste of time."
      tfsent predict runs/quickstart -- "-5 of 10"
      tfsent predict runs/quickstart/export/mobile/model.tflite --file reviews.txt --csv > out.csv
      tfsent predict runs/quickstart --data new.csv --text body --output answers.csv
      tfsent predict runs/quickstart --data 'reviews-*.jsonl' --output answers --format parquet
      tfsent predict runs/quickstart --data 'r-*.csv' --output out --runner spark --beam-option --job_endpoint=HOST:8099
    """
    if data:
        if texts or file or as_csv:
            raise ConfigError(
                "--data FILE has the texts, and --output OUT the answers. Leave out TEXT, --file and --csv; put "
                "a glob in quotes."
            )
        words = [*_columns(text, None), *overrides]
        options = {"format": form, "runner": runner, "beam_options": beam_options, "overwrite": overwrite}
        _predict_table(model, data, output, words, options, as_json=as_json)
        return
    if output or text or form or overwrite or runner or beam_options or overrides:
        raise ConfigError(
            "--output, --text, --format, --overwrite, --runner, --beam-option and --set are about a table. Name it "
            "with --data."
        )
    if as_json and as_csv:
        raise ConfigError("--json and --csv are two output formats. Give one of them.")
    rows = _read_texts(texts, file)
    predictor = answers.load(model)
    from tfsent.cli import tables

    answers.warn_of_unknown_words(predictor, rows)
    chunks = (predictor.predict(rows[i : i + CHUNK]) for i in range(0, len(rows), CHUNK))
    predictions = (prediction for chunk in chunks for prediction in chunk)
    if as_json:
        tables.print_json(predictions)
    elif as_csv:
        tables.print_csv(predictions, predictor.label_names)
    else:
        tables.print_predictions(predictions)


def _predict_table(
    model: Path, data: tuple[str, ...], output: Path | None, words: list[str], options: dict[str, Any], *, as_json: bool
) -> None:
    if "-" in data:
        if output is not None or len(data) > 1 or any(options.values()):
            raise ConfigError("--data - reads JSON lines and writes them to standard output. Leave out --output.")
        for line in answers.predict_lines(model, sys.stdin.buffer, words):
            click.echo(line)
        return
    if output is None:
        raise ConfigError("--data FILE needs --output OUT, such as --output answers.csv.")
    result = answers.predict_file(model, data, output, words, **options)
    if as_json:
        click.echo(json.dumps(result.to_dict(), indent=2))
        return
    of_files = f" of {result.files:,} files" if result.files > 1 else ""
    shards = f" in {result.shards:,} shard{'s' if result.shards > 1 else ''}" if Path(result.output).is_dir() else ""
    without = f" ({result.without_text:,} without a text, whose answers are empty)" if result.without_text else ""
    click.echo(f"{result.output}: {result.rows:,} rows{of_files}{shards}{without}.")


@click.command(short_help="Export a run for server and phone, and verify each file.")
@_run_argument
@click.option(
    "--to", "targets", multiple=True, type=click.Choice(models.TARGETS), help="Once or twice.  [default: both]"
)
@click.option("--keep", type=click.IntRange(1), metavar="N", help="Keep the N newest versions of the SavedModel.")
@_export_set_option
@click.option("--json", "as_json", is_flag=True, help="Print verify.json instead of a table.")
def export(run: Path, targets: tuple[str, ...], keep: int | None, overrides: tuple[str, ...], as_json: bool) -> None:
    """Export the model in RUN, run each file through its own runtime on held-out reviews, compare.

    `serving` is a SavedModel for TensorFlow Serving that takes raw text, published as its next version; `--set
    export.serving.precision=auto` tries bfloat16, too. `mobile` has a .tflite file, the smallest of
    several kinds that is within the limits of export.mobile and not slower; one for MediaPipe; and what an app needs
    beside them. When a file strays from the trained model by more than its budget, nothing is published and the exit
    code is 1.
    """
    kept = [] if keep is None else [f"export.serving.keep={keep}"]
    try:
        report = models.export(run, targets or models.TARGETS, [*kept, *overrides])
    except BudgetError as error:
        _print_report(error.report, as_json)
        raise
    _print_report(report, as_json)
    if not as_json:
        click.echo("Published: " + ", ".join(map(str, models.published_folders(run, report))))
        click.echo(f"Report: {models.report_of(run)}")


@click.command(short_help="Measure on this machine how fast models answer.")
@click.argument("models_", metavar="MODEL...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--reviews", type=click.IntRange(0), default=200, show_default=True, help="Held-out reviews of the run.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def bench(models_: tuple[Path, ...], reviews: int, as_json: bool) -> None:
    """Measure how fast each MODEL answers here: a run, a SavedModel or a .tflite file.

    Milliseconds of one text by its length in tokens (median and 99th percentile), tokenising included; a .tflite file
    with one thread and with all. Reviews a second on held-out reviews of its run, in their own lengths. Seconds and
    memory of a process from its start to its first answer. Other work on the machine changes all of them.

    \b
      tfsent bench runs/quickstart/export/mobile/model.tflite
      tfsent bench runs/quickstart runs/quickstart/export/serving --json
    """
    found = [answers.bench(model, reviews=reviews) for model in models_]
    from tfsent.cli import tables

    if as_json:
        click.echo(json.dumps([result.to_dict() for result in found], indent=2))
    else:
        tables.print_bench(found)


@click.command(short_help="Calibrate a run, and choose its decision threshold.")
@_run_argument
@click.option("--calibrate", is_flag=True, help="Fit a temperature and fold it into the model.")
@click.option("--threshold", metavar="AIM", help="accuracy, f1, 'precision>=0.9', 'recall>=0.9', or none.")
@click.option("--json", "as_json", is_flag=True, help="Print decision.json.")
def decide(run: Path, calibrate: bool, threshold: str | None, as_json: bool) -> None:
    """Calibrate the trained model in RUN, or choose its decision threshold, on its validation reviews.

    `--calibrate` divides the logits by a temperature (C. Guo et al., 2017): a probability of 90% is then right nine
    times in ten. `--threshold` chooses the probability that the second class needs to be answered; `none` answers the
    most probable class. Both are kept with the model, and every form of it that is exported from now on answers by
    them. The recipe keys train.calibrate and train.threshold do the same at the end of a training.

    What was measured of the model is removed: evaluate and export it again.

    \b
      tfsent decide runs/quickstart --calibrate
      tfsent decide runs/quickstart --threshold 'precision>=0.95'
    """
    if not calibrate and threshold is None:
        raise ConfigError("Say what to decide: --calibrate, --threshold AIM, or both.")
    found = models.decide(run, calibrate=calibrate, threshold=threshold)
    if as_json:
        click.echo(json.dumps(vars(found), indent=2))
        return
    how = "the most probable class" if found.threshold is None else f"threshold {found.threshold:.4f} for {found.aim}"
    click.echo(f"Temperature {found.temperature:.3f}; {how}. Next: tfsent evaluate {run}")


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
    if bool(texts) == bool(file):
        raise DataError("predict takes texts, or --file FILE, or - for standard input. Give one of them.")
    if str(file) == "-":
        texts, file = ("-",), None
    if file is None and texts == ("-",):
        return _read_lines("standard input", sys.stdin.buffer.read())
    if file is not None:
        if answers.is_table(file):
            raise DataError(
                f"{file} is a table, by its name. Expected a file with one review a line; for a table: --data {file}"
            )
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


COMMANDS = (evaluate, predict, decide, export, bench)
