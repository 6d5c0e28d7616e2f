"""Stores rows of bytes in memory up to 64 MB and in a temporary file beyond, so data may exceed RAM.

The texts of a data set and its tokens are such rows. In the file a row costs 8 bytes of memory, its offset. The file
has no name: it disappears with the process, however that ends. It is in the cache folder (`TFSENT_CACHE`).
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import tempfile
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, overload

import numpy as np

from tfsent.errors import DataError
from tfsent.storage import downloads

IN_MEMORY = 64 << 20
"""Bytes that stay in memory. IMDb's 25,000 training reviews take half of that."""
BUFFER = 1 << 20


class RowStore:
    """Rows of bytes, appended one by one and read in any order."""

    def __init__(self) -> None:
        self._memory = io.BytesIO()
        self._file: BinaryIO | None = None
        self._offsets = array("q", [0])

    @classmethod
    def of_file(cls, path: Path, sizes: np.ndarray) -> RowStore:
        """Open the rows of a file for reading.

        Args:
            path: the rows, one after the other.
            sizes: bytes of each row, `int[n]`.

        Raises:
            ValueError: the file has another size.
            OSError: the file cannot be read.
        """
        store = cls()
        store._offsets.frombytes(np.cumsum(sizes, dtype=np.int64).tobytes())
        store._file = path.open("rb")
        if os.fstat(store._file.fileno()).st_size != store._offsets[-1]:
            raise ValueError(f"{path.name} has another size than its rows")
        return store

    def copy_to(self, path: Path) -> None:
        """Write all rows into a file, one after the other."""
        with path.open("wb") as target:
            if self._file is None:
                target.write(self._memory.getbuffer())
            else:
                self._flush()
                with open(self._file.fileno(), "rb", closefd=False) as source:
                    source.seek(0)
                    shutil.copyfileobj(source, target, BUFFER)
                self._file.seek(0, os.SEEK_END)

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def append(self, row: bytes) -> None:
        """Append a row.

        Raises:
            DataError: the cache folder cannot be written to, or its disk is full.
        """
        with _explained():
            if self._file is None and self._offsets[-1] + len(row) > IN_MEMORY:
                self._file = _new_file()
                self._file.write(self._memory.getvalue())
                self._memory = io.BytesIO()
            (self._file or self._memory).write(row)
        self._offsets.append(self._offsets[-1] + len(row))

    def __getitem__(self, row: int) -> bytes:
        start, stop = self._offsets[row], self._offsets[row + 1]
        if self._file is None:
            return bytes(self._memory.getbuffer()[start:stop])
        self._flush()
        return os.pread(self._file.fileno(), stop - start, start)

    def _flush(self) -> None:
        if self._file is not None:
            with _explained():
                self._file.flush()


def _new_file() -> BinaryIO:
    folder = downloads.cache_dir()
    folder.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryFile(dir=folder, buffering=BUFFER)  # type: ignore[return-value]


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"Cannot write to the cache folder {downloads.cache_dir()}: {error.strerror}. Free some space there, or "
            "set TFSENT_CACHE to another folder."
        ) from error


class StoredTexts(Sequence[str]):
    """Some texts of a `RowStore`, in some order: a sequence of strings that are read when they are indexed."""

    def __init__(self, store: RowStore, rows: np.ndarray | None = None):
        self.store = store
        self.rows = np.arange(len(store)) if rows is None else rows

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return StoredTexts(self.store, self.rows[index])
        return self.store[int(self.rows[index])].decode("utf-8")

    def take(self, rows: np.ndarray) -> StoredTexts:
        """Return the texts at these indices, in this order."""
        return StoredTexts(self.store, self.rows[rows])
