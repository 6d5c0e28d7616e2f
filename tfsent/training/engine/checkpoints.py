"""State ↔ disk: checkpoints from which training resumes exactly where it stopped.

    checkpoints/step-00001200/arrays.safetensors    every variable
                              state.json            epoch, step, history, identity of the training
                              manifest.json         SHA-256 of both

A checkpoint is written as `step-….tmp`, flushed to the disk and renamed. One that has its name is whole, unless the
disk damaged it, which the manifest shows. Once the first is written, there is always a valid one.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from tfsent.errors import RunError
from tfsent.storage import manifest

logger = logging.getLogger(__name__)

_FILES = ("arrays.safetensors", "state.json")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in memory."""

    step: int
    """Steps since training began; each validation counts as one."""
    arrays: dict[str, np.ndarray]
    state: dict[str, Any]


def save(folder: Path, step: int, arrays: dict[str, np.ndarray], state: dict[str, Any]) -> None:
    """Write a checkpoint beside the newest one. Older ones are deleted first: the disk never holds a third.

    Args:
        folder: of the checkpoints.
        step: see `Checkpoint`.
        arrays: every variable, by name.
        state: everything else, ready for JSON.

    Raises:
        RunError: the disk is full or refuses. The newest checkpoint is as it was.
    """
    target = folder / f"step-{step:08d}"
    staged = target.with_suffix(".tmp")
    try:
        folder.mkdir(exist_ok=True)
        for path in (*folder.glob("*.tmp"), *_named(folder)[:-1]):
            shutil.rmtree(path)
        if target.is_dir():
            return  # no step was done since
        staged.mkdir()
        save_file(arrays, staged / "arrays.safetensors")
        (staged / "state.json").write_text(json.dumps(state), encoding="utf-8")
        manifest.write_manifest(staged)
        for path in (*staged.iterdir(), staged):
            _flush(path)
        staged.rename(target)
        _flush(folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(staged, ignore_errors=True)
        kept = _named(folder)
        raise RunError(
            f"No checkpoint could be written to {folder}: {getattr(error, 'strerror', None) or error}. "
            + (f"{kept[-1].name} is there; free some space, then --resume." if kept else "")
        ) from error


def newest(folder: Path, *, remove: bool = True) -> Checkpoint:
    """Read the newest valid checkpoint, and delete newer, damaged ones: the next checkpoint may need their names.

    Args:
        folder: of the checkpoints.
        remove: delete damaged ones; true in one process only.

    Raises:
        RunError: there is none.
    """
    damaged: list[Path] = []
    for path in reversed(_named(folder)):
        fault = manifest.fault(path, _FILES)
        if fault is None:
            for other in damaged if remove else ():
                shutil.rmtree(other)
            state = json.loads((path / "state.json").read_text(encoding="utf-8"))
            return Checkpoint(int(path.name[5:]), load_file(path / "arrays.safetensors"), state)
        damaged.append(path)
        logger.info(f"Checkpoint {path.name} is damaged ({fault}): looking for an older one.")
    raise RunError(
        f"{folder.parent} has no valid checkpoint. Train again: tfsent train RECIPE --run-dir "
        f"{folder.parent} --overwrite"
    )


def _named(folder: Path) -> list[Path]:
    """Return the checkpoints, oldest first."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if re.fullmatch(r"step-\d{8,}", path.name))


def _flush(path: Path) -> None:
    """Write to the disk what the system still holds in memory."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def require_same_origin(old: dict[str, Any], new: dict[str, Any]) -> None:
    """Refuse to resume with other data, another encoder or other batches; warn of other software or devices.

    Args:
        old: the identity in the checkpoint.
        new: the identity of the training that is to resume.

    Raises:
        RunError: naming what differs.
    """
    _require_same_data(old["splits"], new["splits"])
    require_same(old["encoder"]["files"], new["encoder"]["files"], "The encoder")
    _require_same_teaching(old.get("distil", {}), new.get("distil", {}))
    if old["plan"] != new["plan"]:
        raise RunError(
            "Recipe and data are the same, and the batches made of them are not: another version of tfsent or NumPy "
            "made those of the checkpoint (environment.json names it). Resume with that one; or begin anew, with "
            "--overwrite or in another place."
        )
    if differences := list(_differences(old["environment"], json.loads(json.dumps(new["environment"])), "")):
        logger.warning(f"Other software or machine than before, so the last bits may differ: {'; '.join(differences)}.")


def _require_same_data(old: dict[str, Any], new: dict[str, Any]) -> None:
    """Like `require_same`, in numbers of reviews: fingerprints mean nothing to a person."""
    changes = [
        f"{name} has {new[name]['reviews']:,} reviews and had {part['reviews']:,}"
        if new[name]["reviews"] != part["reviews"]
        else f"{name} has {part['reviews']:,} reviews as before, but different ones"
        for name, part in old.items()
        if new[name]["fingerprint"] != part["fingerprint"]
    ]
    if changes:
        raise RunError(
            f"The data changed since training began, so it cannot resume exactly: {'; '.join(changes)}. Expected the "
            "same again; or begin anew, with --overwrite or in another place."
        )


def _require_same_teaching(old: dict[str, Any], new: dict[str, Any]) -> None:
    changes = [
        f"the teacher {one['path']} says something else"
        for one, other in zip(old.get("teachers", ()), new.get("teachers", ()), strict=False)
        if one["sha256"] != other["sha256"]
    ]
    if old.get("unlabelled") != new.get("unlabelled"):
        before, now = (found.get("unlabelled", {}).get("reviews", 0) for found in (old, new))
        same = "as before, but different ones" if before == now else f"and were {before:,}"
        changes.append(f"the texts without labels are {now:,} {same}")
    if changes:
        raise RunError(
            f"The teaching changed since training began, so it cannot resume exactly: {'; '.join(changes)}. Expected "
            "the same again; or begin anew, with --overwrite or in another place."
        )


def require_same(
    expected: Any, received: Any, what: str, else_do: str = "begin anew, with --overwrite or in another place"
) -> None:
    """Refuse to resume where something differs.

    Args:
        expected: what training began with, ready for JSON.
        received: what it is to resume with.
        what: begins the message, such as `The recipe`.
        else_do: ends the message.

    Raises:
        RunError: naming what differs.
    """
    if differences := list(_differences(expected, json.loads(json.dumps(received)), "")):
        raise RunError(
            f"{what} changed since training began, so it cannot resume exactly: {'; '.join(differences)}. Expected the "
            f"same again; or {else_do}."
        )


def _differences(old: Any, new: Any, where: str) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from _differences(old.get(key), new.get(key), f"{where}.{key}" if where else str(key))
    elif old != new:
        yield f"{where} was {old!r} and is {new!r}"
