"""Labelled reviews, in memory or on disk, and the file format of `RUN/heldout/`."""

from __future__ import annotations

import dataclasses
import functools
import gzip
import hashlib
import json
import zlib
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tfsent.errors import DataError
from tfsent.storage import atomic
from tfsent.storage.row_store import RowStore, StoredTexts


@dataclass(frozen=True)
class Reviews:
    """Texts with their labels.

    Attributes:
        texts: `n` texts.
        labels: `int32[n]`, indexes into `label_names`; of a soft label the most probable class, the first of equals.
            All figures use them.
        label_names: the classes.
        origin: where the reviews come from, in words.
        groups: `int32[n]`; reviews of one group stay on one side of a split.
        empty_rows: rows of the source without a text, which are left out.
        columns: `n` values of each further column that was asked for, by its name.
        soft: soft labels, `float32[n, classes]`, rows sum to 1. Only training uses them. None: labels are hard.
    """

    texts: Sequence[str]
    labels: np.ndarray
    label_names: tuple[str, ...]
    origin: str
    groups: np.ndarray | None = None
    empty_rows: int = 0
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    soft: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: np.ndarray, origin: str | None = None) -> Reviews:
        """Return the reviews at these rows, in this order."""
        texts = self.texts.take(rows) if isinstance(self.texts, StoredTexts) else tuple(self.texts[i] for i in rows)
        groups = None if self.groups is None else self.groups[rows]
        columns = {name: tuple(values[i] for i in rows) for name, values in self.columns.items()}
        soft = None if self.soft is None else self.soft[rows]
        origin = origin or self.origin
        return Reviews(texts, self.labels[rows], self.label_names, origin, groups, columns=columns, soft=soft)

    def hard(self) -> Reviews:
        """Return the reviews without soft labels: each has its most probable class."""
        if self.soft is None:
            return self
        origin = f"{self.origin}; the most probable class of data.label counts as the label"
        return dataclasses.replace(self, soft=None, origin=origin)

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 over texts, labels, label names and, where there are some, soft labels."""
        digest = hashlib.sha256("\0".join(self.label_names).encode())
        for text, label in zip(self.texts, self.labels, strict=True):
            raw = text.encode("utf-8")
            digest.update(b"%d %d " % (label, len(raw)))
            digest.update(raw)
        if self.soft is not None:
            digest.update(np.ascontiguousarray(self.soft, "<f4").data)
        return digest.hexdigest()

    @property
    def class_counts(self) -> dict[str, int]:
        """The number of reviews of each class; of soft labels the most probable class counts."""
        counts = np.bincount(self.labels, minlength=len(self.label_names))
        return dict(zip(self.label_names, counts.tolist(), strict=True))


def save_reviews(reviews: Reviews, path: Path) -> None:
    """Write reviews as gzipped JSON lines. The first line has the label names and the origin. Soft labels are lost."""
    with atomic.replacing(path) as staged, gzip.open(staged, "wt", encoding="utf-8", compresslevel=5) as out:
        out.write(json.dumps({"label_names": reviews.label_names, "origin": reviews.origin}) + "\n")
        for text, label in zip(reviews.texts, reviews.labels.tolist(), strict=True):
            out.write(json.dumps({"text": text, "label": label}) + "\n")


def load_reviews(path: Path) -> Reviews:
    """Read what `save_reviews` wrote.

    Raises:
        DataError: the file is missing or damaged.
    """
    store, labels = RowStore(), array("i")
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            head = json.loads(next(lines))
            for line in lines:
                row = json.loads(line)
                store.append(row["text"].encode("utf-8"))
                labels.append(row["label"])
    except (OSError, EOFError, StopIteration, ValueError, KeyError, zlib.error) as error:
        raise DataError(f"Cannot read the reviews in {path}: {error or 'the file is empty'}.") from error
    return Reviews(StoredTexts(store), np.array(labels, np.int32), tuple(head["label_names"]), head["origin"])
