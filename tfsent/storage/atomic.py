"""Files and folders that are whole or not there: written beside their target, flushed, and renamed into place.

A reader never sees half of one. A lock keeps a folder to one process.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tfsent.errors import RunError

DAY_SECONDS = 86_400


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Give a path beside the target to write a file or a folder to, and rename it into place at the end.

    When the body raises, nothing is left behind, and the target is as it was.

    Args:
        target: the file or folder to write.

    Raises:
        RunError: the target cannot be written (permissions, a full disk).
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as folder:
            staged = Path(folder) / target.name
            yield staged
            publish(staged, target)
    except OSError as error:
        raise RunError(f"Cannot write {target}: {error.strerror or error}. Nothing was changed.") from error


def clear_old(folder: Path, pattern: str) -> None:
    """Delete what killed processes were writing. What is younger than a day may still be written to.

    Args:
        folder: to look in.
        pattern: a glob of the names.
    """
    for half in folder.glob(pattern):
        with contextlib.suppress(FileNotFoundError):  # another process has just renamed it
            if time.time() - half.stat().st_mtime > DAY_SECONDS:
                shutil.rmtree(half, ignore_errors=True)


def publish(staged: Path, target: Path) -> None:
    """Rename a finished file or folder into place, over what is there. Both are on one file system.

    A file is replaced in one step. A folder takes two: a process that is killed between them leaves no target, and the
    old folder beside `staged`.

    Args:
        staged: the finished one.
        target: its place.
    """
    flush(staged)
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir():
        # A folder cannot be renamed over one that is not empty: the old one is moved away first.
        old = staged.with_name(f"{staged.name}.old")
        target.rename(old)
        staged.rename(target)
        shutil.rmtree(old)
    else:
        staged.rename(target)


def flush(path: Path) -> None:
    """Wait until a file, or a folder with all that is in it, is on the disk."""
    for file in [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]:
        with file.open("rb") as handle:
            os.fsync(handle.fileno())


def flush_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(target: Path, text: str) -> None:
    """Write a small text file in one step."""
    with replacing(target) as staged:
        staged.write_text(text, encoding="utf-8")


def write_json(target: Path, value: Any) -> None:
    """Write indented JSON in one step."""
    write_text(target, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


@contextlib.contextmanager
def in_use(folder: Path) -> Iterator[None]:
    """Keep a folder to this process. The lock ends with the process, however that ends, and leaves no file behind.

    Raises:
        RunError: another process holds the folder.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise RunError(
            f"Another process is at work in {folder}. Wait for its end, or end it; or choose another folder."
        ) from None
    except OSError:  # some network file systems have no locks for folders
        pass
    try:
        yield
    finally:
        os.close(descriptor)
