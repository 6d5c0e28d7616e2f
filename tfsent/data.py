"""Labelled reviews, and how they are split: to learn from, to choose by, to report on.

A test split that comes with the source is only ever read to report. Where there is none, one is held out of train:
stratified by label, seeded, and where the recipe names a group (a film, an author) with no group on both sides. IMDb's
own train and test are of disjoint films; a part held out of its train shares films with what is left, so a figure on it
flatters a little.

Texts lie in a file (`tfsent.spool`), so that data may be larger than memory.
"""

from __future__ import annotations

import contextlib
import functools
import gzip
import hashlib
import json
import time
import zlib
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfsent import sources
from tfsent.console import QUIET_SECONDS
from tfsent.errors import DataError
from tfsent.files import Faults, Row, find_files
from tfsent.recipe.schema import DataConfig
from tfsent.sources import Part, Say
from tfsent.splitting import say_repeated, split, split_by_group
from tfsent.storage import atomic
from tfsent.storage.row_store import Spool, Texts

HELD_OUT_AT_MOST = 10_000
"""Reviews, where the recipe does not say how many: beyond, a more exact figure costs more than it tells."""
SUSPICIOUS_CLASSES = 50
"""With more classes than this, and hardly any twice, the label column is not one."""


@dataclass(frozen=True)
class Reviews:
    """Texts with their labels.

    `labels` is `int32[n]`, an index into `label_names`; `origin` says in words where the reviews come from; `groups`,
    `int32[n]`, are equal where the reviews must stay on one side of a split.
    """

    texts: Sequence[str]
    labels: np.ndarray
    label_names: tuple[str, ...]
    origin: str
    groups: np.ndarray | None = None
    empty_rows: int = 0
    """Rows of the source that had no text and are left out."""

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: np.ndarray, origin: str | None = None) -> Reviews:
        """The reviews at these rows, in this order."""
        texts = self.texts.take(rows) if isinstance(self.texts, Texts) else tuple(self.texts[i] for i in rows)
        groups = None if self.groups is None else self.groups[rows]
        return Reviews(texts, self.labels[rows], self.label_names, origin or self.origin, groups)

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 over texts, labels and label names: equal if and only if the reviews are."""
        digest = hashlib.sha256("\0".join(self.label_names).encode())
        for text, label in zip(self.texts, self.labels, strict=True):
            raw = text.encode("utf-8")
            digest.update(b"%d %d " % (label, len(raw)))
            digest.update(raw)
        return digest.hexdigest()

    @property
    def class_counts(self) -> dict[str, int]:
        """How many reviews each class has."""
        counts = np.bincount(self.labels, minlength=len(self.label_names))
        return dict(zip(self.label_names, counts.tolist(), strict=True))


@dataclass(frozen=True)
class Splits:
    """Reviews to learn from, to choose by, and to report on."""

    train: Reviews
    validation: Reviews
    test: Reviews

    def describe(self) -> dict[str, object]:
        """What `data.json` keeps."""
        return {
            name: {
                "reviews": len(part),
                "classes": part.class_counts,
                "origin": part.origin,
                "fingerprint": part.fingerprint,
            }
            for name, part in vars(self).items()
        }


def load_splits(config: DataConfig, say: Say = lambda line: None) -> Splits:
    """Read the source and split it, the same on every machine.

    Raises:
        DataError: the source is missing, empty or faulty, a class has no examples, or the split asks for too many.
        AssetError: a download failed.
    """
    parts = load_parts(config, say)
    train, rng = parts["train"], np.random.default_rng(config.seed)
    _require_apart(parts, config)
    test, train = _held_out("test", parts, train, config.test_examples, rng, config)
    validation, train = _held_out("validation", parts, train, config.validation_examples, rng, config)
    if config.train_examples is not None:
        chosen, _ = split(train, _count(config.train_examples, train), rng, "data.train_examples")
        train = train.take(chosen)
    splits = Splits(train, validation, test)
    for name, part in vars(splits).items():
        _require_classes(part, name)
    say_repeated({"validation": validation, "test": test}, train, say)
    return splits


def load_parts(config: DataConfig, say: Say = lambda line: None) -> dict[str, Reviews]:
    """The parts that the source has, unsplit: `train`, and perhaps `validation` and `test`.

    Raises:
        DataError: see `load_splits`.
        AssetError: a download failed.
    """
    parts: dict[str, Reviews] = {}
    labels = config.labels
    groups: dict[str, int] | None = None if config.group is None else {}
    names: tuple[Part, ...] = ("train", "validation", "test")
    _require_own_files(config, names)
    for name in names:
        faults = Faults()
        rows = sources.read(config, name, faults, say)
        if rows is not None:
            parts[name] = collect(rows, labels, groups, faults, _origin(config, name), say)
            labels = parts[name].label_names
    return parts


def collect(
    rows: Iterable[Row],
    labels: Sequence[str] | None,
    groups: dict[str, int] | None,
    faults: Faults,
    origin: str,
    say: Say = lambda line: None,
) -> Reviews:
    """Rows → reviews. Rows without a text are left out, and that is said.

    Args:
        rows: from a source.
        labels: the classes and their order; None: those that occur, sorted (as numbers if they are numbers).
        groups: numbers of the groups seen so far, which are added to; None: there are no groups.
        faults: where the source notes what is wrong.
        origin: see `Reviews`.
        say: takes a line of progress.

    Raises:
        DataError: rows are faulty, have no label or an unknown one, or there is but one class.
    """
    spool, codes, group_codes, empty = Spool(), array("i"), array("i"), Faults()
    number = {label: i for i, label in enumerate(labels or ())}
    last = time.monotonic()
    for row in rows:
        # JSON may hold half of a character; nothing could be made of it, on no runtime.
        text, label, group = (word.encode("utf-8", "ignore").decode() for word in row[:3])
        label, group = label.strip(), group.strip()
        if not label:
            faults.add(row.place, "no label")
        elif len(label.splitlines()) > 1:
            faults.add(row.place, f"a label of several lines, {label[:40]!r}")
        elif labels is not None and label not in number:
            faults.add(row.place, f"unknown label {label!r}; the labels are {', '.join(map(repr, labels[:20]))}")
        elif groups is not None and not group:
            faults.add(row.place, "no group")
        elif not text.strip():
            empty.add(row.place, "no text")
        else:
            spool.append(text.encode("utf-8"))
            codes.append(number.setdefault(label, len(number)))
            if groups is not None:
                group_codes.append(groups.setdefault(group, len(groups)))
        if time.monotonic() - last > QUIET_SECONDS:
            last = time.monotonic()
            say(f"{len(spool):,} reviews read …")
    faults.raise_if_any()
    if empty.count:
        rows_are = "row without text is" if empty.count == 1 else "rows without text are"
        say(f"{empty.count:,} {rows_are} left out, such as {empty.shown[0].removesuffix(': no text')}.")
    names = tuple(number) if labels is not None else _sorted_labels(number)
    _require_labels(names, len(spool), origin, found=labels is None)
    order = np.array([names.index(label) for label in number], np.int32)
    reviews_labels = order[np.frombuffer(codes, np.int32)] if len(codes) else np.zeros(0, np.int32)
    numbers = None if groups is None else np.array(group_codes, np.int32)
    return Reviews(Texts(spool), reviews_labels, names, origin, numbers, empty.count)


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
    alike = Counter(name.casefold() for name in names)
    if found and max(alike.values()) > 1:
        same = [name for name in names if alike[name.casefold()] > 1]
        raise DataError(
            f"The {origin} have labels that differ in nothing but case: {', '.join(map(repr, same[:6]))}. Make them "
            "one; or name all labels in data.labels, if they are different classes."
        )
    if found and (same := _equal_numbers(names)):
        raise DataError(
            f"The {origin} have labels that are one number: {', '.join(map(repr, same))}. Write it in one way; or name "
            "all labels in data.labels, if they are different classes."
        )
    if found and len(names) > max(SUSPICIOUS_CLASSES, rows // 5):
        raise DataError(
            f"The {origin} have {len(names):,} different labels in {rows:,} rows, such as {names[0]!r}. Is data.label "
            "the right column?"
        )


def _equal_numbers(names: Iterable[str]) -> list[str]:
    """Labels such as `1` and `1.0`: a column of numbers with a gap in it becomes one of floats."""
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


def _count(wanted: float | None, reviews: Reviews) -> int:
    """How many reviews a key of the recipe means: a number, a share, or by default a tenth."""
    if wanted is None:
        return min(max(1, round(0.1 * len(reviews))), HELD_OUT_AT_MOST)
    return wanted if isinstance(wanted, int) else max(1, round(wanted * len(reviews)))


def _held_out(
    name: str,
    parts: dict[str, Reviews],
    train: Reviews,
    wanted: float | None,
    rng: np.random.Generator,
    config: DataConfig,
) -> tuple[Reviews, Reviews]:
    """The reviews of a split that is not learnt from, and what is left of train."""
    key = f"data.{name}_examples"
    if name not in parts:
        return _hold_out(train, wanted, rng, key, config)
    part = parts[name]
    if wanted is not None:
        chosen, _ = split(part, _count(wanted, part), rng, key)
        part = part.take(chosen, f"{len(chosen):,} reviews drawn from the {part.origin}")
    return part, train


def _hold_out(
    reviews: Reviews, wanted: float | None, rng: np.random.Generator, key: str, config: DataConfig
) -> tuple[Reviews, Reviews]:
    """Reviews held out, and those left."""
    draw = split if reviews.groups is None else split_by_group
    chosen, rest = draw(reviews, _count(wanted, reviews), rng, key)
    origin = "held out of the training reviews"
    if config.source == "imdb-wheel" and key == "data.test_examples":
        origin += ", which share its films; not the official test split"
    elif reviews.groups is not None:
        origin += f", no {config.group} on both sides"
    return reviews.take(chosen, origin), reviews.take(rest)


def _require_own_files(config: DataConfig, names: Iterable[Part]) -> None:
    """No file may be learnt from and reported on."""
    part_of: dict[Path, str] = {}
    for name in names:
        for path in find_files(getattr(config, name) or (), name):
            other = part_of.setdefault(path.resolve(), name)
            if other != name:
                raise DataError(
                    f"{path} is in data.{other} and in data.{name}. Expected every file in one of them; a glob takes "
                    "all that it fits."
                )


def _require_apart(parts: dict[str, Reviews], config: DataConfig) -> None:
    """No group of train may come again in files of their own."""
    train = parts["train"].groups
    if train is None:
        return
    for name, part in parts.items():
        if name == "train" or part.groups is None:
            continue
        shared = np.isin(part.groups, train)
        if shared.any():
            raise DataError(
                f"{int(shared.sum()):,} of the {len(part):,} {part.origin} are of a {config.group} that train has too "
                f"(such as {part.texts[int(np.argmax(shared))][:60]!r}). Take them out of one, or leave data.{name} "
                "out and let tfsent split by group."
            )


def _require_classes(reviews: Reviews, name: str) -> None:
    if not len(reviews):
        raise DataError(f"The {name} split is empty ({reviews.origin}).")
    empty = [label for label, count in reviews.class_counts.items() if not count]
    if empty:
        raise DataError(
            f"The {name} split ({len(reviews):,} reviews) has no example of class {', '.join(map(repr, empty))}. "
            "Every split needs every class: give it more reviews."
        )


def save_reviews(reviews: Reviews, path: Path) -> None:
    """Write reviews as gzipped JSON lines, first line the label names and the origin."""
    with atomic.replacing(path) as staged, gzip.open(staged, "wt", encoding="utf-8", compresslevel=5) as out:
        out.write(json.dumps({"label_names": reviews.label_names, "origin": reviews.origin}) + "\n")
        for text, label in zip(reviews.texts, reviews.labels.tolist(), strict=True):
            out.write(json.dumps({"text": text, "label": label}) + "\n")


def load_reviews(path: Path) -> Reviews:
    """Read what `save_reviews` wrote.

    Raises:
        DataError: the file is missing or damaged.
    """
    spool, labels = Spool(), array("i")
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            head = json.loads(next(lines))
            for line in lines:
                row = json.loads(line)
                spool.append(row["text"].encode("utf-8"))
                labels.append(row["label"])
    except (OSError, EOFError, StopIteration, ValueError, KeyError, zlib.error) as error:
        raise DataError(f"Cannot read the reviews in {path}: {error or 'the file is empty'}.") from error
    return Reviews(Texts(spool), np.array(labels, np.int32), tuple(head["label_names"]), head["origin"])
