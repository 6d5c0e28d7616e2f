"""Examines this machine for `tfsent doctor`: what is there, what is missing, and the command that installs it.

Nothing is installed or downloaded. TensorFlow is loaded to ask it for devices.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tfsent import backend
from tfsent.errors import first_line
from tfsent.storage import downloads
from tfsent.storage.environment import version_of


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    topic: str
    state: Literal["ok", "note", "fault"]
    found: str
    advice: str = ""
    """What to do; empty where there is nothing to do."""


def examine() -> list[Finding]:
    """Return all findings, in the order in which a person would look."""
    devices = _without_tensorflow() if _is_jax_alone() else _devices()
    return [*_python(), *_packages(), *devices, *_jax(), *_tune(), *_caches(), *_settings()]


def _python() -> Iterator[Finding]:
    found = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    supported = (3, 11) <= tuple(map(int, platform.python_version_tuple()[:2])) <= (3, 13)
    advice = "" if supported else "Use Python 3.11, 3.12 or 3.13: python3.12 -m venv .venv"
    yield Finding("python", "ok" if supported else "fault", found, advice)


def _packages() -> Iterator[Finding]:
    """Ask pip whether the installed packages fit each other. Only tfsent's own lines count."""
    names = ("tfsent", "tensorflow", "keras", "keras-nlp", "ai-edge-litert")
    shown = ", ".join(f"{name} {version}" for name in names if (version := version_of(name)))
    command = [sys.executable, "-m", "pip", "check", "--disable-pip-version-check"]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("tfsent ")]
    if done.returncode and _is_jax_alone():
        lines = []  # a machine for JAX alone lacks TensorFlow's packages on purpose
    for line in lines:
        yield Finding("packages", "fault", line, "pip install --upgrade tfsent")
    if not lines:
        yield Finding("packages", "ok", shown)


def _devices() -> Iterator[Finding]:
    try:
        backend.use("tensorflow")
        import tensorflow as tf

        from tfsent.recipe.schema import TrainConfig
        from tfsent.training.engine.devices import choose_precision, find_devices

        gpus = tf.config.list_physical_devices("GPU")
        devices = find_devices(TrainConfig())
        precision = choose_precision("auto", devices)
    except Exception as error:
        # A broken installation may raise anything.
        advice = "pip install --force-reinstall 'tensorflow>=2.21,<2.22' 'tensorflow-text>=2.21,<2.22'"
        yield Finding("tensorflow", "fault", f"does not load: {type(error).__name__}: {error}", advice)
        return
    yield Finding("cpu", "ok", f"{os.cpu_count()} cores")
    yield Finding("precision", "ok", f"train.precision=auto is {precision} on this {devices.kind}")
    for gpu in gpus:
        about = tf.config.experimental.get_device_details(gpu)
        capability = ".".join(map(str, about.get("compute_capability", ("?",))))
        yield Finding("gpu", "ok", f"{about.get('device_name', gpu.name)}, compute capability {capability}")
    if not gpus and shutil.which("nvidia-smi"):
        found = "an NVIDIA driver is here, and TensorFlow sees no GPU"
        yield Finding("gpu", "note", found, "pip install 'tensorflow[and-cuda]>=2.21,<2.22'")
    elif not gpus:
        yield Finding("gpu", "ok", "none")


def _is_jax_alone() -> bool:
    return importlib.util.find_spec("tensorflow") is None and version_of("jax") is not None


def _without_tensorflow() -> Iterator[Finding]:
    found = "not installed: JAX trains from cached tokens; tokenising, evaluating and exporting need TensorFlow"
    yield Finding("tensorflow", "note", found, "pip install tfsent")
    yield Finding("cpu", "ok", f"{os.cpu_count()} cores")


def _jax() -> Iterator[Finding]:
    """Report what `train.backend: jax` would train on."""
    if version_of("jax") is None:
        yield Finding("jax", "ok", "not installed; only TPUs and several hosts need it (pip install 'tfsent[jax]')")
        return
    try:
        import jax

        from tfsent.training.engine.devices import Devices, choose_precision

        devices = jax.devices()
        kinds = Counter(device.platform for device in devices)
        precision = choose_precision("auto", Devices("jax", devices[0].platform, ()))
    except Exception as error:
        # A plugin that does not fit the driver may raise anything.
        yield Finding(
            "jax", "note", f"does not start: {first_line(error)}", "pip install --force-reinstall 'jax[cuda13]'"
        )
        return
    seen = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    found = f"JAX {version_of('jax')} sees {seen}; train.precision=auto is {precision} there"
    if "gpu" not in kinds and shutil.which("nvidia-smi"):
        yield Finding("jax", "note", f"{found}, and an NVIDIA driver is here", "pip install 'jax[cuda13]'")
    else:
        yield Finding("jax", "ok", found)


def _tune() -> Iterator[Finding]:
    version = version_of("optuna")
    missing = "not installed; only `tfsent tune` needs it (pip install 'tfsent[tune]')"
    yield Finding("optuna", "ok", f"Optuna {version}" if version else missing)


def _caches() -> Iterator[Finding]:
    home = Path.home()
    folders = {
        "TFSENT_CACHE": downloads.cache_dir(),
        "HF_HOME": Path(os.environ.get("HF_HOME") or home / ".cache" / "huggingface"),
        "KAGGLEHUB_CACHE": Path(os.environ.get("KAGGLEHUB_CACHE") or home / ".cache" / "kagglehub"),
        "TFHUB_CACHE_DIR": Path(os.environ.get("TFHUB_CACHE_DIR") or downloads.cache_dir() / "tfhub"),
    }
    for name, folder in folders.items():
        # Hugging Face's cache links to a file from each revision that has it: links do not count.
        size = sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0
        yield Finding("cache", "ok", f"{name}: {folder}, {size / 1e6:,.0f} MB")
    place = next(path for path in (downloads.cache_dir(), *downloads.cache_dir().parents) if path.exists())
    free = shutil.disk_usage(place).free / 1e9
    advice = "" if free > 2 else "Free some, or set TFSENT_CACHE to a larger disk"
    yield Finding("disk", "ok" if free > 2 else "note", f"{free:,.1f} GB free at {place}", advice)
    if not os.access(place, os.W_OK):
        yield Finding("cache", "fault", f"{place} cannot be written to", "Set TFSENT_CACHE to a folder of yours")


def _settings() -> Iterator[Finding]:
    """Report variables of the environment that change what tfsent does."""
    if os.environ.get("TF_USE_LEGACY_KERAS", "") in ("1", "true", "True"):
        found = "TF_USE_LEGACY_KERAS is set: tf.keras would be Keras 2, and models of the two do not mix"
        yield Finding("keras", "fault", found, "unset TF_USE_LEGACY_KERAS")
    if (name := os.environ.get("KERAS_BACKEND", "tensorflow")) != "tensorflow":
        found = f"KERAS_BACKEND is {name}: evaluate, export and predict need TensorFlow and refuse to run"
        yield Finding("keras", "note", found, "unset KERAS_BACKEND")
    if downloads.offline():
        yield Finding("network", "note", "TFSENT_OFFLINE is set: nothing is downloaded", "unset TFSENT_OFFLINE")
    if os.environ.get("TFHUB_DISABLE_CERT_VALIDATION"):
        found = "TFHUB_DISABLE_CERT_VALIDATION is set: tfhub: encoders are refused"
        yield Finding("network", "fault", found, "unset TFHUB_DISABLE_CERT_VALIDATION")
    for name in ("HF_ENDPOINT", "HTTPS_PROXY", "https_proxy", "SSL_CERT_FILE"):
        if value := os.environ.get(name):
            yield Finding("network", "ok", f"{name}={value}")
