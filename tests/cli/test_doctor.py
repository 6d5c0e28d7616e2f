"""What the doctor finds, on machines made up for it."""

import importlib.metadata
import json

import pytest
from packaging.requirements import Requirement

from tfsent.cli import doctor
from tfsent.training.engine.devices import Devices, choose_precision


def of(topic, findings):
    return [finding for finding in findings if finding.topic == topic]


@pytest.fixture
def versions(monkeypatch):
    """Versions to pretend; None is not installed."""
    pretended, real = {}, doctor.version_of
    monkeypatch.setattr(doctor, "version_of", lambda name: pretended[name] if name in pretended else real(name))
    return pretended


def test_this_machine_is_fit():
    findings = doctor.examine()
    assert not [finding for finding in findings if finding.state == "fault"]
    assert {"python", "packages", "jax", "cpu", "precision", "cache", "disk"} <= {finding.topic for finding in findings}


def test_every_declared_dependency_is_looked_at(versions):
    declared = [Requirement(text) for text in importlib.metadata.requires("tfsent")]
    needed = [r.name for r in declared if r.marker is None]
    versions.update({**dict.fromkeys(needed), "jax": None})
    missing = {f.topic for f in doctor._packages() if f.found == "not installed"}
    assert missing == set(needed)
    assert "hypothesis" not in missing  # an extra


def test_a_wrong_version_names_the_command(versions):
    versions["keras"] = "3.0.0"
    (finding,) = of("keras", doctor._packages())
    assert (finding.state, finding.found) == ("fault", "3.0.0; <4,>=3.15.1 is needed")
    assert finding.advice == "pip install 'keras<4,>=3.15.1'"


def test_a_file_that_a_cache_links_to_counts_once(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    (tmp_path / "blob").write_bytes(b"0" * 3_000_000)
    (tmp_path / "snapshot").symlink_to(tmp_path / "blob")
    (finding,) = [f for f in doctor._caches() if "HF_HOME" in f.found]
    assert finding.found.endswith(", 3 MB")


def test_two_tensorflows_are_a_fault(versions):
    versions["tensorflow-cpu"] = "2.21.0"
    (finding,) = of("tensorflow", doctor._packages())
    assert finding.state == "fault"
    assert "pip uninstall -y tensorflow tensorflow-cpu" in finding.advice


@pytest.mark.parametrize(
    ("variable", "value", "state", "found"),
    [
        ("TF_USE_LEGACY_KERAS", "1", "fault", "TF_USE_LEGACY_KERAS is set: tf.keras would be Keras 2"),
        ("KERAS_BACKEND", "torch", "note", "its backend is set to torch; tfsent goes by train.backend all the same"),
        ("TFHUB_DISABLE_CERT_VALIDATION", "true", "fault", "tfhub: encoders are refused"),
        ("TFSENT_OFFLINE", "1", "note", "nothing is downloaded"),
        ("HF_ENDPOINT", "https://mirror", "ok", "HF_ENDPOINT=https://mirror"),
    ],
)
def test_the_environment_is_read(monkeypatch, variable, value, state, found):
    monkeypatch.setenv(variable, value)
    findings = [*doctor._keras(), *doctor._settings()]
    assert [f.state for f in findings if found in f.found] == [state]


def test_flavours_of_keras_are_told(versions, monkeypatch, tmp_path):
    versions.update({"tf-keras": "2.21.0", "keras-nlp": "0.32.0", "keras-hub": "0.31.0", "jax": "0.9", "torch": None})
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "keras.json").write_text(json.dumps({"backend": "jax"}))
    findings = list(doctor._keras())
    assert [f.state for f in of("keras", findings)] == ["note", "fault", "note"]
    assert "keras-nlp 0.32.0 and keras-hub 0.31.0 are not of one release" in findings[1].found
    assert findings[1].advice == "pip install --force-reinstall 'keras-nlp<0.33,>=0.32'"


def test_jax_is_looked_at(versions, monkeypatch):
    import jax

    precision = choose_precision("auto", Devices("jax", "cpu", ()))
    assert of("jax", doctor._jax())[0].found.endswith(f"sees 1 cpu; train.precision=auto is {precision} there")
    monkeypatch.setattr(doctor.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    assert of("jax", doctor._jax())[0].advice == "pip install 'jax[cuda13]'"

    def broken():
        raise RuntimeError("Unable to initialize backend 'cuda'\nmore")

    monkeypatch.setattr(jax, "devices", broken)
    assert of("jax", doctor._jax())[0].found == "does not start: Unable to initialize backend 'cuda'"
    versions["jax"] = None
    assert "not installed; only TPUs and several hosts need it" in of("jax", doctor._jax())[0].found


def test_a_machine_for_jax_alone_lacks_nothing_that_training_needs(versions, monkeypatch):
    versions.update(dict.fromkeys(doctor.WITH_TENSORFLOW))
    assert of("tensorflow", doctor._packages())[0].state == "fault"  # half of it is there
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None)
    findings = doctor.examine()
    assert not [finding for finding in findings if finding.state == "fault"]
    (finding,) = of("tensorflow", findings)
    assert (finding.state, finding.advice) == ("note", "pip install tfsent")
    assert "JAX trains from tokens in the cache" in finding.found
    versions["jax"] = None
    assert of("tensorflow", doctor._packages())[0].state == "fault"


def test_the_extra_of_tune_is_looked_at(versions):
    assert of("optuna", doctor._tune())[0].found.startswith("Optuna ")
    versions["optuna"] = None
    assert "pip install 'tfsent[tune]'" in of("optuna", doctor._tune())[0].found


def test_an_old_python_is_a_fault(monkeypatch):
    monkeypatch.setattr(doctor.platform, "python_version_tuple", lambda: ("3", "9", "1"))
    (finding,) = doctor._python()
    assert (finding.state, finding.advice) == ("fault", "Use Python 3.11, 3.12 or 3.13: python3.12 -m venv .venv")


def test_a_tensorflow_that_does_not_load_is_a_fault(monkeypatch):
    import tensorflow as tf

    def broken(kind):
        raise ImportError("libcudart.so.12: cannot open shared object file")

    monkeypatch.setattr(tf.config, "list_physical_devices", broken)
    (finding,) = doctor._devices()
    assert finding.found == "does not load: ImportError: libcudart.so.12: cannot open shared object file"
    command = "pip install --force-reinstall 'tensorflow-text<2.22,>=2.21' 'tensorflow<2.22,>=2.21'"
    assert finding.advice == command


def test_a_gpu_that_tensorflow_does_not_see_is_told(monkeypatch):
    monkeypatch.setattr(doctor.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    finding = of("gpu", doctor._devices())[0]
    assert (finding.state, finding.advice) == ("note", "pip install 'tensorflow[and-cuda]>=2.21,<2.22'")


def test_a_small_disk_and_a_cache_that_is_not_ours_are_told(monkeypatch, tmp_path):
    monkeypatch.setenv("TFSENT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "a").write_bytes(b"x" * 3_000_000)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: type("usage", (), {"free": 10**9}))
    monkeypatch.setattr(doctor.os, "access", lambda path, mode: False)
    findings = list(doctor._caches())
    assert f"TFSENT_CACHE: {tmp_path / 'cache'}, 3 MB" in findings[0].found
    assert of("disk", findings)[0].state == "note"
    assert of("cache", findings)[-1].state == "fault"
