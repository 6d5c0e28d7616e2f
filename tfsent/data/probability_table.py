"""A table of texts and class probabilities, written by any program, that answers as a teacher does.

A row costs 16 bytes and 4 for each class: of a text only a digest is kept.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import time
import zipfile
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfsent.console import LINE_SECONDS
from tfsent.data.files import spelt_text
from tfsent.data.formats import read_records
from tfsent.data.records import Faults, class_columns, report_rows
from tfsent.data.soft_labels import probabilities_of
from tfsent.errors import DataError
from tfsent.recipe.schema import DataConfig

logger = logging.getLogger(__name__)

PREDICTED = "p_"
"""What `tfsent predict` writes before the name of a class."""


@dataclass(frozen=True)
class ProbabilityTable:
    """The probabilities of texts.

    Attributes:
        label_names: the classes.
        digests: of the texts, `S16[n]`, sorted; each once.
        probabilities: `float32[n, classes]`, rows sum to 1.
    """

    label_names: tuple[str, ...]
    digests: np.ndarray
    probabilities: np.ndarray

    def __len__(self) -> int:
        return len(self.digests)

    def of(self, texts: Sequence[str]) -> np.ndarray:
        """Return the probabilities of texts, `float32[n, classes]`; NaN in the rows of texts that the table lacks."""
        wanted = _joined(map(_digest, texts))
        rows = np.minimum(np.searchsorted(self.digests, wanted), len(self) - 1)
        return np.where((self.digests[rows] == wanted)[:, None], self.probabilities[rows], np.float32(np.nan))

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 over texts, probabilities and classes: of the content, not of the file or the order of its rows."""
        digest = hashlib.sha256("\0".join(self.label_names).encode())
        digest.update(self.digests.data)
        digest.update(np.ascontiguousarray(self.probabilities, "<f4").data)
        return digest.hexdigest()


def is_table(path: Path) -> bool:
    """Return whether a path is a file that may be such a table: neither a folder nor a saved model."""
    return path.is_file() and path.suffix.lower() not in (".tflite", ".keras", ".h5") and not zipfile.is_zipfile(path)


def read_probabilities(config: DataConfig, path: Path, label_names: Sequence[str]) -> ProbabilityTable:
    """Read a table. A text that occurs several times gets the mean of its rows.

    Args:
        config: names the column of the texts, and says how files are read; but for `source`, `header` and `delimiter`,
            which are of the recipe's own files.
        path: CSV, TSV, JSON lines, a JSON array or Parquet.
        label_names: the classes. Each has a column of its name, or all have what `tfsent predict` writes: `p_` and the
            name.

    Raises:
        DataError: the file cannot be read, a column is missing, a row is faulty (see `probabilities_of`), or there are
            no texts.
    """
    config = config.model_copy(update={"source": "files", "header": None, "delimiter": None})
    columns = _columns(config, path, label_names)
    digests, flat, faults, empty = bytearray(), array("f"), Faults(), Faults()
    last = time.monotonic()
    for fields, place in read_records(path, config, {"data.text": config.text} | class_columns(columns), faults):
        try:
            text = spelt_text(fields.get(config.text), config.text)
            if text.strip():
                flat.extend(probabilities_of(fields, columns))
                digests += _digest(text)
            else:
                empty.add(place, "no text")
        except ValueError as error:
            faults.add(place, str(error))
        if time.monotonic() - last > LINE_SECONDS:
            last = time.monotonic()
            logger.info(f"{len(digests) // 16:,} rows of probabilities read …")
    report_rows(faults, empty)
    if not digests:
        raise DataError(f"There are no texts in {path}. Expected rows of a text and its probabilities.")
    found, probabilities = _means(np.frombuffer(digests, "S16"), np.array(flat, np.float32), len(columns))
    return ProbabilityTable(tuple(label_names), found, probabilities)


def _columns(config: DataConfig, path: Path, label_names: Sequence[str]) -> list[str]:
    """Return the names of the columns of probabilities."""
    first: Mapping[str, Any] = {}
    with contextlib.suppress(DataError):  # reading the whole says what is wrong
        records = read_records(path, config, {"data.text": config.text}, Faults(), all_columns=True)
        first = next((fields for fields, _ in records), {})
    predicted = [f"{PREDICTED}{name}" for name in label_names]
    return predicted if first.keys() >= set(predicted) and not first.keys() >= set(label_names) else list(label_names)


def _means(digests: np.ndarray, flat: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the different digests, sorted, and the mean probabilities of each, `float32[n, classes]`."""
    found, row, times = np.unique(digests, return_inverse=True, return_counts=True)
    if len(found) < len(digests):
        logger.info(f"{len(digests) - len(found):,} rows repeat a text: its probabilities are the mean of its rows.")
    means = np.empty((len(found), classes), np.float32)
    for i, values in enumerate(flat.reshape(-1, classes).T):
        means[:, i] = np.bincount(row, values, len(found)) / times
    return found, means


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "ignore"), digest_size=16).digest()


def _joined(digests: Iterable[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(digests), "S16")
