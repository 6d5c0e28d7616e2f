"""Which label follows from which probabilities, by hand: every app that asks an exported file must say the same."""

import json
import shutil
from dataclasses import dataclass

import numpy as np
import pytest

from tfsent.model.decision import Decision, write_decision
from tfsent.storage.manifest import sha256
from tfsent.text.spec import write_labels

ABOVE = float(np.nextafter(np.float32(0.42), np.float32(1)))
"""The float32 after 0.42's, as a double: 0.42000001668930054."""
BELOW_07 = 0.699999988079071
"""The float32 nearest to 0.7, as a double."""


@dataclass(frozen=True)
class Choice:
    """A decision, rows of probabilities, and the places of the labels that are right; None is no decision.json."""

    decision: Decision | None
    rows: list[list[float]]
    places: list[int]

    @property
    def classes(self):
        return tuple(f"class {i}" for i in range(len(self.rows[0])))

    @property
    def labels(self):
        return [self.classes[place] for place in self.places]

    @property
    def probabilities(self):
        return np.array(self.rows, np.float32)

    def write(self, folder):
        write_labels(folder, self.classes)
        if self.decision is not None:
            write_decision(folder, self.decision)


PAIRS = [[0.3, 0.7], [0.57, 0.43], [0.58, 0.42], [1 - ABOVE, ABOVE], [0.59, 0.41], [0.5, 0.5], [1.0, 0.0], [0.0, 1.0]]
THREES = [[0.2, 0.3, 0.5], [0.4, 0.4, 0.2], [0.1, 0.45, 0.45], [0.5, 0.3, 0.2]]
CHOICES = {
    "no file": Choice(None, PAIRS, [1, 0, 0, 0, 0, 0, 0, 1]),
    "no threshold": Choice(Decision(1.31), PAIRS, [1, 0, 0, 0, 0, 0, 0, 1]),
    "0.42": Choice(Decision(1.31, 0.42, "f1"), PAIRS, [1, 1, 0, 1, 0, 1, 0, 1]),
    # Widened, the float32 nearest to 0.42 is smaller than 0.42, and that nearest to 0.7 than 0.7.
    "a probability itself": Choice(Decision(1.0, ABOVE, "f1"), PAIRS, [1, 1, 0, 0, 0, 1, 0, 1]),
    "0.7": Choice(Decision(1.0, 0.7, "precision>=0.9"), PAIRS, [0, 0, 0, 0, 0, 0, 0, 1]),
    "the float32 of 0.7": Choice(Decision(1.0, BELOW_07, "f1"), PAIRS, [0, 0, 0, 0, 0, 0, 0, 1]),
    "the double below": Choice(Decision(1.0, float(np.nextafter(BELOW_07, 0)), "f1"), PAIRS, [1, 0, 0, 0, 0, 0, 0, 1]),
    "0.5": Choice(Decision(1.0, 0.5, "accuracy"), PAIRS, [1, 0, 0, 0, 0, 0, 0, 1]),
    "0": Choice(Decision(1.0, 0.0, "recall>=0.9"), PAIRS, [1, 1, 1, 1, 1, 1, 0, 1]),
    "1": Choice(Decision(1.0, 1.0, "precision>=0.9"), PAIRS, [0] * 8),
    "three classes": Choice(Decision(1.31, 0.1, "f1"), THREES, [2, 0, 1, 0]),
    "three classes without a file": Choice(None, THREES, [2, 0, 1, 0]),
}


@pytest.fixture(params=CHOICES)
def choice(request):
    """One of `CHOICES`."""
    found = CHOICES[request.param]
    assert (found.decision or Decision()).choose(found.probabilities).tolist() == found.places
    return found


@pytest.fixture(scope="session")
def decided(exported, tmp_path_factory):
    """A phone folder whose threshold changes the labels of golden.jsonl, and whose manifest.json says so."""
    folder = shutil.copytree(exported / "export" / "mobile", tmp_path_factory.mktemp("decided") / "mobile")
    lines = [json.loads(line) for line in (folder / "golden.jsonl").read_text(encoding="utf-8").splitlines()]
    probabilities = np.array([line["probabilities"] for line in lines], np.float32)
    # Below all of them, for a tiny model is nearly certain of each text, and no rounding may change a label.
    decision = Decision(1.31, float(probabilities[:, 1].min()) / 2, "recall>=0.9")
    write_decision(folder, decision)
    names = (folder / "labels.txt").read_text(encoding="utf-8").splitlines()
    for line, place in zip(lines, decision.choose(probabilities).tolist(), strict=True):
        line["label"] = names[place]
    before = [names[place] for place in probabilities.argmax(axis=1)]
    assert before != [line["label"] for line in lines]
    (folder / "golden.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    sign(folder)
    return folder


def sign(folder):
    """Write the hashes of what lies in a folder into its manifest.json."""
    manifest = json.loads((folder / "manifest.json").read_text())
    files = sorted(path for path in folder.iterdir() if path.name != "manifest.json")
    manifest["files"] = {path.name: {"sha256": sha256(path), "bytes": path.stat().st_size} for path in files}
    (folder / "manifest.json").write_text(json.dumps(manifest))
