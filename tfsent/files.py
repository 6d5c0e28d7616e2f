"""Files of labelled reviews → rows, one at a time, each with the place it stands.

CSV and TSV with a header (RFC 4180 quoting), JSON lines, Parquet, a folder per class. Files may be several, or a glob;
`.gz` is unpacked as it is read, and so are the members of a `.zip`: never to disk.
"""

from __future__ import annotations

import csv
import difflib
import glob
import gzip
import json
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, Protocol

from tfsent.config import DataConfig
from tfsent.errors import DataError, first_line

SHOWN = 10
"""Faults that are spelt out; the others are counted."""
MAX_LINE = 64 << 20
"""Bytes of one line of a file: beyond, something is not what it says it is."""
MAX_RATIO = 200
"""How many times its packed size a file may unpack to; text comes to 3 to 10, a bomb to 1,000."""
ALWAYS_ALLOWED = 100 << 20
"""Bytes a packed file may unpack to whatever its ratio."""
UNLABELLED_FOLDER = "unsup"
"""aclImdb keeps reviews without a label in it."""


class _Stream(Protocol):
    """What is read: a file, or something that unpacks one."""

    def readline(self, limit: int, /) -> bytes: ...
    def read(self, limit: int, /) -> bytes: ...


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
            raise DataError(f"{self.count:,} faulty rows:\n  " + "\n  ".join(self.shown) + more)


def find_files(patterns: Iterable[str], part: str) -> list[Path]:
    """The paths that patterns name, each pattern's in order.

    Raises:
        DataError: a pattern names none.
    """
    found: list[Path] = []
    for pattern in patterns:
        expanded = str(Path(pattern).expanduser())
        # A file may have a bracket in its name.
        matches = [expanded] if Path(expanded).exists() else sorted(glob.glob(expanded, recursive=True))  # noqa: PTH207 - absolute patterns too
        if not matches:
            raise DataError(f"data.{part}: there is nothing at {pattern!r}. Expected a file, a folder, or a glob.")
        found += map(Path, matches)
    return found


def read_files(paths: Iterable[Path], config: DataConfig, faults: Faults) -> Iterator[Row]:
    """The rows of files of the recipe's kind.

    Raises:
        DataError: a file is not what it should be, or has no such column. What is wrong with single rows goes to
            `faults`, and the reading goes on.
    """
    reader = {"csv": _csv, "tsv": _csv, "jsonl": _jsonl, "parquet": _parquet, "folder": _folder}[config.source]
    return (row for path in paths for row in reader(path, config, faults))


def _open(path: Path, config: DataConfig) -> Iterator[tuple[str, _Stream]]:
    """The streams a file stands for: itself, what is in the gzip, or each member of the zip, with their names."""
    if path.is_dir():
        raise DataError(
            f"{path} is a folder. Expected a {config.source} file, or a glob such as {path}/*.{config.source}."
        )
    if path.suffix == ".zip":
        yield from _members(path, f".{config.source}")
    elif path.suffix == ".gz":
        with gzip.open(path, "rb") as stream:
            yield str(path), _Guarded(stream, path.name, path.stat().st_size)
    else:
        with path.open("rb") as stream:
            yield str(path), stream


def _members(path: Path, suffix: str) -> Iterator[tuple[str, _Stream]]:
    """The members of a zip whose names end so, as streams."""
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(f"{path} is not a zip file: {error}.") from error
    with archive:
        found = False
        for info in archive.infolist():
            name = PurePosixPath(info.filename.replace("\\", "/"))
            # Nothing is written to disk, but who packs such names wants something else than to be read.
            if name.is_absolute() or ".." in name.parts or ":" in name.parts[0]:
                raise DataError(f"{path} holds a member {info.filename!r} that points outside the archive. Refused.")
            if info.is_dir() or name.suffix != suffix or name.parts[0] == "__MACOSX":
                continue
            found = True
            if info.flag_bits & 1:
                raise DataError(f"{path} is encrypted. Expected a zip without a password.")
            with archive.open(info) as stream:
                yield f"{path}:{name}", _Guarded(stream, str(path), info.compress_size)
        if not found:
            raise DataError(f"{path} holds no {suffix} file.")


class _Guarded:
    """A stream that unpacks, and stops when it has grown beyond reason."""

    def __init__(self, stream: _Stream, name: str, packed: int):
        self.stream, self.name = stream, name
        self.left = max(packed * MAX_RATIO, ALWAYS_ALLOWED)

    def readline(self, limit: int, /) -> bytes:
        return self._counted(lambda: self.stream.readline(limit))

    def read(self, limit: int, /) -> bytes:
        return self._counted(lambda: self.stream.read(limit))

    def _counted(self, read: Callable[[], bytes]) -> bytes:
        try:
            data = read()
        except (OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
            raise DataError(f"{self.name} is damaged: {error}.") from error
        self.left -= len(data)
        if self.left < 0:
            raise DataError(f"{self.name} unpacks to more than {MAX_RATIO} times its size. Refused as an archive bomb.")
        return data


def _lines(name: str, stream: _Stream, config: DataConfig, faults: Faults) -> Iterator[str]:
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
    for name, stream in _open(path, config):
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
                text, label, *group = (fields[column] for column in columns)
                yield Row(text, label, "".join(group), place)
        except csv.Error as error:
            raise DataError(f"{name}, line {start}: {error}. Is a quote not closed, or not doubled?") from error


def find_columns(name: str, header: list[str], config: DataConfig) -> list[int]:
    """Where text, label and perhaps group stand in a header."""
    if twice := [column for column in header if header.count(column) > 1]:
        raise DataError(f"{name} has two columns called {twice[0]!r}.")
    keys = {"data.text": config.text, "data.label": config.label, "data.group": config.group}
    for key, column in keys.items():
        if column is not None and column not in header:
            close = difflib.get_close_matches(column, header, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise DataError(
                f"{name} has no column {column!r}.{hint} It has: {', '.join(map(repr, header[:20]))}. Name yours with "
                f"{key}."
            )
    return [header.index(column) for column in keys.values() if column is not None]


def _jsonl(path: Path, config: DataConfig, faults: Faults) -> Iterator[Row]:
    for name, stream in _open(path, config):
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
            elif not isinstance(fields.get(config.text), str):
                faults.add(place, f"{config.text!r} is no string; received {fields.get(config.text)!r:.40}")
            else:
                yield _row(fields, config, place)


def _row(fields: dict[str, Any], config: DataConfig, place: str) -> Row:
    label, group = fields.get(config.label), fields.get(config.group) if config.group else ""
    return Row(fields[config.text], "" if label is None else str(label), "" if group is None else str(group), place)


def _parquet(path: Path, config: DataConfig, faults: Faults) -> Iterator[Row]:
    import pyarrow
    import pyarrow.parquet

    if path.is_dir():
        raise DataError(f"{path} is a folder. Expected a Parquet file, or a glob such as {path}/*.parquet.")
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            header = file.schema_arrow.names
            names = [header[i] for i in find_columns(str(path), header, config)]
            number = 0
            for batch in file.iter_batches(batch_size=1024, columns=names):
                for fields in batch.to_pylist():
                    number += 1
                    if isinstance(fields[config.text], str):
                        yield _row(fields, config, f"{path}, row {number}")
                    else:
                        faults.add(f"{path}, row {number}", f"no text; received {fields[config.text]!r:.40}")
    except (pyarrow.ArrowException, UnicodeDecodeError, OSError) as error:
        raise DataError(f"{path} cannot be read as Parquet: {first_line(error)}") from error


def _folder(path: Path, config: DataConfig, faults: Faults) -> Iterator[Row]:
    """A folder per class, or a zip of one. `data.labels` says which folders; without it, all but `unsup`."""
    for label, name, stream in _class_files(path):
        if label == UNLABELLED_FOLDER if config.labels is None else label not in config.labels:
            continue
        raw = stream.read(MAX_LINE)
        if len(raw) == MAX_LINE:
            raise DataError(f"{name} is longer than {MAX_LINE >> 20} MB. Is this a text file?")
        yield Row(_decode(raw.removeprefix(b"\xef\xbb\xbf"), name, config, faults), label, "", name)


def _class_files(path: Path) -> Iterator[tuple[str, str, _Stream]]:
    if path.suffix == ".zip":
        for name, stream in _members(path, ".txt"):
            yield PurePosixPath(name).parent.name, name, stream
    elif path.is_dir():
        files = sorted(path.glob("*/*.txt"))
        if not files:
            raise DataError(
                f"{path} has no folder with .txt files in it. Expected a folder per class, as aclImdb/train has."
            )
        for file in files:
            with file.open("rb") as stream:
                yield file.parent.name, str(file), stream
    else:
        raise DataError(f"{path} is no folder. Expected a folder per class, or a .zip of one.")
