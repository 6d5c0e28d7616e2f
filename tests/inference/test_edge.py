"""A `.tflite` file is asked without TensorFlow and Keras, and where only four packages are installed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tfsent

TESTS = Path(__file__).parents[1]
QUIET = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def run(script, *words):
    path = os.pathsep.join([str(TESTS.parent), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, *map(str, script), *map(str, words)],
        capture_output=True,
        text=True,
        env={**QUIET, "PYTHONPATH": path},
        check=False,
    )


@pytest.mark.parametrize("form", [[], ["--json"], ["--csv"]])
def test_four_packages_are_enough(exported, form):
    model = exported / "export/mobile/model.tflite"
    done = run([TESTS / "edge_environment.py"], "predict", model, *form, "great good film", "awful bad plot")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.index("positive") < done.stdout.rindex("negative")
    if form == ["--json"]:
        found = [json.loads(line)["probabilities"]["positive"] for line in done.stdout.splitlines()]
        expected = tfsent.load(model).predict_proba(["great good film", "awful bad plot"])[:, 1]
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_what_needs_more_says_so(exported, tmp_path):
    done = run([TESTS / "edge_environment.py"], "predict", exported, "great")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "pip install tfsent" in done.stderr


CHECK = """
import sys, tfsent
from tfsent.api.answers import load
model = load(sys.argv[1])
model.predict(["good film", "bad plot"])
model.unknown(["good film"])
print([name for name in ("tensorflow", "keras", "keras_hub", "jax", "scipy") if name in sys.modules])
"""


def test_python_loads_neither_tensorflow_nor_keras(exported):
    done = run(["-c", CHECK], exported / "export/mobile/model.tflite")
    assert done.stdout == "[]\n", done.stderr


def test_a_table_and_an_evaluation_load_neither(exported, tmp_path):
    """With all packages installed but these."""
    (tmp_path / "a.csv").write_text("text,label\ngood great film,positive\nbad awful plot,negative\n")
    model = exported / "export/mobile/model.tflite"
    for words in (
        ["predict", model, "--data", tmp_path / "a.csv", "--output", tmp_path / "b.csv"],
        ["evaluate", model, "--data", tmp_path / "a.csv", "--json"],
    ):
        done = run([TESTS / "without_tensorflow.py"], *words)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "b.csv").read_text().count("\n") == 3
