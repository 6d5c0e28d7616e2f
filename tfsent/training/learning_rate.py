"""A learning rate by sweep: it rises from batch to batch, and the loss shows where learning begins and ends.

The method is L. N. Smith's (Cyclical Learning Rates for Training Neural Networks, 2017).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras.optimizers.schedules import ExponentialDecay

from tfsent.console import progress_bar
from tfsent.errors import TrainingError
from tfsent.recipe.schema import Config
from tfsent.storage import atomic
from tfsent.training.engine.devices import find_devices
from tfsent.training.engine.faults import explained
from tfsent.training.engine.setup import TrainingSetup, set_up
from tfsent.training.engine.trainable import trainable_part

LOWEST, HIGHEST = 1e-6, 1e-2
SMOOTHING = 0.9
"""Of the moving average of the batch losses."""
LAG = round(SMOOTHING / (1 - SMOOTHING))
"""Batches by which the average lags behind."""
FEWEST = 50
"""Batches of a sweep: with fewer, the rate rises faster than the average follows."""
DIVERGED = 2.0
"""Times the lowest loss at which the sweep ends."""


@dataclass(frozen=True)
class SweepResult:
    """A sweep of the learning rate."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    """Of each batch, in nats."""
    smoothed: tuple[float, ...]
    suggestion: float
    """A value for `train.learning_rate`, the peak."""

    def to_dict(self) -> dict[str, Any]:
        """Return the sweep ready for JSON."""
        return asdict(self)


def find_rate(config: Config, steps: int, png: Path) -> SweepResult:
    """Sweep the learning rate over the first batches of a recipe, on one device, and draw the losses.

    Args:
        config: the recipe. Its learning rate and warm-up are not used.
        steps: at most so many batches.
        png: where to draw; a sweep that shows no rate is drawn as well.

    Raises:
        TrainingError: too few batches, or the loss never fell.
        TfsentError: see `set_up`.
    """
    keras.utils.set_random_seed(config.train.seed)
    devices = find_devices(config.train)
    setup = set_up(config, replace(devices, names=devices.names[:1]))
    with setup.devices.scope(), explained(config.train.batch_tokens):
        rates, losses = _sweep(setup, steps)
    smoothed = smooth(losses)
    suggestion = None
    try:
        suggestion = suggest(np.array(rates), smoothed)
    except TrainingError as error:
        raise TrainingError(f"{error} The sweep is drawn in {png}.") from error
    finally:
        with atomic.replacing(png) as staged:
            _plot(rates, losses, smoothed, suggestion, staged)
    return SweepResult(tuple(rates), tuple(losses), tuple(smoothed.tolist()), suggestion)


def _sweep(setup: TrainingSetup, steps: int) -> tuple[list[float], list[float]]:
    """Return rate and loss of each batch, until the loss diverges."""
    plan, epoch = setup.plan, 0
    steps = min(steps, plan.steps * plan.epochs)
    if steps < FEWEST:
        raise TrainingError(
            f"The recipe trains on only {steps} batches; a sweep needs {FEWEST} at least. Use more reviews "
            "(data.train_examples), more epochs or smaller batches (train.batch_tokens)."
        )
    model, loader, _ = trainable_part(setup, setup.build_model(), lambda: (epoch, 0))
    setup.compile(model, steps)
    model.optimizer.learning_rate = ExponentialDecay(LOWEST, max(steps - 1, 1), HIGHEST / LOWEST)
    rates = np.geomspace(LOWEST, HIGHEST, steps).tolist()

    def batches() -> Iterator[Callable[[], tuple[Any, ...]]]:
        nonlocal epoch
        while epoch < plan.epochs:
            yield from loader.batches()
            epoch += 1

    losses: list[float] = []
    with progress_bar("batch", steps) as bar:
        for make in itertools.islice(batches(), steps):
            model.reset_metrics()
            losses.append(float(model.train_on_batch(*make(), return_dict=True)["loss"]))
            bar.set_postfix_str(f"learning rate {rates[len(losses) - 1]:.1e} · loss {losses[-1]:.4f}", refresh=False)
            bar.update(1)
            if _has_diverged(losses):
                break
    finite = [loss for loss in losses if math.isfinite(loss)]
    return rates[: len(finite)], finite


def smooth(losses: Sequence[float]) -> np.ndarray:
    """Return the moving average of losses, without bias towards its start (as in Adam), `float64[n]`."""
    average, smoothed = 0.0, []
    for i, loss in enumerate(losses, 1):
        average = SMOOTHING * average + (1 - SMOOTHING) * loss
        smoothed.append(average / (1 - SMOOTHING**i))
    return np.array(smoothed)


def _has_diverged(losses: list[float]) -> bool:
    if not math.isfinite(losses[-1]):
        return True
    smoothed = smooth(losses)
    return len(losses) > 20 and smoothed[-1] > DIVERGED * smoothed.min()


def suggest(rates: np.ndarray, smoothed: np.ndarray) -> float:
    """Return the rate at which the loss falls fastest: high enough to learn, and well below divergence.

    Args:
        rates: rising by equal factors, `float64[n]`.
        smoothed: the loss at each rate, `float64[n]`.

    Raises:
        TrainingError: the loss never fell, fell at once, or diverged before `FEWEST` batches.
    """
    if len(rates) < FEWEST:
        raise TrainingError(
            f"The loss diverged after {len(rates)} batches, too few to see where it falls. Sweep over more (--steps). "
            "If it still diverges as early, check the labels (`tfsent data`), or set train.precision=float32."
        )
    lowest = int(smoothed.argmin())
    slopes = np.gradient(smoothed)[: lowest + 1]
    if lowest < 5 or smoothed[lowest] > 0.97 * smoothed[:5].mean():
        raise TrainingError(
            f"The loss never fell between the rates {rates[0]:.0e} and {rates[-1]:.0e}. Check the labels (`tfsent "
            "data`), or sweep over more batches (--steps)."
        )
    steepest = int(slopes.argmin()) - LAG
    if steepest <= 0:
        raise TrainingError("The loss falls fastest at the very start of the sweep. Sweep over more batches (--steps).")
    return float(f"{rates[steepest]:.1e}")


def _plot(
    rates: Sequence[float], losses: Sequence[float], smoothed: np.ndarray, suggestion: float | None, path: Path
) -> None:
    """Draw loss over learning rate, with the suggestion where there is one, as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(rates, losses, ".", color="0.7", label="of each batch")
    axes.plot(rates, smoothed, label="moving average")
    if suggestion is not None:
        axes.axvline(suggestion, color="C3", linestyle="--", label=f"suggestion: {suggestion:.1e}")
    axes.set(xscale="log", xlabel="learning rate", ylabel="loss (nats)", title="Learning-rate sweep")
    axes.legend()
    figure.savefig(path, format="png", dpi=120)
