"""A phone file: what is in it, the process that converts, and files that are asked in turns."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from tfsent.errors import ExportError
from tfsent.exporting.phone import convert as converting
from tfsent.exporting.phone.contents import xnnpack_share
from tfsent.inference.keras_run import KerasPredictor
from tfsent.inference.tflite_file import INPUTS


@pytest.mark.parametrize("name", ["model.tflite", "model-mediapipe.tflite"])
def test_a_tflite_file_has_fixed_inputs_and_builtin_ops(exported, name):
    interpreter = Interpreter(model_path=str(exported / "export" / "mobile" / name))
    assert {tuple(d["shape"]) for d in interpreter.get_input_details()} == {(1, 32)}
    assert {d["dtype"] for d in interpreter.get_input_details()} == {np.int32}
    assert list(interpreter.get_signature_list()) == ["serving_default"]  # 32 tokens: nothing shorter
    ops = {op["op_name"] for op in interpreter._get_ops_details()}
    assert not [op for op in ops if op.startswith("Flex") or op == "CUSTOM"]


def test_the_documented_signature_names_inputs_and_output(exported):
    interpreter = Interpreter(model_path=str(exported / "export/mobile/model.tflite"))
    signature = interpreter.get_signature_list()["serving_default"]
    assert (set(signature["inputs"]), signature["outputs"]) == (set(INPUTS), ["probabilities"])


@pytest.mark.parametrize("run", ["exported", "wide_run"])
def test_xnnpack_takes_all_but_the_ends(request, run):
    """What it leaves is the lookup, and what makes masks out of numbers."""
    folder = request.getfixturevalue(run) / "export" / "mobile"
    share = xnnpack_share(folder / "model.tflite")
    assert share == json.loads((folder / "manifest.json").read_text())["delegates"]["XNNPACK"]
    assert share["operators"] - 20 <= share["taken"] < share["operators"]
    assert share["partitions"] <= 2


def test_the_converter_runs_no_code_of_the_working_folder(exported, tmp_path, monkeypatch):
    """The process of a SavedModel's proof is run in such a folder (server/test_savedmodel.py)."""
    commands = []

    def write_nothing(command, **settings):
        commands.append(command)
        (Path(command[-2]) / "converted.json").write_text('{"kinds": ["int8"], "seconds": 1, "megabytes": 1}')
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(converting, "_write_fixed_lengths", lambda predictor, folder, signatures: None)
    monkeypatch.setattr(subprocess, "run", write_nothing)
    assert converting.convert(KerasPredictor(exported), tmp_path, ["int8"], {}) == ["int8"]
    assert [command[:4] for command in commands] == [[sys.executable, "-P", "-m", "tfsent.exporting.phone.convert"]]


def test_a_failing_converter_is_a_clear_error(exported, tmp_path, monkeypatch):
    monkeypatch.setattr(converting, "_write_fixed_lengths", lambda predictor, folder, signatures: None)
    with pytest.raises(ExportError, match="The conversion to .tflite failed .exit code 1"):
        converting.convert(KerasPredictor(exported), tmp_path, ["int8"], {})


def test_time_and_memory_of_the_conversion_are_said(exported, tmp_path, messages):
    converting.convert(KerasPredictor(exported), tmp_path, ["float16"], {"serving_default": 32})
    assert "Converted to float16 in " in messages.text and " s with " in messages.text
