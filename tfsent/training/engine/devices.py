"""Finds the devices that a recipe names and refuses at once what they cannot do together.

| `train.backend` | one device | several on one host | several hosts |
| --- | --- | --- | --- |
| `tensorflow` | CPU, GPU | `tf.distribute.MirroredStrategy` | refused: Keras 3 and its strategies do not work |
| `jax` | CPU, GPU, TPU | `keras.distribution.DataParallel` | the same, a process a host |

With several hosts, the environment variables of Keras number the processes: KERAS_DISTRIBUTION_JOB_ADDRESSES (the first
address is the coordinator's), KERAS_DISTRIBUTION_NUM_PROCESSES and KERAS_DISTRIBUTION_PROCESS_ID.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfsent.errors import ConfigError
from tfsent.recipe.schema import TrainConfig


@dataclass(frozen=True)
class Devices:
    """The devices that one training uses."""

    backend: str
    kind: str
    """`cpu`, `gpu` or `tpu`."""
    names: tuple[str, ...]
    """All devices, those of other processes included, by the backend's names."""
    process: int = 0
    processes: int = 1
    is_default: bool = True
    """Whether this is the one device that the backend uses by default."""

    @property
    def is_chief(self) -> bool:
        """Whether this process writes the run directory."""
        return self.process == 0

    def scope(self) -> contextlib.AbstractContextManager[Any]:
        """Return a context in which to build and train a model, so that its variables are on these devices."""
        if self.is_default:
            return contextlib.nullcontext()
        if self.backend == "jax":
            import keras

            distribution = keras.distribution.DataParallel(devices=list(self.names), auto_shard_dataset=False)
            return distribution.scope()
        import tensorflow as tf

        if len(self.names) == 1:
            return tf.device(self.names[0])
        return tf.distribute.MirroredStrategy(list(self.names)).scope()

    def agree(self, number: int) -> int:
        """Return the largest value of a number over all processes. Every process must call this."""
        if self.processes == 1:
            return number
        import numpy as np
        from jax.experimental import multihost_utils

        return int(multihost_utils.process_allgather(np.int32(number)).max())

    def __str__(self) -> str:
        several = f" in {self.processes} processes" if self.processes > 1 else ""
        return f"{len(self.names)} × {self.kind}{several}, Keras on {self.backend}"


def find_devices(config: TrainConfig) -> Devices:
    """Return the devices that a recipe names. The backend must be loaded.

    Raises:
        ConfigError: this machine lacks them, or see `require_possible`.
    """
    kind, _, numbers = config.devices.partition(":")
    here = _jax_devices() if config.backend == "jax" else _tensorflow_devices()
    if kind == "auto":
        kind = next(kind for kind in ("tpu", "gpu", "cpu") if here.get(kind))
    names = here.get(kind, ())
    wanted = [int(i) for i in numbers.split(",")] if numbers else range(len(names))
    chosen = tuple(names[i] for i in wanted if i < len(names))
    if not chosen or len(chosen) < len(wanted):
        found = ", ".join(f"{len(names)} {kind}" for kind, names in here.items() if names)
        raise ConfigError(
            f"train.devices is {config.devices}, and Keras on {config.backend} sees {found} here. NVIDIA GPUs "
            "need pip install 'tensorflow[and-cuda]' or 'jax[cuda13]'; TPUs need 'jax[tpu]'."
        )
    default = next(here[kind][0] for kind in ("tpu", "gpu", "cpu") if here.get(kind))
    process, processes = 0, 1
    if config.backend == "jax":
        import jax

        process, processes = jax.process_index(), jax.process_count()
        if kind == "gpu":
            _keep_tensorflow_off()
    devices = Devices(config.backend, kind, chosen, process, processes, chosen == (default,) and processes == 1)
    require_possible(config, devices)
    return devices


def require_possible(config: TrainConfig, devices: Devices) -> None:
    """Check that the devices support the recipe's settings.

    Raises:
        ConfigError: they do not.
    """
    mirrored = devices.backend == "tensorflow" and len(devices.names) > 1
    if mirrored and config.accumulation_steps > 1:
        raise ConfigError(
            f"train.accumulation_steps is {config.accumulation_steps}, and on {len(devices.names)} devices "
            "TensorFlow's MirroredStrategy does not work with it. Leave it at 1 with a larger train.batch_tokens, "
            "train on one device, or set train.backend=jax."
        )
    if mirrored and config.jit_compile is True:
        raise ConfigError(
            "train.jit_compile is true (or auto, in a training that began on one GPU), and TensorFlow's "
            "MirroredStrategy does not work with it. Leave it at auto, continue on one GPU, or set train.backend=jax."
        )
    if devices.processes > 1 and config.freeze_encoder:
        raise ConfigError("train.freeze_encoder does not run in several processes. On one device it takes minutes.")
    if devices.processes > 1 and ":" in config.devices:
        raise ConfigError(
            f"train.devices is {config.devices}, which numbers the devices of one host, and {devices.processes} "
            "processes train. Set train.devices=gpu: each process then uses all GPUs of its host."
        )


def _keep_tensorflow_off() -> None:
    """Hide the GPUs from TensorFlow, which only tokenizes here and would take all of their memory."""
    with contextlib.suppress(ImportError):
        import tensorflow as tf

        tf.config.set_visible_devices([], "GPU")


def _jax_devices() -> dict[str, tuple[str, ...]]:
    import jax

    found = {}
    for kind in ("tpu", "gpu", "cpu"):
        try:
            found[kind] = tuple(f"{kind}:{device.id}" for device in jax.devices(kind))
        except RuntimeError:
            continue  # JAX raises when it has none of a kind
    return found


def _tensorflow_devices() -> dict[str, tuple[str, ...]]:
    import tensorflow as tf

    return {
        kind: tuple(device.name for device in tf.config.list_logical_devices(kind.upper())) for kind in ("gpu", "cpu")
    }


def choose_precision(precision: str, devices: Devices) -> str:
    """Return the precision; `auto` is mixed_bfloat16 where the hardware multiplies bfloat16 natively, else float32."""
    if precision != "auto":
        return precision
    if devices.kind == "tpu":
        return "mixed_bfloat16"
    if devices.kind == "gpu":
        return "mixed_bfloat16" if _gpu_capability(devices) >= (8, 0) else "float32"
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return "float32"
    return "mixed_bfloat16" if "avx512_bf16" in flags or "amx_bf16" in flags else "float32"


def _gpu_capability(devices: Devices) -> tuple[int, ...]:
    """Return NVIDIA's compute capability. 8.0 (Ampere) is the first with bfloat16."""
    if devices.backend == "jax":
        import jax

        found = getattr(jax.devices("gpu")[0], "compute_capability", "0.0")
        return tuple(int(part) for part in found.split(".") if part.isdigit())
    import tensorflow as tf

    details = tf.config.experimental.get_device_details(tf.config.list_physical_devices("GPU")[0])
    return details.get("compute_capability", (0, 0))
