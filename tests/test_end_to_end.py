"""Train → evaluate → export → verify → predict, through the command line, in processes of their own."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tfsent as api


def tfsent(*words, cwd):
    command = [sys.executable, "-m", "tfsent", *map(str, words)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def whole_way(recipe, settings, cwd):
    """All five steps; gives metrics and parity."""
    tfsent("train", recipe, *(w for s in settings for w in ("--set", s)), cwd=cwd)
    run = Path("runs") / recipe  # as a person types it: relative to where they are
    metrics = json.loads(tfsent("evaluate", run, "--json", cwd=cwd))
    parity = json.loads(tfsent("export", run, "--json", cwd=cwd))
    assert parity["passed"]
    texts = ["good great film", "bad awful film"]
    lines = tfsent("predict", run, *texts, "--json", cwd=cwd).splitlines()
    expected = [list(json.loads(line)["probabilities"].values()) for line in lines]
    for artifact in ("export/serving", "export/mobile/model.tflite"):
        found = api.load(cwd / run / artifact).predict_proba(texts)
        tolerance = 1e-4 if artifact == "export/serving" or "float32" in settings[-1] else 0.2
        np.testing.assert_allclose(found, expected, atol=tolerance, err_msg=artifact)
    return metrics, parity


def test_a_tiny_model_goes_the_whole_way(tiny_settings, tmp_path):
    metrics, parity = whole_way("smoke", tiny_settings, tmp_path)
    assert metrics["accuracy"] > 0.9
    assert metrics["origin"] == "official IMDb test split"
    assert parity["reviews"] == 60


@pytest.mark.real
def test_the_real_encoder_on_real_reviews_goes_the_whole_way(minilm, imdb, tmp_path):
    """MiniLM on 600 IMDb reviews: far from its best, and far from chance."""
    settings = [
        "data.train_examples=600",
        "data.validation_examples=64",
        "data.test_examples=200",
        "text.max_tokens=64",
        "train.epochs=2",
        "train.learning_rate=2e-4",
        "export.verify_examples=100",
        "export.mobile.max_flips=0.05",
        "export.mobile.max_accuracy_drop=0.05",
    ]
    metrics, parity = whole_way("smoke", settings, tmp_path)
    assert metrics["accuracy"] > 0.65
    sizes = {a["artifact"]: a["megabytes"] for a in parity["artifacts"]}
    assert sizes["int8"] < 23.5
    assert sizes["int4"] < 13.2
    assert sizes["savedmodel"] < 100
