"""A bundle: a run in one file that a person hands on, `model.tfsent.zip`. `bundle_format.py` says what its bytes are.

A bundle may come from a stranger. `opened` checks it and unpacks it into the cache:

    TFSENT_CACHE/bundles/SHA-256/…                 the run, read-only
                                /.unpacked.json    size, times and inode of each file, as they were written

The name is the SHA-256 of the bundle, taken at every opening: a bundle that was changed is another one. Whether its
folder is still as it was unpacked is seen by size, times and inode: whoever changes a file moves its change time, which
no program can set. A folder that is in use is locked. Of the others, the least recently used make room for a new one.
"""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import hashlib
import json
import logging
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from tfsent.console import progress_bar
from tfsent.errors import ArtifactError, RunError
from tfsent.storage import atomic
from tfsent.storage.bundle_format import Entry, Fault, Layout, Newer, read_layout

logger = logging.getLogger(__name__)

SUFFIX = ".zip"
LIMIT_BYTES = 16_000_000_000
"""Of all unpacked bundles together; those in use are kept beyond it."""
SPARE_BYTES = 100_000_000
"""Left free on the disk of the cache."""
BLOCK = 1 << 20
RECORD = ".unpacked.json"
AGAIN = " Fetch it again: it must be the unchanged file that tfsent bundle wrote."

_held: dict[str, int] = {}
"""Folders that this process uses → open descriptors, whose locks end with the process."""
_known: dict[tuple[int, ...], str] = {}
"""Bundles that this process has hashed, by device, inode, size and times → SHA-256."""


def inside(path: Path) -> Path:
    """Return the run in a bundle, see `opened`; any other path as it is.

    Raises:
        ArtifactError: it is a damaged bundle, or another `.zip`.
        RunError: the cache has no room for it.
    """
    return opened(path) if path.suffix == SUFFIX and path.is_file() else path


def opened(path: Path) -> Path:
    """Check a bundle and unpack it into the cache, unless it is there. Nothing in it is run or unpickled.

    Args:
        path: of the bundle.

    Returns:
        The run. It is read-only, and stays while this process lives.

    Raises:
        ArtifactError: it is damaged, was made by a newer tfsent, or is no bundle.
        RunError: the cache cannot be written to, or has no room for it.
    """
    from tfsent.storage import downloads  # it needs platformdirs, which an edge device lacks

    try:
        with path.open("rb") as archive:
            facts = os.fstat(archive.fileno())
            layout = read_layout(archive, facts.st_size)
            seen = (facts.st_dev, *_facts(facts))
            name = _known.get(seen) or _sha256(archive)
            folder = downloads.cache_dir() / "bundles" / name
            if not _is_ready(folder):
                with _alone(folder.parent):
                    if not _is_ready(folder):  # another process may have unpacked it meanwhile
                        _unpack(archive, layout, folder)
            _known[seen] = name
            return folder
    except Fault as fault:
        advice = "" if isinstance(fault, Newer) else AGAIN
        raise ArtifactError(
            f"{path} cannot be opened as a bundle: it {fault}. Nothing of it was used.{advice}"
        ) from fault
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror or error}.") from error


def _sha256(archive: BinaryIO) -> str:
    archive.seek(0)
    return hashlib.file_digest(archive, "sha256").hexdigest()  # type: ignore[arg-type]


def _facts(facts: os.stat_result) -> tuple[int, ...]:
    return facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns


def _is_ready(folder: Path) -> bool:
    """Lock a folder for this process; return whether it holds what was unpacked, and nothing else."""
    try:
        if str(folder) not in _held:
            descriptor = os.open(folder, os.O_RDONLY)
            with contextlib.suppress(OSError):  # some network file systems have no locks for folders
                fcntl.flock(descriptor, fcntl.LOCK_SH)
            _held[str(folder)] = descriptor
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        os.utime(folder / RECORD)
        if record == _record(folder):
            return True
    except (OSError, ValueError):
        pass
    _release(folder)
    return False


def _release(folder: Path) -> None:
    if (descriptor := _held.pop(str(folder), None)) is not None:
        os.close(descriptor)


def _record(folder: Path) -> dict[str, list[int]]:
    """Return what tells whether a file was changed, for each file of a folder."""
    files = [path for path in folder.rglob("*") if not path.is_dir() or path.is_symlink()]
    return {str(path.relative_to(folder)): list(_facts(path.lstat())) for path in files if path.name != RECORD}


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until no other process unpacks, and keep the others waiting.

    Raises:
        RunError: the cache cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise _no_cache(folder, error) from error
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _no_cache(folder: Path, error: OSError) -> RunError:
    return RunError(
        f"Cannot unpack into {folder}: {error.strerror or error}. Free some space there, or set TFSENT_CACHE to "
        "another folder."
    )


def _unpack(archive: BinaryIO, layout: Layout, folder: Path) -> None:
    """Write the files into a folder beside their own, and rename it when all of them are what the manifest says."""
    try:
        _make_room(folder.parent, layout.size)
        with tempfile.TemporaryDirectory(prefix=".", dir=folder.parent) as scratch:
            staged = Path(scratch) / folder.name
            with progress_bar("opening the bundle", layout.size) as bar:
                bar.unit, bar.unit_scale = "B", True
                found = _copy_all(archive, layout, staged, bar)
            if found != folder.name:
                raise Fault("changed while it was read")
            (staged / RECORD).write_text(json.dumps(_record(staged)), encoding="utf-8")
            atomic.flush(staged)
            if folder.exists():  # somebody changed it, or it has a lock of no worth
                logger.warning(f"{folder} is not as it was unpacked: unpacking it again.")
                folder.rename(Path(scratch) / "old")
            staged.rename(folder)
    except OSError as error:
        raise _no_cache(folder.parent, error) from error
    if not _is_ready(folder):
        raise RunError(f"{folder} changes while it is used. Set TFSENT_CACHE to a folder of your own.")


def _copy_all(archive: BinaryIO, layout: Layout, folder: Path, bar: Any) -> str:
    """Write the files, read-only, and return the SHA-256 of all that was read."""
    archive.seek(0)
    whole = hashlib.sha256()
    for entry in layout.entries:
        whole.update(archive.read(len(entry.header)))
        target = folder / entry.file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as out:
            _copy(archive, entry, out, whole, bar)
        if target.suffix == ".gz":
            _require_small(target)
        target.chmod(0o444)
    whole.update(archive.read(len(layout.tail)))
    return whole.hexdigest()


def _copy(archive: BinaryIO, entry: Entry, out: BinaryIO, whole: hashlib._Hash, bar: Any) -> None:
    digest, crc, left = hashlib.sha256(), 0, entry.file.size
    while left and (block := archive.read(min(BLOCK, left))):
        out.write(block)
        for one in (whole, digest):
            one.update(block)
        crc, left = zlib.crc32(block, crc), left - len(block)
        bar.update(len(block))
    if left or crc != entry.crc or digest.hexdigest() != (entry.file.sha256 or digest.hexdigest()):
        raise Fault(f"is damaged: {entry.file.name} is not what its manifest says")


def _require_small(path: Path) -> None:
    """Refuse a gzip file that unpacks to more than its own size: tfsent stores such a file without compression.

    Raises:
        Fault: it does, or it is damaged.
    """
    size, left = path.stat().st_size, path.stat().st_size
    try:
        with gzip.open(path) as unpacked:
            while left >= 0 and (block := unpacked.read(min(BLOCK, size))):
                left -= len(block)
    except (OSError, EOFError, zlib.error) as error:
        raise Fault(f"is damaged: {path.name} is no gzip file") from error
    if left < 0:
        raise Fault(f"has a packed {path.name}. tfsent stores all files as they are")


def _make_room(folder: Path, needed: int) -> None:
    """Delete the least recently used bundles that no process uses, so that there is room for one more.

    Raises:
        RunError: the disk has no room even so.
    """
    atomic.clear_old(folder, ".*")
    kept = sorted(folder.glob(f"*/{RECORD}"), key=lambda path: path.stat().st_mtime)
    sizes = {path.parent: sum(f.stat().st_size for f in path.parent.rglob("*") if f.is_file()) for path in kept}
    for old in list(sizes):
        free = shutil.disk_usage(folder).free
        if sum(sizes.values()) + needed <= LIMIT_BYTES and needed + SPARE_BYTES <= free:
            return
        if _delete(old):
            del sizes[old]
    if (free := shutil.disk_usage(folder).free) < needed + SPARE_BYTES:
        raise RunError(
            f"The disk of {folder} has {free / 1e6:,.0f} MB free, and the bundle needs "
            f"{(needed + SPARE_BYTES) / 1e6:,.0f} MB. Free some, or set TFSENT_CACHE to another folder."
        )


def _delete(folder: Path) -> bool:
    """Delete an unpacked bundle unless a process uses it; return whether it is gone."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        going = folder.with_name(f".{folder.name}")  # so that nobody takes half of it for the whole
        folder.rename(going)
        shutil.rmtree(going, ignore_errors=True)
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
