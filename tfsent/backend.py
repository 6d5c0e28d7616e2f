"""Imports Keras on the wanted backend, once, and refuses what cannot work before anything is loaded."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import Literal

from tfsent.errors import ConfigError

Backend = Literal["tensorflow", "jax"]


def use(backend: Backend) -> None:
    """Import Keras and KerasHub on a backend.

    Sets `KERAS_BACKEND` only where it is unset. TensorFlow's start-up messages are hidden unless
    `TF_CPP_MIN_LOG_LEVEL` is set.

    Args:
        backend: `tensorflow` or `jax`.

    Raises:
        ConfigError: Keras is loaded, or `KERAS_BACKEND` set, for another backend; the backend is not installed; or
            the environment describes several processes and the backend cannot train in them.
    """
    _require_no_other(backend)
    if backend == "jax":
        _require_jax()
    elif process_count() != "1" or _tf_config_hosts() > 1:
        raise ConfigError(
            "Several hosts (KERAS_DISTRIBUTION_NUM_PROCESSES or TF_CONFIG) do not work with train.backend=tensorflow: "
            "MultiWorkerMirroredStrategy breaks in Keras 3, parameter servers are not supported. Set "
            "train.backend=jax, or unset them to train on this host's devices."
        )
    _load(backend)
    if backend == "jax" and process_count() != "1":
        _require_whole_cluster()
        import keras

        keras.distribution.initialize()


def require_one_process(what: str) -> None:
    """Refuse a command that several processes would all execute, each overwriting the others' files.

    Args:
        what: the command, to begin the message with.

    Raises:
        ConfigError: `KERAS_DISTRIBUTION_NUM_PROCESSES` says that there are several processes.
    """
    if process_count() != "1":
        raise ConfigError(
            f"{what} runs in one process, and KERAS_DISTRIBUTION_NUM_PROCESSES is {process_count()}. Unset it, or "
            "train seed by seed with --set train.seed."
        )


def process_count() -> str:
    """Return `KERAS_DISTRIBUTION_NUM_PROCESSES` as it is set, `1` where it is not."""
    return os.environ.get("KERAS_DISTRIBUTION_NUM_PROCESSES") or "1"


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Hide what C++ libraries write to file descriptor 2; when the body raises, show it after all."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as noise:
        os.dup2(noise.fileno(), 2)
        try:
            yield
        except Exception:
            noise.seek(0)
            os.write(kept, noise.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _require_no_other(backend: Backend) -> None:
    loaded = sys.modules.get("keras")
    if loaded is not None and loaded.backend.backend() != backend:
        raise ConfigError(
            f"This needs Keras on {backend}, and this process has loaded Keras on {loaded.backend.backend()} already. "
            f"Run it in a process of its own, or set KERAS_BACKEND={backend} before Keras is imported."
        )
    wanted = os.environ.get("KERAS_BACKEND") or backend
    if wanted != backend:
        raise ConfigError(
            f"This needs Keras on {backend}, and KERAS_BACKEND is {wanted}. Unset KERAS_BACKEND, or set it to "
            f"{backend}."
        )


def _require_jax() -> None:
    if importlib.util.find_spec("jax") is None:
        raise ConfigError(
            "train.backend is jax, which is not installed. pip install 'tfsent[jax]' for a CPU; for NVIDIA GPUs then "
            "pip install 'jax[cuda13]', for TPUs 'jax[tpu]'."
        )


def _load(backend: Backend) -> None:
    hide = "TF_CPP_MIN_LOG_LEVEL" not in os.environ
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", backend)  # ~/.keras/keras.json speaks for other programs
    with quiet_stderr() if hide else contextlib.nullcontext():
        import keras  # noqa: F401
        import keras_hub  # noqa: F401

        if backend == "tensorflow":
            import tensorflow_text  # noqa: F401


def _tf_config_hosts() -> int:
    try:
        cluster = json.loads(os.environ.get("TF_CONFIG") or "{}").get("cluster", {})
        return sum(len(addresses) for addresses in cluster.values())
    except (ValueError, AttributeError, TypeError):
        return 0


def _require_whole_cluster() -> None:
    names = [f"KERAS_DISTRIBUTION_{name}" for name in ("JOB_ADDRESSES", "NUM_PROCESSES", "PROCESS_ID")]
    addresses, count, number = (os.environ.get(name, "") for name in names)
    ports = [address.rpartition(":")[2] for address in addresses.split(",")]
    if not (
        all(port.isdecimal() for port in ports)
        and count.isdecimal()
        and number.isdecimal()
        and int(number) < int(count)
    ):
        raise ConfigError(
            "Several processes need the coordinator's address and port, their number, and which of them this is: "
            f"{names[0]}=host0:1234 {names[1]}=4 {names[2]}=0. Received: {addresses!r}, {count!r}, {number!r}."
        )
