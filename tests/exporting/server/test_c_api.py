"""A SavedModel asked through TensorFlow's C API, in a process that knows neither Keras nor tfsent."""

import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from tfsent.errors import ExportError
from tfsent.exporting.server.c_api import Call, ask, texts_of


@pytest.fixture(scope="module")
def served(exported):
    return exported / "export/serving/1"


def write(folder, function, **spec):
    module = tf.Module()
    module.f = tf.function(function, input_signature=[tf.TensorSpec(*s, name=name) for name, s in spec.items()])
    tf.saved_model.save(module, str(folder), signatures=module.f)
    return folder


def test_tensors_of_every_type_go_there_and_back(tmp_path):
    folder = write(
        tmp_path / "echo",
        lambda text, ids: {"text": text, "ids": ids + 1, "half": tf.cast(ids, tf.float32) / 2, "size": tf.size(text)},
        text=([None, 2], tf.string),
        ids=([None], tf.int32),
    )
    texts = np.array([[b"", b"\x00\xff"], ["é".encode(), b"x" * 100_000]], object)
    (answer,) = ask(folder, [Call("serving_default", {"text": texts, "ids": np.array([1, -5], np.int32)})])
    assert answer.outputs["text"].tolist() == texts.tolist()
    assert answer.outputs["ids"].tolist() == [2, -4]
    assert answer.outputs["half"].tolist() == [0.5, -2.5]
    assert answer.outputs["size"].tolist() == 4
    assert answer.outputs["half"].dtype == np.float32


def test_the_answers_are_those_of_tensorflow_itself(served):
    texts = [b"great superb lovely film", b"bad dull awful plot", b"", b"\xff"]
    expected = tf.saved_model.load(str(served)).signatures["serving_default"](text=tf.constant(texts))
    (answer,) = ask(served, [Call("serving_default", texts_of(texts))])
    assert answer.outputs.keys() == expected.keys()
    assert answer.outputs["label"].tolist() == expected["label"].numpy().tolist()
    np.testing.assert_allclose(answer.outputs["probabilities"], expected["probabilities"], atol=1e-6)


def test_a_call_that_fails_does_not_end_the_others(served):
    wrong = Call("classify", {"inputs": np.array([b"no example"], object)})
    first, second = ask(served, [wrong, Call("serving_default", texts_of([b"fine"]))])
    assert "Could not parse example" in first.error
    assert first.outputs == {}
    assert second.error == ""
    assert second.seconds > 0


def test_no_code_beside_a_run_is_run(served, tmp_path, monkeypatch):
    """Somebody may put modules into a folder that others download."""
    for name in ("tempfile", "tensorflow", "numpy", "json"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('run!')")
    seen = SimpleNamespace()
    run_process = subprocess.run

    def run(command, **settings):
        seen.command, seen.settings = command, settings
        return run_process(command, **settings)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(subprocess, "run", run)
    assert ask(served, [Call("serving_default", texts_of([b"fine"]))])[0].error == ""
    assert seen.command[:2] == [sys.executable, "-P"]
    assert Path(seen.command[2]).is_absolute()
    assert seen.settings["env"]["TF_CPP_MIN_LOG_LEVEL"] == "3"
    assert seen.settings["cwd"] == str(Path(seen.command[-1]).parent)


def test_the_process_has_neither_tensorflow_nor_keras_nor_tfsent_in_it(served, monkeypatch):
    run_process = subprocess.run

    def run(command, **settings):
        code = (
            "import runpy, sys; "
            f"runpy.run_path({command[2]!r})['main'](*{command[3:]!r}); "
            "names = {name.split('.')[0] for name in sys.modules}; "
            "sys.exit(', '.join(names & {'keras', 'tf_keras', 'tensorflow', 'tensorflow_text', 'tfsent'}) or 0)"
        )
        return run_process([sys.executable, "-P", "-c", code], **settings)

    monkeypatch.setattr(subprocess, "run", run)
    assert ask(served, [Call("serving_default", texts_of([b"fine"]))])[0].error == ""


def test_damaged_files_are_an_error(served, tmp_path):
    folder = shutil.copytree(served, tmp_path / "damaged")
    raw = (folder / "saved_model.pb").read_bytes()
    (folder / "saved_model.pb").write_bytes(raw[: len(raw) // 2])
    with pytest.raises(ExportError, match="saved_model.pb is damaged or missing"):
        ask(folder, [Call("serving_default", texts_of([b"fine"]))])


def test_an_op_that_is_not_allowed_fails_as_on_a_server(tmp_path):
    import tensorflow_text as tf_text

    folder = write(
        tmp_path / "custom",
        lambda text: {"y": tf_text.WhitespaceTokenizer().tokenize(text).to_tensor()},
        text=([None], tf.string),
    )
    with pytest.raises(ExportError, match=r"process of its own \(exit code 1\): .*(not registered|TFText)"):
        ask(folder, [Call("serving_default", texts_of([b"fine"]))])
