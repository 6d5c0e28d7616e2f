"""Packed files → streams: `.gz`, and the members of a `.zip`, `.tar.gz`, `.tgz` or `.tar`. None is unpacked to disk.

`reviews.tar.gz/aclImdb/train` is a folder inside an archive.
"""

from __future__ import annotations

import contextlib
import functools
import gzip
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

from tfsent.errors import DataError

ARCHIVES = (".zip", ".tar.gz", ".tgz", ".tar")
"""Suffixes of archives."""
_DAMAGED = (OSError, EOFError, RuntimeError, zlib.error, tarfile.TarError, zipfile.BadZipFile, NotImplementedError)


def split_archive(path: Path) -> tuple[Path, PurePosixPath] | None:
    """Return the archive in a path and the folder inside it; None where no part of the path is an archive."""
    for outer in (path, *path.parents):
        if outer.name.lower().endswith(ARCHIVES) and outer.is_file():
            return outer, PurePosixPath(path.relative_to(outer).as_posix())
    return None


def is_hidden(name: PurePosixPath | Path) -> bool:
    """Return whether a relative path is of a hidden file, or in a hidden folder. Such files are never reviews."""
    return any(part.startswith(".") or part == "__MACOSX" for part in name.parts)


@contextlib.contextmanager
def open_archive(archive: Path, inner: PurePosixPath) -> Iterator[dict[PurePosixPath, Callable[[], IO[bytes]]]]:
    """Open an archive. Give a function for each file below `inner` that opens it; names are relative to `inner`.

    Raises:
        DataError: the archive is damaged, or nothing is at `inner`.
    """
    with readable(archive), zipfile.ZipFile(archive) if _is_zip(archive) else tarfile.open(archive) as opened:
        found: dict[PurePosixPath, Callable[[], Any]] = {}
        if isinstance(opened, zipfile.ZipFile):
            files = [info for info in opened.infolist() if not info.is_dir()]
            found = {_name(info.filename): functools.partial(opened.open, info) for info in files}
        else:
            entries = [entry for entry in opened.getmembers() if entry.isfile()]
            found = {_name(entry.name): functools.partial(opened.extractfile, entry) for entry in entries}
        below = {name.relative_to(inner): opener for name, opener in found.items() if name.is_relative_to(inner)}
        if not below and inner.parts:
            folders = sorted({str(parent) for name in found for parent in name.parents if parent.parts})
            raise DataError(f"{archive} has no folder {str(inner)!r}. It has: {', '.join(map(repr, folders[:10]))}.")
        yield {name: opener for name, opener in below.items() if name.parts and not is_hidden(name)}


def _is_zip(path: Path) -> bool:
    return path.suffix.lower() == ".zip"


def _name(spelt: str) -> PurePosixPath:
    """Return a member's name with slashes. Some packers write backslashes, against the zip format."""
    return PurePosixPath(spelt.replace("\\", "/"))


def open_file(path: Path) -> IO[bytes]:
    """Open a file, unpacked where it is packed with gzip."""
    return gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb")  # type: ignore[return-value]


@contextlib.contextmanager
def readable(name: Path | str) -> Iterator[None]:
    """Turn what the standard library raises on a damaged or encrypted file into one error.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        yield
    except _DAMAGED as error:
        raise DataError(f"{name} cannot be read: {error}. Expected a whole file without a password.") from error
