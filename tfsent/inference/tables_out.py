"""Rows → the bytes of a table: CSV, TSV, JSON lines or Parquet, by the ending of the file."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import itertools
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tfsent.errors import ConfigError, DataError, first_line

FORMATS = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
"""Endings of a table that is written. All but Parquet may be followed by `.gz`."""
BATCH = 4096
"""Rows of a Parquet file that are copied at a time."""


def ending_of(path: Path) -> tuple[str, bool]:
    """Return the ending of a name without `.gz`, and whether it had that."""
    name = path.name.lower()
    return Path(name.removesuffix(".gz")).suffix, name.endswith(".gz")


def is_table_name(path: Path) -> bool:
    """Return whether a name ends as a table's that can be written."""
    ending, packed = ending_of(path)
    return ending in FORMATS and not (packed and ending == ".parquet")


def writer(output: Path) -> Callable[..., None]:
    """Return the function that writes rows in the format of a file: `write(path, rows, columns, header=…)`.

    Raises:
        ConfigError: its ending names no format.
    """
    ending, packed = ending_of(output)
    if not is_table_name(output):
        raise ConfigError(
            f"{output} has no ending that says its format. Expected {', '.join(FORMATS)}, perhaps with .gz; or a "
            "folder, with --format."
        )
    if ending == ".parquet":
        return write_parquet

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


def write_parquet(
    path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, header: bool = True, schema: Any = None
) -> None:
    """Write rows as Parquet.

    Args:
        path: of the file.
        rows: the rows; a column that a row lacks is empty there.
        columns: their names, in order.
        header: for the other formats; Parquet always names its columns.
        schema: a `pyarrow.Schema` of all columns; None finds the types in the rows.

    Raises:
        DataError: a value does not fit into the type of its column.
    """
    import pyarrow
    import pyarrow.parquet

    complete = [{column: row.get(column) for column in columns} for row in rows]
    with fitting():
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(complete, schema=schema), path)


def join(files: Sequence[Path], target: Path, output: Path, copied: Path | None) -> None:
    """Write several files into one, one after the other.

    Args:
        files: of one format.
        target: the file to write.
        output: its name says the format.
        copied: a Parquet file whose columns go in front of those of Parquet `files`.

    Raises:
        DataError: the types of Parquet files contradict each other.
    """
    if ending_of(output)[0] == ".parquet":
        _join_parquet(files, target, copied)
        return
    with target.open("wb") as out:
        for file in files:
            with file.open("rb") as part:
                shutil.copyfileobj(part, out, 1 << 20)


def _join_parquet(files: Sequence[Path], target: Path, copied: Path | None) -> None:
    import pyarrow
    import pyarrow.parquet

    with fitting():
        # A column that is empty in one part has no type there.
        schema = unified([pyarrow.parquet.read_schema(file) for file in files])
        tables: Iterator[Any] = (pyarrow.parquet.read_table(file).cast(schema) for file in files)
        if copied is None:
            with pyarrow.parquet.ParquetWriter(target, schema) as writer:
                for table in tables:
                    writer.write_table(table)
            return
        with pyarrow.parquet.ParquetFile(copied) as source:
            whole = pyarrow.schema([*source.schema_arrow, *schema])
            with pyarrow.parquet.ParquetWriter(target, whole) as writer:
                for batch in source.iter_batches(batch_size=BATCH):
                    now, tables = _first_rows(tables, batch.num_rows)
                    columns = [*batch.columns, *(column.combine_chunks() for column in now.columns)]
                    writer.write_table(pyarrow.Table.from_arrays(columns, schema=whole))


def _first_rows(tables: Iterator[Any], rows: int) -> tuple[Any, Iterator[Any]]:
    """Return the first rows of tables that follow each other, as one table, and what is left of them."""
    import pyarrow

    table = next(tables)
    while table.num_rows < rows and (more := next(tables, None)) is not None:
        table = pyarrow.concat_tables([table, more])
    rest = table.slice(rows)
    return table.slice(0, rows), itertools.chain([rest] if rest.num_rows else [], tables)


def slices_of(path: Path, rows: int) -> Iterator[Any]:
    """Yield a Parquet file as `pyarrow.Table`s of that many rows; the last one may have fewer.

    Raises:
        DataError: the file is damaged.
    """
    import pyarrow
    import pyarrow.parquet

    with fitting(), pyarrow.parquet.ParquetFile(path) as file:
        tables: Iterator[Any] = (pyarrow.Table.from_batches([batch]) for batch in file.iter_batches(batch_size=BATCH))
        while (first := next(tables, None)) is not None:
            table, tables = _first_rows(itertools.chain([first], tables), rows)
            yield table


def unified(schemas: Sequence[Any]) -> Any:
    """Return one `pyarrow.Schema` for several tables.

    Raises:
        DataError: a column has types that contradict each other.
    """
    import pyarrow

    with fitting():
        return pyarrow.unify_schemas(schemas, promote_options="permissive")


class ColumnTypes:
    """Finds the types of the columns of many rows and Parquet files, in constant memory."""

    def __init__(self) -> None:
        self._schema: Any = None
        self._rows: list[Mapping[str, Any]] = []

    def add(self, row: Mapping[str, Any]) -> None:
        """Take a row into account.

        Raises:
            DataError: a column has types that contradict each other; so do the others.
        """
        self._rows.append(row)
        if len(self._rows) == BATCH:
            self._look()

    def add_file(self, path: Path) -> None:
        """Take the types of a Parquet file into account."""
        import pyarrow.parquet

        with fitting():
            self._unify(pyarrow.parquet.read_schema(path))

    def schema(self, columns: Sequence[str]) -> Any:
        """Return the `pyarrow.Schema` of these columns, in this order."""
        import pyarrow

        if self._rows:
            self._look()
        return pyarrow.schema([self._schema.field(column) for column in columns])

    def _look(self) -> None:
        import pyarrow

        rows, self._rows = self._rows, []
        columns = dict.fromkeys(column for row in rows for column in row)
        with fitting():
            self._unify(
                pyarrow.Table.from_pylist([{column: row.get(column) for column in columns} for row in rows]).schema
            )

    def _unify(self, schema: Any) -> None:
        self._schema = schema if self._schema is None else unified([self._schema, schema])


@contextlib.contextmanager
def fitting() -> Iterator[None]:
    """Turn what Arrow raises about the types of columns into a `DataError`."""
    import pyarrow

    try:
        yield
    except pyarrow.ArrowException as error:
        raise DataError(
            f"The rows do not fit into one Parquet table: {first_line(error)}. Write .jsonl in its place."
        ) from error
