"""A table of texts → the same table with the model's answers, in constant memory.

All columns are kept, in order. `label`, `probability` and `p_CLASS` for each class are added; where such a name is
taken, it gets `predicted_` in front.

    OUT.parts/job.json       what is being done; the same command continues it
             000000, …       the answers to each `CHUNK` rows, whole or not there
    OUT                      all of them, when the last one is done
"""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import json
import logging
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tfsent.console import progress_bar
from tfsent.data.files import spelt_text
from tfsent.data.formats import is_parquet, read_records
from tfsent.data.records import Faults, Record
from tfsent.errors import ConfigError, DataError, RunError, first_line
from tfsent.inference.predictor import Predictor
from tfsent.recipe.schema import DataConfig
from tfsent.storage import atomic

logger = logging.getLogger(__name__)

CHUNK = 4096
"""Rows that are classified, and written, at a time."""
SAMPLE = 1000
"""Texts in which unknown tokens are counted."""
PREFIX = "predicted_"
FORMATS = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
"""Endings of OUT. All but Parquet may be followed by `.gz`."""


@dataclass(frozen=True)
class BulkResult:
    """What `predict_file` did."""

    output: str
    rows: int
    without_text: int
    """Rows without a text: they are kept, and their answers are empty."""
    continued_at: int
    """Rows that an earlier, interrupted command had done."""

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
        output: a file whose ending is one of `FORMATS`.
        config: names the column of the texts, and how to read the file.
        model_id: differs where the model differs: another model does not continue this one's work.
        overwrite: replace `output`.

    Raises:
        ConfigError: `output` has another ending.
        DataError: the file cannot be read, or rows are faulty.
        RunError: `output` exists or cannot be written, or another process writes it.
    """
    write = _writer(output)
    if output.exists() and not overwrite:
        raise RunError(f"{output} exists already. Pass --overwrite to replace it, or name another --output.")
    rows, columns, sample = _examine(source, config)
    if sample and (unknown := predictor.unknown(sample)) is not None:
        unknown.warn(f"The first {len(sample):,} texts")
    names = added_names(predictor.label_names, columns)
    # From Parquet to Parquet the other columns are copied at the end: their types survive.
    copied = source if is_parquet(source) and output.suffix.lower() == ".parquet" else None
    parts = output.with_name(f"{output.name}.parts")
    job = {"source": _identity(source), "model": model_id, "config": config.model_dump(mode="json"), "chunk": CHUNK}
    done = _open_parts(parts, job)
    without_text = 0
    with atomic.in_use(parts), progress_bar("classifying", rows, min(done * CHUNK, rows)) as bar:
        chunks = _chunks(read_records(source, config, {"data.text": config.text}, Faults(), all_columns=not copied))
        for number, chunk in enumerate(chunks):
            texts = [spelt_text(record.fields.get(config.text), config.text) for record in chunk]
            without_text += sum(not text.strip() for text in texts)
            if number < done:
                continue
            answers = answer(predictor, texts, names, bar.update)
            merged = [{**record.fields, **new} for record, new in zip(chunk, answers, strict=True)]
            with atomic.replacing(parts / f"{number:06}") as staged:
                write(staged, merged, names if copied else [*columns, *names], header=number == 0)
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
    for i, row in zip(there, predictor.predict_proba([texts[i] for i in there], advance).tolist(), strict=True):
        best = max(range(len(row)), key=row.__getitem__)
        values = [predictor.label_names[best], *(round(p, 6) for p in (row[best], *row))]
        found[i] = dict(zip(names, values, strict=True))
    return found


def _examine(source: Path, config: DataConfig) -> tuple[int, list[str], list[str]]:
    """Return the number of rows, all columns in the order in which they appear, and the first texts."""
    faults, columns, rows, sample = Faults(), dict[str, None](), 0, list[str]()
    for fields, place in read_records(source, config, {"data.text": config.text}, faults, all_columns=True):
        rows += 1
        if fields.keys() - columns.keys():
            columns |= dict.fromkeys(fields)
        try:
            text = spelt_text(fields.get(config.text), config.text)
        except ValueError as error:
            faults.add(place, str(error))
        else:
            if len(sample) < SAMPLE and text.strip():
                sample.append(text)
    faults.raise_if_any()
    if not rows:
        raise DataError(f"{source} has no rows.")
    return rows, list(columns), sample


def _identity(path: Path) -> list[Any]:
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


def _chunks(records: Iterator[Record]) -> Iterator[list[Record]]:
    while chunk := list(itertools.islice(records, CHUNK)):
        yield chunk


def _writer(output: Path) -> Any:
    """Return the function that writes rows in the format of OUT."""
    name = output.name.lower()
    packed = name.endswith(".gz")
    ending = Path(name.removesuffix(".gz")).suffix
    if ending not in FORMATS or (packed and ending == ".parquet"):
        raise ConfigError(
            f"{output} has no ending that says its format. Expected {', '.join(FORMATS)}, perhaps with .gz."
        )
    if ending == ".parquet":
        return _write_parquet

    def write(path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, header: bool) -> None:
        if ending in (".csv", ".tsv"):
            content = _csv_lines(rows, columns, "\t" if ending == ".tsv" else ",", header=header)
        else:
            content = "".join(json.dumps(row, ensure_ascii=False, default=_plain) + "\n" for row in rows)
        # Half of a surrogate pair, which JSON may spell: JSON keeps its spelling, CSV cannot.
        raw = content.encode("utf-8", "ignore" if ending in (".csv", ".tsv") else "backslashreplace")
        path.write_bytes(gzip.compress(raw, mtime=0) if packed else raw)  # gzip files may be joined

    return write


def _csv_lines(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], delimiter: str, *, header: bool) -> str:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\n")
    quoting = csv.writer(out, delimiter=delimiter, lineterminator="\n", quoting=csv.QUOTE_ALL)
    if header:
        writer.writerow(columns)
    for row in rows:
        values = [_cell(row.get(column)) for column in columns]
        # `csv` quotes a field for a line feed, not for a carriage return alone.
        (quoting if any("\r" in value for value in values) else writer).writerow(values)
    return out.getvalue()


def _cell(value: Any) -> str:
    """Return a value as a field of CSV."""
    if value is None:
        return ""
    if isinstance(value, float):
        return repr(value)
    return value if isinstance(value, str) else str(_plain(value))


def _plain(value: Any) -> Any:
    """Return what JSON lacks as a string."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, list | dict) else str(value)


def _write_parquet(path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, header: bool) -> None:
    import pyarrow
    import pyarrow.parquet

    complete = [{column: row.get(column) for column in columns} for row in rows]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(complete), path)


def _join(parts: Path, output: Path, copied: Path | None) -> None:
    """Write all parts into OUT, one after the other; of Parquet beside the columns of `copied`."""
    files = [parts / f"{number:06}" for number in range(len(list(parts.glob("[0-9]*"))))]
    with atomic.replacing(output) as staged:
        if output.suffix.lower() == ".parquet":
            _join_parquet(files, staged, copied)
            return
        with staged.open("wb") as out:
            for file in files:
                with file.open("rb") as part:
                    shutil.copyfileobj(part, out, 1 << 20)


def _join_parquet(files: Sequence[Path], target: Path, copied: Path | None) -> None:
    import pyarrow
    import pyarrow.parquet

    try:
        # A column that is empty in one part has no type there.
        schemas = [pyarrow.parquet.read_schema(file) for file in files]
        schema = pyarrow.unify_schemas(schemas, promote_options="permissive")
        tables: Iterator[Any] = (pyarrow.parquet.read_table(file).cast(schema) for file in files)
        if copied is None:
            with pyarrow.parquet.ParquetWriter(target, schema) as writer:
                for table in tables:
                    writer.write_table(table)
            return
        with pyarrow.parquet.ParquetFile(copied) as source:
            whole = pyarrow.schema([*source.schema_arrow, *schema])
            with pyarrow.parquet.ParquetWriter(target, whole) as writer:
                for batch in source.iter_batches(batch_size=CHUNK):
                    table = next(tables)
                    while table.num_rows < batch.num_rows:
                        table = pyarrow.concat_tables([table, next(tables)])
                    now, rest = table.slice(0, batch.num_rows), table.slice(batch.num_rows)
                    tables = itertools.chain([rest] if rest.num_rows else [], tables)
                    columns = [*batch.columns, *(column.combine_chunks() for column in now.columns)]
                    writer.write_table(pyarrow.Table.from_arrays(columns, schema=whole))
    except pyarrow.ArrowException as error:
        raise DataError(
            f"The rows do not fit into one Parquet table: {first_line(error)}. Write .jsonl in its place."
        ) from error


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
