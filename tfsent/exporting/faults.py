"""What can be wrong with a run and its exported folders: a function for each question, a sentence for each fault."""

from __future__ import annotations

import itertools
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np

from tfsent.data.reviews import load_reviews
from tfsent.exporting.phone.contents import facts_of
from tfsent.inference.keras_run import KerasPredictor
from tfsent.inference.tflite_file import MODEL, TFLitePredictor
from tfsent.model.decision import read_decision
from tfsent.storage import manifest
from tfsent.text.spec import read_text_files

logger = logging.getLogger(__name__)

GOLDEN_DIFFERENCE = {"float32": 1e-4, "float16": 1e-3}
"""How far the phone file's answer to a golden text may be from the recorded one, which may be of another processor."""
GOLDEN_QUANTIZED = 0.05
TRAINED_DIFFERENCE = 1e-3
"""The same of the trained model, in float32 on any processor."""
COMPANIONS = ("labels.txt", "text.json")
"""Files of RUN/model that an exported folder repeats."""


def golden_lines(folder: Path) -> list[dict[str, Any]]:
    """Return the golden texts of a phone export; none where there are none, or where the file is damaged."""
    try:
        return [json.loads(line) for line in (folder / "golden.jsonl").read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError):
        return []


def hash_faults(folder: Path) -> list[str]:
    """Compare the files of a folder with its manifest; one of an earlier version has none."""
    if not (folder / manifest.NAME).is_file():
        logger.warning(f"{folder} has no {manifest.NAME}: an earlier tfsent made it, and its hashes are unknown.")
        return []
    fault = manifest.fault(folder)
    return [] if fault is None else [f"{fault}. Expected what training wrote"]


def review_faults(run: Path) -> list[str]:
    """Compare the held-out reviews with what training wrote down of them."""
    known = json.loads((run / "data.json").read_text(encoding="utf-8"))["splits"]["test"]["fingerprint"]
    reviews = load_reviews(run / "heldout" / "test.jsonl.gz")
    faults = []
    if reviews.fingerprint != known:
        faults.append("test.jsonl.gz has other reviews than data.json says")
    if (run / "heldout" / manifest.NAME).is_file() and (fault := manifest.fault(run / "heldout")):
        faults.append(fault)
    return faults


def companion_faults(model: Path, folder: Path, whole_vocabulary: bool) -> list[str]:
    """Compare the files beside an exported model with those of the run."""
    faults = [
        f"{name} says {_short(folder / name)}, and the run's {_short(model / name)}"
        for name in COMPANIONS
        if _read(folder / name) != _read(model / name)
    ]
    if (found := read_decision(folder)) != (expected := read_decision(model)):
        faults.append(f"decision.json says {found}, and the run's {expected}")
    (_, pieces), (_, known) = read_text_files(folder), read_text_files(model)
    if whole_vocabulary and pieces != known:
        same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(pieces, known, strict=False))
        faults.append(f"vocab.txt is not the run's from line {sum(1 for _ in same) + 1} on")
    rest = iter(known)
    if not whole_vocabulary and not all(piece in rest for piece in pieces):
        faults.append("vocab.txt has pieces in another order than the run's")
    return faults


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _short(path: Path) -> str:
    raw = _read(path)
    return "nothing" if raw is None else " ".join(raw.decode("utf-8", "replace").split())[:200]


def graph_faults(path: Path, record: dict[str, Any]) -> list[str]:
    if not path.stat().st_size:
        return ["the file is empty"]
    found = facts_of(path)
    del found["delegates"]  # of the machine
    return [
        f"{key}: {value}, and manifest.json says {record[key]}" for key, value in found.items() if value != record[key]
    ]


def replay_faults(predictor: KerasPredictor, folder: Path, kind: str) -> list[str]:
    """Replay golden.jsonl: ids, probabilities and labels of the phone file, and probabilities of the trained model."""
    golden = golden_lines(folder)
    if not golden:
        return ["golden.jsonl cannot be read"]
    phone, texts = TFLitePredictor(folder / MODEL), [line["text"] for line in golden]
    rows, owner = phone.tokenizer(texts)
    ids = [[rows[row].tolist() for row in np.flatnonzero(owner == i)] for i in range(len(texts))]
    found, trained = phone.predict_proba(texts), predictor.predict_proba(texts)
    labels = [phone.label_names[i] for i in phone.choose(found).tolist()]
    wrong = {
        "token ids": [line["ids"] != own for line, own in zip(golden, ids, strict=True)],
        "probabilities": _apart(golden, "probabilities", found, GOLDEN_DIFFERENCE.get(kind, GOLDEN_QUANTIZED)),
        "labels": [line["label"] != own for line, own in zip(golden, labels, strict=True)],
        "probabilities of the trained model": _apart(golden, "trained", trained, TRAINED_DIFFERENCE),
    }
    if kind not in GOLDEN_DIFFERENCE:  # another processor may flip a label at the threshold
        wrong["labels"] = [bad and apart for bad, apart in zip(wrong["labels"], wrong["probabilities"], strict=True)]
    return [f"{sum(bad):,} of {len(texts):,} texts have other {name}" for name, bad in wrong.items() if any(bad)]


def _apart(golden: list[dict[str, Any]], key: str, found: np.ndarray, most: float) -> list[bool]:
    expected = np.array([line[key] for line in golden])
    return (~np.isclose(expected, found, rtol=0, atol=most).all(axis=1)).tolist()
