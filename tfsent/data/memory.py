"""Reviews that a Python program has in memory → `Reviews`, by the same rules as files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import Any

import numpy as np

from tfsent.data.files import classes_of, columns_of, spelt, to_row
from tfsent.data.reading import collect
from tfsent.data.records import Faults, Row, more_columns, require_columns
from tfsent.data.reviews import Reviews
from tfsent.data.unlabelled import memory_texts
from tfsent.errors import DataError, did_you_mean
from tfsent.recipe.schema import DataConfig

SPLITS = ("train", "validation", "test")
UNLABELLED = "unlabelled"
"""The part of the data that has no labels; its reviews have label -1."""


def read_memory(data: Any, config: DataConfig) -> dict[str, Reviews]:
    """Read reviews from a program's memory.

    Args:
        data: `(texts, labels)`, each a list, an array or a Series; a pandas DataFrame or Arrow table with the columns
            `config.text`, `config.label` and `config.group`; or a dict with `train` and perhaps `validation` and
            `test`, each one of these, and `unlabelled`, texts for a teacher to label. Labels are strings or numbers;
            where `config.label` names several columns, probabilities, `float[n, classes]`, in their order.
        config: names the columns and, with `labels`, the classes in their order.

    Returns:
        Reviews by split.

    Raises:
        DataError: the data has none of these forms, texts and labels differ in number, a column is missing, a row is
            faulty, or there is only one class.

    Example:
        >>> read_memory((["Loved it.", "Dull."], [1, 0]), config)["train"].class_counts
        {'0': 1, '1': 1}
    """
    parts = data if isinstance(data, Mapping) else {"train": data}
    if unknown := [name for name in parts if name not in (*SPLITS, UNLABELLED)]:
        raise DataError(
            f"data= is a dict, so its keys name splits. Received the key {unknown[0]!r}."
            f"{did_you_mean(str(unknown[0]), (*SPLITS, UNLABELLED))}"
        )
    if "train" not in parts:
        raise DataError("data= has no split 'train', the reviews to learn from.")
    found: dict[str, Reviews] = {}
    labels, groups = classes_of(config), (None if config.group is None else dict[str, int]())
    for name in [name for name in SPLITS if name in parts]:
        faults = Faults()
        rows = memory_rows(parts[name], name, config, faults)
        found[name] = collect(rows, labels, groups, faults, f"{name} reviews passed to tfsent")
        labels = found[name].label_names
    if UNLABELLED in parts:
        if isinstance(parts[UNLABELLED], str | bytes | Mapping):
            raise DataError(
                f"data= for unlabelled: expected a list of texts. Received: {type(parts[UNLABELLED]).__name__}. Files "
                "go to unlabelled=."
            )
        texts = memory_texts(_listed(parts[UNLABELLED], UNLABELLED))
        names = found["train"].label_names
        found[UNLABELLED] = Reviews(texts, np.full(len(texts), -1, np.int32), names, "texts without labels")
    return found


def memory_rows(part: Any, name: str, config: DataConfig, faults: Faults, more: Sequence[str] = ()) -> Iterator[Row]:
    """Give the rows of one split in memory; see `read_memory`.

    Args:
        part: `(texts, labels)`, a DataFrame or an Arrow table; see `read_memory`.
        name: of the split, for messages.
        config: names the columns.
        faults: faults of single rows are added.
        more: further columns, whose values go into `Row.more`.

    Raises:
        DataError: it has none of these forms, or lacks a column.
    """
    names = [*columns_of(config).values(), *more]
    for number, values in enumerate(zip(*_columns(part, name, config, more), strict=True), 1):
        plain = [value.item() if isinstance(value, np.generic) else value for value in values]
        fields = dict(zip(names, plain, strict=True))
        place = f"{name}, row {number}"
        try:
            yield to_row(fields, config, place)._replace(more=tuple(spelt(fields[column]) for column in more))
        except ValueError as error:
            faults.add(place, str(error))


def _columns(part: Any, name: str, config: DataConfig, more: Sequence[str]) -> list[list[Any]]:
    """Return texts, labels (or the probabilities of each class) and, where the recipe has a group, groups; then the
    further columns."""
    # Arrow says `column_names`, pandas `columns`. A pandas column may have any name, such as a number.
    header = getattr(part, "column_names", getattr(part, "columns", None))
    if header is not None:
        header = list(header)
        names = list(map(str, header))
        require_columns(f"data= for {name}", names, columns_of(config) | more_columns(more))
        wanted = [*columns_of(config).values(), *more]
        return [_listed(part[header[names.index(column)]], name) for column in wanted]
    if not isinstance(part, tuple | list) or len(part) != 2:
        raise DataError(
            f"data= for {name}: expected (texts, labels), a DataFrame or an Arrow table. "
            f"Received: {type(part).__name__}."
        )
    if more:
        raise DataError(f"(texts, labels) has no column {more[0]!r}. Pass a DataFrame or an Arrow table.")
    if config.group is not None:
        raise DataError(f"data.group is {config.group!r}, and (texts, labels) has no columns. Pass a DataFrame.")
    texts = _listed(part[0], name)
    labels = [_listed(part[1], name)] if isinstance(config.label, str) else _by_class(part[1], name, config.label)
    if len(texts) != len(labels[0]):
        raise DataError(
            f"data= for {name} has {len(texts):,} texts and {len(labels[0]):,} labels. Expected one for each."
        )
    return [texts, *labels]


def _by_class(probabilities: Any, name: str, classes: Sequence[str]) -> list[list[Any]]:
    """Return the probabilities of each class, out of `float[n, classes]`."""
    is_frame = hasattr(probabilities, "columns") or hasattr(probabilities, "column_names")
    try:
        found = None if is_frame else np.asarray(probabilities)
    except ValueError:  # rows of different lengths
        found = None
    if found is None or found.ndim != 2 or found.shape[1] != len(classes):
        received = f"shape {list(found.shape)}" if found is not None else type(probabilities).__name__
        raise DataError(
            f"data= for {name}: data.label names {len(classes)} classes, so expected (texts, probabilities), an array "
            f"of shape [texts, {len(classes)}] in the order {', '.join(map(repr, classes))}. Received: {received}."
        )
    return [column.tolist() for column in found.T]


def _listed(values: Any, name: str) -> list[Any]:
    """Return the values of a column as a list, with None for what pandas counts as missing."""
    if hasattr(values, "notna"):  # pandas.Series
        values = values.astype(object).where(values.notna(), None)
    for convert in ("to_pylist", "tolist"):  # Arrow; NumPy and pandas
        if hasattr(values, convert):
            values = getattr(values, convert)()
            break
    if isinstance(values, str | bytes | Mapping | Set) or not isinstance(values, Iterable):
        raise DataError(
            f"data= for {name}: expected a list, an array or a Series of texts and one of labels. "
            f"Received: {type(values).__name__}."
        )
    return list(values)
