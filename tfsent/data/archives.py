"""Packed files → streams: `.gz`, and the members of a `.zip`, `.tar.gz`, `.tgz` or `.tar`. None is unpacked to disk."""

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


def is_archive(path: Path) -> bool:
    """Return whether a file's name is that of an archive."""
    return path.name.lower().endswith(ARCHIVES)


def open_streams(path: Path, kind: str) -> Iterator[tuple[str, IO[bytes]]]:
    """Open a file, the content of a gzip, or each member of an archive. Yield the name and the stream of each.

    Args:
        path: of the file.
        kind: csv, tsv or jsonl; other members of an archive are ignored.

    Raises:
        DataError: the file is a folder or damaged, or it holds no such member.
    """
    if path.is_dir():
        raise DataError(f"{path} is a folder. Expected a {kind} file, or a glob such as {path}/*.{kind}.")
    if is_archive(path):
        for name, stream in members(path, f".{kind}"):
            yield f"{path}:{name}", stream
        return
    unpack: Any = gzip.open if path.suffix.lower() == ".gz" else open
    with unpack(path, "rb") as stream:
        yield str(path), stream


def members(path: Path, suffix: str, *, classes: bool = False) -> Iterator[tuple[PurePosixPath, IO[bytes]]]:
    """Open the members of an archive whose names end with `suffix`; with `classes`, those in a folder per class.

    Raises:
        DataError: see `open_streams`; or the class folders are not in one place.
    """
    with readable(path), zipfile.ZipFile(path) if path.suffix.lower() == ".zip" else tarfile.open(path) as archive:
        found: dict[PurePosixPath, Callable[[], Any]] = {}
        if isinstance(archive, zipfile.ZipFile):
            files = [info for info in archive.infolist() if not info.is_dir()]
            found = {_name(info.filename): functools.partial(archive.open, info) for info in files}
        else:
            entries = [entry for entry in archive.getmembers() if entry.isfile()]
            found = {_name(entry.name): functools.partial(archive.extractfile, entry) for entry in entries}
        names = [name for name in found if name.suffix.lower() == suffix and name.parts[0] != "__MACOSX"]
        if not names:
            raise DataError(f"{path} holds no {suffix} file.")
        for name in in_class_folders(path, names) if classes else names:
            with found[name]() as stream:
                yield name, stream


def _name(spelt: str) -> PurePosixPath:
    """Return a member's name with slashes. Some packers write backslashes, against the zip format."""
    return PurePosixPath(spelt.replace("\\", "/"))


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


def in_class_folders(path: Path, names: list[PurePosixPath]) -> list[PurePosixPath]:
    """Return the most deeply nested names. aclImdb also has `.txt` files beside its class folders.

    Raises:
        DataError: they are in no folder, or in more than one place.
    """
    depth = max((len(name.parts) for name in names), default=0)
    if depth < 2:
        raise DataError(
            f"{path} has no folder with .txt files in it. Expected a folder per class, as aclImdb/train has."
        )
    deepest = [name for name in names if len(name.parts) == depth]
    places = sorted({str(name.parent.parent) for name in deepest})
    if len(places) > 1:
        raise DataError(
            f"{path} has folders with .txt files in {', '.join(places[:5])}. Expected one place with a folder per "
            "class, such as one of these."
        )
    return deepest
