"""Tables of lines, such as CSV and TSV → records. Python's `csv` parses them; here its dialect is found.

RFC 4180: a field may stand in double quotes, and a quote inside it is written twice. `data.quoting`, `data.escape`,
`data.delimiter` and `data.header` read other files.
"""

from __future__ import annotations

import csv
import io
import itertools
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tfsent.data.records import CLASS, MAX_LINE, SOFT, Faults, Record, open_text, read_lines, require_columns
from tfsent.data.soft_labels import is_probability
from tfsent.errors import DataError
from tfsent.recipe.schema import DataConfig

logger = logging.getLogger(__name__)

DELIMITERS = (",", "\t", ";", "|")
HEADER_LINES = 20
"""Lines in which the header must end."""
CARRIAGE_RETURN = "\ufdd0"
"""Stands for a carriage return inside a line while `csv` reads it: `csv` takes each for the end of a row. Unicode
reserves this code point for such use."""


def read_table(
    name: str, stream: io.BufferedReader, config: DataConfig, columns: Mapping[str, str], faults: Faults
) -> Iterator[Record]:
    """Read the rows of a table; see `read_records`. Fields are strings.

    Raises:
        DataError: there is no header, a column is missing, or the quotes are not balanced.
    """
    csv.field_size_limit(MAX_LINE)
    raw = read_lines(name, open_text(stream, config), config, faults)
    head = list(itertools.islice(raw, HEADER_LINES))
    if not head:  # half a byte order mark
        raise DataError(f"{name} is empty. Expected a header and rows.")
    skipped = 1 if (excel := re.fullmatch(r'"?sep=(.)"?\s*', head[0])) else 0
    delimiter = excel.group(1) if excel else _delimiter(name, head, config, columns)
    lines = _Lines(itertools.chain(head[skipped:], raw))
    reader = csv.reader(lines, strict=True, **_options(config, delimiter))
    start = 1 + skipped
    quotes = _Quotes(config, columns, delimiter)
    try:
        header = list(config.header or next(reader))
        _require_header(name, header, columns)
        start = reader.line_num + 1 + skipped
        names = [column or f"column {i}" for i, column in enumerate(header, 1)]
        for fields in reader:
            place, start = f"{name}, line {start}", reader.line_num + 1 + skipped
            if not any(field.strip() for field in fields):
                if fields:
                    yield Record(dict.fromkeys(names, ""), place)  # a blank row, to be counted
            elif fields == header:
                faults.add(place, "the header again; were files joined? Remove this line")
            elif len(fields) != len(header):
                faults.add(place, f"expected {len(header)} fields, received {len(fields)}; is a quote missing?")
            else:
                if lines.marked:
                    fields = [field.replace(CARRIAGE_RETURN, "\r") for field in fields]
                record = Record(dict(zip(names, fields, strict=True)), place)
                quotes.see(record, fields)
                yield record
    except csv.Error as error:
        raise DataError(f"{name}, line {start}: {error}. {_advice(lines.last, config)}") from error
    quotes.report(faults)


class _Lines:
    """Gives lines to `csv` with a mark for each carriage return inside; remembers the last line."""

    def __init__(self, lines: Iterator[str]):
        self._lines, self.last, self.marked = lines, "", False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        self.last = line = next(self._lines)
        if "\r" in line[:-2]:
            body = line.rstrip("\r\n")
            if "\r" in body:
                self.marked = True
                line = body.replace("\r", CARRIAGE_RETURN) + line[len(body) :]
        return line


def _options(config: DataConfig, delimiter: str) -> dict[str, Any]:
    quoting = csv.QUOTE_NONE if config.quoting == "none" else csv.QUOTE_MINIMAL
    return {"delimiter": delimiter, "quoting": quoting, "escapechar": config.escape}


def _delimiter(name: str, head: Sequence[str], config: DataConfig, columns: Mapping[str, str]) -> str:
    """Return the delimiter with which the header has the columns of the recipe, by preference that of the suffix."""
    if config.delimiter is not None:
        return config.delimiter
    tabs = config.source == "tsv" or ".tsv" in name.lower()
    usual = "\t" if tabs else ","
    rows = {mark: _first_row(head, config, mark) for mark in (usual, *DELIMITERS)}
    if config.header is not None:
        fits = [mark for mark, row in rows.items() if len(row) == len(config.header)]
    else:
        fits = [mark for mark, row in rows.items() if set(columns.values()) <= set(row)]
    # Where none fits, the message that follows should show the columns.
    found = fits[0] if fits else max(rows, key=lambda mark: (len(rows[mark]), mark == usual))
    if fits and found != usual:
        logger.info(f"{name}: its columns are separated by {found!r}.")
    return found


def _first_row(head: Sequence[str], config: DataConfig, delimiter: str) -> list[str]:
    try:
        return next(csv.reader(iter(head), **_options(config, delimiter)), [])
    except csv.Error:
        return []


def _require_header(name: str, header: Sequence[str], columns: Mapping[str, str]) -> None:
    """Check the header; where a review seems to stand in its place, say so."""
    if any(column in header for column in columns.values()) or not any(len(field.split()) > 3 for field in header):
        require_columns(name, header, columns)
        return
    if any(key.startswith(CLASS) for key in columns):
        named = ",".join(columns.values())
        raise DataError(
            f"{name} seems to have no header: its first row is {_shown(header)}. Expected a table of probabilities, "
            f"whose first row is {named}."
        )
    longest = max(range(len(header)), key=lambda i: len(header[i]))
    shortest = min(range(len(header)), key=lambda i: (i == longest, len(header[i])))
    guess = [f"column{i}" for i in range(1, len(header) + 1)]
    guess[longest] = columns["data.text"]
    if len(header) > 1 and "data.label" in columns:
        guess[shortest] = columns["data.label"]
    numbers = [i for i, field in enumerate(header) if is_probability(field)]
    if soft := _soft(columns):
        for i, column in zip(numbers[-len(soft) :], soft, strict=False):
            guess[i] = column
    raise DataError(
        f"{name} seems to have no header: its first row is {_shown(header)}. Name its {len(header)} columns, such as: "
        f"--set data.header=[{','.join(guess)}]"
    )


def _shown(fields: Sequence[str]) -> str:
    shown = ", ".join(repr(field if len(field) <= 40 else f"{field[:39]}…") for field in fields[:5])
    return f"{shown}, …" if len(fields) > 5 else shown


def _advice(line: str, config: DataConfig) -> str:
    escape = "" if config.escape or '\\"' not in line else " Where \\ stands before a quote: --set data.escape='\\'."
    if config.quoting == "none":
        return "Expected one row a line."
    return (
        f"Close every quote, and write one inside a field twice.{escape} Where quotes are part of the text: "
        "--set data.quoting=none"
    )


def _soft(columns: Mapping[str, str]) -> list[str]:
    """Return the columns that hold probabilities."""
    return [column for key, column in columns.items() if key.startswith((SOFT, CLASS))]


class _Quotes:
    """Finds quotes that were never closed: then a field holds whole rows, up to the next quote.

    A field of several lines is suspicious when each line but the last (but the first, where the label stands before the
    field) looks like a row with a label of this file, or with probabilities.
    """

    def __init__(self, config: DataConfig, columns: Mapping[str, str], delimiter: str):
        self._soft = _soft(columns)
        named = self._soft or [column for key, column in columns.items() if key == "data.label"]
        self._columns = named if config.quoting is None else []
        self._delimiter = delimiter
        self._labels: set[str] = set()
        self._suspicious: list[tuple[str, set[str]]] = []

    def see(self, record: Record, fields: Sequence[str]) -> None:
        """Look at one row."""
        if not self._columns:
            return
        if len(self._labels) < 1000:
            self._labels.add(self._look([record.fields[column] for column in self._columns]))
        long = [i for i, field in enumerate(fields) if "\n" in field and self._delimiter in field]
        if long and len(self._suspicious) < 1000:
            at = [list(record.fields).index(column) for column in self._columns]
            lines = self._delimiter.join(fields).split("\n")
            lines = lines[1:] if max(at) < long[0] else lines[:-1]  # one of them has the row's own label
            rows = [line.rstrip("\r").split(self._delimiter) for line in lines]
            if all(len(row) == len(fields) for row in rows):
                self._suspicious.append((record.place, {self._look([row[i] for i in at]) for row in rows}))

    def _look(self, labels: Sequence[str]) -> str:
        """Return what labels of this file look like: the label itself, or that all are probabilities."""
        return ("probabilities" if all(map(is_probability, labels)) else "") if self._soft else labels[0]

    def report(self, faults: Faults) -> None:
        """Report the suspicious rows, when all labels of the file are known."""
        for place, inside in self._suspicious:
            if inside <= self._labels:
                faults.add(
                    place,
                    'unbalanced quote: the field spans several rows. Write a quote as "" and quote the whole field; '
                    "where quotes are part of the text, --set data.quoting=none; where the row is right, --set "
                    "data.quoting=double",
                )
