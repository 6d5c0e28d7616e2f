"""Texts without labels → a store of them: from files, folders of `.txt` files, or a split of the recipe's source.

| pattern         | texts |
| --------------- | ----- |
| a table         | its column `data.text`: CSV, TSV, JSON lines, a JSON array or Parquet, as `formats.py` reads them |
| a `.txt` file   | one a line, unless it is one of these tables |
| a folder        | one in each `.txt` file, such as aclImdb/train/unsup; also in an archive |
| `split:NAME`    | those of a split of tensorflow-datasets, or a part: `split:unsupervised[:30000]` |
"""

from __future__ import annotations

import logging
import time
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np

from tfsent.console import LINE_SECONDS, progress_bar
from tfsent.data.class_folders import holds_texts, read_text_folder
from tfsent.data.duplicates import digests_of
from tfsent.data.files import find_files, spelt_text
from tfsent.data.formats import is_plain, read_plain, read_records
from tfsent.data.records import Faults, report_rows
from tfsent.data.sources import split_texts
from tfsent.errors import DataError
from tfsent.recipe.schema import DataConfig
from tfsent.storage.row_store import RowStore, StoredTexts

logger = logging.getLogger(__name__)

SPLIT = "split:"
"""What the name of a split begins with."""
TOGETHER = 4096
"""Texts that are hashed together."""


def load_unlabelled(config: DataConfig, patterns: Sequence[str]) -> StoredTexts:
    """Read texts without labels. Each is kept once; empty ones are left out, and a message counts them.

    Args:
        config: names the column of the texts, the source of `split:NAME`, and how files are read.
        patterns: see above. What a file is, its content decides.

    Raises:
        DataError: there is no file or no split of that name, a file lacks the column, a row is faulty, or there is no
            text at all.
        AssetError: a download failed.
    """
    faults = Faults()
    return _kept(_read(config, patterns, faults), faults, ", ".join(patterns))


def memory_texts(values: Iterable[Any]) -> StoredTexts:
    """Take texts without labels from a program's memory; see `load_unlabelled`.

    Args:
        values: strings.

    Raises:
        DataError: one is not a string, or there is no text at all.
    """
    faults = Faults()

    def texts() -> Iterator[tuple[str, str]]:
        for number, value in enumerate(values, 1):
            try:
                yield spelt_text(value, "text"), f"unlabelled, row {number}"
            except ValueError as error:
                faults.add(f"unlabelled, row {number}", str(error))

    return _kept(texts(), faults, "data= for unlabelled")


def _kept(texts: Iterable[tuple[str, str]], faults: Faults, origin: str) -> StoredTexts:
    """Store texts with their places: each once, and no empty one."""
    store, digests, empty = RowStore(), array("Q"), Faults()
    last = time.monotonic()
    for text, place in texts:
        text = text.encode("utf-8", "ignore").decode()  # as `reading.collect` does
        if text.strip():
            store.append(text.encode("utf-8"))
            digests.append(int(digests_of([text])[0]))
        else:
            empty.add(place, "no text")
        if time.monotonic() - last > LINE_SECONDS:
            last = time.monotonic()
            logger.info(f"{len(store):,} texts without labels read …")
    report_rows(faults, empty)
    if not len(store):
        raise DataError(f"There are no texts in {origin}. Expected texts without labels.")
    rows = np.sort(np.unique(np.array(digests, np.uint64), return_index=True)[1])
    if again := len(store) - len(rows):
        logger.info(f"{again:,} texts without labels repeat another one, and are left out.")
    return StoredTexts(store, rows)


@overload
def without(texts: StoredTexts, others: Iterable[Sequence[str]]) -> tuple[StoredTexts, int]: ...
@overload
def without(texts: Sequence[str], others: Iterable[Sequence[str]]) -> tuple[Sequence[str], int]: ...
def without(texts: Sequence[str], others: Iterable[Sequence[str]]) -> tuple[Sequence[str], int]:
    """Leave out the texts that others have too, word by word; case, punctuation and white space do not count.

    Args:
        texts: such as those of `load_unlabelled`.
        others: groups of texts, such as those of validation and of test.

    Returns:
        The remaining texts, and how many are left out.
    """
    there = np.concatenate([np.zeros(0, np.uint64), *(digests_of(group, words=True) for group in others)])
    keep = np.ones(len(texts), bool)
    with progress_bar("comparing with held-out reviews", len(texts)) as bar:
        for start in range(0, len(texts), TOGETHER):
            some = texts[start : start + TOGETHER]
            keep[start : start + len(some)] = ~np.isin(digests_of(some, words=True), there)
            bar.update(len(some))
    rows = np.flatnonzero(keep)
    rest = texts.take(rows) if isinstance(texts, StoredTexts) else tuple(texts[int(i)] for i in rows)
    return rest, len(texts) - len(rows)


def _read(config: DataConfig, patterns: Sequence[str], faults: Faults) -> Iterator[tuple[str, str]]:
    """Yield the texts and their places, those of files first: they are looked for before a split is downloaded."""
    splits = [pattern.removeprefix(SPLIT) for pattern in patterns if pattern.startswith(SPLIT)]
    files = [pattern for pattern in patterns if not pattern.startswith(SPLIT)]
    by_content = config.model_copy(update={"source": "files"})
    for path in find_files(files, "unlabelled", "distil"):
        yield from _read_path(path, by_content, faults)
    for split in splits:
        yield from split_texts(config, split)


def _read_path(path: Path, config: DataConfig, faults: Faults) -> Iterator[tuple[str, str]]:
    if holds_texts(path):
        yield from read_text_folder(path, config, faults)
    elif is_plain(path, config):
        yield from read_plain(path, config, faults)
    else:
        for fields, place in read_records(path, config, {"data.text": config.text}, faults):
            try:
                yield spelt_text(fields.get(config.text), config.text), place
            except ValueError as error:
                faults.add(place, str(error))
