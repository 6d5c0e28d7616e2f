"""SHA-256 manifests: whether the files of a folder are those that were written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

NAME = "manifest.json"


def sha256(path: Path) -> str:
    """Return the hex SHA-256 of a file."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def write_manifest(folder: Path) -> None:
    """Write `manifest.json` with the SHA-256 of every file of a folder."""
    digests = {path.name: sha256(path) for path in sorted(folder.iterdir())}
    (folder / NAME).write_text(json.dumps(digests), encoding="utf-8")


def fault(folder: Path, names: Iterable[str] = ()) -> str | None:
    """Return what is wrong with a folder, None where it is as it was written.

    Args:
        folder: with a `manifest.json`.
        names: files that must be in it.
    """
    try:
        digests = json.loads((folder / NAME).read_text(encoding="utf-8"))
        for name in {*names, *digests}:
            if sha256(folder / name) != digests[name]:
                return f"{name} is not what was written"
    except (OSError, ValueError, KeyError, TypeError):
        return "a file is missing or unreadable"
    return None
