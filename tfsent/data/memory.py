"""Reviews that a Python program has in memory → `Reviews`, by the same rules as files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import Any

import numpy as np

from tfsent.data.files import columns_of, spelt, spelt_label, spelt_text
from tfsent.data.reading import collect
from tfsent.data.records import Faults, Row, more_columns, require_columns
from tfsent.data.reviews import Reviews
from tfsent.errors import DataError, did_you_mean
from tfsent.recipe.schema import DataConfig

SPLITS = ("train", "validation", "test")


def read_memory(data: Any, config: DataConfig) -> dict[str, Reviews]:
    """Read reviews from a program's memory.

    Args:
        data: `(texts, labels)`, each a list, an array or a Series; a pandas DataFrame or Arrow table with the columns
            `config.text`, `config.label` and `config.group`; or a dict with `train` and perhaps `validation` and
            `test`, each one of these. Labels are strings or numbers.
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
    if unknown := [name for name in parts if name not in SPLITS]:
        raise DataError(
            f"data= is a dict, so its keys name splits. Received the key {unknown[0]!r}."
            f"{did_you_mean(str(unknown[0]), SPLITS)}"
        )
    if "train" not in parts:
        raise DataError("data= has no split 'train', the reviews to learn from.")
    found: dict[str, Reviews] = {}
    labels, groups = config.labels, (None if config.group is None else dict[str, int]())
    for name in [name for name in SPLITS if name in parts]:
        faults = Faults()
        rows = memory_rows(parts[name], name, config, faults)
        found[name] = collect(rows, labels, groups, faults, f"{name} reviews passed to tfsent")
        labels = found[name].label_names
    return found


def memory_rows(part: Any, name: str, config: DataConfig, faults: Faults, more: Sequence[str] = ()) -> Iterator[Row]:
    """Give the rows of one split in memory; see `read_memory`.

    Args:
        part: `(texts, labels)`, a DataFrame or an Arrow table.
        name: of the split, for messages.
        config: names the columns.
        faults: faults of single rows are added.
        more: further columns, whose values go into `Row.more`.

    Raises:
        DataError: it has none of these forms, or lacks a column.
    """
    own = len(columns_of(config))
    for number, values in enumerate(zip(*_columns(part, name, config, more), strict=True), 1):
        plain = [value.item() if isinstance(value, np.generic) else value for value in values]
        (text, label, *group), others = plain[:own], plain[own:]
        place = f"{name}, row {number}"
        try:
            of_group = "".join(spelt_label(g, "group") for g in group)
            yield Row(spelt_text(text, "text"), spelt_label(label), of_group, place, tuple(map(spelt, others)))
        except ValueError as error:
            faults.add(place, str(error))


def _columns(part: Any, name: str, config: DataConfig, more: Sequence[str]) -> list[list[Any]]:
    """Return texts, labels and, where the recipe has a group, groups; then the further columns."""
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
    texts, labels = (_listed(values, name) for values in part)
    if len(texts) != len(labels):
        raise DataError(f"data= for {name} has {len(texts):,} texts and {len(labels):,} labels. Expected one for each.")
    return [texts, labels]


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
