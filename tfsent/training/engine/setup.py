"""A recipe → all that training needs, ready in memory: splits, encoder, tokens, batch plan, model."""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from tfsent.data.splits import Splits, load_splits
from tfsent.encoders.loader import Encoder, load_encoder
from tfsent.errors import ConfigError
from tfsent.model.classifier import build_classifier
from tfsent.model.loss import chance_loss, class_weights
from tfsent.model.optimizer import compile_model
from tfsent.recipe.schema import Config, TextConfig
from tfsent.text.batch_plan import BatchPlan, Shapes, bucket_lengths, xla_bucket_lengths
from tfsent.text.feed import BatchLoader, token_loader
from tfsent.text.spec import TextSpec
from tfsent.text.token_store import Tokens, load_tokens, truncation_loss
from tfsent.training.engine.devices import Devices, choose_precision, memory_explained

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingSetup:
    """What a recipe is made of, before anything is learnt."""

    config: Config
    devices: Devices
    splits: Splits
    encoder: Encoder
    spec: TextSpec
    tokens: Tokens
    validation_tokens: Tokens
    jit: bool = False
    """Whether training compiles its step with XLA."""

    @property
    def origin(self) -> dict[str, Any]:
        """What `data.json` keeps."""
        return {"splits": self.splits.describe(), "encoder": self.encoder.provenance}

    def plan(self) -> BatchPlan:
        """The batches to learn from."""
        train = self.config.train
        return BatchPlan(
            self.tokens.lengths, train.batch_tokens, seed=train.seed, epochs=train.epochs, shapes=self.shapes
        )

    def feed(self, plan: BatchPlan, position: Callable[[], tuple[int, int]]) -> BatchLoader:
        """The batches of the plan, from a position in it."""
        return token_loader(
            self.tokens, self.splits.train.labels, plan, self.pad_id, position=position, shard=self._shard
        )

    def validation_feed(self) -> BatchLoader:
        """The batches to choose by."""
        plan = BatchPlan(self.validation_tokens.lengths, self.config.train.batch_tokens, shapes=self.shapes)
        return token_loader(self.validation_tokens, self.splits.validation.labels, plan, self.pad_id, shard=self._shard)

    @property
    def precision(self) -> str:
        """The dtype policy of the model."""
        return choose_precision(self.config.train.precision, self.devices)

    def model(self) -> keras.Model:
        """A classifier to be trained, not yet compiled."""
        backbone = self.encoder.rebuilt(dropout=self.config.model.encoder_dropout, dtype=self.precision)
        return build_classifier(backbone, self.config.model, len(self.splits.train.label_names))

    def majority_baseline(self) -> tuple[float, float]:
        """What a model reaches that looks at no text: its loss, and the share of the largest validation class."""
        rows, validation_rows = (
            np.bincount(reviews.labels[tokens.owner])  # a long review may be several windows
            for reviews, tokens in (
                (self.splits.train, self.tokens),
                (self.splits.validation, self.validation_tokens),
            )
        )
        chance = chance_loss(rows.tolist(), self._class_weights(), self.config.train.label_smoothing)
        return chance, float(validation_rows.max() / validation_rows.sum())

    def compile(self, model: keras.Model, steps: int) -> None:
        """Give a model the recipe's optimiser and loss, for a training of so many steps."""
        compile_model(model, self.config.train, steps, weights=self._class_weights(), jit=self.jit)

    def step(self, jit: bool) -> Callable[[], Any]:
        """What takes one training step on the largest batch there may be, of a model made for that alone."""
        setup = replace(self, jit=jit)
        with self.devices.scope():
            model = setup.model()
            setup.compile(model, 1000)
        length = setup.shapes.length(int(self.tokens.lengths.max()))
        rows = np.argsort(-self.tokens.lengths, kind="stable")[: self.config.train.batch_tokens // length]
        inputs = self.tokens.pad(rows, length, self.pad_id)
        return lambda: model.train_on_batch(inputs, self.splits.train.labels[self.tokens.owner[rows]])

    def _class_weights(self) -> list[float] | None:
        return class_weights(self.config.train.class_weight, self.splits.train)

    @property
    def pad_id(self) -> int:
        """The id of [PAD]."""
        return self.encoder.vocabulary.index("[PAD]")

    @property
    def _shard(self) -> tuple[int, int]:
        return self.devices.process, self.devices.processes

    @property
    def shapes(self) -> Shapes:
        """Which shapes batches have, for these devices."""
        longest = int(max(part.lengths.max() for part in (self.tokens, self.validation_tokens)))
        lengths = xla_bucket_lengths(self.tokens.lengths, longest) if self.jit else bucket_lengths(longest)
        return Shapes(lengths, full=self.jit, rows_multiple=len(self.devices.names))


def set_up(config: Config, devices: Devices) -> TrainingSetup:
    """Read the data and the encoder, and tokenise.

    Raises:
        TfsentError: see `load_splits`, `load_encoder`, `load_tokens`.
    """
    splits = load_splits(config.data)
    encoder = load_encoder(config.encoder)
    spec = text_spec(config.text, encoder)
    tokens, validation_tokens = (
        load_tokens(part, spec, encoder.vocabulary) for part in (splits.train, splits.validation)
    )
    setup = TrainingSetup(config, devices, splits, encoder, spec, tokens, validation_tokens)
    with memory_explained(config.train):
        return replace(setup, jit=choose_jit(config.train.jit_compile, devices, setup.step))


def text_spec(config: TextConfig, encoder: Encoder) -> TextSpec:
    """The text specification of a recipe for an encoder.

    Raises:
        ConfigError: the recipe asks for more tokens than the encoder has positions.
    """
    positions = encoder.backbone.max_sequence_length
    if config.max_tokens > positions:
        raise ConfigError(f"text.max_tokens is {config.max_tokens}, and the encoder has {positions} positions.")
    return TextSpec(lowercase=encoder.lowercase, **config.model_dump())


def describe(setup: TrainingSetup, plan: BatchPlan) -> None:
    """Say what training will read, and what truncation costs."""
    tokens = setup.tokens
    logger.info(
        f"{len(setup.splits.train):,} reviews, {int(tokens.lengths.sum()):,} tokens an epoch in {plan.steps:,} "
        f"batch{'es' if plan.steps > 1 else ''} ({plan.padding():.1%} padding). {setup.devices}."
    )
    text = setup.config.text
    room = text.max_tokens - 2
    reviews_cut, tokens_lost = truncation_loss(tokens.review_lengths, text.max_tokens)
    if text.truncation == "windows":
        logger.info(
            f"{reviews_cut:.1%} of the reviews are longer than {room} tokens and make {len(tokens):,} windows in all. "
            "Accuracy is of windows while training, and of reviews in `tfsent evaluate`."
        )
    elif reviews_cut:
        logger.info(
            f"{reviews_cut:.1%} of the reviews are cut to {room} tokens ({text.truncation}); "
            f"{tokens_lost:.1%} of all tokens are lost."
        )


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
    logger.info(f"A step takes {1000 * seconds[False]:.0f} ms, and {1000 * seconds[True]:.0f} ms with XLA.")
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
