"""The shards of a sharded output: which rows each holds, how it is written, and what says that it is done.

    OUT/NAME-00000.jsonl, …      `SHARD` rows of the input NAME and their answers, whole or not there
        _common_metadata         the types of the input's columns, where the shards are Parquet
        _shards/…                size and SHA-256 of each finished shard, until the end

Which rows a shard holds, and its name, follow from the inputs alone: whoever makes it makes the same file.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfsent.data.formats import is_parquet
from tfsent.errors import DataError
from tfsent.inference import tables_out
from tfsent.inference.bulk import BulkResult, chunks, identity
from tfsent.recipe.schema import DataConfig
from tfsent.storage import atomic, manifest

SHARD = 16_384
"""Rows of a shard. They are in memory together, and a killed command does at most so many again."""
TYPES = "_common_metadata"
"""The name that readers of Parquet know for a file of types only. They skip names with `_` in front."""
RECORDS = "_shards"

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Source:
    """An input, and what its first reading found."""

    identity: tuple[Any, ...]
    """Path, size and time: what differs when it was changed."""
    name: str
    """Begins the names of its shards."""
    rows: int
    without_text: int

    @property
    def path(self) -> Path:
        """Where it is."""
        return Path(self.identity[0])


@dataclass(frozen=True)
class Shard:
    """Some rows of an input."""

    source: int
    """Index of the input."""
    number: int
    """Among the shards of this input, from 0."""
    name: str
    rows: int


@dataclass(frozen=True)
class Job:
    """What is classified, and where the answers go. It can be pickled: Beam's workers get it.

    Attributes:
        folder: OUT.
        form: `jsonl`, `csv` or `parquet`.
        config: names the column of the texts, and how to read the inputs.
        size: rows of a shard.
        sources: the inputs.
        columns: of all inputs, in the order in which they appear.
        complete: whether OUT holds all answers already.
    """

    folder: Path
    form: str
    config: DataConfig
    size: int
    sources: tuple[Source, ...]
    columns: tuple[str, ...]
    complete: bool = False

    def shards_of(self, source: int) -> Iterator[Shard]:
        """Yield the shards of an input."""
        found = self.sources[source]
        for number, first in enumerate(range(0, found.rows, self.size)):
            yield Shard(source, number, shard_name(found.name, number, self.form), min(self.size, found.rows - first))

    def shards(self) -> Iterator[Shard]:
        """Yield all shards."""
        return itertools.chain.from_iterable(map(self.shards_of, range(len(self.sources))))

    def record(self, shard: Shard) -> dict[str, Any] | None:
        """Return size and SHA-256 of a finished shard; None where it is not there as it was written."""
        try:
            found: dict[str, Any] = json.loads((self.folder / RECORDS / f"{shard.name}.json").read_bytes())
            return found if is_whole(self.folder, found) and found["rows"] == shard.rows else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def result(self, continued_at: int) -> BulkResult:
        """Return what was done.

        Args:
            continued_at: rows that were done before.
        """
        rows, without_text = (sum(getattr(s, key) for s in self.sources) for key in ("rows", "without_text"))
        shards = sum(-(-source.rows // self.size) for source in self.sources)
        return BulkResult(str(self.folder), rows, without_text, continued_at, len(self.sources), shards)


def shard_name(source: str, number: int, form: str) -> str:
    """Return the file name of a shard."""
    return f"{source}-{number:05}.{form}"


def is_whole(folder: Path, record: Mapping[str, Any]) -> bool:
    """Return whether a shard is there in its size. Its SHA-256 is for those who read it later."""
    path = folder / record["file"]
    return path.is_file() and path.stat().st_size == record["bytes"]


def read_shards(job: Job, source: int, *, tables: bool) -> Iterator[tuple[Shard, Rows, Any]]:
    """Read the shards of an input that are not done: which one, its rows, and its `pyarrow.Table`.

    Args:
        job: which knows them.
        source: index of the input.
        tables: of Parquet that becomes Parquet, read the other columns as a table: their types survive. Else the table
            is None.

    Raises:
        DataError: the file is damaged, or was changed since it was counted.
    """
    path = job.sources[source].path
    tables = tables and job.form == "parquet" and is_parquet(path)
    pieces = chunks(path, job.config, job.size, all_columns=not tables)
    copied = tables_out.slices_of(path, job.size) if tables else itertools.repeat(None)
    for shard, rows, table in zip(job.shards_of(source), pieces, copied, strict=False):
        if job.record(shard) is None:
            _require(job, shard, len(rows) == shard.rows)
            yield shard, rows, table
    _require(job, shard, identity(path) == list(job.sources[source].identity))


def _require(job: Job, shard: Shard, unchanged: bool) -> None:
    if not unchanged:
        path = job.sources[shard.source].path
        raise DataError(f"{path} was changed while it was read. Start anew, with --overwrite, when it is finished.")


def write_shard(job: Job, shard: Shard, rows: Rows, answers: Sequence[dict[str, Any]], table: Any = None) -> None:
    """Write a shard, then its record.

    Args:
        job: which it is of.
        shard: which one.
        rows: its rows.
        answers: of `bulk.answer`.
        table: the rows as a `pyarrow.Table`, where there is one.

    Raises:
        DataError: the rows do not fit into one Parquet table.
        RunError: OUT cannot be written.
    """
    names = list(answers[0])
    merged = [{**fields, **new} for fields, new in zip(rows, answers, strict=True)]
    with atomic.replacing(job.folder / shard.name) as staged:
        if job.form == "parquet":
            _write_parquet(job, staged, merged, names, table)
        else:
            tables_out.writer(staged)(staged, merged, [*job.columns, *names], header=True)
        found = {"file": shard.name, "rows": len(rows), "bytes": staged.stat().st_size}
        found["sha256"] = manifest.sha256(staged)
    atomic.write_json(job.folder / RECORDS / f"{shard.name}.json", found)


def write_types(folder: Path, schema: Any) -> None:
    """Write a `pyarrow.Schema` of the inputs' columns."""
    import pyarrow.parquet

    with atomic.replacing(folder / TYPES) as staged:
        pyarrow.parquet.write_metadata(schema, staged)


def _write_parquet(job: Job, path: Path, merged: Rows, names: Sequence[str], table: Any) -> None:
    """Write Parquet with the same types in every shard."""
    import pyarrow
    import pyarrow.parquet

    own = pyarrow.parquet.read_schema(job.folder / TYPES)
    new = pyarrow.schema([(name, pyarrow.float64() if i else pyarrow.string()) for i, name in enumerate(names)])
    if table is None:
        whole = pyarrow.schema([*own, *new])
        tables_out.write_parquet(path, merged, whole.names, schema=whole)
        return
    with tables_out.fitting():
        there = set(table.column_names)
        columns = [table[f.name].cast(f.type) if f.name in there else pyarrow.nulls(len(merged), f.type) for f in own]
        columns += [pyarrow.array([row[field.name] for row in merged], field.type) for field in new]
        pyarrow.parquet.write_table(pyarrow.Table.from_arrays(columns, schema=pyarrow.schema([*own, *new])), path)
