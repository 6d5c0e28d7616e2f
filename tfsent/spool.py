"""Rows of bytes in a file instead of in memory, so that the size of the data is the disk's affair.

The texts of a data set and its tokens are both of this kind. A row costs 8 bytes of memory, its place in the file. The
file has no name: it goes when the process goes, however that ends. It lies in the cache folder (`TFSENT_CACHE`).
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from array import array
from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np

from tfsent import assets
from tfsent.errors import DataError

BUFFER = 1 << 20


class Spool:
    """Rows of bytes, added one by one and then read in any order."""

    def __init__(self) -> None:
        folder = assets.cache_dir()
        with _explained():
            folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=folder, buffering=BUFFER)  # noqa: SIM115 - as long-lived as we are
        self._offsets = array("q", [0])
        self._flushed = True

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def append(self, row: bytes) -> None:
        """Add a row.

        Raises:
            DataError: the disk is full.
        """
        self._flushed = False
        with _explained():
            self._file.write(row)
        self._offsets.append(self._offsets[-1] + len(row))

    def sizes(self) -> np.ndarray:
        """Bytes of each row, `int64[n]`."""
        return np.diff(np.frombuffer(self._offsets, np.int64))

    def __getitem__(self, row: int) -> bytes:
        if not self._flushed:
            with _explained():
                self._file.flush()
            self._flushed = True
        start, stop = self._offsets[row], self._offsets[row + 1]
        return os.pread(self._file.fileno(), stop - start, start)

    def __iter__(self) -> Iterator[bytes]:
        return (self[i] for i in range(len(self)))


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"Cannot write to the cache folder {assets.cache_dir()}: {error.strerror}. Free some space there, or set "
            "TFSENT_CACHE to another folder."
        ) from error


class Texts(Sequence[str]):
    """Some texts of a spool, in some order, as a sequence of strings that is read when asked."""

    def __init__(self, spool: Spool, rows: np.ndarray | None = None):
        self.spool = spool
        self.rows = np.arange(len(spool)) if rows is None else rows

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return Texts(self.spool, self.rows[index])
        return self.spool[int(self.rows[index])].decode("utf-8", "surrogatepass")

    def take(self, rows: np.ndarray) -> Texts:
        """The texts at these places, in this order."""
        return Texts(self.spool, self.rows[rows])
