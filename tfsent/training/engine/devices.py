"""Which backend computes, and on what: chosen before Keras is imported, refused at once where it cannot work.

| `train.backend` | one device | several on one host | several hosts |
| --- | --- | --- | --- |
| `tensorflow` | CPU, GPU | `tf.distribute.MirroredStrategy` | refused: Keras 3 and its strategies do not work |
| `jax` | CPU, GPU, TPU | `keras.distribution.DataParallel` | the same, a process a host |

Keras's own variables say which process of how many this is: KERAS_DISTRIBUTION_JOB_ADDRESSES (the first is the
coordinator's), KERAS_DISTRIBUTION_NUM_PROCESSES, KERAS_DISTRIBUTION_PROCESS_ID.
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
    """Where training computes."""

    backend: str
    kind: str
    """`cpu`, `gpu` or `tpu`."""
    names: tuple[str, ...]
    """All of them, of other processes too, as the backend calls them."""
    process: int = 0
    processes: int = 1
    is_default: bool = True
    """Whether this is the one device that the backend takes unasked."""

    @property
    def is_chief(self) -> bool:
        """Whether this process writes the run directory."""
        return self.process == 0

    def scope(self) -> contextlib.AbstractContextManager[Any]:
        """Within it a model is built and trained: its variables then lie where they should."""
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
        """The largest of a number over all processes; all of them must ask."""
        if self.processes == 1:
            return number
        import numpy as np
        from jax.experimental import multihost_utils

        return int(multihost_utils.process_allgather(np.int32(number)).max())

    def __str__(self) -> str:
        several = f" in {self.processes} processes" if self.processes > 1 else ""
        return f"{len(self.names)} × {self.kind}{several}, Keras on {self.backend}"


def find_devices(config: TrainConfig) -> Devices:
    """The devices a recipe asks for, after `load_backend`.

    Raises:
        ConfigError: they are not here, or together they cannot do what the recipe wants.
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
            f"train.devices is {config.devices}, and Keras on {config.backend} sees {found} here. For NVIDIA "
            "GPUs it wants pip install 'tensorflow[and-cuda]' or 'jax[cuda13]', for TPUs 'jax[tpu]'."
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
    """The devices can do together what the recipe wants.

    Raises:
        ConfigError: they cannot.
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
            "train.jit_compile is true, or auto found so on the one GPU this training began on, and TensorFlow's "
            "MirroredStrategy does not work with it. Leave it at auto, go on with one GPU, or set train.backend=jax."
        )
    if devices.processes > 1 and config.freeze_encoder:
        raise ConfigError("train.freeze_encoder takes minutes on one device: it does not run in several processes.")
    if devices.processes > 1 and ":" in config.devices:
        raise ConfigError(
            f"train.devices is {config.devices}, and its numbers are those of one host, where {devices.processes} "
            "processes train. Set train.devices=gpu: each process brings all of its own."
        )


def _keep_tensorflow_off() -> None:
    """TensorFlow, which only tokenises here, would take all of the GPU's memory."""
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
            continue  # JAX's way to say that there are none
    return found


def _tensorflow_devices() -> dict[str, tuple[str, ...]]:
    import tensorflow as tf

    return {
        kind: tuple(device.name for device in tf.config.list_logical_devices(kind.upper())) for kind in ("gpu", "cpu")
    }


def choose_precision(precision: str, devices: Devices) -> str:
    """`auto` is mixed_bfloat16 where the hardware multiplies bfloat16 natively, else float32."""
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
    """NVIDIA's compute capability; 8.0, Ampere, is the first with bfloat16."""
    if devices.backend == "jax":
        import jax

        found = getattr(jax.devices("gpu")[0], "compute_capability", "0.0")
        return tuple(int(part) for part in found.split(".") if part.isdigit())
    import tensorflow as tf

    details = tf.config.experimental.get_device_details(tf.config.list_physical_devices("GPU")[0])
    return details.get("compute_capability", (0, 0))
