"""What each form in tfsent/model/fast_layers.py gives: a step of MiniLM-L6 without it and with it.

    python benchmarks/training_step.py [--length 256] [--rounds 12]

All models are in one process and take their steps by turns, so that whatever else the machine does falls on all of
them. A batch holds 8,192 tokens of random ids; its shape is not known to the graph, as in a real training. Ratios are
medians over the rounds, each of two steps that followed one another.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

from tfsent import backend
from tfsent.console import print_table

backend.use("tensorflow")
import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

from tfsent.encoders.loader import load_encoder  # noqa: E402
from tfsent.model import bert, fast_layers  # noqa: E402
from tfsent.model.classifier import build_classifier  # noqa: E402
from tfsent.model.optimizer import compile_model  # noqa: E402
from tfsent.recipe.schema import ModelConfig, TrainConfig  # noqa: E402

TOKENS = 8192


def own_dropout_alone(layer: Any) -> None:
    fast_layers.use_fast_dropout(layer._self_attention_dropout)
    fast_layers.use_fast_dropout(layer._feedforward_dropout)
    layer._self_attention_layer._dropout_layer.rate = 0.0  # attention weights are not dropped out in either form


WITHOUT = {
    "attention": lambda: patch.object(bert, "use_fast_attention", own_dropout_alone),
    "GELU": lambda: patch.object(bert, "gelu_exact", lambda x: keras.ops.gelu(x, approximate=False)),
}
"""What puts Keras's own form back, while a model is built and takes its first step."""


def no_dropout_of_ours() -> ExitStack:
    stack = ExitStack()
    stack.enter_context(patch.object(fast_layers, "use_fast_dropout", lambda layer: None))
    stack.enter_context(patch.object(bert, "use_fast_dropout", lambda layer: None))
    return stack


def all_of_keras() -> ExitStack:
    stack = no_dropout_of_ours()
    for without in WITHOUT.values():
        stack.enter_context(without())
    return stack


def step_of(encoder: Any, batch: tuple[Any, ...], policy: str, train: bool) -> Callable[[], float]:
    model = build_classifier(encoder.rebuilt(dropout=0.1, dtype=policy), ModelConfig(), 2)
    compile_model(model, TrainConfig(batch_tokens=TOKENS), 1000)
    like = tf.nest.map_structure(lambda array: tf.TensorSpec([None] * array.ndim, array.dtype), batch)
    model.make_train_function() if train else model.make_predict_function()
    function = model.train_function if train else model.predict_function
    data = tf.data.Dataset.from_generator(lambda: iter(lambda: batch, None), output_signature=like)
    iterator = iter(data)

    def step() -> float:
        start = time.perf_counter()
        found = function(iterator if train else [next(iterator)])
        np.asarray(tf.nest.flatten(found)[0])
        return time.perf_counter() - start

    if train:
        model.train_on_batch(*batch)  # builds the optimiser
        model.make_train_function(force=True)
        function = model.train_function
    for _ in range(2):  # traces
        step()
    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=12)
    given = parser.parse_args()
    encoder, random = load_encoder("pypi:minilm-l6"), np.random.default_rng(0)
    shape = (TOKENS // given.length, given.length)
    ids = random.integers(1000, 30000, shape).astype(np.int32)
    inputs = {"token_ids": ids, "segment_ids": np.zeros(shape, np.int32), "padding_mask": np.ones(shape, bool)}
    batch = inputs, random.integers(0, 2, shape[0]).astype(np.int32)
    variants = {"all of Keras's own": all_of_keras, "without ours: dropout": no_dropout_of_ours}
    variants |= {f"without ours: {name}": without for name, without in WITHOUT.items()}
    variants |= {"as it is": ExitStack}
    rows = []
    for what, policy, train in (
        ("training step", "mixed_bfloat16", True),
        ("prediction", "mixed_bfloat16", False),
        ("prediction", "float32", False),
    ):
        steps = {}
        for name, patched in variants.items():
            if train or name in ("all of Keras's own", "as it is"):
                with patched():
                    steps[name] = step_of(encoder, batch, policy, train)
        times = {name: [] for name in steps}
        for _ in range(given.rounds):
            for name, step in steps.items():
                times[name].append(step())
        last = times["as it is"]
        for name, found in times.items():
            ratio = statistics.median(a / b for a, b in zip(found, last, strict=True))
            rows.append((f"{what}, {policy}", name, f"{1000 * statistics.median(found):.0f}", f"{ratio:.2f}"))
        del steps
        keras.backend.clear_session()
    print_table(f"{TOKENS} tokens in texts of {given.length}", ("what", "form", "ms", "times as long"), rows)


if __name__ == "__main__":
    main()
