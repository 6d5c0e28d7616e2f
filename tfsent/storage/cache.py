"""What is slow to make and cheap to keep: folders in `TFSENT_CACHE/kept`, whose names say what went into them.

    TFSENT_CACHE/kept/KEY/…               the files
                         /manifest.json   their SHA-256

A folder has its name once it is whole. One that was damaged since is thrown away, and that is said; those used longest
ago make room for new ones.
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
from tfsent.storage import atomic, downloads

logger = logging.getLogger(__name__)

LIMIT_BYTES = 4_000_000_000
"""All of them together. The tokens of IMDb's 25,000 training reviews are 25 MB."""


def key_of(parts: dict[str, Any]) -> str:
    """A name that differs whenever one of the parts does; they must fit into JSON."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def get(key: str) -> Path | None:
    """The folder kept under a key; None when there is none, or none that is sound."""
    folder = downloads.cache_dir() / "kept" / key
    if not folder.is_dir():
        return None
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        if damaged := [name for name, digest in manifest.items() if downloads.sha256(folder / name) != digest]:
            raise ValueError(f"{damaged[0]} is not what was written")
        with contextlib.suppress(OSError):  # somebody else's cache, or one that is only for reading
            (folder / "manifest.json").touch()
        return folder
    except (OSError, ValueError, AttributeError) as error:
        logger.info(f"{folder} is damaged ({error}): making it again.")
        shutil.rmtree(folder, ignore_errors=True)
        return None


def put(key: str, size: int, write: Callable[[Path], None]) -> None:
    """Have a folder written, and keep it. Where that fails, it is said, and all goes on without.

    Args:
        key: of `key_of`.
        size: about how many bytes it will have.
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
            manifest = {path.name: downloads.sha256(path) for path in staged.iterdir()}
            (staged / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    except (RunError, OSError) as error:
        logger.info(f"Not kept for another time: {error}")


def _make_room(folder: Path, at_most: int) -> None:
    atomic.clear_old(folder, ".*")
    kept = sorted(folder.glob("*/manifest.json"), key=lambda path: path.stat().st_mtime)
    sizes = {path.parent: sum(file.stat().st_size for file in path.parent.iterdir()) for path in kept}
    for path in list(sizes):
        if sum(sizes.values()) <= at_most:
            return
        shutil.rmtree(path, ignore_errors=True)
        del sizes[path]
