"""What `verify.json` says of the exported files. It is read as data: this wing stands before the one that writes it."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfsent.evaluation.report.formats import without_folders
from tfsent.evaluation.report.measured import number, whole, words
from tfsent.storage.manifest import NAME, sha256

TARGETS = {"server": "TensorFlow Serving", "phone": "Phone", "mediapipe": "MediaPipe"}
"""By the target of a file, what runs it."""
FOLDERS = {"server": "export/serving", "phone": "export/mobile", "mediapipe": "export/mobile"}
OPTIONS = {"server": "serving", "phone": "mobile", "mediapipe": "mobile"}
"""Values of `tfsent export --to`."""


@dataclass(frozen=True)
class ExportedFile:
    """What one file costs against the trained model, on the same reviews."""

    name: str
    megabytes: float | None
    max_difference: float | None
    flips: float | None
    accuracy: float | None
    change: float | None
    """Of the accuracy; positive where the file does better."""
    mcnemar_p: float | None
    latency_ms: float | None
    faults: tuple[str, ...]
    never_predicted: tuple[str, ...]
    remark: str
    not_chosen: str | None
    """Why another file ships instead."""
    passed: bool

    @property
    def target(self) -> str:
        """A key of `TARGETS`."""
        if self.name.startswith("savedmodel"):
            return "server"
        return "mediapipe" if self.name.startswith("mediapipe") else "phone"

    @property
    def state(self) -> str:
        """`ships`, `spare` or `over budget`."""
        if not self.passed or self.faults:
            return "over budget"
        return "spare" if self.not_chosen else "ships"

    @property
    def reason(self) -> str:
        """Why it does not ship; empty where it ships."""
        return self.not_chosen or "; ".join(self.faults)


@dataclass(frozen=True)
class Exports:
    """What the last export found."""

    reviews: int
    origin: str
    accuracy: float | None
    """Of the trained model on these reviews."""
    never_predicted: tuple[str, ...]
    threads: int | None
    files: tuple[ExportedFile, ...]
    published: tuple[str, ...]
    gone: tuple[str, ...]
    """Published folders that are no longer there."""
    of_other_model: tuple[str, ...]
    """Published folders that were made from another model than the one that is there."""

    def of(self, target: str) -> list[ExportedFile]:
        """Return the files for a target."""
        return [file for file in self.files if file.target == target]


def read_exports(tree: Mapping[str, Any], run: Path) -> Exports | None:
    """Read the tree of `verify.json`; None where it names no file.

    Args:
        tree: the JSON.
        run: the run directory, to see what is still there.
    """
    rows = tree.get("artifacts")
    files = tuple(_file(row) for row in (rows if isinstance(rows, list) else []) if isinstance(row, dict))
    if not files:
        return None
    published = words(tree.get("published"))
    return Exports(
        reviews=whole(tree.get("reviews")),
        origin=str(tree.get("origin") or ""),
        accuracy=number(tree.get("trained_model_accuracy")),
        never_predicted=words(tree.get("trained_model_never_predicted")),
        threads=whole(tree.get("threads")) or None,
        files=files,
        published=published,
        gone=tuple(place for place in published if not _is_there(run / place)),
        of_other_model=tuple(place for place in published if _of_other_model(run, run / place)),
    )


def _is_there(folder: Path) -> bool:
    try:
        return folder.is_dir()
    except OSError:  # no name that a disk takes
        return False


def _of_other_model(run: Path, folder: Path) -> bool:
    """Return whether the record of an exported folder names other hashes than those of `RUN/model`."""
    for name in ("assets.extra", "."):
        try:
            known = json.loads((folder / name / NAME).read_bytes())["model"]
            return any(_digest(run / "model" / file) != digest for file, digest in known.items())
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # an earlier tfsent kept no such record
    return False


@functools.lru_cache(maxsize=16)
def _digest_once(path: Path, changed: int) -> str:
    return sha256(path)


def _digest(path: Path) -> str | None:
    """Return the SHA-256 of a file, None where it is not there. Two folders ask for the same large file."""
    return _digest_once(path, path.stat().st_mtime_ns) if path.is_file() else None


def _file(row: Mapping[str, Any]) -> ExportedFile:
    drop = number(row.get("accuracy_drop"))
    return ExportedFile(
        name=str(row.get("artifact") or "?"),
        megabytes=number(row.get("megabytes")),
        max_difference=number(row.get("max_difference")),
        flips=number(row.get("flips")),
        accuracy=number(row.get("accuracy")),
        change=None if drop is None else -drop,
        mcnemar_p=number(row.get("mcnemar_p")),
        latency_ms=number(row.get("latency_ms")),
        faults=tuple(map(without_folders, words(row.get("faults")))),
        never_predicted=words(row.get("never_predicted")),
        remark=without_folders(str(row.get("remark") or "")),
        not_chosen=without_folders(str(row["not_chosen"])) if row.get("not_chosen") else None,
        passed=row.get("passed") is not False,
    )
