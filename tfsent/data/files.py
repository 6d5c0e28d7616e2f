"""Files of labelled reviews → rows, one at a time, each with the place it stands.

CSV and TSV with a header (RFC 4180 quoting), JSON lines, Parquet, a folder per class. Files may be several, or a glob;
`.gz` is unpacked as it is read, and so are the members of a `.zip`: never to disk.
"""

from __future__ import annotations

import csv
import difflib
import glob
import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from tfsent.data.archives import Stream, in_class_folders, members, open_streams
from tfsent.errors import DataError, first_line
from tfsent.recipe.schema import DataConfig

SHOWN = 10
"""Faults that are spelt out; the others are counted."""
MAX_LINE = 64 << 20
"""Bytes of one line of a file: beyond, something is not what it says it is."""
UNLABELLED_FOLDER = "unsup"
"""aclImdb keeps reviews without a label in it."""


class Row(NamedTuple):
    """One review as its source has it."""

    text: str
    label: str
    """Empty when there is none."""
    group: str
    place: str
    """Where it stands, for messages: file and line."""


class Faults:
    """What is wrong with rows, collected so that all of it is told at once."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.count = 0

    def add(self, place: str, message: str) -> None:
        """Note a fault; the first ten are spelt out."""
        self.count += 1
        if len(self.shown) < SHOWN:
            self.shown.append(f"{place}: {message}")

    def raise_if_any(self) -> None:
        """Raises DataError with the faults noted so far, if there are any."""
        if self.count:
            more = f"\n  … and {self.count - len(self.shown):,} more" if self.count > len(self.shown) else ""
            raise DataError(
                f"{self.count:,} faulty row{'s' if self.count > 1 else ''}:\n  " + "\n  ".join(self.shown) + more
            )


def find_files(patterns: Iterable[str], part: str) -> list[Path]:
    """The paths that patterns name, each pattern's in order.

    Raises:
        DataError: a pattern names none.
    """
    found: dict[Path, Path] = {}  # two patterns may name one file: it is read once
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
    """The rows of files of the recipe's kind.

    Raises:
        DataError: a file is not what it should be, or has no such column. What is wrong with single rows goes to
            `faults`, and the reading goes on.
    """
    reader = {"csv": _csv, "tsv": _csv, "jsonl": _jsonl, "parquet": _parquet, "folder": _folder}[config.source]
    return (row for path in paths for row in reader(path, config, faults))


def _lines(name: str, stream: Stream, config: DataConfig, faults: Faults) -> Iterator[str]:
    """Decoded lines with their line ends, without a byte order mark. Only the line feed ends one."""
    number = 0
    while raw := stream.readline(MAX_LINE):
        number += 1
        if len(raw) == MAX_LINE:
            raise DataError(f"{name}, line {number}: longer than {MAX_LINE >> 20} MB. Is this a text file?")
        if number == 1:
            if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
                raise DataError(f"{name} is UTF-16. Save it as UTF-8, or convert it: iconv -f utf-16 -t utf-8 {name}")
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        yield _decode(raw, f"{name}, line {number}", config, faults)


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
                    faults.add(place, f"{len(fields)} fields, and the header has {len(header)}; is a quote missing?")
                    continue
                if config.source == "tsv" and any("\t" in field and "\n" in field for field in fields):
                    # A line feed alone is how pandas writes texts of several lines.
                    faults.add(
                        place, "a quote at the start of a field runs over tabs and lines; double it, and quote all"
                    )
                    continue
                text, label, *group = (fields[column] for column in columns)
                yield Row(text, label, "".join(group), place)
        except csv.Error as error:
            raise DataError(f"{name}, line {start}: {error}. Is a quote not closed, or not doubled?") from error


def find_columns(name: str, header: list[str], config: DataConfig) -> list[int]:
    """Where text, label and perhaps group stand in a header."""
    keys = {"data.text": config.text, "data.label": config.label, "data.group": config.group}
    if twice := [column for column in keys.values() if column is not None and header.count(column) > 1]:
        raise DataError(f"{name} has two columns called {twice[0]!r}.")
    for key, column in keys.items():
        if column is not None and column not in header:
            close = difflib.get_close_matches(column, header, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            if len(header) == 1 and (other := next((mark for mark in ";\t|" if mark in header[0]), None)):
                hint = f" Its columns are divided by {other!r}: save it with commas, or as .tsv with tabs."
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
                faults.add(place, f"{config.text!r} is no string; received {fields.get(config.text)!r:.40}")
            else:
                yield _row(fields, config, place)


def _row(fields: dict[str, Any], config: DataConfig, place: str) -> Row:
    label, group = spelt_label(fields.get(config.label)), spelt_label(fields.get(config.group)) if config.group else ""
    return Row(fields[config.text] or "", label, group, place)


def spelt_label(value: object) -> str:
    """A label or group as a word; 1.0 is 1, for a column of numbers with a gap in it becomes one of floats."""
    if isinstance(value, float):
        if math.isnan(value):
            return ""
        value = int(value) if value.is_integer() else value
    if isinstance(value, bytes):  # Parquet written without saying that they are UTF-8
        return value.decode("utf-8")
    return "" if value is None else str(value)


def _parquet(path: Path, config: DataConfig, faults: Faults) -> Iterator[Row]:
    import pyarrow
    import pyarrow.parquet

    if path.is_dir():
        raise DataError(f"{path} is a folder. Expected a Parquet file, or a glob such as {path}/*.parquet.")
    if path.suffix.lower() in (".gz", ".zip"):
        raise DataError(f"{path}: Parquet is packed inside, and read from its end. Unpack it first.")
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
    """A folder per class, or a zip with one. `data.labels` says which folders; without it, all but `unsup`."""
    for label, name, stream in _class_files(path):
        if label == UNLABELLED_FOLDER if config.labels is None else label not in config.labels:
            continue
        raw = stream.read(MAX_LINE)
        if len(raw) == MAX_LINE:
            raise DataError(f"{name} is longer than {MAX_LINE >> 20} MB. Is this a text file?")
        yield Row(_decode(raw.removeprefix(b"\xef\xbb\xbf"), name, config, faults), label, "", name)


def _is_text(path: Path) -> bool:
    return path.suffix.lower() == ".txt" and path.is_file()


def _class_files(path: Path) -> Iterator[tuple[str, str, Stream]]:
    if path.suffix.lower() == ".zip":
        for name, stream in members(path, ".txt", classes=True):
            yield name.parent.name, f"{path}:{name}", stream
    elif path.is_dir():
        names = [PurePosixPath(file.relative_to(path)) for file in sorted(path.rglob("*")) if _is_text(file)]
        for name in in_class_folders(path, names):
            with (path / name).open("rb") as stream:
                yield name.parent.name, str(path / name), stream
    else:
        raise DataError(f"{path} is no folder. Expected a folder per class, or a .zip of one.")
