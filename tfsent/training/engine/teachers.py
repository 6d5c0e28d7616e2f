"""What teachers say of texts: class probabilities, asked once and cached.

A teacher is a model in any form that `tfsent predict` opens, or a table of probabilities that any program wrote.
Answers are cached by the SHA-256 of the model and of the texts, `CHUNK` texts at a time: when the process ends, only
the chunk at hand is lost.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfsent.console import progress_bar
from tfsent.data.probability_table import is_table, read_probabilities
from tfsent.data.splits import Splits
from tfsent.errors import ArtifactError, ConfigError
from tfsent.inference.opening import opener_of
from tfsent.inference.predictor import Predictor
from tfsent.recipe.loader import load_config
from tfsent.recipe.schema import DataConfig
from tfsent.storage import bundle, cache, run_directory
from tfsent.storage.environment import version_of
from tfsent.storage.manifest import sha256

logger = logging.getLogger(__name__)

CHUNK = 1024
"""Texts of a folder in the cache."""


@dataclass(frozen=True)
class Answers:
    """The averaged probabilities of all teachers."""

    probabilities: np.ndarray
    """`float32[n, classes]`; NaN where no teacher knows the text, which a table may not."""
    teachers: tuple[dict[str, Any], ...]
    """Path, kind and fingerprint of each, as `data.json` keeps them."""


def require_all(paths: Sequence[str]) -> None:
    """Check that there is a model or a table at each path.

    Raises:
        ArtifactError, RunError: there is neither.
    """
    for path in (Path(path).expanduser() for path in paths):
        if not path.exists():
            where = "" if path.is_absolute() else f", seen from {Path.cwd()}"
            raise ArtifactError(
                f"distil.teacher: there is nothing at {path}{where}. Expected a run, a bundle, a SavedModel, a .tflite "
                "file, or a table of probabilities."
            )
        if not is_table(path):
            opener_of(path)


def warn_of_other_splits(paths: Sequence[str], config: DataConfig, splits: Splits) -> None:
    """Warn where a teacher is a run of the same source, split otherwise: it may have learnt what is held out here.

    Args:
        paths: of the teachers.
        config: section `data` of the student's recipe.
        splits: of the student.
    """
    ours = {name: getattr(splits, name).fingerprint for name in ("validation", "test")}
    for path in paths:
        run = run_directory.run_of(Path(path).expanduser())
        if run is None or not (run / "data.json").is_file():
            continue
        theirs = json.loads((run / "data.json").read_text(encoding="utf-8"))["splits"]
        other = [name for name, fingerprint in ours.items() if theirs.get(name, {}).get("fingerprint") != fingerprint]
        if other and _origin_of(load_config(run / "config.yaml").data) == _origin_of(config):
            logger.warning(
                f"The teacher {path} learnt from the same source with another {' and '.join(other)} split, so it may "
                "know what is held out here, and figures may be too high. Give both recipes the same section data."
            )


def _origin_of(config: DataConfig) -> tuple[object, ...]:
    return config.source, config.train, config.validation, config.test


def ask_all(paths: Sequence[str], texts: Sequence[str], label_names: Sequence[str], config: DataConfig) -> Answers:
    """Ask teachers, and average what they say. Where a table lacks a text, the others are averaged.

    Args:
        paths: of the teachers.
        texts: what is asked.
        label_names: the classes of the student, in their order.
        config: says how a table is read.

    Raises:
        ConfigError: a teacher has other classes.
        DataError: a table cannot be read, or has faulty rows.
        ArtifactError, RunError: there is no model at a path, or it is damaged.
    """
    total, known = np.zeros((len(texts), len(label_names)), np.float64), np.zeros((len(texts), 1), np.int64)
    described = []
    for path in paths:
        found, about = _ask(Path(path).expanduser(), texts, label_names, config)
        there = ~np.isnan(found[:, :1])
        total += np.where(there, found, 0)
        known += there
        described.append({"path": path, **about})
    with np.errstate(invalid="ignore"):
        return Answers((total / known).astype(np.float32), tuple(described))


def _ask(
    path: Path, texts: Sequence[str], label_names: Sequence[str], config: DataConfig
) -> tuple[np.ndarray, dict[str, Any]]:
    if is_table(path):
        table = read_probabilities(config, path, label_names)
        return table.of(texts), {"kind": "table", "sha256": table.fingerprint}
    digest = _digest(path)
    return _ask_model(path, digest, texts, label_names), {"kind": "model", "sha256": digest}


def _digest(path: Path) -> str:
    """Return the SHA-256 of the files that a model consists of."""
    place = bundle.inside(path)
    if (place / "config.yaml").is_file() or run_directory.holds_seeds(place):
        place = run_directory.require_run(place) / "model"
    files = sorted(place.rglob("*")) if place.is_dir() else [place]
    digest = hashlib.sha256()
    for file in (file for file in files if file.is_file()):
        digest.update(f"{file.relative_to(place)} {sha256(file)}\n".encode())
    return digest.hexdigest()


def _ask_model(path: Path, digest: str, texts: Sequence[str], label_names: Sequence[str]) -> np.ndarray:
    """Return the answers of a model, `float32[n, classes]`, from the cache where they are there."""
    answers = np.full((len(texts), len(label_names)), np.nan, np.float32)
    keys = {}
    for start in range(0, len(texts), CHUNK):
        chunk = texts[start : start + CHUNK]
        keys[start] = cache.key_of(_identity(digest, chunk, label_names))
        if (folder := cache.get(keys[start])) is not None:
            answers[start : start + len(chunk)] = np.load(folder / "answers.npy")
    missing = [start for start in keys if np.isnan(answers[start, 0])]
    if not missing:
        return answers
    left = int(np.isnan(answers[:, 0]).sum())
    logger.info(f"Asking {path} about {left:,} texts; {len(texts) - left:,} answers are in the cache.")
    # Not `opening.load`: that insists on TensorFlow, and a run answers on the backend of the training.
    model = opener_of(path)(path)
    order = _order(path, model, label_names)
    with progress_bar(f"asking {path.name}", len(texts), len(texts) - left) as bar:
        for start in missing:
            found = model.predict_proba(list(texts[start : start + CHUNK]), bar.update)[:, order]
            cache.put(keys[start], found.nbytes, functools.partial(_write, found))
            answers[start : start + len(found)] = found
    return answers


def _write(answers: np.ndarray, folder: Path) -> None:
    np.save(folder / "answers.npy", answers)


def _identity(digest: str, chunk: Sequence[str], label_names: Sequence[str]) -> dict[str, Any]:
    """Return all that decides the answers. Other code may answer otherwise."""
    texts = hashlib.sha256()
    for raw in (text.encode() for text in chunk):
        texts.update(b"%d " % len(raw) + raw)
    versions = [version_of("tfsent"), version_of("keras")]
    return {"teacher": digest, "texts": texts.hexdigest(), "labels": list(label_names), "versions": versions}


def _order(path: Path, model: Predictor, label_names: Sequence[str]) -> list[int]:
    """Return the teacher's column of each class of the student."""
    if set(model.label_names) != set(label_names):
        theirs, ours = (", ".join(map(repr, itertools.islice(names, 10))) for names in (model.label_names, label_names))
        raise ConfigError(
            f"The teacher {path} has the classes {theirs}, and the student's reviews have {ours}. Expected the same "
            "names: rename the labels of the reviews, or choose another teacher."
        )
    return [model.label_names.index(name) for name in label_names]
