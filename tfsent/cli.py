"""The command line: words → calls. The only place where an error becomes an exit code.

Nothing here imports TensorFlow until a command needs it: `tfsent --help` must answer at once.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tfsent import __version__
from tfsent.errors import BudgetError, ConfigError, DataError, Interrupted, TfsentError

if TYPE_CHECKING:
    from tfsent.config import Config
    from tfsent.predictors import Prediction
    from tfsent.text import Tokenizer

CHUNK = 512
"""Texts predicted at a time, so that a long file shows results as they come."""

_set_option = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a key of the recipe, e.g. train.epochs=3."
)
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
        except TfsentError as error:
            self._fail(str(error), error.exit_code)
        except BrokenPipeError:
            raise  # click ends quietly when the reader of a pipe has gone
        except OSError as error:
            self._fail(f"{error.strerror or error}: {error.filename or 'no file named'}", 1)

    @staticmethod
    def _fail(message: str, code: int) -> None:
        click.echo(f"Error: {message}", err=True)
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


@main.command()
@click.argument("recipe")
@_set_option
@click.option(
    "--run-dir", type=click.Path(path_type=Path), help="Where to put the run.  [default: runs/NAME-OF-THE-RECIPE]"
)
@click.option(
    "--overwrite", is_flag=True, help="Replace a run that is there; it is kept until the new one has a model."
)
def train(recipe: str, overrides: tuple[str, ...], run_dir: Path | None, overwrite: bool) -> None:
    """Fine-tune by RECIPE: the name of one (`tfsent recipes ls`), or a path to a YAML file.

    Writes a run directory with everything the other commands need. Ctrl-C ends training after the step at hand and
    saves what was learnt; a second Ctrl-C quits at once.

    \b
      tfsent train quickstart
      tfsent train imdb --set data.dir=~/tensorflow_datasets --set train.epochs=3 --run-dir runs/three
    """
    config, run = _config(recipe, overrides), run_dir or Path("runs") / Path(recipe).stem
    from tfsent.console import load_tensorflow

    load_tensorflow()
    from tfsent import train as trainer

    if trainer.train(config, run, overwrite=overwrite):
        raise Interrupted(f"Training was interrupted. The model as it was then is in {run}.")
    click.echo(f"The model is in {run}. Next: tfsent evaluate {run}")


@main.command()
@_run_argument
@click.option("--split", type=click.Choice(["test", "validation"]), default="test", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def evaluate(run: Path, split: str, as_json: bool) -> None:
    """Evaluate the model in RUN on reviews it never learnt from.

    Writes metrics.json and predictions.csv into the run. `--split validation` is for choosing settings, and writes
    metrics-validation.json and predictions-validation.csv; only `test` is for reporting.
    """
    from tfsent.console import load_tensorflow

    load_tensorflow()
    from tfsent import evaluate as evaluator

    result = evaluator.evaluate(run, split)
    if as_json:
        click.echo(json.dumps(result, indent=2))
    else:
        _print_metrics(result)


@main.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("texts", nargs=-1, metavar="[TEXT]... | -")
@click.option("--file", "file", type=click.Path(path_type=Path), help="A file of UTF-8 text, one review a line.")
@click.option("--json", "style", flag_value="json", help="One JSON object a line.")
@click.option("--csv", "style", flag_value="csv", help="CSV with a header.")
def predict(model: Path, texts: tuple[str, ...], file: Path | None, style: str | None) -> None:
    """Classify texts with MODEL: a run, a SavedModel folder or a .tflite file.

    Texts are arguments, or lines of --file, or lines of standard input (`-`). Blank lines are skipped.

    \b
      tfsent predict runs/quickstart "Loved every minute." "A waste of time."
      tfsent predict runs/quickstart/export/mobile/model-int8.tflite --file reviews.txt --csv > out.csv
    """
    rows = _read_texts(texts, file)
    import tfsent

    predictor = tfsent.load(model)
    chunks = (predictor.predict(rows[i : i + CHUNK]) for i in range(0, len(rows), CHUNK))
    predictions = (prediction for chunk in chunks for prediction in chunk)
    if style == "json":
        _print_json(predictions)
    elif style == "csv":
        _print_csv(predictions, predictor.label_names)
    else:
        _print_predictions(predictions)


@main.command()
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
    from tfsent.config import load_config
    from tfsent.runs import require_run

    if strange := [override for override in overrides if not override.startswith("export.")]:
        raise ConfigError(f"The model is trained: only keys below export. can still be set. Received: {strange[0]!r}.")
    config = load_config(require_run(run) / "config.yaml", overrides).export
    from tfsent.console import load_tensorflow

    load_tensorflow()
    from tfsent import bundle

    result = bundle.export(run, config, [t for t in bundle.TARGETS if t in targets or not targets])
    if as_json:
        click.echo(json.dumps(result, indent=2))
    else:
        _print_parity(result)
    if not result["passed"]:
        faults = [f"{a['artifact']}: {fault}" for a in result["artifacts"] for fault in a["faults"]]
        raise BudgetError("Nothing was published.\n  " + "\n  ".join(faults))
    if not as_json:
        click.echo("Published: " + ", ".join(str(run / place) for place in result["published"]))


@main.command("data")
@click.argument("source", metavar="RECIPE|FILE")
@_set_option
@click.option("--png", type=click.Path(path_type=Path), help="Draw classes and lengths into this file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def data_command(source: str, overrides: tuple[str, ...], png: Path | None, as_json: bool) -> None:
    """Show what is in the data of RECIPE, or in a FILE: .csv, .tsv, .jsonl, .parquet (also .gz, .zip), or a folder.

    Rows, class balance, lengths and what each text.max_tokens would cut, repeated and nearly repeated texts, texts with
    two labels, texts that train and test share, scripts. Lengths are in tokens of the recipe's encoder.

    \b
      tfsent data imdb --set data.dir=~/tensorflow_datasets
      tfsent data my.csv --set data.text=body --set data.label=stars --png my.png
    """
    from tfsent.config import source_of

    own = source_of(source)
    given = [f"data.source={own}", f"data.train={json.dumps(source)}"] if own else []
    config = _config("imdb" if own else source, (*given, *overrides))
    from tfsent.console import load_tensorflow, say

    load_tensorflow()
    from tfsent import audit, runs
    from tfsent import train as trainer
    from tfsent.data import load_parts
    from tfsent.encoders import load_encoder

    tokenizer = trainer.make_tokenizer(config.text, load_encoder(config.encoder, say))
    result = audit.audit(load_parts(config.data, say), tokenizer)
    if png is not None:
        with runs.replacing(png) as staged:
            audit.plot(result, staged)
    if as_json:
        click.echo(json.dumps(result, indent=2, ensure_ascii=False))
    else:
        _print_audit(result)


@main.command()
@click.argument("source", metavar="RUN|ENCODER")
@click.argument("text")
@_set_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object a token.")
def tokens(source: str, text: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Show the tokens TEXT becomes, the place in it each stands for, and which of them truncation cuts.

    The specification is that of a run, or of an encoder with the recipe's defaults, which --set text.… changes.

    \b
      tfsent tokens runs/quickstart "Unwatchable – a naïve, café-set mess."
      tfsent tokens pypi:minilm-l6 "Loved it." --set text.max_tokens=4
    """
    from tfsent.config import is_encoder

    config = _config("imdb", overrides).text
    from tfsent.console import load_tensorflow

    load_tensorflow()
    from tfsent import train as trainer
    from tfsent.encoders import load_encoder
    from tfsent.runs import require_run
    from tfsent.text import Tokenizer

    if is_encoder(source):
        tokenizer = trainer.make_tokenizer(config, load_encoder(source, lambda line: click.echo(line, err=True)))
    elif overrides:
        raise ConfigError(
            f"A run's text specification is fixed by its training; --set is for encoders. Received: {overrides[0]}."
        )
    else:
        tokenizer = Tokenizer.load(require_run(source) / "model")
    _print_pieces(text, tokenizer, as_json)


@main.group()
def recipes() -> None:
    """The recipes tfsent ships."""


@recipes.command("ls")
def recipes_ls() -> None:
    """List the recipes."""
    from tfsent import config

    known = config.recipes()
    width = max(map(len, known))
    for name, path in known.items():
        click.echo(f"{name:<{width}}  {config.describe_recipe(path)}")


@recipes.command("cp")
@click.argument("name")
@click.argument("target", required=False, type=click.Path(path_type=Path))
def recipes_cp(name: str, target: Path | None) -> None:
    """Copy the recipe NAME to TARGET (default: NAME.yaml here), to change it."""
    from tfsent.config import find_recipe
    from tfsent.runs import write_text

    source = find_recipe(name)
    target = target or Path(source.name)
    target = target / source.name if target.is_dir() else target
    if target.exists():
        raise ConfigError(f"{target} exists already. Name another target.")
    write_text(target, source.read_text(encoding="utf-8"))
    click.echo(f"Wrote {target}. Next: tfsent train {target}")


@main.group("config")
def config_group() -> None:
    """Check recipes."""


@config_group.command("check")
@click.argument("recipe")
@_set_option
def config_check(recipe: str, overrides: tuple[str, ...]) -> None:
    """Validate RECIPE and print it with every key spelt out."""
    click.echo(_config(recipe, overrides).to_yaml(), nl=False)


def _config(recipe: str, overrides: tuple[str, ...]) -> Config:
    from tfsent.config import load_config

    return load_config(recipe, overrides)


def _read_texts(texts: tuple[str, ...], file: Path | None) -> list[str]:
    """Arguments, lines of a file, or lines of standard input.

    Raises:
        DataError: none or several of them, no text at all, or bytes that are not UTF-8.
    """
    if bool(texts) == bool(file):
        raise DataError("predict takes texts, or --file FILE, or - for standard input. Give one of them.")
    if file is None and texts != ("-",):
        if blank := [i for i, text in enumerate(texts, 1) if not text.strip()]:
            raise DataError(f"Text {blank[0]} is blank. Expected a review.")
        return list(texts)
    name = str(file or "standard input")
    raw = file.read_bytes() if file else sys.stdin.buffer.read()
    lines = raw.removeprefix(b"\xef\xbb\xbf").split(b"\n")
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
    return rows


def _print_audit(result: dict[str, Any]) -> None:
    from tfsent.console import print_table

    names = list(result["parts"]["train"]["classes"])
    rows = [
        (name, f"{part['reviews']:,}", f"{part['empty_rows']:,}", *(f"{n:,}" for n in part["classes"].values()))
        for name, part in result["parts"].items()
    ]
    print_table("Reviews", ("part", "reviews", "empty rows", *names), rows)
    tokens, widest = result["tokens"], max(result["tokens"]["histogram"]["reviews"])
    bars = zip(tokens["histogram"]["up_to"], tokens["histogram"]["reviews"], strict=True)
    cut = {n: (f"{c['reviews_cut']:.1%}", f"{c['tokens_lost']:.1%}") for n, c in tokens["max_tokens"].items()}
    lengths = [
        (f"{f'≤ {n}':<7}{'█' * round(20 * count / widest)}", f"{count:,}", *cut.get(n, ("", ""))) for n, count in bars
    ]
    title = f"Tokens of train, with [CLS] and [SEP]: mean {tokens['mean']:.0f}, median {tokens['quantiles']['50%']}"
    print_table(title, ("tokens", "reviews", "longer (cut)", "tokens lost"), lengths)
    found = result["duplicates"]
    twice = [(f"repeated in {name}", f"{count:,}") for name, count in found["repeated_in"].items()]
    shared = [
        (f"in {name}, letter by letter", f"{s['texts']:,} ({s['with_the_same_label']:,} with the same label)")
        for name, s in found["shared"].items()
    ]
    near = [(f"nearly the same, {name}", f"{n:,} pairs") for name, n in found["near_duplicate_pairs"].items()]
    near.append(("compared for that", f"{found['compared']:,}"))
    both = [("with two labels", f"{found['texts_with_two_labels']:,}")]
    print_table("Texts more than once", ("texts", "count"), [*twice, *both, *shared, *near])
    scripts = [(name, f"{share:.2%}") for name, share in result["scripts"].items() if share >= 0.0001]
    print_table("Scripts of train", ("script", "of all letters"), scripts)


def _print_pieces(text: str, tokenizer: Tokenizer, as_json: bool) -> None:
    from tfsent.console import print_table

    pieces = tokenizer.explain(text)
    if as_json:
        for piece in pieces:
            click.echo(json.dumps(piece._asdict(), ensure_ascii=False))
        return
    spec = tokenizer.spec
    cut = sum(not piece.kept for piece in pieces)
    what = f"{cut:,} cut ({spec.truncation})" if spec.truncation != "windows" else "windows cover all"
    click.echo(
        f"{len(pieces):,} tokens and [CLS], [SEP]; room for {spec.max_tokens}: {what}. "
        f"{'Uncased' if spec.lowercase else 'Cased'} vocabulary of {len(tokenizer.vocabulary):,}."
    )
    rows = [
        (p.token, p.id, f"{p.start}–{p.stop}", repr(text[p.start : p.stop]), "" if p.kept else "cut") for p in pieces
    ]
    print_table("", ("token", "id", "characters", "text", "cut"), rows)


def _print_json(predictions: Iterable[Prediction]) -> None:
    for prediction in predictions:
        click.echo(json.dumps(vars(prediction), ensure_ascii=False))


def _print_csv(predictions: Iterable[Prediction], label_names: tuple[str, ...]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["text", "label", "probability", *(f"p_{name}" for name in label_names)])
    for p in predictions:
        writer.writerow([p.text, p.label, f"{p.probability:.6f}", *(f"{v:.6f}" for v in p.probabilities.values())])


def _print_predictions(predictions: Iterable[Prediction]) -> None:
    from tfsent.console import print_table

    rows = ((p.text if len(p.text) <= 100 else p.text[:99] + "…", p.label, f"{p.probability:.1%}") for p in predictions)
    print_table("", ("text", "label", "probability"), rows)


def _print_metrics(result: dict[str, Any]) -> None:
    from tfsent.console import print_table

    low, high = result["accuracy_interval"]
    click.echo(f"{result['reviews']:,} reviews: {result['origin']}")
    click.echo(f"accuracy {result['accuracy']:.2%} (95% interval {low:.2%} to {high:.2%})")
    click.echo(f"ROC-AUC {result['roc_auc']:.4f} · log loss {result['log_loss']:.4f}")
    names = list(result["classes"])
    rows = []
    for name, said in zip(result["classes"], result["confusion_matrix"], strict=True):
        c = result["classes"][name]
        shares = [f"{c[key]:.2%}" for key in ("precision", "recall", "f1")]
        rows.append([name, *shares, f"{c['support']:,}", *(f"{n:,}" for n in said)])
    print_table("", ("class", "precision", "recall", "F1", "reviews", *(f"said {name}" for name in names)), rows)


def _print_parity(result: dict[str, Any]) -> None:
    from tfsent.console import print_table

    click.echo(f"{result['reviews']:,} reviews: {result['origin']}")
    click.echo(
        f"trained model: accuracy {result['trained_model_accuracy']:.2%}; runtimes on {result['threads']} threads"
    )
    rows = [
        (
            a["artifact"],
            f"{a['megabytes']:.1f}",
            f"{a['max_difference']:.1e}",
            f"{a['flips']:.2%}",
            f"{a['accuracy']:.2%}",
            f"{0.0 - a['accuracy_drop'] * 100:+.2f} pt",
            f"{a['latency_ms']:.1f}",
            "yes" if a["passed"] else "NO",
        )
        for a in result["artifacts"]
    ]
    header = (
        "file",
        "MB",
        "max diff.",
        "labels flipped",
        "accuracy",
        "against trained",
        "ms a review",
        "may ship",
    )
    print_table("", header, rows)
