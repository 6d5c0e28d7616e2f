"""Files that may be packed → streams: `.gz` and the members of a `.zip` are unpacked as read, never to disk."""

from __future__ import annotations

import gzip
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Protocol

from tfsent.errors import DataError

MAX_RATIO = 200
"""How many times its packed size a file may unpack to; text comes to 3 to 10, a bomb to 1,000."""
ALWAYS_ALLOWED = 100 << 20
"""Bytes a packed file may unpack to whatever its ratio."""


class Stream(Protocol):
    """What is read: a file, or something that unpacks one."""

    def readline(self, limit: int, /) -> bytes: ...
    def read(self, limit: int, /) -> bytes: ...


def open_streams(path: Path, kind: str) -> Iterator[tuple[str, Stream]]:
    """The streams a file stands for: itself, what is in the gzip, or each member of the zip, with their names.

    Args:
        path: of the file.
        kind: csv, tsv or jsonl: what the members of a zip that count end in.

    Raises:
        DataError: it is a folder, is damaged, holds no such member, or one that wants something else than to be read.
    """
    if path.is_dir():
        raise DataError(f"{path} is a folder. Expected a {kind} file, or a glob such as {path}/*.{kind}.")
    if path.suffix.lower() == ".zip":
        for name, stream in members(path, f".{kind}"):
            yield f"{path}:{name}", stream
    elif path.suffix.lower() == ".gz":
        with gzip.open(path, "rb") as stream:
            yield str(path), _Guarded(stream, path.name, path.stat().st_size)
    else:
        with path.open("rb") as stream:
            yield str(path), stream


def members(path: Path, suffix: str, *, classes: bool = False) -> Iterator[tuple[PurePosixPath, Stream]]:
    """The members of a zip whose names end so, as streams; with `classes`, those in a folder per class.

    Raises:
        DataError: see `open_streams`; or the class folders are not in one place.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(f"{path} is not a zip file: {error}.") from error
    with archive:
        found = dict(_named_members(path, archive, suffix))
        if not found:
            raise DataError(f"{path} holds no {suffix} file.")
        for name in in_class_folders(path, list(found)) if classes else found:
            if found[name].flag_bits & 1:
                raise DataError(f"{path} is encrypted. Expected a zip without a password.")
            try:
                stream = archive.open(found[name])
            except (zipfile.BadZipFile, NotImplementedError, OSError) as error:
                raise DataError(f"{path}: {name} cannot be unpacked: {error}.") from error
            with stream:
                yield name, _Guarded(stream, str(path), found[name].compress_size)


def _named_members(
    path: Path, archive: zipfile.ZipFile, suffix: str
) -> Iterator[tuple[PurePosixPath, zipfile.ZipInfo]]:
    for info in archive.infolist():
        name = PurePosixPath(info.filename.replace("\\", "/"))
        # Nothing is written to disk, but who packs such names wants something else than to be read.
        if name.is_absolute() or ".." in name.parts or ":" in "".join(name.parts[:1]):
            raise DataError(f"{path} holds a member {info.filename!r} that points outside the archive. Refused.")
        if not info.is_dir() and name.suffix.lower() == suffix and name.parts[0] != "__MACOSX":
            yield name, info


def in_class_folders(path: Path, names: list[PurePosixPath]) -> list[PurePosixPath]:
    """Those of the names below a path that lie deepest: aclImdb has lists, .txt too, beside its class folders.

    Raises:
        DataError: they lie in no folders, or in more than one place.
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


class _Guarded:
    """A stream that unpacks, and stops when it has grown beyond reason."""

    def __init__(self, stream: Stream, name: str, packed: int):
        self.stream, self.name = stream, name
        self.left = max(packed * MAX_RATIO, ALWAYS_ALLOWED)

    def readline(self, limit: int, /) -> bytes:
        return self._counted(lambda: self.stream.readline(limit))

    def read(self, limit: int, /) -> bytes:
        return self._counted(lambda: self.stream.read(limit))

    def _counted(self, read: Callable[[], bytes]) -> bytes:
        try:
            data = read()
        except (OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
            raise DataError(f"{self.name} is damaged: {error}.") from error
        self.left -= len(data)
        if self.left < 0:
            raise DataError(f"{self.name} unpacks to more than {MAX_RATIO} times its size. Refused as an archive bomb.")
        return data
