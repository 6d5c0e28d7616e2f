"""Files and folders that are whole or not there: written beside their target, flushed, and renamed into place.

A reader never sees half of one, and a folder is one process's at a time.
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
    """Give a path beside `target` to write a file or a folder to, and rename it into place at the end.

    When the body raises, nothing is left behind and what was at `target` before is untouched.

    Raises:
        RunError: the place cannot be written to (permissions, a full disk).
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
    """Take away what killed processes were writing; what is younger than a day may still be written."""
    for half in folder.glob(pattern):
        with contextlib.suppress(FileNotFoundError):  # another process has just given it its name
            if time.time() - half.stat().st_mtime > DAY_SECONDS:
                shutil.rmtree(half, ignore_errors=True)


def publish(staged: Path, target: Path) -> None:
    """Rename a finished file or folder into place, over what was there. Both must be on one file system."""
    for file in [staged] if staged.is_file() else [p for p in staged.rglob("*") if p.is_file()]:
        with file.open("rb") as handle:
            os.fsync(handle.fileno())
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir():
        # A folder cannot be renamed over a full one: the old one steps aside first.
        old = staged.with_name(f"{staged.name}.old")
        target.rename(old)
        staged.rename(target)
        shutil.rmtree(old)
    else:
        staged.rename(target)


def write_text(target: Path, text: str) -> None:
    """Write a small text file in one step."""
    with replacing(target) as staged:
        staged.write_text(text, encoding="utf-8")


def write_json(target: Path, value: Any) -> None:
    """Write JSON in one step, readable for people too."""
    write_text(target, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


@contextlib.contextmanager
def in_use(folder: Path) -> Iterator[None]:
    """Keep a folder to this process; the lock goes with the process, however that ends, and leaves nothing behind.

    Raises:
        RunError: another process has it.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise RunError(
            f"Another process is at work in {folder}. Wait for its end, or end it; or choose another place."
        ) from None
    except OSError:  # a file system without locks for folders, as some networks have
        pass
    try:
        yield
    finally:
        os.close(descriptor)
