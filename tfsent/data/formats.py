"""What a file is, by its first bytes → its records: JSON lines, an array of JSON objects, Parquet, or a table of lines
(`tables.py`). `data.source` may insist on one of them. `archives.py` unpacks.
"""

from __future__ import annotations

import codecs
import io
import json
import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, cast

from tfsent.data.archives import open_archive, open_file, readable, split_archive
from tfsent.data.records import HEAD, Faults, Record, decodable, decoded, open_text, read_lines, require_columns
from tfsent.data.tables import DELIMITERS, read_table
from tfsent.errors import DataError, first_line
from tfsent.recipe.schema import DataConfig

logger = logging.getLogger(__name__)

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json")
"""Of tables inside an archive."""
KEYS_WITHIN = 1000
"""Objects of JSON among which each key must occur once."""
PIECE = 1 << 20
"""Characters of a JSON array that are read at once."""
_PUNCTUATION = re.compile(r"[\s,]*\[?[\s,]*")


def read_records(
    path: Path, config: DataConfig, columns: Mapping[str, str], faults: Faults, *, all_columns: bool = False
) -> Iterator[Record]:
    """Read the records of a file, or of every table in an archive.

    Args:
        path: of the file.
        config: how to read it.
        columns: those that must be there: key of the recipe → name.
        faults: faults of single rows are added.
        all_columns: read all columns of Parquet, not only those. Other formats always give all.

    Raises:
        DataError: the path is a folder, the file is damaged, empty, a workbook, or not of the kind of `data.source`,
            or a column is missing.
    """
    for name, stream in open_tables(path):
        with io.BufferedReader(cast(Any, stream), HEAD) as buffered:
            config = _with_encoding(name, buffered, config)
            kind = _kind(name, buffered, config)
            if kind == "parquet":
                yield from _parquet(name, path, columns, all_columns=all_columns)
            elif kind == "array":
                yield from _required(name, columns, _array(name, buffered, config, faults))
            elif kind == "jsonl":
                yield from _required(name, columns, _jsonl(name, buffered, config, faults))
            else:
                yield from read_table(name, buffered, config, columns, faults)


def open_tables(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Open a file, or each table in an archive. Yield the name and the stream of each.

    Raises:
        DataError: the path is a folder, or an archive without a table.
    """
    if path.is_dir():
        raise DataError(f"{path} is a folder. Expected a file, or a glob such as {path}/*.csv.")
    if (inside := split_archive(path)) is None:
        with open_file(path) as stream:
            yield str(path), stream
        return
    with open_archive(*inside) as members:
        names = [name for name in members if name.name.lower().endswith((*SUFFIXES, ".parquet"))]
        names = names or (list(members) if len(members) == 1 else [])  # a file inside may have any name
        if not names:
            raise DataError(f"{path} holds no table. Expected a member whose name ends with {', '.join(SUFFIXES)}.")
        for name in names:
            with members[name]() as stream:
                yield f"{path}:{name}", stream


def is_plain(path: Path, config: DataConfig) -> bool:
    """Return whether a file is a `.txt` file of plain lines: no JSON, no Parquet, no table that names its texts.

    Raises:
        DataError: the file is damaged, empty or a workbook.
    """
    if not path.name.lower().endswith((".txt", ".txt.gz")) or split_archive(path) is not None:
        return False
    with io.BufferedReader(cast(Any, open_file(path)), HEAD) as buffered:
        config = _with_encoding(str(path), buffered, config)
        if _kind(str(path), buffered, config) != "table":
            return False
        first = buffered.peek(HEAD)[:HEAD].decode(config.encoding, "replace").lstrip("\ufeff").splitlines()[0]
    return all(config.text not in [field.strip('" ') for field in first.split(mark)] for mark in DELIMITERS)


def read_plain(path: Path, config: DataConfig, faults: Faults) -> Iterator[tuple[str, str]]:
    """Read the lines of a file of plain text. Yield the text and the place of each.

    Raises:
        DataError: the file is damaged, or a line is too long.
    """
    with io.BufferedReader(cast(Any, open_file(path)), HEAD) as buffered:
        config = _with_encoding(str(path), buffered, config)
        for number, line in enumerate(read_lines(str(path), open_text(buffered, config), config, faults), 1):
            yield line.rstrip("\r\n"), f"{path}, line {number}"


def _with_encoding(name: str, stream: io.BufferedReader, config: DataConfig) -> DataConfig:
    """Return the config with UTF-16 where the file begins with its mark: UTF-8 never has those bytes."""
    with readable(name):
        marked = stream.peek(2)[:2] in (b"\xff\xfe", b"\xfe\xff")
    if not marked or codecs.lookup(config.encoding).name != "utf-8":
        return config
    logger.info(f"{name}: it is UTF-16.")
    return config.model_copy(update={"encoding": "utf-16"})


def is_parquet(path: Path) -> bool:
    """Return whether a file is Parquet, by its first bytes."""
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(4) == b"PAR1"


def _kind(name: str, stream: io.BufferedReader, config: DataConfig) -> str:
    """Return `table`, `jsonl`, `array` or `parquet`."""
    with readable(name):
        head = stream.peek(HEAD)[:HEAD]
    if not head.decode(config.encoding, "replace").strip("\ufeff\ufffe \t\r\n"):
        raise DataError(f"{name} is empty. Expected a header and rows, or a JSON object a line.")
    kind = _by_first_bytes(name, head, config)
    if config.source != "files" and kind != {"csv": "table", "tsv": "table"}.get(config.source, config.source):
        if config.source == "jsonl" and kind in ("array", "table"):
            return "array" if kind == "array" else "jsonl"  # whose first line is damaged
        if config.source == "parquet":
            raise DataError(f"{name} cannot be read as Parquet: it does not begin with PAR1.")
        raise DataError(f"{name} is {_WORDS[kind]}, and data.source is {config.source}. Set data.source=files.")
    return kind


_WORDS = {"table": "a table", "jsonl": "JSON lines", "array": "a JSON array", "parquet": "Parquet"}


def _by_first_bytes(name: str, head: bytes, config: DataConfig) -> str:
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        workbook = head.startswith(b"\xd0\xcf") or b"[Content_Types].xml" in head or b"xl/" in head
        if workbook:
            raise DataError(f"{name} is a workbook. Save the sheet as CSV UTF-8, and name that file.")
        raise DataError(f"{name} is a zip archive. Give its name the ending .zip.")
    utf16 = codecs.lookup(config.encoding).name.startswith(("utf-16", "utf-32"))
    if b"\0" in head and not utf16:
        raise DataError(f"{name} is not text: it has NUL bytes. Expected CSV, TSV, JSON lines or Parquet.")
    text = head.decode(config.encoding, "replace").lstrip("\ufeff").lstrip()
    if re.match(r"\[\s*[{\]]", text):
        return "array"
    if text.startswith("{") and (_is_object(text.split("\n", 1)[0]) or len(text.split("\n", 1)) == 1):
        return "jsonl"
    if text.startswith("{") and text[1:].lstrip().startswith('"'):
        raise DataError(
            f"{name} has a JSON object over several lines. Expected an object a line, or an array of objects."
        )
    return "table"


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _jsonl(name: str, stream: io.BufferedReader, config: DataConfig, faults: Faults) -> Iterator[Record]:
    for number, line in enumerate(read_lines(name, open_text(stream, config), config, faults), 1):
        if not line.strip():
            continue
        place = f"{name}, line {number}"
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError) as error:
            faults.add(place, f"not JSON: {error}")
            continue
        if isinstance(fields, dict):
            yield Record(fields, place)
        else:
            faults.add(place, f"expected an object such as {{{config.text!r}: …}}, received {line.strip()[:40]!r}")


def _array(name: str, stream: io.BufferedReader, config: DataConfig, faults: Faults) -> Iterator[Record]:
    """Read an array of objects piece by piece: it may be larger than memory."""
    decoder, text, number, rest, at = json.JSONDecoder(), open_text(stream, config), 0, "", 0
    while True:
        at = _PUNCTUATION.match(rest, at).end()  # type: ignore[union-attr]
        try:
            item, at = decoder.raw_decode(rest, at)
        except (ValueError, RecursionError) as error:
            if rest[at : at + 1] == "]":
                return
            with decodable(name, config):
                more = text.read(max(PIECE, len(rest) - at))  # twice as much each time
            if not more:
                raise DataError(f"{name}, item {number + 1}: not JSON: {error}") from None
            rest, at = rest[at:] + decoded(more, f"{name}, after item {number}", config, faults), 0
            continue
        number += 1
        if isinstance(item, dict):
            yield Record(item, f"{name}, item {number}")
        else:
            wrong = f"expected an object such as {{{config.text!r}: …}}, received {item!r:.40}"
            faults.add(f"{name}, item {number}", wrong)


def _required(name: str, columns: Mapping[str, str], records: Iterator[Record]) -> Iterator[Record]:
    """Check that each key occurs in some of the first objects."""
    seen: dict[str, None] = {}
    number = 0
    for number, record in enumerate(records, 1):
        if number <= KEYS_WITHIN:
            seen |= dict.fromkeys(record.fields)
        if number == KEYS_WITHIN:
            require_columns(name, list(seen), columns, "key")
        yield record
    if 0 < number < KEYS_WITHIN:
        require_columns(name, list(seen), columns, "key")


def _parquet(name: str, path: Path, columns: Mapping[str, str], *, all_columns: bool) -> Iterator[Record]:
    import pyarrow
    import pyarrow.parquet

    if name != str(path) or path.suffix.lower() == ".gz":
        raise DataError(f"{name}: a packed Parquet file cannot be read. Unpack it first.")
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            require_columns(name, file.schema_arrow.names, columns)
            number = 0
            wanted = None if all_columns else [*dict.fromkeys(columns.values())]
            for batch in file.iter_batches(batch_size=1024, columns=wanted):
                for fields in batch.to_pylist():
                    number += 1
                    yield Record(fields, f"{path}, row {number}")
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read as Parquet: {first_line(error)}") from error
