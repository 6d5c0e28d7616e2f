"""Measures the layers of tfsent/model/fast_layers.py: a step of MiniLM-L6 with each, and with Keras's form of it.

    python benchmarks/training_step.py [--length 256] [--rounds 12]

All models are in one process and take turns, so that other work of the machine slows all of them. A batch holds 8,192
tokens of random ids; the graph does not know its shape, as in a real training. Ratios are medians over the rounds,
each of two steps of the same round.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
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


class KerasAttention(keras.layers.Layer):
    """Keras's multi-head attention in the place of ours. Neither drops out attention weights."""

    def __init__(self, num_heads: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.num_heads = num_heads

    def build(self, input_shape: tuple[int, ...]) -> None:
        width = input_shape[-1]
        self.attention = keras.layers.MultiHeadAttention(
            self.num_heads, width // self.num_heads, dtype=self.dtype_policy
        )
        self.attention.build(input_shape, input_shape)

    def call(self, x: Any, padding_mask: Any) -> Any:
        return self.attention(x, x, attention_mask=padding_mask[:, None, :])


def keras_gelu(x: Any) -> Any:
    return keras.ops.gelu(x, approximate=False)


@contextmanager
def keras_attention() -> Iterator[None]:
    with patch.object(fast_layers, "SelfAttention", KerasAttention):
        yield


@contextmanager
def keras_activation() -> Iterator[None]:
    with patch.dict(bert.ACTIVATIONS, gelu_exact=keras_gelu):
        yield


@contextmanager
def keras_dropout() -> Iterator[None]:
    with (
        patch.object(fast_layers, "Dropout", keras.layers.Dropout),
        patch.object(bert, "Dropout", keras.layers.Dropout),
    ):
        yield


@contextmanager
def all_of_keras() -> Iterator[None]:
    with keras_attention(), keras_activation(), keras_dropout():
        yield


FORMS = {
    "all of Keras's own": all_of_keras,
    "Keras's attention": keras_attention,
    "Keras's GELU": keras_activation,
    "Keras's dropout": keras_dropout,
    "as it is": nullcontext,
}
"""What puts Keras's own form in the place of ours while a model is built."""


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
    rows = []
    for what, policy, train in (
        ("training step", "mixed_bfloat16", True),
        ("prediction", "mixed_bfloat16", False),
        ("prediction", "float32", False),
    ):
        steps = {}
        for name, patched in FORMS.items():
            if train or name in ("all of Keras's own", "as it is"):
                with patched():
                    steps[name] = step_of(encoder, batch, policy, train)
        times: dict[str, list[float]] = {name: [] for name in steps}
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
