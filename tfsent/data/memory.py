"""Reviews that a Python program has in memory → `Reviews`, by the same rules as files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tfsent.data.files import Faults, Row, spelt_label
from tfsent.data.reading import collect
from tfsent.data.reviews import Reviews
from tfsent.errors import DataError, did_you_mean
from tfsent.recipe.schema import DataConfig

SPLITS = ("train", "validation", "test")


def read_memory(data: Any, config: DataConfig) -> dict[str, Reviews]:
    """Read reviews from a program's memory.

    Args:
        data: `(texts, labels)`; a pandas DataFrame or Arrow table with the columns `config.text`, `config.label` and
            `config.group`; or a dict with `train` and perhaps `validation` and `test`, each one of these.
        config: names the columns and, with `labels`, the classes in their order.

    Returns:
        Reviews by split.

    Raises:
        DataError: the data has none of these forms, texts and labels differ in number, a column is missing, or a row is
            faulty.
    """
    parts = data if isinstance(data, Mapping) else {"train": data}
    if unknown := [name for name in parts if name not in SPLITS]:
        raise DataError(f"data= has the split {unknown[0]!r}.{did_you_mean(str(unknown[0]), SPLITS)}")
    if "train" not in parts:
        raise DataError("data= has no split 'train', the reviews to learn from.")
    found: dict[str, Reviews] = {}
    labels, groups = config.labels, (None if config.group is None else dict[str, int]())
    for name in [name for name in SPLITS if name in parts]:
        faults = Faults()
        rows = _rows(parts[name], name, config, faults)
        found[name] = collect(rows, labels, groups, faults, f"{name} reviews passed to tfsent")
        labels = found[name].label_names
    return found


def _rows(part: Any, name: str, config: DataConfig, faults: Faults) -> Iterator[Row]:
    columns = _columns(part, name, config)
    for number, (text, label, *group) in enumerate(zip(*columns, strict=True), 1):
        place = f"{name}, row {number}"
        if text is not None and not isinstance(text, str) and text == text:  # NaN is a missing text
            faults.add(place, f"the text is no string; received {text!r:.40}")
            continue
        yield Row(text if isinstance(text, str) else "", _plain(label), "".join(map(_plain, group)), place)


def _columns(part: Any, name: str, config: DataConfig) -> list[list[Any]]:
    """Return texts, labels and, where the recipe has a group, groups."""
    if hasattr(part, "column_names"):  # pyarrow.Table
        return [part[column].to_pylist() for column in _names(list(part.column_names), name, config)]
    if hasattr(part, "columns"):  # pandas.DataFrame
        return [part[column].tolist() for column in _names(list(part.columns), name, config)]
    if isinstance(part, str) or not isinstance(part, Iterable) or not isinstance(part, tuple | list) or len(part) != 2:
        raise DataError(
            f"data= for {name}: expected (texts, labels), a DataFrame or an Arrow table. "
            f"Received: {type(part).__name__}."
        )
    if config.group is not None:
        raise DataError(f"data.group is {config.group!r}, and (texts, labels) has no columns. Pass a DataFrame.")
    texts, labels = (values.tolist() if hasattr(values, "tolist") else list(values) for values in part)
    if len(texts) != len(labels):
        raise DataError(f"data= for {name} has {len(texts):,} texts and {len(labels):,} labels. Expected one for each.")
    return [texts, labels]


def _names(there: list[Any], name: str, config: DataConfig) -> list[str]:
    wanted = {"data.text": config.text, "data.label": config.label, "data.group": config.group}
    for key, column in wanted.items():
        if column is not None and column not in there:
            known = [str(other) for other in there]
            raise DataError(
                f"data= for {name} has no column {column!r}.{did_you_mean(column, known)} Name yours with {key}."
            )
    return [column for column in wanted.values() if column is not None]


def _plain(value: Any) -> str:
    """Spell a label or group as files spell it; NumPy's numbers as Python's."""
    return spelt_label(value.item() if hasattr(value, "item") else value)
