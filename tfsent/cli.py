"""The command line: words → calls. The only place where an error becomes an exit code.

Nothing here imports TensorFlow until a command needs it: `tfsent --help` must answer at once.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tfsent import __version__, cli_inputs, cli_search
from tfsent.cli_inputs import resolve_config, set_option
from tfsent.errors import BudgetError, ConfigError, DataError, Interrupted, Preempted, TfsentError

if TYPE_CHECKING:
    from tfsent.recipe.schema import Config
    from tfsent.training.engine.interrupts import Asked

CHUNK = 512
"""Texts predicted at a time, so that with --json and --csv a long file shows results as they come."""

_export_set_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a key below export., e.g. export.budget.int8_flips=0.02, here and now only.",
)
_run_argument = click.argument("run", type=click.Path(path_type=Path))


class _Group(click.Group):
    """Turns our errors, and those of the file system, into one message and an exit code."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except KeyboardInterrupt as event:
            self._fail(str(event) or "Interrupted.", Interrupted.exit_code)
        except (Interrupted, Preempted) as event:
            self._fail(str(event), event.exit_code)
        except TfsentError as error:
            self._fail(f"Error: {error}", error.exit_code)
        except BrokenPipeError:
            raise  # click ends quietly when the reader of a pipe has gone
        except OSError as error:
            self._fail(f"Error: {error.strerror or error}: {error.filename or 'no file named'}", 1)

    @staticmethod
    def _fail(message: str, code: int) -> None:
        click.echo(message, err=True)
        sys.exit(code)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tfsent")
def main() -> None:
    """Fine-tune a BERT encoder on labelled reviews, ship it to server and phone, and prove that the shipped files
    agree with the trained model.

    \b
    A first model, from nothing:
      tfsent train quickstart            reviews, encoder and training → runs/quickstart
      tfsent evaluate runs/quickstart    accuracy on reviews it never saw
      tfsent export runs/quickstart      SavedModel and .tflite, each verified
      tfsent predict runs/quickstart "Loved every minute."

    `tfsent COMMAND --help` explains a command.
    """


@main.command(short_help="Fine-tune by a recipe, or go on with --resume.")
@click.argument("recipe", required=False)
@set_option
@click.option(
    "--run-dir", type=click.Path(path_type=Path), help="Where to put the run.  [default: runs/NAME-OF-THE-RECIPE]"
)
@click.option(
    "--overwrite", is_flag=True, help="Replace a run that is there; it is kept until the new one is finished."
)
@click.option("--resume", type=click.Path(path_type=Path), metavar="RUN", help="Go on with a training that was ended.")
@click.option(
    "--seeds", metavar="1,2,3", help="Train once with each seed; say mean and spread, keep the best by validation."
)
def train(
    recipe: str | None,
    overrides: tuple[str, ...],
    run_dir: Path | None,
    overwrite: bool,
    resume: Path | None,
    seeds: str | None,
) -> None:
    """Fine-tune by RECIPE: the name of one (`tfsent recipes ls`), or a path to a YAML file.

    Writes a run directory with everything the other commands need. Ctrl-C ends training after the step at hand and
    saves what was learnt; a second Ctrl-C quits at once. SIGTERM writes a checkpoint and exits with 75. However a
    training ended, --resume goes on from its newest checkpoint (train.checkpoint_minutes): on a CPU with one thread
    (TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1) the weights are bit for bit those of an uninterrupted training.

    \b
      tfsent train quickstart
      tfsent train imdb --set data.dir=~/tensorflow_datasets --set text.max_tokens=256 --run-dir runs/short
      tfsent train --resume runs/short
      tfsent train quickstart --seeds 1,2,3      the others lie in runs/quickstart.seeds
    """
    if recipe is None and resume is None:
        raise ConfigError("Name a recipe (`tfsent recipes ls` lists them), or pass --resume RUN.")
    if resume is not None:
        _require_alone(run_dir is not None or overwrite, seeds is not None, recipe is None and bool(overrides))
    if seeds is not None and any(override.partition("=")[0].strip() == "train.seed" for override in overrides):
        raise ConfigError("--seeds says which seeds: --set train.seed does not go with it.")
    numbers = _seeds(seeds) if seeds is not None else []
    config = resolve_config(recipe, overrides) if recipe is not None else None
    run = resume or run_dir or Path("runs") / Path(recipe or "").stem
    from tfsent.training.engine.interrupts import from_the_start

    with from_the_start() as asked:
        if config is None or resume is not None:
            _resume(run, config, asked)
        elif numbers:
            _train_seeds(config, run, numbers, overwrite, asked)
            return
        else:
            _train(config, run, overwrite, asked)
    click.echo(f"The model is in {run}. Next: tfsent evaluate {run}")


@main.command(short_help="Evaluate a run on reviews it never learnt from.")
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
    from tfsent.console import load_tensorflow

    load_tensorflow()
    from tfsent import tables
    from tfsent.evaluation import metrics as evaluator

    result = evaluator.evaluate(run, split)
    if as_json:
        click.echo(json.dumps(result, indent=2))
    else:
        tables.print_metrics(result)


@main.command(short_help="Classify texts with a run, a SavedModel or a .tflite file.")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("texts", nargs=-1, metavar="[TEXT]... | -")
@click.option("--file", "file", type=click.Path(path_type=Path), help="A file of UTF-8 text, one review a line.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--csv", "as_csv", is_flag=True, help="CSV with a header.")
def predict(model: Path, texts: tuple[str, ...], file: Path | None, as_json: bool, as_csv: bool) -> None:
    """Classify texts with MODEL: a run, a SavedModel folder or a .tflite file.

    Texts are arguments, or lines of --file, or lines of standard input (`-`). Blank lines are skipped.

    \b
      tfsent predict runs/quickstart "Loved every minute." "A waste of time."
      tfsent predict runs/quickstart/export/mobile/model-int8.tflite --file reviews.txt --csv > out.csv
    """
    if as_json and as_csv:
        raise ConfigError("--json and --csv are two ways to print the same. Give one of them.")
    rows = _read_texts(texts, file)
    import tfsent
    from tfsent import tables

    predictor = tfsent.load(model)
    chunks = (predictor.predict(rows[i : i + CHUNK]) for i in range(0, len(rows), CHUNK))
    predictions = (prediction for chunk in chunks for prediction in chunk)
    if as_json:
        tables.print_json(predictions)
    elif as_csv:
        tables.print_csv(predictions, predictor.label_names)
    else:
        tables.print_predictions(predictions)


@main.command(short_help="Export a run for server and phone, and verify each file.")
@_run_argument
@click.option(
    "--to", "targets", multiple=True, type=click.Choice(["serving", "mobile"]), help="Once or twice.  [default: both]"
)
@_export_set_option
@click.option("--json", "as_json", is_flag=True, help="Print verify.json instead of a table.")
def export(run: Path, targets: tuple[str, ...], overrides: tuple[str, ...], as_json: bool) -> None:
    """Export the model in RUN, run each file through its own runtime on held-out reviews, compare.

    `serving` is a SavedModel for TensorFlow Serving that takes raw text; `mobile` are float32 and int8 .tflite files.
    When a file strays from the trained model by more than the recipe's budget, nothing is published and the exit code
    is 1.
    """
    from tfsent.recipe.loader import load_config
    from tfsent.storage.run_directory import require_run

    if strange := [override for override in overrides if not override.startswith("export.")]:
        raise ConfigError(f"The model is trained: only keys below export. can still be set. Received: {strange[0]!r}.")
    config = load_config(require_run(run) / "config.yaml", overrides).export
    from tfsent.console import load_tensorflow

    load_tensorflow()
    from tfsent import tables
    from tfsent.exporting import publish

    result = publish.export(run, config, [t for t in publish.TARGETS if t in targets or not targets])
    if as_json:
        click.echo(json.dumps(result, indent=2))
    else:
        tables.print_parity(result)
    if not result["passed"]:
        faults = [f"{a['artifact']}: {fault}" for a in result["artifacts"] for fault in a["faults"]]
        raise BudgetError("Nothing was published.\n  " + "\n  ".join(faults))
    if not as_json:
        click.echo("Published: " + ", ".join(str(run / place) for place in result["published"]))


@main.command(short_help="Look at this machine: what fits, what is missing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def doctor(as_json: bool) -> None:
    """Look at this machine: versions, flavours of Keras, devices, precision, caches.

    Says what is missing and the command that installs it. Changes nothing. The exit code is 1 when something would
    keep tfsent from working.
    """
    from tfsent import doctor as examiner
    from tfsent import tables

    findings = examiner.examine()
    if as_json:
        click.echo(json.dumps([vars(finding) for finding in findings], indent=2))
    else:
        tables.print_findings(findings)
    if faults := [finding for finding in findings if finding.state == "fault"]:
        raise TfsentError(f"{len(faults)} of these would keep tfsent from working.")


def _require_alone(place: bool, seeds: bool, settings: bool) -> None:
    """What does not go with --resume."""
    if place:
        raise ConfigError("--resume goes on in the run itself: --run-dir and --overwrite do not go with it.")
    if seeds:
        raise ConfigError(
            "--seeds goes on by itself when the same command is given again: --resume does not go with it."
        )
    if settings:
        raise ConfigError("--resume goes on by the recipe training began with: --set does not go with it.")


def _train(config: Config, run: Path, overwrite: bool, asked: Asked) -> None:
    from tfsent.training.engine.devices import load_backend

    load_backend(config.train)
    from tfsent.training import finetune as trainer

    trainer.train(config, run, overwrite=overwrite, asked=asked)


def _resume(run: Path, config: Config | None, asked: Asked) -> None:
    from tfsent.recipe.loader import load_config
    from tfsent.storage.run_directory import require_unfinished
    from tfsent.training.engine.devices import load_backend

    load_backend(load_config(require_unfinished(run) / "config.yaml").train)
    from tfsent.training import finetune as trainer

    trainer.resume(run, config, asked=asked)


def _train_seeds(config: Config, run: Path, seeds: list[int], overwrite: bool, asked: Asked) -> None:
    from tfsent.training.engine.devices import load_backend, require_one_process

    require_one_process("--seeds")
    load_backend(config.train)
    from tfsent import tables
    from tfsent.training.seeds import train_seeds

    tables.print_seeds(train_seeds(config, run, seeds, overwrite=overwrite, asked=asked), run)


for _command in (*cli_inputs.COMMANDS, *cli_search.COMMANDS):
    main.add_command(_command)


def _seeds(words: str) -> list[int]:
    """`1,2,3` → numbers.

    Raises:
        ConfigError: they are not at least two whole numbers, all different.
    """
    parts = words.split(",")
    numbers = [int(part) for part in parts if part.strip().isdecimal()]
    if len(numbers) < max(len(parts), 2) or len(set(numbers)) < len(numbers) or max(numbers) >= 2**32:
        raise ConfigError(f"--seeds expects two or more different whole numbers, such as 1,2,3. Received: {words!r}.")
    return numbers


def _read_texts(texts: tuple[str, ...], file: Path | None) -> list[str]:
    """Arguments, lines of a file, or lines of standard input.

    Raises:
        DataError: none or several of them, a table, no text at all, or bytes that are not UTF-8.
    """
    from tfsent.recipe.loader import source_of

    if bool(texts) == bool(file):
        raise DataError("predict takes texts, or --file FILE, or - for standard input. Give one of them.")
    if str(file) == "-":
        texts, file = ("-",), None
    if file is None and texts == ("-",):
        return _read_lines("standard input", sys.stdin.buffer.read())
    if file is not None:
        if source_of(str(file)):
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
