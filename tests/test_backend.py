"""Keras on the wanted backend, once; what cannot work is refused before anything is loaded."""

import os
import subprocess
import sys

import keras
import pytest
from click.testing import CliRunner

from tfsent import backend
from tfsent.cli.main import main
from tfsent.errors import ConfigError


def test_the_backend_that_is_loaded_is_used(monkeypatch):
    monkeypatch.delenv("KERAS_BACKEND")
    backend.use("tensorflow")
    assert keras.backend.backend() == "tensorflow"


@pytest.mark.parametrize(
    ("wanted", "environment", "message"),
    [
        ("tensorflow", {"KERAS_DISTRIBUTION_NUM_PROCESSES": "2"}, "Several hosts .* do not work with train.backend="),
        ("tensorflow", {"TF_CONFIG": '{"cluster": {"worker": ["a:1", "b:1"]}}'}, "MultiWorkerMirroredStrategy breaks"),
        ("jax", {}, "this process has loaded Keras on tensorflow already. Run it in a process of its own"),
        ("tensorflow", {"KERAS_BACKEND": "jax"}, "KERAS_BACKEND is jax. Unset KERAS_BACKEND, or set it to tensorflow"),
    ],
)
def test_what_cannot_work_is_refused(monkeypatch, wanted, environment, message):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=message):
        backend.use(wanted)


def test_a_set_variable_is_never_changed():
    code = "import os, tfsent.backend as b; b.use('tensorflow'); print(os.environ['TF_CPP_MIN_LOG_LEVEL'])"
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1"]


@pytest.mark.parametrize(
    "given",
    [
        {"NUM_PROCESSES": "2"},
        {"NUM_PROCESSES": "2", "PROCESS_ID": "0", "JOB_ADDRESSES": "host0"},
        {"NUM_PROCESSES": "2", "PROCESS_ID": "2", "JOB_ADDRESSES": "host0:1"},
        {"NUM_PROCESSES": "two", "PROCESS_ID": "0", "JOB_ADDRESSES": "host0:1"},
    ],
)
def test_half_a_cluster_is_refused(monkeypatch, given):
    monkeypatch.delitem(sys.modules, "keras")
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setattr(backend, "_load", lambda name: None)
    for name, value in given.items():
        monkeypatch.setenv(f"KERAS_DISTRIBUTION_{name}", value)
    with pytest.raises(ConfigError, match="need the coordinator's address and port, .* Received: "):
        backend.use("jax")


def test_a_missing_backend_is_named_with_its_command(monkeypatch):
    monkeypatch.delitem(sys.modules, "keras")
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setattr(backend.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"not installed. pip install 'tfsent\[jax\]' for a CPU"):
        backend.use("jax")


@pytest.mark.parametrize("words", ["train smoke --seeds 1,2", "tune smoke --trials 2", "lr-find smoke"])
def test_commands_for_one_process_are_refused_in_several(monkeypatch, words, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERAS_DISTRIBUTION_NUM_PROCESSES", "2")
    done = CliRunner().invoke(main, words.split())
    assert done.exit_code == 1
    assert "runs in one process, and KERAS_DISTRIBUTION_NUM_PROCESSES is 2. Unset it" in done.output


def test_noise_is_hidden_and_shown_when_something_fails(capfd):
    with backend.quiet_stderr():
        os.write(2, b"noise\n")
    assert capfd.readouterr().err == ""
    with pytest.raises(RuntimeError), backend.quiet_stderr():
        os.write(2, b"the cause\n")
        raise RuntimeError
    assert capfd.readouterr().err == "the cause\n"
