"""Whether to compile the training step with XLA: known for some devices, measured on the others."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

from tfsent.console import say
from tfsent.devices import Devices

TIMED_STEPS = 5


def choose_jit(wanted: bool | str, devices: Devices, step: Callable[[bool], Callable[[], Any]]) -> bool:
    """Whether training compiles its step with XLA.

    JAX always does. On a CPU TensorFlow's step takes 2.3 times as long with it (benchmarks/step_overheads.py), and
    MirroredStrategy does not work with it. On one GPU, `auto` takes a few steps each way and the faster one.

    Args:
        wanted: `train.jit_compile`.
        devices: what trains; `devices.require_possible` has refused what they cannot do.
        step: gives, for with or without XLA, what takes a training step.
    """
    if isinstance(wanted, bool):
        return wanted
    if devices.backend == "jax":
        return True
    if len(devices.names) > 1 or devices.kind == "cpu":
        return False
    seconds = {jit: _median_seconds(step(jit)) for jit in (False, True)}
    say(f"A step takes {1000 * seconds[False]:.0f} ms, and {1000 * seconds[True]:.0f} ms with XLA.")
    return seconds[True] < seconds[False]


def _median_seconds(step: Callable[[], Any]) -> float:
    for _ in range(2):  # the first one compiles
        step()
    times = []
    for _ in range(TIMED_STEPS):
        started = time.perf_counter()
        step()
        times.append(time.perf_counter() - started)
    return statistics.median(times)
