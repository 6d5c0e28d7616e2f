"""The records of a table and the rows of reviews: their text decoded, their columns checked, their faults collected."""

from __future__ import annotations

import codecs
import contextlib
import difflib
import io
import itertools
import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from tfsent.data.archives import readable
from tfsent.errors import DataError
from tfsent.recipe.schema import DataConfig

logger = logging.getLogger(__name__)

SHOWN = 10
"""Faults that a message shows. It counts the others."""
MAX_LINE = 64 << 20
"""Longest line or text file, in characters. A longer one is a sign of another kind of file."""
HEAD = 1 << 16
"""Bytes by which the kind of a file is found."""
_UNDECODED = re.compile("[\udc80-\udcff]")
"""What Python's `surrogateescape` makes of bytes that an encoding does not have."""


class Record(NamedTuple):
    """One line of a table."""

    fields: Mapping[str, Any]
    place: str
    """File and line, for messages."""


class Row(NamedTuple):
    """One review as its source has it."""

    text: str
    label: str
    """Empty when there is none; of a soft label the most probable class."""
    group: str
    place: str
    """File and line, for messages."""
    more: tuple[str, ...] = ()
    """Values of the further columns that were asked for."""
    soft: tuple[float, ...] = ()
    """A soft label: a probability for each class. They sum to 1, and are float32."""


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


def report_rows(faults: Faults, empty: Faults) -> None:
    """Report what was found in rows: raise for faulty ones, count those without a text in a warning.

    Args:
        faults: of rows.
        empty: the places of rows without a text, which are left out.

    Raises:
        DataError: there are faulty rows.
    """
    faults.raise_if_any()
    if empty.count:
        rows_are = "row without text is" if empty.count == 1 else "rows without text are"
        logger.warning(f"{empty.count:,} {rows_are} left out, such as {empty.shown[0].removesuffix(': no text')}.")


def require_columns(name: str, header: Sequence[str], columns: Mapping[str, str], word: str = "column") -> None:
    """Check that a table has the columns that the recipe names.

    Args:
        name: of the table.
        header: its columns.
        columns: key of the recipe → column; see also `more_columns`, `soft_columns` and `class_columns`.
        word: what a column is called there.

    Raises:
        DataError: columns are missing, or there twice.
    """
    if twice := [column for column in header if column and header.count(column) > 1]:
        raise DataError(f"{name} has two {word}s called {twice[0]!r}. Rename one.")
    if not (missing := {key: column for key, column in columns.items() if column not in header}):
        return
    lacks = " and ".join(f"no {word} {column!r}" for column in missing.values())
    has = ", ".join(map(repr, header[:20])) + (f" and {len(header) - 20} more" if len(header) > 20 else "")
    near = {key: found for key, column in missing.items() if (found := _nearest(key, column, header))}
    hint = f" Did you mean {' and '.join(map(repr, near.values()))}?" if near else ""
    hard = _nearest("data.label", "label", header) or "NAME"
    raise DataError(f"{name} has {lacks}. It has: {has}.{hint}{_way_out(missing, columns, near, hard)}")


def _way_out(missing: Iterable[str], columns: Mapping[str, str], near: Mapping[str, str], hard: str) -> str:
    """Say how the missing columns are named, or what they must be called; `hard` may be the column of hard labels."""
    if classes := [column for key, column in columns.items() if key.startswith(CLASS)]:
        of_classes = ", ".join(map(repr, classes))
        return (
            f" A table of probabilities has the column {columns['data.text']!r} of the texts, and one for each class: "
            f"{of_classes}. Rename its columns."
        )
    words = []
    for key in missing:
        if key.startswith(BY):
            words.append(f"--by {near.get(key, 'NAME')}")
        elif not key.startswith(SOFT):
            words.append(f"--set {key}={near.get(key, 'NAME')}")
    if any(key.startswith(SOFT) for key in missing):
        labels = {key: column for key, column in columns.items() if key.startswith(SOFT)}
        named = [near.get(key, "NAME") if key in missing else column for key, column in labels.items()]
        words.append(f"--set 'data.label={json.dumps(named, ensure_ascii=False)}'")
        if not set(named) - {"NAME"}:
            words.append(f"(or, where one column has the labels: --set data.label={hard})")
    return f" Name yours: {' '.join(words)}"


BY = "by."
"""What the keys of further columns begin with: those that no recipe names, and `--by` does."""
SOFT = "data.label["
"""What the keys of columns of probabilities begin with, where the recipe names them."""
CLASS = "class."
"""What the keys of columns of probabilities begin with, where the classes name them."""


def soft_columns(names: Sequence[str]) -> dict[str, str]:
    """Return the columns of soft labels that a recipe names, by keys of their own, for `require_columns`."""
    return {f"{SOFT}{i}]": name for i, name in enumerate(names)}


def class_columns(names: Sequence[str]) -> dict[str, str]:
    """Return columns that must be called as the classes are, by keys of their own, for `require_columns`."""
    return {f"{CLASS}{name}": name for name in names}


def more_columns(names: Sequence[str]) -> dict[str, str]:
    """Return further columns that a table must have, by keys of their own, for `require_columns`."""
    return {f"{BY}{name}": name for name in names}


USUAL = {
    "data.text": ("text", "review", "sentence", "content", "body", "comment", "message", "tweet"),
    "data.label": ("label", "sentiment", "stars", "rating", "score", "overall", "class", "category", "polarity"),
}
"""Words that are often in the names of such columns."""


def _nearest(key: str, column: str, header: Sequence[str]) -> str | None:
    """Return the column that was probably meant."""
    if near := difflib.get_close_matches(column, header, n=1):
        return near[0]
    words = (column.lower(), *USUAL.get(key, ()))
    return next((name for word in words for name in header if word in name.lower()), None)


def open_text(stream: io.BufferedReader, config: DataConfig) -> io.TextIOWrapper:
    """Decode a stream. Line ends are kept, a byte order mark is dropped.

    A line ends with a line feed; in files of old Macs, which have none after the first line, with a carriage return.
    """
    head = stream.peek(HEAD).decode(config.encoding, "replace")
    first = re.search("\r\n|\r|\n", head)
    mac = first is not None and first.group() == "\r" and first.end() < len(head)
    codec = "utf-8-sig" if codecs.lookup(config.encoding).name == "utf-8" else config.encoding
    return io.TextIOWrapper(stream, codec, "surrogateescape", newline="\r" if mac else "\n")


def read_lines(name: str, text: io.TextIOWrapper, config: DataConfig, faults: Faults) -> Iterator[str]:
    """Give the lines of a text, checked and with their ends. Undecodable bytes are added to `faults` or replaced.

    Raises:
        DataError: a line is too long, or the file is damaged.
    """
    for number in itertools.count(1):
        with decodable(name, config):
            line = text.readline(MAX_LINE)
        if not line:
            return
        if len(line) >= MAX_LINE:
            raise DataError(f"{name}, line {number}: longer than {MAX_LINE >> 20} MB. Is this a text file?")
        yield line if line.isascii() else decoded(line, f"{name}, line {number}", config, faults)


@contextlib.contextmanager
def decodable(name: str, config: DataConfig) -> Iterator[None]:
    """Turn what reading a damaged file or decoding UTF-16 raises into one error."""
    try:
        with readable(name):
            yield
    except UnicodeDecodeError as error:
        raise DataError(
            f"{name} is not {config.encoding}: {error.reason}. Set data.encoding to its encoding."
        ) from None


def decoded(line: str, place: str, config: DataConfig, faults: Faults) -> str:
    """Return a text without what could not be decoded; report it, where `data.errors` is `strict`."""
    if not (wrong := _UNDECODED.search(line)):
        return line
    if config.errors == "strict":
        at = len(line[: wrong.start()].encode(config.encoding, "surrogateescape")) + 1
        faults.add(
            place,
            f"byte {at} (0x{ord(wrong.group()) - 0xDC00:02x}) is not {config.encoding.upper()}; set data.encoding, "
            "such as latin-1 or cp1252; or set data.errors=replace",
        )
    return line.encode(config.encoding, "surrogateescape").decode(config.encoding, "replace")
