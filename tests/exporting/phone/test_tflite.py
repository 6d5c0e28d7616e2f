"""A `.tflite` file: what is in it, and the process that converts."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tfsent.errors import ExportError
from tfsent.exporting.phone import tflite
from tfsent.exporting.phone.tflite import signatures_of
from tfsent.inference.keras_run import KerasPredictor
from tfsent.inference.tflite_file import INPUTS, TFLitePredictor


@pytest.mark.parametrize("name", ["model-float32.tflite", "model-int8.tflite"])
def test_a_tflite_file_has_fixed_inputs_and_builtin_ops(exported, name):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(exported / "export" / "mobile" / name))
    assert {tuple(d["shape"]) for d in interpreter.get_input_details()} == {(1, 32)}
    assert {d["dtype"] for d in interpreter.get_input_details()} == {np.int32}
    assert list(interpreter.get_signature_list()) == ["serving_default"]  # 32 tokens: nothing shorter
    ops = {op["op_name"] for op in interpreter._get_ops_details()}
    assert not [op for op in ops if op.startswith("Flex") or op == "CUSTOM"]


def test_the_documented_signature_names_inputs_and_output(exported):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(exported / "export/mobile/model-float32.tflite"))
    signature = interpreter.get_signature_list()["serving_default"]
    assert (set(signature["inputs"]), signature["outputs"]) == (set(INPUTS), ["probabilities"])


def test_the_converter_runs_no_code_of_the_working_folder(exported, tmp_path, monkeypatch):
    """The process of a SavedModel's proof is run in such a folder (server/test_savedmodel.py)."""
    commands = []

    def write_nothing(command, **settings):
        commands.append(command)
        Path(command[-2]).touch()
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(tflite, "_write_fixed_lengths", lambda predictor, folder: None)
    monkeypatch.setattr(subprocess, "run", write_nothing)
    monkeypatch.setattr(tflite, "write_mediapipe", lambda source, folder: None)
    tflite.write_tflite(KerasPredictor(exported), tmp_path / "mobile")
    assert [command[-1] for command in commands] == ["float32", "int8", "mediapipe"]
    for command in commands:
        assert command[:4] == [sys.executable, "-P", "-m", "tfsent.exporting.phone.tflite"]


def test_a_failing_converter_is_a_clear_error(exported, tmp_path, monkeypatch):
    monkeypatch.setattr(tflite, "_write_fixed_lengths", lambda predictor, folder: None)
    with pytest.raises(ExportError, match="TensorFlow's converter failed on the float32 file"):
        tflite.write_tflite(KerasPredictor(exported), tmp_path / "mobile")


def test_a_file_has_a_signature_for_each_length():
    assert signatures_of(512) == {
        "tokens_32": 32,
        "tokens_64": 64,
        "tokens_128": 128,
        "tokens_256": 256,
        "serving_default": 512,
    }
    assert signatures_of(64) == {"tokens_32": 32, "serving_default": 64}
    assert signatures_of(10) == {"serving_default": 10}


def test_every_length_gives_the_same_answer(exported, tmp_path, monkeypatch):
    monkeypatch.setattr(tflite, "LENGTHS", (8, 16))
    trained = KerasPredictor(exported)
    tflite.write_tflite(trained, tmp_path / "mobile")
    texts = ["good film", "bad " * 12, "the " * 90 + "good", ""]
    for precision, tolerance in (("float32", 1e-5), ("int8", 0.05)):
        path = tmp_path / "mobile" / f"model-{precision}.tflite"
        predictor = TFLitePredictor(path)
        assert [length for length, _ in predictor.signatures] == [8, 16, 32]
        np.testing.assert_allclose(predictor.predict_proba(texts), trained.predict_proba(texts), atol=tolerance)
