"""What travels with exported files: their hashes, the model that they were made from, and the budgets that they met.

export/mobile/manifest.json
export/serving/N/assets.extra/manifest.json
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from tfsent import __version__
from tfsent.recipe.schema import ExportConfig
from tfsent.storage.manifest import NAME, sha256

FORMAT = 1
"""Raise it when a reader of an earlier tfsent or an app's sample would misread the folder."""
PLACES = {"serving": f"assets.extra/{NAME}", "mobile": NAME}
KINDS = {"serving": "precision", "mobile": "quantization"}
"""What a record says of the file itself."""
NOT_THE_MODEL = (NAME, "piece_counts.npy")
"""Files of RUN/model that change no answer."""


def digests_of_model(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file of `RUN/model` that decides an answer."""
    return {path.name: sha256(path) for path in sorted(folder.iterdir()) if path.name not in NOT_THE_MODEL}


def write_record(folder: Path, target: str, model: Path, config: ExportConfig, **facts: Any) -> None:
    """Write the record of a folder that is complete.

    Args:
        folder: with the files of an export.
        target: `serving` or `mobile`.
        model: `RUN/model`, which they were made from.
        config: with the budgets.
        **facts: of the target, ready for JSON.
    """
    place = folder / PLACES[target]
    record = {
        "tfsent": __version__,
        "format": FORMAT,
        **facts,
        "model": digests_of_model(model),
        "export": config.model_dump(mode="json"),
        "files": {
            path.relative_to(folder).as_posix(): {"sha256": sha256(path), "bytes": path.stat().st_size}
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path != place
        },
    }
    place.write_text(_spelt({**record, "digest": _digest(record)}), encoding="utf-8")


def read_record(folder: Path, target: str) -> dict[str, Any]:
    """Read what `write_record` wrote.

    Raises:
        ValueError: it is missing, damaged, of another format, or has budgets that this tfsent does not know.
    """
    place = folder / PLACES[target]
    if not place.is_file():
        raise ValueError(f"{PLACES[target]} is missing. Files of an earlier tfsent have none: export again")
    raw = place.read_text(encoding="utf-8")
    record = json.loads(raw)
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise ValueError(f"{PLACES[target]} has another format than {FORMAT}, or none")
    rest = {key: value for key, value in record.items() if key != "digest"}
    if "digest" not in record and "model" not in record:
        raise ValueError(
            f"{PLACES[target]} is of an earlier tfsent, and does not say which model it is of: export again"
        )
    if record.get("digest") != _digest(rest) or raw != _spelt(record):
        raise ValueError(f"{PLACES[target]} is not what was written")
    if missing := sorted({"model", "export", "files", KINDS[target]} - set(record)):
        raise ValueError(f"{PLACES[target]} lacks {', '.join(missing)}")
    try:
        ExportConfig(**record["export"])  # whoever uses it need not ask
    except (TypeError, ValueError) as error:
        said = " ".join(str(error).split())[:200]
        raise ValueError(f"{PLACES[target]} has budgets that this tfsent does not know: {said}") from error
    return record


def changed_files(folder: Path, target: str, record: dict[str, Any]) -> list[str]:
    """Return a sentence for each file that is not what was published."""
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {PLACES[target]}
    known = record["files"]
    changed = [name for name in sorted(there & set(known)) if sha256(folder / name) != known[name]["sha256"]]
    return [
        *(f"{name} is not what was published" for name in changed),
        *(f"{name} is missing" for name in sorted(set(known) - there)),
        *(f"{name} was not published" for name in sorted(there - set(known))),
    ]


def _spelt(record: dict[str, Any]) -> str:
    return json.dumps(record, indent=2) + "\n"


def _digest(record: dict[str, Any]) -> str:
    return hashlib.sha256(_spelt(record).encode()).hexdigest()
