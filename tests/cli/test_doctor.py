"""What the doctor finds, on machines made up for it."""

from types import SimpleNamespace

import pytest

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
    assert not [finding for finding in findings if finding.state in ("fault", "note")]
    assert {"python", "packages", "jax", "cpu", "precision", "cache", "disk"} <= {finding.topic for finding in findings}


def test_a_file_that_a_cache_links_to_counts_once(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    (tmp_path / "blob").write_bytes(b"0" * 3_000_000)
    (tmp_path / "snapshot").symlink_to(tmp_path / "blob")
    (finding,) = [f for f in doctor._caches() if "HF_HOME" in f.found]
    assert finding.found.endswith(", 3 MB")


@pytest.mark.parametrize(
    ("variable", "value", "state", "found"),
    [
        ("TF_USE_LEGACY_KERAS", "1", "fault", "TF_USE_LEGACY_KERAS is set: tf.keras would be Keras 2"),
        ("KERAS_BACKEND", "jax", "note", "KERAS_BACKEND is jax: evaluate, export and predict need TensorFlow"),
        ("TFHUB_DISABLE_CERT_VALIDATION", "true", "fault", "tfhub: encoders are refused"),
        ("TFSENT_OFFLINE", "1", "note", "nothing is downloaded"),
        ("HF_ENDPOINT", "https://mirror", "ok", "HF_ENDPOINT=https://mirror"),
    ],
)
def test_the_environment_is_read(monkeypatch, variable, value, state, found):
    monkeypatch.setenv(variable, value)
    findings = list(doctor._settings())
    assert [f.state for f in findings if found in f.found] == [state]


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


def pip_says(monkeypatch, code, *lines):
    done = SimpleNamespace(returncode=code, stdout="\n".join(lines))
    monkeypatch.setattr(doctor.subprocess, "run", lambda command, **options: done)


def test_what_pip_finds_wrong_with_tfsent_is_a_fault(monkeypatch):
    line = "tfsent 0.2.0 has requirement keras<4,>=3.15.1, but you have keras 3.0.0."
    pip_says(monkeypatch, 1, "other 1.0 requires absent, which is not installed.", line)
    (finding,) = doctor._packages()
    assert (finding.state, finding.found, finding.advice) == ("fault", line, "pip install --upgrade tfsent")
    pip_says(monkeypatch, 1, "other 1.0 requires absent, which is not installed.")
    assert [finding.state for finding in doctor._packages()] == ["ok"]


def test_a_machine_for_jax_alone_is_fit(versions, monkeypatch):
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None)
    pip_says(monkeypatch, 1, "tfsent 0.2.0 requires tensorflow, which is not installed.")
    findings = doctor.examine()
    assert not [finding for finding in findings if finding.state == "fault"]
    (finding,) = of("tensorflow", findings)
    assert (finding.state, finding.advice) == ("note", "pip install tfsent")
    assert "JAX trains from cached tokens" in finding.found


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
    command = "pip install --force-reinstall 'tensorflow>=2.21,<2.22' 'tensorflow-text>=2.21,<2.22'"
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
