"""Files of labelled reviews → rows, one at a time, each with its file and line.

Tables (`formats.py`) or a folder per class (`class_folders.py`). There may be several files, or a glob.
"""

from __future__ import annotations

import glob
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from numbers import Number
from pathlib import Path
from typing import Any

from tfsent.data.archives import split_archive
from tfsent.data.class_folders import holds_class_folders, read_class_folders
from tfsent.data.formats import read_records
from tfsent.data.records import Faults, Row, more_columns, soft_columns
from tfsent.data.soft_labels import has_none, most_probable, probabilities_of
from tfsent.errors import DataError
from tfsent.recipe.schema import DataConfig


def find_files(patterns: Iterable[str], part: str, section: str = "data") -> list[Path]:
    """Return the paths that patterns match, sorted within each pattern, each path once.

    Args:
        patterns: paths or globs.
        part: the key of the recipe that names them, for messages.
        section: the section of that key.

    Raises:
        DataError: a pattern matches nothing.
    """
    found: dict[Path, Path] = {}
    for pattern in patterns:
        path = Path(pattern).expanduser()
        # A file may have a bracket in its name.
        is_one = path.exists() or split_archive(path) is not None
        matches = [path] if is_one else [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207 - absolute patterns too
        if not matches:
            where = "" if path.is_absolute() else f", seen from {Path.cwd()}"
            raise DataError(
                f"{section}.{part}: there is nothing at {pattern!r}{where}. Expected a file, a folder, or a glob."
            )
        found |= {match.resolve(): match for match in matches if match.resolve() not in found}
    return list(found.values())


def columns_of(config: DataConfig) -> dict[str, str]:
    """Return the columns that the recipe names, by key; those of soft labels as `soft_columns` does."""
    labels = {"data.label": config.label} if isinstance(config.label, str) else soft_columns(config.label)
    columns = {"data.text": config.text, **labels}
    return columns if config.group is None else {**columns, "data.group": config.group}


def classes_of(config: DataConfig) -> tuple[str, ...] | None:
    """Return the classes that the recipe names, in their order; None where the reviews tell."""
    return config.labels if isinstance(config.label, str) else tuple(column.strip() for column in config.label)


def read_files(paths: Iterable[Path], config: DataConfig, faults: Faults, more: Sequence[str] = ()) -> Iterator[Row]:
    """Read the rows of files. Faults of single rows are added to `faults`.

    Args:
        paths: of `find_files`.
        config: how to read them.
        faults: see above.
        more: further columns, whose values go into `Row.more`.

    Raises:
        DataError: a file is of another kind, is damaged, or lacks a column.
    """
    for path in paths:
        if config.source == "folder" or (config.source == "files" and holds_class_folders(path)):
            if wanted := [*more, *(() if isinstance(config.label, str) else config.label)]:
                raise DataError(
                    f"{path} has a folder per class, and no columns. Expected a table that has {wanted[0]!r}."
                )
            yield from read_class_folders(path, config, faults)
            continue
        for fields, place in read_records(path, config, columns_of(config) | more_columns(more), faults):
            try:
                row = to_row(fields, config, place)
                yield row._replace(more=tuple(spelt(fields.get(name)) for name in more)) if more else row
            except ValueError as error:
                faults.add(place, str(error))


def to_row(fields: Mapping[str, Any], config: DataConfig, place: str) -> Row:
    """Return the review of a record.

    Raises:
        ValueError: the text is not a string, the label or the group is not one word or number, or a soft label is
            faulty, see `probabilities_of`.
    """
    text = spelt_text(fields.get(config.text), config.text)
    group = "" if config.group is None else spelt_label(fields.get(config.group), "group")
    if isinstance(config.label, str):
        return Row(text, spelt_label(fields.get(config.label), "label"), group, place)
    if not text.strip() and has_none(fields, config.label):
        return Row(text, "", group, place)
    soft = probabilities_of(fields, config.label)
    return Row(text, config.label[most_probable(soft)], group, place, soft=soft)


def spelt_text(value: object, column: str) -> str:
    """Return a text as a string; nothing becomes an empty one.

    Raises:
        ValueError: it is not a text.
    """
    if isinstance(value, bytes):  # a Parquet column of bytes
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            raise ValueError(f"{column!r} has bytes that are not UTF-8") from None
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if not isinstance(value, str):
        raise ValueError(f"{column!r} is not a string; received {value!r:.40}")
    return value


def spelt_label(value: object, word: str = "label") -> str:
    """Return a label or group as a string; nothing becomes an empty one.

    1.0 becomes "1": a column of integers with a gap is read as floats. A list of one is what it holds.

    Raises:
        ValueError: it is a list of several, an object, or not UTF-8.
    """
    if isinstance(value, list | tuple) and len(value) == 1:
        return spelt_label(value[0], word)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bytes):
        try:
            value = value.decode("utf-8")
        except UnicodeDecodeError:
            raise ValueError(f"the {word} has bytes that are not UTF-8") from None
    if not isinstance(value, str | Number):
        raise ValueError(f"expected one {word}, a string or a number; received {value!r:.40}")
    return str(value)


def spelt(value: object) -> str:
    """Return any value as a string, as `spelt_label` does; nothing becomes an empty one."""
    try:
        return spelt_label(value).strip()
    except ValueError:
        return str(value)
