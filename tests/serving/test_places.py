"""What MODEL is, and the command's messages."""

import shutil
import subprocess
import sys

import pytest
from command_line import call

from tfsent.serving.places import Place, find


def test_every_folder_of_an_export_is_a_model(exported, mobile):
    tflite, graph = Place("litert", mobile / "model.tflite"), Place("tensorflow", exported / "export" / "serving")
    for path in (exported, exported / "export", mobile, mobile / "model.tflite"):
        assert find(path) == tflite
    assert find(mobile / "model-mediapipe.tflite") == Place("litert", mobile / "model-mediapipe.tflite")
    assert find(exported / "export" / "serving") == graph
    assert find(exported / "export" / "serving" / "1") == Place("tensorflow", exported / "export" / "serving" / "1")


def test_a_run_with_a_saved_model_only(exported, tmp_path):
    shutil.copytree(exported / "export" / "serving", tmp_path / "export" / "serving")
    assert find(tmp_path) == Place("tensorflow", tmp_path / "export" / "serving")


def test_the_newest_version_is_the_highest_number(tmp_path):
    for number in ("2", "10", "x"):
        (tmp_path / number).mkdir()
        (tmp_path / number / "saved_model.pb").touch()
    (tmp_path / "11").mkdir()  # no model in it
    assert Place("tensorflow", tmp_path).newest() == (tmp_path / "10", "10")


def test_a_file_is_another_when_its_manifest_is(mobile, tmp_path):
    copy = shutil.copytree(mobile, tmp_path / "mobile")
    place = Place("litert", copy / "model.tflite")
    before = place.newest()
    assert place.newest() == before
    (copy / "manifest.json").write_text((copy / "manifest.json").read_text() + " ")
    assert place.newest()[1] != before[1]
    (copy / "manifest.json").unlink()
    without = place.newest()
    shutil.copy(mobile / "model.tflite", tmp_path / "new")
    (tmp_path / "new").replace(copy / "model.tflite")
    assert place.newest()[1] != without[1]
    shutil.rmtree(copy)
    assert place.newest() is None


EXPECTED = "Expected a .tflite file, a SavedModel folder, or a run that was exported."


def test_messages_of_the_command(tiny_run, tmp_path):
    missing, empty, other = tmp_path / "missing", tmp_path / "empty", tmp_path / "text.txt"
    empty.mkdir()
    other.touch()
    assert call("serve", missing, code=1) == f"Error: There is nothing at {missing}. {EXPECTED}\n"
    assert call("serve", empty, code=1) == f"Error: {empty} cannot be served: it is a folder. {EXPECTED}\n"
    assert call("serve", other, code=1) == f"Error: {other} cannot be served: it is a file. {EXPECTED}\n"
    assert call("serve", tiny_run, code=1) == f"Error: {tiny_run} has no export. Make one: tfsent export {tiny_run}\n"


def test_messages_of_the_options(mobile, tmp_path, monkeypatch):
    assert call("serve", mobile, "--max-texts", 10, "--queue", 5, code=1) == (
        "Error: --max-texts is 10 and --queue 5: such a request would never have room.\n"
    )
    assert call("serve", mobile, "--name", "a/b", code=1) == (
        "Error: --name is a part of an address, without / : ? # and %. Received: 'a/b'.\n"
    )
    (tmp_path / "token").write_text("two words")
    assert call("serve", mobile, "--token-file", tmp_path / "token", code=1) == (
        f"Error: {tmp_path / 'token'} holds no token. Expected one word of printable ASCII characters.\n"
    )
    assert call("serve", mobile, "--token-file", tmp_path / "none", code=1) == (
        f"Error: No such file or directory: {tmp_path / 'none'}\n"
    )
    monkeypatch.setenv("TFSENT_SERVE_TOKEN", " ")
    assert call("serve", mobile, code=1) == (
        "Error: TFSENT_SERVE_TOKEN holds no token. Expected one word of printable ASCII characters.\n"
    )


@pytest.mark.parametrize("missing", ["starlette", "uvicorn", "prometheus_client"])
def test_what_is_not_installed_is_named(mobile, missing):
    hidden = f"import sys; sys.modules[{missing!r}] = None; from tfsent.cli.main import main; "
    code = hidden + f"main(['serve', {str(mobile)!r}])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (
        1,
        f"Error: tfsent serve needs {missing}, which is not installed: pip install 'tfsent[serve]'\n",
    )
