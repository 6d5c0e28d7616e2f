"""Rows of a source → labelled reviews, checked. `splits.py` splits them.

Texts are in a file (`RowStore`), so that data may be larger than memory.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import time
import unicodedata
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from tfsent.console import LINE_SECONDS
from tfsent.data import sources
from tfsent.data.files import classes_of, find_files
from tfsent.data.records import Faults, Row, report_rows
from tfsent.data.reviews import Reviews
from tfsent.data.sources import Part
from tfsent.errors import DataError
from tfsent.recipe.schema import DataConfig
from tfsent.storage.row_store import RowStore, StoredTexts

logger = logging.getLogger(__name__)

MISSING_VALUES = ("nan", "null", "none", "n/a", "na", "#n/a", "<na>", "nat", "\\n", "undefined")
"""Words that programs write where a value is missing, in lower case."""
SUSPICIOUS_CLASSES = 50
"""With more classes than this, and fewer than five rows a class, the label column is probably a wrong one."""


def load_parts(config: DataConfig) -> dict[str, Reviews]:
    """Read the parts of the source: `train` and, where it has them, `validation` and `test`.

    Raises:
        DataError: see `load_splits`.
        AssetError: a download failed.
    """
    if config.source == "memory":
        raise DataError(
            "data.source is memory: these reviews were passed to tfsent.train, and no file has them. Pass the same "
            "data= again."
        )
    parts: dict[str, Reviews] = {}
    labels = classes_of(config)
    groups: dict[str, int] | None = None if config.group is None else {}
    names: tuple[Part, ...] = ("train", "validation", "test")
    _require_own_files(config, names)
    for name in names:
        faults = Faults()
        rows = sources.read(config, name, faults)
        if rows is not None:
            parts[name] = collect(rows, labels, groups, faults, _origin(config, name))
            labels = parts[name].label_names
    return parts


def load_labelled(
    rows: Iterable[Row], label_names: Sequence[str], faults: Faults, origin: str, more: Sequence[str] = ()
) -> tuple[Reviews, dict[str, int]]:
    """Turn rows into reviews of a model's classes. Return them and, of labels the model does not know, the rows.

    The reviews are measured, not learnt from: of a soft label only the most probable class is kept.

    Args:
        rows: from a source. Those with an unknown label are left out.
        label_names: the classes of the model.
        faults: faults of rows that the source found.
        origin: where the rows come from, in words.
        more: names of the values in `Row.more`; they become `Reviews.columns`.

    Raises:
        DataError: rows are faulty, or none has a label that the model knows.
    """
    unknown: Counter[str] = Counter()

    def known() -> Iterator[Row]:
        for row in rows:
            label = row.label.strip()
            if label and label not in label_names:
                unknown[label] += 1
            else:
                yield row._replace(soft=())

    found = list(itertools.islice(reading := known(), 1))
    if not found and unknown:
        raise DataError(
            f"The {origin} have no label that the model knows, but {_first(unknown)}. Its labels are "
            f"{_first(label_names)}. Name the column of the labels with data.label, or spell them as the model does."
        )
    reviews = collect(itertools.chain(found, reading), label_names, None, faults, origin, more)
    if unknown:
        logger.warning(
            f"{unknown.total():,} rows have labels that the model does not know and are left out: {_first(unknown)}."
        )
    return reviews, dict(unknown)


def _first(labels: Iterable[str]) -> str:
    labels = list(labels)
    return ", ".join(map(repr, labels[:10])) + (f" and {len(labels) - 10} more" if len(labels) > 10 else "")


def collect(
    rows: Iterable[Row],
    labels: Sequence[str] | None,
    groups: dict[str, int] | None,
    faults: Faults,
    origin: str,
    more: Sequence[str] = (),
) -> Reviews:
    """Turn rows into reviews. Rows without a text are left out, and a message counts them.

    Args:
        rows: from a source. All of them have a soft label, a probability for each of `labels`, or none has.
        labels: the classes in their order; None: the classes that occur, sorted (as numbers where all are numbers).
        groups: the number of each group so far; new groups are added. None: there are no groups.
        faults: faults of rows that the source found.
        origin: see `Reviews`.
        more: names of the values in `Row.more`; they become `Reviews.columns`.

    Raises:
        DataError: rows are faulty, have no label or an unknown one, or there is only one class.
    """
    store, codes, group_codes, soft, empty = RowStore(), array("i"), array("i"), array("f"), Faults()
    columns: dict[str, list[str]] = {name: [] for name in more}
    spelling: dict[str, str] = {}  # one string for equal values
    number = {label: i for i, label in enumerate(labels or ())}
    last = time.monotonic()
    for row in rows:
        # JSON may hold half of a surrogate pair, which UTF-8 cannot write.
        text, label, group = (word.encode("utf-8", "ignore").decode() for word in row[:3])
        label, group = label.strip(), group.strip()
        if not text.strip() and (label or not group):
            empty.add(row.place, "no text")
        elif (wrong := _wrong(label, group, labels, groups)) is not None:
            faults.add(row.place, wrong)
        else:
            store.append(text.encode("utf-8"))
            codes.append(number.setdefault(label, len(number)))
            soft.extend(row.soft)
            for name, value in zip(more, row.more, strict=True):
                columns[name].append(spelling.setdefault(value, value))
            if groups is not None:
                group_codes.append(groups.setdefault(group, len(groups)))
        if time.monotonic() - last > LINE_SECONDS:
            last = time.monotonic()
            logger.info(f"{len(store):,} reviews read …")
    report_rows(faults, empty)
    names = tuple(number) if labels is not None else _sorted_labels(number)
    _require_labels(names, len(store), origin, found=labels is None)
    order = np.array([names.index(label) for label in number], np.int32)
    reviews_labels = order[np.frombuffer(codes, np.int32)] if len(codes) else np.zeros(0, np.int32)
    numbers = None if groups is None else np.array(group_codes, np.int32)
    probabilities = np.array(soft, np.float32).reshape(len(store), -1) if soft else None
    reviews = Reviews(StoredTexts(store), reviews_labels, names, origin, numbers, empty.count, columns, probabilities)
    if labels is None:
        _warn_of_missing_values(reviews.class_counts, origin)
    return reviews


def _wrong(label: str, group: str, labels: Sequence[str] | None, groups: dict[str, int] | None) -> str | None:
    """Return what is wrong with a label or a group."""
    if not label:
        return "no label"
    if len(label.splitlines()) > 1:
        return f"a label of several lines, {label[:40]!r}"
    if labels is not None and label not in labels:
        return f"unknown label {label!r}; the labels are {', '.join(map(repr, labels[:20]))}"
    return "no group" if groups is not None and not group else None


def _sorted_labels(found: Iterable[str]) -> tuple[str, ...]:
    words = sorted(found)
    try:
        numbers = {word: float(word) for word in words}
    except ValueError:
        return tuple(words)
    return tuple(sorted(words, key=numbers.__getitem__)) if np.isfinite([*numbers.values()]).all() else tuple(words)


def _require_labels(names: Sequence[str], rows: int, origin: str, *, found: bool) -> None:
    if rows == 0:
        raise DataError(f"There are no reviews in the {origin}.")
    if len(names) < 2:
        raise DataError(f"The {origin} have one class only, {names[0]!r}. Expected at least two.")
    if found and (same := _looking_alike(names)):
        raise DataError(
            f"The {origin} have labels that look alike: {', '.join(map(ascii, same[:6]))}. They differ in case, white "
            "space or the form of their characters. Spell them alike; or list all labels in data.labels, if they are "
            "different classes."
        )
    if found and (same := _equal_numbers(names)):
        raise DataError(
            f"The {origin} have labels that are the same number: {', '.join(map(repr, same))}. Spell it in one way; or "
            "list all labels in data.labels, if they are different classes."
        )
    if found and len(names) > max(SUSPICIOUS_CLASSES, rows // 5):
        raise DataError(
            f"The {origin} have {len(names):,} different labels in {rows:,} rows, such as {names[0]!r}. Is data.label "
            "the right column?"
        )


def _looking_alike(names: Iterable[str]) -> list[str]:
    """Return labels that a reader can hardly tell apart: case, white space, composed characters, invisible ones."""
    alike: dict[str, list[str]] = defaultdict(list)
    for name in names:
        visible = "".join(char for char in unicodedata.normalize("NFKC", name) if unicodedata.category(char) != "Cf")
        alike["".join(visible.split()).casefold()].append(name)
    return next((words for words in alike.values() if len(words) > 1), [])


def _warn_of_missing_values(counts: Mapping[str, int], origin: str) -> None:
    """Warn of labels that programs write where a value is missing."""
    for name, count in counts.items():
        if name.casefold() in MISSING_VALUES:
            logger.warning(
                f"The {origin} have the label {name!r} {count:,} times, which many programs write for a missing "
                "value. It becomes a class. Remove those rows, unless it is meant."
            )


def _equal_numbers(names: Iterable[str]) -> list[str]:
    """Return labels that are the same number, such as `1` and `1.0`."""
    numbers: dict[float, list[str]] = defaultdict(list)
    for name in names:
        with contextlib.suppress(ValueError):
            numbers[float(name)].append(name)
    return next((words for words in numbers.values() if len(words) > 1), [])


def _origin(config: DataConfig, part: Part) -> str:
    if config.source in ("imdb", "imdb-wheel"):
        return {"train": "IMDb training reviews", "test": "official IMDb test split"}.get(part, part)
    if config.source.startswith("tfds:"):
        return f"{part} split of {config.source}"
    return f"{part} reviews in {', '.join(getattr(config, part) or ())}"


def _require_own_files(config: DataConfig, names: Iterable[Part]) -> None:
    """Check that no file is in two parts."""
    part_of: dict[Path, str] = {}
    for name in names:
        for path in find_files(getattr(config, name) or (), name):
            other = part_of.setdefault(path.resolve(), name)
            if other != name:
                raise DataError(
                    f"{path} is in data.{other} and in data.{name}. Expected every file in one of them; a glob "
                    "includes every file that it matches."
                )
