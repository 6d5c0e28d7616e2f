"""What a model says: any form of one is opened, evaluated, and asked about files of any size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfsent import backend
from tfsent.api.reading import read_labelled, reading_of
from tfsent.errors import ConfigError

if TYPE_CHECKING:
    from tfsent.evaluation.metrics import Metrics
    from tfsent.inference.bench import BenchResult
    from tfsent.inference.bulk import BulkResult
    from tfsent.inference.predictor import Predictor
    from tfsent.recipe.schema import DataConfig


def load(path: str | Path) -> Predictor:
    """Open any form of a model: a run directory, a SavedModel, or a `.tflite` file.

    Args:
        path: a run directory, a SavedModel folder (or the folder of its versions), or a `.tflite` file with the files
            that `tfsent export` wrote beside it.

    Returns:
        A `Predictor`: `predict(texts)`, `predict_proba(texts)`, `label_names`; of a run also `model`, the Keras model
        from token ids to logits, and `tokenizer`.

    Raises:
        ArtifactError: the path is none of these, or a file is missing or damaged.
        RunError: the run is not finished.
        ConfigError: Keras is loaded on, or `KERAS_BACKEND` is set to, another backend than TensorFlow.

    Example:
        >>> model = tfsent.load("runs/quickstart/export/mobile/model.tflite")
        >>> model.predict(["Loved every minute."])[0].label
        'positive'
    """
    from tfsent.inference import opening

    return opening.load(path)


def evaluate(
    model: str | Path,
    split: str = "test",
    *,
    data: Any = None,
    overrides: Any = (),
    by: Sequence[str] = (),
    output: str | Path | None = None,
    label_errors: str | Path | None = None,
) -> Metrics:
    """Evaluate any form of a model, on the held-out reviews of its run or on reviews of yours.

    Of a run and without `data`, writes `metrics.json`, `predictions.csv` and `analysis.json` into it
    (`metrics-validation.json` and so on for `validation`), and renews its report and model card.

    Args:
        model: see `load`. Without `data`, an exported file must lie in its run.
        split: of the run: `test`, or `validation`, by which the best epoch was chosen: its figures flatter.
        data: a path to a file or folder of labelled reviews, `(texts, labels)`, a DataFrame or an Arrow table. Rows
            whose label the model does not know are left out and counted.
        overrides: keys below `data.` that say how to read `data`, such as `{"data.text": "body"}`. A run reads columns
            as its own recipe does.
        by: columns of `data` whose values are slices of their own.
        output: where to write a file of predictions; None writes none but into the run.
        label_errors: where to write `data` as CSV, those rows first whose label may be wrong; to be corrected and
            trained on. The model must not have learnt from these reviews.

    Returns:
        Accuracy and more, with 95% intervals; and `analysis`: reliability, slices, the most confident errors.

    Raises:
        RunError: the directory holds no finished run, or `output` is a file of something else.
        ConfigError: `label_errors` needs cleanlab (`pip install 'tfsent[clean]'`).
        ArtifactError: the model cannot be opened.
        DataError: the reviews cannot be read, or none has a label that the model knows.
    """
    predictions, errors = (None if place is None else Path(place) for place in (output, label_errors))
    if data is None:
        if by:
            raise ConfigError("by names columns of data of your own. Pass data, too.")
        return _evaluate_split(Path(model), split, overrides, predictions, errors)
    config = reading_of(model, data, overrides)
    predictor = load(model)
    from tfsent.evaluation.evaluate import evaluate_reviews

    reviews, unknown = read_labelled(data, config, predictor.label_names, by)
    return evaluate_reviews(predictor, reviews, unknown, predictions, errors)


def _evaluate_split(model: Path, split: str, overrides: Any, output: Path | None, label_errors: Path | None) -> Metrics:
    """Evaluate a model on held-out reviews of its run."""
    from tfsent.storage import run_directory

    if overrides:
        raise ConfigError("overrides say how data of your own is read. Pass data, too.")
    if run_directory.is_run(model) or not model.exists():
        path = run_directory.require_run(model)
        if output is not None or label_errors is not None:
            raise ConfigError(
                "A run keeps its own predictions. output and label_errors are for data of yours, or for an exported "
                "file."
            )
        backend.use("tensorflow")
        from tfsent.evaluation.evaluate import evaluate_run

        return evaluate_run(path, split)
    predictor = load(model)
    run = run_directory.run_of(model)
    if run is None:
        raise ConfigError(f"{model} does not lie in its run, which has held-out reviews. Name yours with --data FILE.")
    from tfsent.data.reviews import load_reviews
    from tfsent.evaluation.evaluate import evaluate_reviews

    path = run / "heldout" / f"{split}.jsonl.gz"
    if not path.is_file():
        raise ConfigError(f"{model} comes without its {split} reviews. Expected --split test, or --data FILE.")
    reviews = load_reviews(path)
    if reviews.label_names != predictor.label_names:
        raise ConfigError(
            f"{model} answers {', '.join(predictor.label_names)}, and its run {run} {', '.join(reviews.label_names)}. "
            "Export the run again."
        )
    return evaluate_reviews(predictor, reviews, {}, output, label_errors, split)


def predict_file(
    model: str | Path,
    data: str | Path | Sequence[str | Path],
    output: str | Path,
    overrides: Any = (),
    *,
    format: str | None = None,
    runner: str | None = None,
    beam_options: Sequence[str] = (),
    overwrite: bool = False,
) -> BulkResult:
    """Classify every row of one or more tables and write the tables with the answers, in constant memory.

    All columns are kept. `label`, `probability` and `p_CLASS` for each class are added, with `predicted_` in front
    where a name is taken. The same call continues what was interrupted.

    One table becomes one file. Several files, or an `output` that is a folder, become shards of 16,384 rows each,
    `NAME-00000.jsonl` and so on by input, with a `manifest.json` that lists them.

    Args:
        model: see `load`.
        data: CSV, TSV, JSON lines, a JSON array or Parquet, packed or not; a glob; or several of them.
        output: a file that ends with `.csv`, `.tsv`, `.jsonl` or `.parquet`; all but Parquet may have `.gz` after it.
            Or a folder: one that exists, a name without an ending, or any name with `format` or `runner`.
        overrides: keys below `data.` that say how to read `data`, see `evaluate`.
        format: of the shards in a folder, `jsonl`, `csv` or `parquet`; None takes that of the first file.
        runner: None works in this process; `direct`, `flink`, `spark` or `dataflow` gives the job to Apache Beam.
        beam_options: Beam's own, such as `["--direct_num_workers=2"]`.
        overwrite: replace `output`. In a folder, only what tfsent wrote is replaced.

    Returns:
        How many rows there were, and how many had no text.

    Raises:
        ConfigError: `output` does not say a format, or does not fit `data`; or a runner lacks an option.
        DataError: a table cannot be read.
        RunError: `output` exists, is of another job, or cannot be written; or the runner failed.
        TfsentError: see `load`.

    Example:
        >>> tfsent.predict_file("runs/mine", "new.csv", "answers.csv", {"data.text": "body"}).rows
        1200
        >>> tfsent.predict_file("runs/mine", "reviews-*.jsonl", "answers").shards
        62
    """
    patterns = [str(data)] if isinstance(data, str | Path) else [str(one) for one in data]
    target, path = Path(output), Path(model)
    if beam_options and runner is None:
        raise ConfigError("Options of Beam are for a runner. Name it with --runner, such as --runner direct.")
    config = reading_of(model, patterns[0], overrides)
    job: dict[str, Any] = {"model_id": _model_id(path), "overwrite": overwrite}
    if runner is not None:
        return _predict_with_beam(path, patterns, target, config, job | {"form": format}, runner, beam_options)
    predictor = load(model)
    from tfsent.inference import bulk, shards

    sources, sharded = _inputs(patterns, target, sharded=format is not None)
    if sharded:
        return shards.predict_files(predictor, sources, target, config, form=format, **job)
    return bulk.predict_file(predictor, sources[0], target, config, **job)


def _inputs(patterns: Sequence[str], output: Path, *, sharded: bool) -> tuple[list[Path], bool]:
    """Return the files that are classified, and whether the answers go into a folder."""
    from tfsent.data.files import find_files
    from tfsent.inference.tables_out import is_table_name

    sources = find_files(patterns, "train")
    several = len(sources) > 1
    if is_table_name(output) and not output.is_dir() and (several or sharded):
        why = f"--data matches {len(sources)} files" if several else "--format and --runner write into a folder"
        raise ConfigError(f"{why}, and {output} is the name of a file. Name a folder, such as {output.stem}.")
    return sources, several or sharded or output.is_dir() or not output.suffix


def _predict_with_beam(
    model: Path,
    patterns: Sequence[str],
    output: Path,
    config: DataConfig,
    job: dict[str, Any],
    runner: str,
    words: Sequence[str],
) -> BulkResult:
    """Classify with Beam. The model is only looked at: each worker opens it."""
    from tfsent.inference import beam, opening, shards

    options = beam.pipeline_options(runner, words)
    opening.opener_of(model)
    sources, _ = _inputs(patterns, output, sharded=True)
    with shards.opened(sources, output, config, **job) as found:
        return beam.run(model, found, runner, options)


def predict_lines(model: str | Path, stream: Any, overrides: Any = ()) -> Iterator[str]:
    """Classify JSON lines as they come.

    Args:
        model: see `load`.
        stream: of bytes, such as `sys.stdin.buffer`.
        overrides: keys below `data.`, such as `{"data.text": "body"}`.

    Yields:
        Each line with the keys that `predict_file` adds.

    Raises:
        DataError: a line is no JSON object with a text.
        TfsentError: see `load`.
    """
    config = reading_of(model, "-", overrides)
    predictor = load(model)
    from tfsent.inference import bulk

    return bulk.predict_lines(predictor, stream, config)


def bench(model: str | Path, *, reviews: int = 200) -> BenchResult:
    """Measure on this machine how fast a model answers.

    Args:
        model: see `load`. A `.tflite` file is measured with one thread and with all.
        reviews: how many held-out reviews of the run are classified for the reviews a second.

    Returns:
        Milliseconds by length, reviews a second, seconds and memory of a start.

    Raises:
        TfsentError: see `load`.
    """
    path = Path(model)
    predictor = load(path)
    from tfsent.inference.bench import bench as measure
    from tfsent.inference.tflite_file import TFLitePredictor

    opened: list[tuple[int | None, Predictor]] = [(None, predictor)]
    if isinstance(predictor, TFLitePredictor):
        opened = [(1, TFLitePredictor(path, threads=1)), (predictor.threads, predictor)]
    return measure(path, opened, _reviews_of(path, reviews))


def _reviews_of(path: Path, count: int) -> list[str]:
    """Return held-out reviews of the run that a model belongs to; none where it lies alone."""
    from tfsent.data.reviews import load_reviews
    from tfsent.storage import run_directory

    run = run_directory.run_of(path)
    return [] if run is None else list(load_reviews(run / "heldout" / "test.jsonl.gz").texts[:count])


def is_table(path: Path) -> bool:
    """Return whether a name is that of a table, which holds more than one text a line."""
    from tfsent.recipe.loader import DATA_SUFFIXES

    return path.suffix.lower() in DATA_SUFFIXES


def warn_of_unknown_words(predictor: Predictor, texts: Sequence[str]) -> None:
    """Log a warning where more than 1% of the tokens are [UNK].

    Args:
        predictor: of `load`.
        texts: at least one.
    """
    if (unknown := predictor.unknown(texts)) is not None:
        unknown.warn("These texts")


def _model_id(path: Path) -> str:
    """Return what differs when a model was changed: its place, and the newest file that makes it."""
    files = (
        [path] if path.is_file() else [*path.rglob("model/*"), *path.rglob("saved_model.pb"), *path.glob("seeds.json")]
    )
    return f"{path.resolve()} {max((file.stat().st_mtime_ns for file in files), default=0)}"
