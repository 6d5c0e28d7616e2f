"""Files of labelled reviews → rows, one at a time, each with its file and line.

CSV and TSV with a header (RFC 4180 quoting), JSON lines, Parquet, a folder per class. There may be several files, or a
glob. `archives.py` unpacks them.
"""

from __future__ import annotations

import csv
import difflib
import glob
import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

from tfsent.data.archives import in_class_folders, is_archive, members, open_streams, readable
from tfsent.errors import DataError, first_line
from tfsent.recipe.schema import DataConfig

SHOWN = 10
"""Faults that a message shows. It counts the others."""
MAX_LINE = 64 << 20
"""Longest line or text file, in bytes. A longer one is a sign of another kind of file."""
UNLABELLED_FOLDER = "unsup"
"""aclImdb's folder of reviews without labels."""


class Row(NamedTuple):
    """One review as its source has it."""

    text: str
    label: str
    """Empty when there is none."""
    group: str
    place: str
    """File and line, for messages."""


class Faults:
    """Collects the faults of rows, so that one message reports all of them."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.count = 0

    def add(self, place: str, message: str) -> None:
        """Record a fault."""
        self.count += 1
        if len(self.shown) < SHOWN:
            self.shown.append(f"{place}: {message}")

    def raise_if_any(self) -> None:
        """Raise a `DataError` that reports the faults so far, if there are any."""
        if self.count:
            more = f"\n  … and {self.count - len(self.shown):,} more" if self.count > len(self.shown) else ""
            raise DataError(
                f"{self.count:,} faulty row{'s' if self.count > 1 else ''}:\n  " + "\n  ".join(self.shown) + more
            )


def find_files(patterns: Iterable[str], part: str) -> list[Path]:
    """Return the paths that patterns match, sorted within each pattern, each path once.

    Raises:
        DataError: a pattern matches nothing.
    """
    found: dict[Path, Path] = {}
    for pattern in patterns:
        expanded = str(Path(pattern).expanduser())
        # A file may have a bracket in its name.
        matches = [expanded] if Path(expanded).exists() else sorted(glob.glob(expanded, recursive=True))  # noqa: PTH207 - absolute patterns too
        if not matches:
            where = "" if Path(expanded).is_absolute() else f", seen from {Path.cwd()}"
            raise DataError(
                f"data.{part}: there is nothing at {pattern!r}{where}. Expected a file, a folder, or a glob."
            )
        found |= {Path(match).resolve(): Path(match) for match in matches if Path(match).resolve() not in found}
    return list(found.values())


def read_files(paths: Iterable[Path], config: DataConfig, faults: Faults) -> Iterator[Row]:
    """Read the rows of files of the recipe's kind. Faults of single rows are added to `faults`.

    Raises:
        DataError: a file is of another kind, is damaged, or lacks a column.
    """
    reader = {"csv": _csv, "tsv": _csv, "jsonl": _jsonl, "parquet": _parquet, "folder": _folder}[config.source]
    return (row for path in paths for row in reader(path, config, faults))


def _lines(name: str, stream: IO[bytes], config: DataConfig, faults: Faults) -> Iterator[str]:
    """Decode the lines of a stream. Line ends are kept, a byte order mark is dropped; only a line feed ends a line."""
    number = 0
    while raw := _line(name, stream):
        number += 1
        if len(raw) == MAX_LINE:
            raise DataError(f"{name}, line {number}: longer than {MAX_LINE >> 20} MB. Is this a text file?")
        if number == 1:
            if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
                raise DataError(f"{name} is UTF-16. Save it as UTF-8, or convert it: iconv -f utf-16 -t utf-8 {name}")
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        yield _decode(raw, f"{name}, line {number}", config, faults)


def _line(name: str, stream: IO[bytes]) -> bytes:
    with readable(name):
        return stream.readline(MAX_LINE)


def _decode(raw: bytes, place: str, config: DataConfig, faults: Faults) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        if config.errors == "strict":
            faults.add(
                place,
                f"byte {error.start + 1} (0x{raw[error.start]:02x}) is not UTF-8; convert the file, or set "
                "data.errors=replace",
            )
        return raw.decode("utf-8", "replace")


def _csv(path: Path, config: DataConfig, faults: Faults) -> Iterator[Row]:
    csv.field_size_limit(MAX_LINE)
    for name, stream in open_streams(path, config.source):
        lines = _lines(name, stream, config, faults)
        reader = csv.reader(lines, delimiter="\t" if config.source == "tsv" else ",", strict=True)
        start = 1
        try:
            header = next(reader, None)
            if header is None:
                raise DataError(f"{name} is empty. Expected a header and rows.")
            columns = find_columns(name, header, config)
            start = reader.line_num + 1
            for fields in reader:
                place, start = f"{name}, line {start}", reader.line_num + 1
                if not fields:
                    continue
                if len(fields) != len(header):
                    faults.add(place, f"expected {len(header)} fields, received {len(fields)}; is a quote missing?")
                    continue
                if config.source == "tsv" and any("\t" in field and "\n" in field for field in fields):
                    # A text of several lines has line feeds alone in the files that pandas writes.
                    faults.add(
                        place,
                        'unbalanced quote: the field spans several rows. Escape it as "" and quote the whole field',
                    )
                    continue
                text, label, *group = (fields[column] for column in columns)
                yield Row(text, label, "".join(group), place)
        except csv.Error as error:
            raise DataError(
                f"{name}, line {start}: {error}. Close every quote, and write one inside a field twice."
            ) from error


def find_columns(name: str, header: list[str], config: DataConfig) -> list[int]:
    """Return the positions of text, label and, where the recipe names one, group in a header.

    Raises:
        DataError: a column is missing, or there twice.
    """
    keys = {"data.text": config.text, "data.label": config.label, "data.group": config.group}
    if twice := [column for column in keys.values() if column is not None and header.count(column) > 1]:
        raise DataError(f"{name} has two columns called {twice[0]!r}.")
    for key, column in keys.items():
        if column is not None and column not in header:
            close = difflib.get_close_matches(column, header, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            if len(header) == 1 and (other := next((mark for mark in ";\t|" if mark in header[0]), None)):
                hint = f" Its columns are separated by {other!r}: save it with commas, or as .tsv with tabs."
            raise DataError(
                f"{name} has no column {column!r}.{hint} It has: {', '.join(map(repr, header[:20]))}. Name yours with "
                f"{key}."
            )
    return [header.index(column) for column in keys.values() if column is not None]


def _jsonl(path: Path, config: DataConfig, faults: Faults) -> Iterator[Row]:
    for name, stream in open_streams(path, config.source):
        for number, line in enumerate(_lines(name, stream, config, faults), 1):
            if not line.strip():
                continue
            place = f"{name}, line {number}"
            try:
                fields = json.loads(line)
            except (ValueError, RecursionError) as error:
                faults.add(place, f"not JSON: {error}")
                continue
            if not isinstance(fields, dict):
                faults.add(place, f"expected an object such as {{{config.text!r}: …}}, received {line.strip()[:40]!r}")
            elif not isinstance(fields.get(config.text, 0), str | None):
                faults.add(place, f"{config.text!r} is not a string; received {fields.get(config.text)!r:.40}")
            else:
                yield _row(fields, config, place)


def _row(fields: dict[str, Any], config: DataConfig, place: str) -> Row:
    label, group = spelt_label(fields.get(config.label)), spelt_label(fields.get(config.group)) if config.group else ""
    return Row(fields[config.text] or "", label, group, place)


def spelt_label(value: object) -> str:
    """Return a label or group as a string. 1.0 becomes "1": a column of integers with a gap is read as floats."""
    if isinstance(value, float):
        if math.isnan(value):
            return ""
        value = int(value) if value.is_integer() else value
    if isinstance(value, bytes):  # a Parquet column of bytes
        return value.decode("utf-8")
    return "" if value is None else str(value)


def _parquet(path: Path, config: DataConfig, faults: Faults) -> Iterator[Row]:
    import pyarrow
    import pyarrow.parquet

    if path.is_dir():
        raise DataError(f"{path} is a folder. Expected a Parquet file, or a glob such as {path}/*.parquet.")
    if path.suffix.lower() == ".gz" or is_archive(path):
        raise DataError(f"{path}: a packed Parquet file cannot be read. Unpack it first.")
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            header = file.schema_arrow.names
            names = [header[i] for i in find_columns(str(path), header, config)]
            number = 0
            for batch in file.iter_batches(batch_size=1024, columns=names):
                for fields in batch.to_pylist():
                    number += 1
                    if isinstance(fields[config.text], str | None):
                        yield _row(fields, config, f"{path}, row {number}")
                    else:
                        faults.add(f"{path}, row {number}", f"no text; received {fields[config.text]!r:.40}")
    except (pyarrow.ArrowException, UnicodeDecodeError, OSError) as error:
        raise DataError(f"{path} cannot be read as Parquet: {first_line(error)}") from error


def _folder(path: Path, config: DataConfig, faults: Faults) -> Iterator[Row]:
    """Read a folder per class, or an archive of one: the folders in `data.labels`, else all but `unsup`."""
    for label, name, stream in _class_files(path):
        if label == UNLABELLED_FOLDER if config.labels is None else label not in config.labels:
            continue
        with readable(name):
            raw = stream.read(MAX_LINE)
        if len(raw) == MAX_LINE:
            raise DataError(f"{name} is longer than {MAX_LINE >> 20} MB. Is it a text file?")
        yield Row(_decode(raw.removeprefix(b"\xef\xbb\xbf"), name, config, faults), label, "", name)


def _is_text(path: Path) -> bool:
    return path.suffix.lower() == ".txt" and path.is_file()


def _class_files(path: Path) -> Iterator[tuple[str, str, IO[bytes]]]:
    if is_archive(path):
        for name, stream in members(path, ".txt", classes=True):
            yield name.parent.name, f"{path}:{name}", stream
    elif path.is_dir():
        names = [PurePosixPath(file.relative_to(path)) for file in sorted(path.rglob("*")) if _is_text(file)]
        for name in in_class_folders(path, names):
            with (path / name).open("rb") as stream:
                yield name.parent.name, str(path / name), stream
    else:
        raise DataError(f"{path} is not a folder. Expected a folder per class, or a .zip or .tar.gz of one.")
