"""What is slow to make and cheap to keep: folders in `TFSENT_CACHE/kept`, named by what went into them.

    TFSENT_CACHE/kept/KEY/…               the files
                         /manifest.json   their SHA-256

A folder gets its name when it is whole. A folder that was damaged later is deleted and reported. The least recently
used folders make room for new ones.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tfsent.errors import RunError
from tfsent.storage import atomic, downloads, manifest

logger = logging.getLogger(__name__)

LIMIT_BYTES = 4_000_000_000
"""Of all folders together. The tokens of IMDb's 25,000 training reviews take 25 MB."""


def key_of(parts: dict[str, Any]) -> str:
    """Return a name that differs whenever one of the parts differs.

    Args:
        parts: ready for JSON.
    """
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def get(key: str) -> Path | None:
    """Return the folder of a key; None where there is no valid one."""
    folder = downloads.cache_dir() / "kept" / key
    if not folder.is_dir():
        return None
    if damage := manifest.fault(folder):
        logger.warning(f"{folder} is damaged ({damage}): making it again.")
        shutil.rmtree(folder, ignore_errors=True)
        return None
    with contextlib.suppress(OSError):  # a cache of somebody else, or a read-only one
        (folder / manifest.NAME).touch()
    return folder


def put(key: str, size: int, write: Callable[[Path], None]) -> None:
    """Write a folder and keep it. A failure is reported and nothing else: the cache is not needed to work.

    Args:
        key: of `key_of`.
        size: estimated bytes of the folder.
        write: is given the empty folder.
    """
    if size > LIMIT_BYTES:
        return
    folder = downloads.cache_dir() / "kept" / key
    try:
        _make_room(folder.parent, LIMIT_BYTES - size)
        with atomic.replacing(folder) as staged:
            staged.mkdir()
            write(staged)
            manifest.write_manifest(staged)
    except (RunError, OSError) as error:
        logger.warning(f"Not cached: {error}")


def _make_room(folder: Path, at_most: int) -> None:
    """Delete the least recently used folders until the others take at most so many bytes."""
    atomic.clear_old(folder, ".*")
    kept = sorted(folder.glob(f"*/{manifest.NAME}"), key=lambda path: path.stat().st_mtime)
    sizes = {path.parent: sum(file.stat().st_size for file in path.parent.iterdir()) for path in kept}
    for path in list(sizes):
        if sum(sizes.values()) <= at_most:
            return
        shutil.rmtree(path, ignore_errors=True)
        del sizes[path]
