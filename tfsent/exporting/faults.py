"""What can be wrong with a run and its exported folders: a function for each question, a sentence for each fault."""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfsent.data.reviews import load_reviews
from tfsent.exporting.phone.contents import facts_of
from tfsent.inference.keras_run import KerasPredictor
from tfsent.inference.tflite_file import MODEL, TFLitePredictor
from tfsent.model.decision import read_decision
from tfsent.storage import manifest
from tfsent.text.spec import read_labels, read_text_files

logger = logging.getLogger(__name__)

GOLDEN_DIFFERENCE = {"float32": 1e-4, "float16": 1e-3}
"""How far the phone file's answer to a golden text may be from the recorded one, which may be of another processor."""
GOLDEN_QUANTIZED = 0.05
TRAINED_DIFFERENCE = 1e-3
"""The same of the trained model, in float32 on any processor."""


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
    """Compare the held-out reviews with what training wrote down of them, and their classes with the model's.

    A bundle has no validation reviews, and of the test reviews those that its files were proved on.
    """
    known, faults = json.loads((run / "data.json").read_text(encoding="utf-8"))["splits"], []
    reviews = load_reviews(run / "heldout" / "test.jsonl.gz")
    if reviews.fingerprint != known["test"]["fingerprint"]:
        faults.append("test.jsonl.gz has other reviews than data.json says")
    validation = run / "heldout" / "validation.jsonl.gz"
    if validation.is_file() and load_reviews(validation).fingerprint != known["validation"]["fingerprint"]:
        faults.append("validation.jsonl.gz has other reviews than data.json says")
    if (labels := read_labels(run / "model")) != reviews.label_names:
        faults.append(f"the reviews have the classes {_listed(reviews.label_names)}, and the model {_listed(labels)}")
    if (run / "heldout" / manifest.NAME).is_file() and (fault := manifest.fault(run / "heldout")):
        faults.append(fault)
    return faults


def companion_faults(model: Path, folder: Path, whole_vocabulary: bool) -> list[str]:
    """Compare the files beside an exported model with those of the run: what they say, for versions spell it otherwise.

    A model of an earlier version has a shorter `text.json`, and no `decision.json`.
    """
    faults = []
    (spec, pieces), (run_spec, known) = read_text_files(folder), read_text_files(model)
    if (labels := read_labels(folder)) != (run_labels := read_labels(model)):
        faults.append(f"labels.txt says {_listed(labels)}, and the run's {_listed(run_labels)}")
    if (decision := read_decision(folder)) != (run_decision := read_decision(model)):
        faults.append(f"decision.json says {decision}, and the run's {run_decision}")
    if spec != run_spec:
        faults.append(f"text.json says {spec}, and the run's {run_spec}")
    if whole_vocabulary and pieces != known:
        same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(pieces, known, strict=False))
        faults.append(f"vocab.txt is not the run's from line {sum(1 for _ in same) + 1} on")
    rest = iter(known)
    if not whole_vocabulary and not all(piece in rest for piece in pieces):
        faults.append("vocab.txt has pieces in another order than the run's")
    return faults


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)


def variable_faults(folder: Path) -> list[str]:
    """Look for the variables of a SavedModel, without which a server loads it and fails at the first request."""
    names = {path.name.partition(".")[2].partition("-")[0] for path in (folder / "variables").glob("variables.*")}
    missing = sorted({"index", "data"} - names)
    return [f"there is no variables/variables.{name}…" for name in missing]


def graph_faults(path: Path, record: dict[str, Any]) -> list[str]:
    """Compare operators, lengths and the oldest runtime of a phone file with its record."""
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
    recorded = np.array([line["probabilities"] for line in golden], np.float32)
    wrong = {
        "token ids": [line["ids"] != own for line, own in zip(golden, ids, strict=True)],
        "probabilities": _apart(golden, "probabilities", found, GOLDEN_DIFFERENCE.get(kind, GOLDEN_QUANTIZED)),
        "labels": _other_labels(golden, phone, found),
        "labels than follow from their probabilities": _other_labels(golden, phone, recorded),
        "probabilities of the trained model": _apart(golden, "trained", trained, TRAINED_DIFFERENCE),
    }
    if kind not in GOLDEN_DIFFERENCE:  # another processor may flip a label at the threshold
        wrong["labels"] = [bad and apart for bad, apart in zip(wrong["labels"], wrong["probabilities"], strict=True)]
    return [f"{sum(bad):,} of {len(texts):,} texts have other {name}" for name, bad in wrong.items() if any(bad)]


def _other_labels(golden: list[dict[str, Any]], phone: TFLitePredictor, probabilities: np.ndarray) -> list[bool]:
    chosen = [phone.label_names[i] for i in phone.choose(probabilities).tolist()]
    return [line["label"] != own for line, own in zip(golden, chosen, strict=True)]


def _apart(golden: list[dict[str, Any]], key: str, found: np.ndarray, most: float) -> list[bool]:
    expected = np.array([line[key] for line in golden])
    return (~np.isclose(expected, found, rtol=0, atol=most).all(axis=1)).tolist()
