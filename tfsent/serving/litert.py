"""A `.tflite` file for the server. Neither TensorFlow nor Keras is loaded.

An interpreter is not thread-safe. Many texts are answered fastest by an interpreter of one thread for each core, and a
text that is alone by one with all threads: so there are both (2 cores: 155 and 120 reviews a second; 8.7 and 14.5 ms).
Each costs the packed weights of every signature, 60 to 90 MB with MiniLM.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfsent.errors import ArtifactError, first_line
from tfsent.inference.tflite_file import MEDIAPIPE, TFLitePredictor
from tfsent.model import decision
from tfsent.serving.answers import Answers
from tfsent.serving.engine import Engine, Run
from tfsent.storage.manifest import NAME, sha256

REPLAYED = 6
"""Golden texts that a file must answer before it is served."""
TOLERANCE = 0.05
"""Quantised files differ a little between processors; a wrong file differs more."""
_SMALL = 4000
"""Bytes: longer lines of golden.jsonl are left out, to start fast."""


class LiteRTEngine(Engine):
    """A `.tflite` file and its interpreters.

    Args:
        path: the file, with its companions beside it.
        workers: how many interpreters. They share the cores.

    Raises:
        ArtifactError: a file is missing, damaged, or not what `manifest.json` says; or the file does not answer the
            golden texts as it did when it was exported.
    """

    batch = 1
    logits = False

    def __init__(self, path: Path, workers: int):
        _require_as_written(path.parent, path.name)
        self.path = path
        cores = os.cpu_count() or 1
        # All of them now: later, another file may lie there.
        first = TFLitePredictor(path, cores)
        predictors = [TFLitePredictor(path, max(1, cores // workers)) for _ in range(workers)] if workers > 1 else []
        self.label_names, self.decision, self.tokenizer = first.label_names, first.decision, first.tokenizer
        for predictor in predictors:
            predictor.tokenizer = first.tokenizer  # it takes 25 MB, and any number of threads may ask it
        self._wide = first if predictors else None
        self._free = predictors or [first]
        try:
            self._try(first)
        except (ValueError, KeyError, TypeError) as error:
            raise ArtifactError(f"{path} opens, and is not fit to be served: {first_line(error)}.") from error

    def worker(self) -> Run:
        """See `Engine`."""
        return self._run(self._free.pop())

    def wide_worker(self) -> Run | None:
        """See `Engine`."""
        return self._run(self._wide) if self._wide else None

    def _run(self, predictor: TFLitePredictor) -> Run:
        return lambda texts: Answers(self.label_names, predictor.predict_proba(texts), decision=self.decision)

    def _try(self, predictor: TFLitePredictor) -> None:
        given = int(predictor.signatures[0][1].get_output_details()["probabilities"]["shape"][-1])
        if given != len(self.label_names):
            raise ValueError(f"it gives {given} probabilities, and labels.txt has {len(self.label_names)} classes")
        run = self._run(predictor)
        self.check(run, ["A text."])
        golden = self.path.with_name("golden.jsonl")
        if self.path.name == MEDIAPIPE or not golden.is_file():  # golden.jsonl is about the other file
            return
        for line in _golden(golden):
            rows, _ = self.tokenizer([line.text]) if self.tokenizer else ([], None)
            if [row.tolist() for row in rows] != line.ids:
                raise ValueError(f"a text of {golden.name} has other token ids: {line.text[:40]!r}")
            found = self.check(run, [line.text])[0]
            if np.abs(found - line.probabilities).max() > TOLERANCE:
                raise ValueError(
                    f"a text of {golden.name} has probabilities {found.tolist()} instead of {list(line.probabilities)}"
                )
            # By the probabilities in the file: near the threshold another processor may answer the other class.
            there = np.array([line.probabilities], np.float32)
            chosen = Answers(self.label_names, there, decision=self.decision).columns()["label"][0]
            if line.label not in (None, chosen):
                raise ValueError(f"a text of {golden.name} has the label {chosen!r} instead of {line.label!r}")


@dataclass(frozen=True)
class _Line:
    text: str
    ids: list[list[int]]
    probabilities: Sequence[float]
    label: str | None
    """None in files of earlier versions."""


def _golden(path: Path) -> list[_Line]:
    found: list[_Line] = []
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if len(line) > _SMALL:
                continue
            whole = json.loads(line)
            found.append(_Line(whole["text"], whole["ids"], whole["probabilities"], whole.get("label")))
            if len(found) == REPLAYED:
                break
    return found


def _require_as_written(folder: Path, name: str) -> None:
    """Compare a file and its companions with manifest.json, where there is one."""
    if not (folder / NAME).is_file():
        return
    try:
        files = json.loads((folder / NAME).read_text(encoding="utf-8"))["files"]
        names = [name, "labels.txt", "text.json", "vocab.txt"]
        if decision.NAME in files or (folder / decision.NAME).is_file():  # earlier versions have none
            names.append(decision.NAME)
        for one in names:
            if sha256(folder / one) != files[one]["sha256"]:
                raise ArtifactError(f"{folder / one} is not what {NAME} says. Copy the whole folder of the export.")
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{folder / NAME} is damaged: {first_line(error)}.") from error
