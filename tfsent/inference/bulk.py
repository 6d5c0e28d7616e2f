"""A table of texts → the same table with the model's answers, in constant memory.

All columns are kept, in order. `label`, `probability` and `p_CLASS` for each class are added; where such a name is
taken, it gets `predicted_` in front.

    OUT.parts/job.json       what is being done; the same command continues it
             000000, …       the answers to each `CHUNK` rows, whole or not there
    OUT                      all of them, when the last one is done
"""

from __future__ import annotations

import itertools
import json
import logging
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tfsent.console import progress_bar
from tfsent.data.files import spelt_text
from tfsent.data.formats import is_parquet, read_records
from tfsent.data.records import Faults
from tfsent.errors import DataError, RunError, first_line
from tfsent.inference import tables_out
from tfsent.inference.predictor import Predictor
from tfsent.recipe.schema import DataConfig
from tfsent.storage import atomic

logger = logging.getLogger(__name__)

CHUNK = 4096
"""Rows that are classified, and written, at a time."""
SAMPLE = 1000
"""Texts in which unknown tokens are counted."""
PREFIX = "predicted_"


@dataclass(frozen=True)
class BulkResult:
    """What was classified, and where the answers are."""

    output: str
    rows: int
    without_text: int
    """Rows without a text: they are kept, and their answers are empty."""
    continued_at: int
    """Rows that an earlier, interrupted command had done."""
    files: int = 1
    """Inputs."""
    shards: int = 1
    """Files of the output."""

    def to_dict(self) -> dict[str, Any]:
        """Return the result ready for JSON."""
        return asdict(self)


def predict_file(
    predictor: Predictor, source: Path, output: Path, config: DataConfig, *, model_id: str, overwrite: bool = False
) -> BulkResult:
    """Classify every row of a table.

    The table is read twice: first to count its rows and to find its faults, before hours are spent.

    Args:
        predictor: the model.
        source: CSV, TSV, JSON lines, a JSON array or Parquet, packed or not.
        output: a file whose ending is one of `tables_out.FORMATS`.
        config: names the column of the texts, and how to read the file.
        model_id: differs where the model differs: another model does not continue this one's work.
        overwrite: replace `output`.

    Raises:
        ConfigError: `output` has another ending.
        DataError: the file cannot be read, or rows are faulty.
        RunError: `output` exists or cannot be written, or another process writes it.
    """
    write = tables_out.writer(output)
    if output.exists() and not overwrite:
        raise RunError(f"{output} exists already. Pass --overwrite to replace it, or name another --output.")
    scan = Scan(config)
    rows, without_text = scan.read(source)
    scan.report(predictor)
    names = added_names(predictor.label_names, scan.columns)
    # From Parquet to Parquet the other columns are copied at the end: their types survive.
    copied = source if is_parquet(source) and output.suffix.lower() == ".parquet" else None
    parts = output.with_name(f"{output.name}.parts")
    job = {"source": identity(source), "model": model_id, "config": config.model_dump(mode="json"), "chunk": CHUNK}
    done = _open_parts(parts, job)
    with atomic.in_use(parts), progress_bar("classifying", rows, min(done * CHUNK, rows)) as bar:
        for number, chunk in enumerate(chunks(source, config, CHUNK, all_columns=not copied)):
            if number < done:
                continue
            answers = answer(predictor, texts_of(chunk, config), names, bar.update)
            merged = [{**fields, **new} for fields, new in zip(chunk, answers, strict=True)]
            with atomic.replacing(parts / f"{number:06}") as staged:
                write(staged, merged, names if copied else [*scan.columns, *names], header=number == 0)
        _join(parts, output, copied)
    shutil.rmtree(parts, ignore_errors=True)
    return BulkResult(str(output), rows, without_text, min(done * CHUNK, rows))


def added_names(label_names: Sequence[str], taken: Iterable[str]) -> list[str]:
    """Return the names of the new columns: label, probability, and one for each class."""
    names, there = [], set(taken)
    for name in ("label", "probability", *(f"p_{label}" for label in label_names)):
        while name in there:
            name = PREFIX + name
        there.add(name)
        names.append(name)
    return names


def answer(
    predictor: Predictor, texts: Sequence[str], names: Sequence[str], advance: Any = lambda count: None
) -> list[dict[str, Any]]:
    """Return the new columns of each text; None in all of them where there is no text.

    Args:
        predictor: the model.
        texts: the texts.
        names: of `added_names`.
        advance: called with the number of further texts that are done.
    """
    there = [i for i, text in enumerate(texts) if text.strip()]
    advance(len(texts) - len(there))
    found: list[dict[str, Any]] = [dict.fromkeys(names) for _ in texts]
    probabilities = predictor.predict_proba([texts[i] for i in there], advance)
    chosen = predictor.choose(probabilities).tolist()
    for i, row, best in zip(there, probabilities.tolist(), chosen, strict=True):
        values = [predictor.label_names[best], *(round(p, 6) for p in (row[best], *row))]
        found[i] = dict(zip(names, values, strict=True))
    return found


class Scan:
    """What a first reading of tables finds, before hours are spent on them.

    Args:
        config: names the column of the texts, and how to read a file.

    Attributes:
        columns: all columns, in the order in which they appear.
        sample: the first texts.
        faults: of all rows.
    """

    def __init__(self, config: DataConfig):
        self.config = config
        self.columns: list[str] = []
        self.sample: list[str] = []
        self.faults = Faults()

    def read(self, source: Path, watch: Callable[[Mapping[str, Any]], Any] = len) -> tuple[int, int]:
        """Read a file. Return how many rows it has, and how many of them are without a text.

        Args:
            source: the file.
            watch: is given each row.

        Raises:
            DataError: the file cannot be read, or it has no rows.
        """
        config, known, rows, without_text = self.config, set(self.columns), 0, 0
        for fields, place in read_records(source, config, {"data.text": config.text}, self.faults, all_columns=True):
            rows += 1
            if new := fields.keys() - known:
                self.columns += [column for column in fields if column in new]
                known |= new
            watch(fields)
            try:
                text = spelt_text(fields.get(config.text), config.text)
            except ValueError as error:
                self.faults.add(place, str(error))
                continue
            if not text.strip():
                without_text += 1
            elif len(self.sample) < SAMPLE:
                self.sample.append(text)
        if not rows:
            self.faults.raise_if_any()
            raise DataError(f"{source} has no rows.")
        return rows, without_text

    def report(self, predictor: Predictor | None) -> None:
        """Warn of unknown words.

        Args:
            predictor: the model; None where it is not at hand.

        Raises:
            DataError: rows are faulty.
        """
        self.faults.raise_if_any()
        if predictor and self.sample and (unknown := predictor.unknown(self.sample)) is not None:
            unknown.warn(f"The first {len(self.sample):,} texts")


def identity(path: Path) -> list[Any]:
    """Return what differs when a file was changed."""
    status = path.stat()
    return [str(path.resolve()), status.st_size, status.st_mtime_ns]


def _open_parts(parts: Path, job: Mapping[str, Any]) -> int:
    """Make the folder of the parts, or continue it where it is of the same job. Return how many parts are done."""
    described = json.loads(json.dumps(job))
    if parts.exists():
        try:
            same = json.loads((parts / "job.json").read_text(encoding="utf-8")) == described
        except (OSError, ValueError):
            raise RunError(
                f"{parts} exists, and is not of `tfsent predict`. Remove it, or name another --output."
            ) from None
        with atomic.in_use(parts):
            done = next(number for number in itertools.count() if not (parts / f"{number:06}").exists())
            if same and done:
                logger.info(f"Continuing after {done * CHUNK:,} rows.")
                return done
            shutil.rmtree(parts)
    atomic.write_json(parts / "job.json", described)
    return 0


def chunks(source: Path, config: DataConfig, size: int, *, all_columns: bool) -> Iterator[list[Mapping[str, Any]]]:
    """Yield the rows of a file, so many at a time. `Scan` has found its faults.

    Args:
        source: the file.
        config: names the column of the texts, and how to read the file.
        size: rows of each piece; the last one may have fewer.
        all_columns: of Parquet; else only the texts. Other formats always give all.

    Raises:
        DataError: the file is damaged.
    """
    records = read_records(source, config, {"data.text": config.text}, Faults(), all_columns=all_columns)
    while chunk := [record.fields for record in itertools.islice(records, size)]:
        yield chunk


def texts_of(rows: Iterable[Mapping[str, Any]], config: DataConfig) -> list[str]:
    """Return the text of each row, an empty one where there is none."""
    return [spelt_text(fields.get(config.text), config.text) for fields in rows]


def _join(parts: Path, output: Path, copied: Path | None) -> None:
    """Write all parts into OUT, one after the other; of Parquet beside the columns of `copied`."""
    files = [parts / f"{number:06}" for number in range(len(list(parts.glob("[0-9]*"))))]
    with atomic.replacing(output) as staged:
        tables_out.join(files, staged, output, copied)


def predict_lines(predictor: Predictor, stream: Any, config: DataConfig) -> Iterator[str]:
    """Classify JSON lines as they come: all that are there at once, then the next.

    Args:
        predictor: the model.
        stream: of bytes, with `read1`.
        config: names the key of the texts.

    Yields:
        A JSON line for each, with the new keys.

    Raises:
        DataError: a line is no JSON object with a text.
    """
    number, pending = 0, b""
    while raw := stream.read1(1 << 20):
        *lines, pending = (pending + raw).split(b"\n")
        yield from _answer_lines(predictor, lines, number, config)
        number += len(lines)
    yield from _answer_lines(predictor, [pending], number, config)


def _answer_lines(predictor: Predictor, lines: Sequence[bytes], number: int, config: DataConfig) -> Iterator[str]:
    objects, texts = [], []
    for place, line in enumerate(lines, number + 1):
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
            texts.append(spelt_text(fields[config.text], config.text))
        except (ValueError, RecursionError, TypeError, KeyError) as error:
            raise DataError(
                f"standard input, line {place}: expected a JSON object with {config.text!r}, received {line[:60]!r} "
                f"({first_line(error)})."
            ) from None
        objects.append(fields)
    plain = ["label", "probability", *(f"p_{label}" for label in predictor.label_names)]
    for fields, new in zip(objects, answer(predictor, texts, plain), strict=True):
        names = added_names(predictor.label_names, fields)
        yield json.dumps({**fields, **dict(zip(names, new.values(), strict=True))})
