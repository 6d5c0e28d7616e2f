"""A recipe → everything a training needs, in memory: splits, encoder, tokens, batch plans."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tfsent.data.reviews import Reviews
from tfsent.data.splits import Splits, load_splits
from tfsent.data.statistics import truncation_loss
from tfsent.encoders.loader import Encoder, load_encoder
from tfsent.errors import ConfigError
from tfsent.model.classifier import build_classifier
from tfsent.model.loss import class_weights
from tfsent.model.optimizer import compile_model
from tfsent.recipe.schema import Config, TextConfig
from tfsent.text.batch_plan import BatchPlan, Shapes, bucket_lengths, xla_bucket_lengths
from tfsent.text.feed import BatchLoader, token_loader
from tfsent.text.spec import TextSpec
from tfsent.text.token_store import Tokens, load_tokens
from tfsent.text.unknown import Unknown, count_unknown, some
from tfsent.training.engine.devices import Devices, choose_precision

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingSetup:
    """What a recipe resolves to before training begins."""

    config: Config
    devices: Devices
    splits: Splits
    encoder: Encoder
    spec: TextSpec
    tokens: Tokens
    """Of the training reviews."""
    validation_tokens: Tokens
    plan: BatchPlan
    """The batches of the training."""
    validation_plan: BatchPlan
    jit: bool
    """Whether XLA compiles the training step."""
    precision: str
    """The dtype policy of the model."""

    @property
    def origin(self) -> dict[str, Any]:
        """Where reviews and encoder come from, as `data.json` keeps it."""
        return {"splits": self.splits.describe(), "encoder": self.encoder.provenance}

    @property
    def pad_id(self) -> int:
        """The id of [PAD]."""
        return self.encoder.vocabulary.index("[PAD]")

    @property
    def majority(self) -> float:
        """The share of the largest class among the validation examples."""
        labels = self.splits.validation.labels[self.validation_tokens.owner]  # a long review may be several windows
        return float(np.bincount(labels).max() / len(labels))

    @functools.cached_property
    def unknown(self) -> Unknown:
        """What the vocabulary does not know of the training reviews."""
        return count_unknown(some(self.tokens), self.encoder.vocabulary.index("[UNK]"))

    def build_model(self) -> keras.Model:
        """Build a classifier for this recipe, not yet compiled."""
        backbone = self.encoder.rebuilt(dropout=self.config.model.encoder_dropout, dtype=self.precision)
        return build_classifier(backbone, self.config.model, len(self.splits.train.label_names))

    def compile(self, model: keras.Model, steps: int) -> None:
        """Give a model the recipe's optimiser, loss and metrics for a training of `steps` steps."""
        weights = class_weights(self.config.train.class_weight, self.splits.train.class_counts)
        compile_model(model, self.config.train, steps, weights=weights, jit=self.jit)

    def train_loader(self, position: Callable[[], tuple[int, int]]) -> BatchLoader:
        """Return the batches of the plan, from a position in it to the end of its epoch."""
        labels = self.splits.train.labels
        return token_loader(self.tokens, labels, self.plan, self.pad_id, position=position, shard=self._shard)

    def validation_loader(self) -> BatchLoader:
        """Return the batches of the validation reviews."""
        labels = self.splits.validation.labels
        return token_loader(self.validation_tokens, labels, self.validation_plan, self.pad_id, shard=self._shard)

    @property
    def _shard(self) -> tuple[int, int]:
        return self.devices.process, self.devices.processes


def set_up(config: Config, devices: Devices, parts: Mapping[str, Reviews] | None = None) -> TrainingSetup:
    """Read data and encoder, tokenise, and plan the batches.

    Args:
        config: the recipe.
        devices: where training computes.
        parts: reviews in memory; None reads the recipe's source.

    Raises:
        TfsentError: see `load_splits`, `load_encoder`, `load_tokens`, `BatchPlan`.
    """
    splits = load_splits(config.data, parts)
    encoder = load_encoder(config.encoder)
    spec = text_spec(config.text, encoder)
    tokens, validation_tokens = (
        load_tokens(reviews, spec, encoder.vocabulary) for reviews in (splits.train, splits.validation)
    )
    jit = choose_jit(config.train.jit_compile, devices)
    shapes = _shapes(tokens, validation_tokens, jit, len(devices.names))
    train = config.train
    plan = BatchPlan(tokens.lengths, train.batch_tokens, seed=train.seed, epochs=train.epochs, shapes=shapes)
    validation_plan = BatchPlan(validation_tokens.lengths, train.batch_tokens, shapes=shapes)
    precision = choose_precision(train.precision, devices)
    return TrainingSetup(
        config, devices, splits, encoder, spec, tokens, validation_tokens, plan, validation_plan, jit, precision
    )


def _shapes(tokens: Tokens, validation_tokens: Tokens, jit: bool, devices: int) -> Shapes:
    """Choose the shapes of batches. XLA compiles a program for each, so it gets few of them."""
    longest = int(max(part.lengths.max() for part in (tokens, validation_tokens)))
    lengths = xla_bucket_lengths(tokens.lengths, longest) if jit else bucket_lengths(longest)
    return Shapes(lengths, full=jit, rows_multiple=devices)


def choose_jit(wanted: bool | str, devices: Devices) -> bool:
    """Return whether XLA compiles the training step.

    JAX always uses XLA. On a CPU a step of TensorFlow takes 2.3 times as long with it (benchmarks/step_overheads.py),
    and MirroredStrategy does not work with it.

    Args:
        wanted: `train.jit_compile`; `auto` turns XLA on for JAX and for one GPU.
        devices: where training computes; `devices.require_possible` has refused what they cannot do.
    """
    if isinstance(wanted, bool):
        return wanted
    return devices.backend == "jax" or (len(devices.names) == 1 and devices.kind == "gpu")


def text_spec(config: TextConfig, encoder: Encoder) -> TextSpec:
    """Return the text specification of a recipe for an encoder.

    Raises:
        ConfigError: the recipe asks for more tokens than the encoder has positions.
    """
    positions = encoder.backbone.max_sequence_length
    if config.max_tokens > positions:
        raise ConfigError(
            f"text.max_tokens is {config.max_tokens}, and the encoder has {positions} positions. Set it to {positions} "
            "or less."
        )
    return TextSpec(lowercase=encoder.lowercase, **config.model_dump())


def log_summary(setup: TrainingSetup) -> None:
    """Log what training will read, and what truncation costs."""
    tokens, plan, text = setup.tokens, setup.plan, setup.config.text
    logger.info(
        f"{len(setup.splits.train):,} reviews, {int(tokens.lengths.sum()):,} tokens an epoch in {plan.steps:,} "
        f"batch{'es' if plan.steps > 1 else ''} ({plan.padding():.1%} padding). {setup.devices}."
    )
    setup.unknown.warn("Training reviews")
    room = text.max_tokens - 2
    reviews_cut, tokens_lost = truncation_loss(tokens.review_lengths, text.max_tokens)
    if text.truncation == "windows":
        logger.info(
            f"{reviews_cut:.1%} of the reviews are longer than {room} tokens; there are {len(tokens):,} windows in "
            "all. During training, accuracy is that of windows; `tfsent evaluate` reports that of reviews."
        )
    elif reviews_cut:
        logger.info(
            f"{reviews_cut:.1%} of the reviews are cut to {room} tokens ({text.truncation}); "
            f"{tokens_lost:.1%} of all tokens are lost."
        )
