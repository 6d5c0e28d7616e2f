"""A recipe → everything a training needs, in memory: splits, encoder, tokens, batch plans."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfsent.data.reviews import Reviews
from tfsent.data.splits import Splits, load_splits
from tfsent.data.statistics import truncation_loss
from tfsent.encoders.loader import Encoder, load_encoder
from tfsent.errors import ConfigError
from tfsent.model.classifier import build_classifier
from tfsent.model.hidden_states import pair_layers
from tfsent.model.loss import class_weights
from tfsent.model.optimizer import compile_model
from tfsent.recipe.schema import Config, TextConfig
from tfsent.storage import bundle, run_directory
from tfsent.text.batch_plan import BatchPlan, Shapes, bucket_lengths, xla_bucket_lengths
from tfsent.text.feed import BatchLoader, token_loader
from tfsent.text.spec import TextSpec
from tfsent.text.token_store import Tokens, load_tokens
from tfsent.text.unknown import Unknown, count_unknown, some
from tfsent.training.engine.devices import Devices, choose_precision
from tfsent.training.engine.examples import Examples, find_examples, require_teachers

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingSetup:
    """What a recipe resolves to before training begins."""

    config: Config
    devices: Devices
    splits: Splits
    examples: Examples
    """What is learnt from: the training reviews, and texts that a teacher labels."""
    encoder: Encoder
    hidden_teacher: Encoder | None
    """Whose hidden states the encoder imitates."""
    spec: TextSpec
    tokens: Tokens
    """Of the examples."""
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
        taught = self.examples.describe()
        return {
            "splits": self.splits.describe(),
            "encoder": self.encoder.provenance,
            **({"distil": taught} if taught else {}),
        }

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
        train = self.splits.train
        counts = train.class_counts
        if train.soft is not None:  # a class may never be the most probable
            counts = dict(zip(train.label_names, train.soft.sum(axis=0).tolist(), strict=True))
        weights = class_weights(self.config.train.class_weight, counts)
        compile_model(model, self.config.train, steps, weights=weights, distil=self.config.distil, jit=self.jit)

    def train_loader(self, position: Callable[[], tuple[int, int]]) -> BatchLoader:
        """Return the batches of the plan, from a position in it to the end of its epoch."""
        targets = self.examples.targets
        return token_loader(self.tokens, targets, self.plan, self.pad_id, position=position, shard=self._shard)

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
        TfsentError: see `load_splits`, `load_encoder`, `find_examples`, `load_tokens`, `BatchPlan`.
    """
    require_teachers(config, parts)
    splits = load_splits(config.data, parts)
    encoder = load_encoder(config.encoder)
    spec = text_spec(config.text, encoder)
    hidden_teacher = find_hidden_teacher(config, encoder)
    examples = find_examples(config, splits, parts)  # after what may be wrong: asking a teacher takes long
    tokens, validation_tokens = (
        load_tokens(reviews, spec, encoder.vocabulary) for reviews in (examples.reviews, splits.validation)
    )
    jit = choose_jit(config.train.jit_compile, devices)
    shapes = _shapes(tokens, validation_tokens, jit, len(devices.names))
    train = config.train
    plan = BatchPlan(tokens.lengths, train.batch_tokens, seed=train.seed, epochs=train.epochs, shapes=shapes)
    validation_plan = BatchPlan(validation_tokens.lengths, train.batch_tokens, shapes=shapes)
    precision = choose_precision(train.precision, devices)
    return TrainingSetup(
        config,
        devices,
        splits,
        examples,
        encoder,
        hidden_teacher,
        spec,
        tokens,
        validation_tokens,
        plan,
        validation_plan,
        jit,
        precision,
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


def find_hidden_teacher(config: Config, student: Encoder) -> Encoder | None:
    """Return the encoder of the first teacher, where the recipe has its hidden states imitated.

    Args:
        config: the recipe.
        student: the encoder that imitates.

    Raises:
        ConfigError: the first teacher is not a run, or reads other tokens than the student.
    """
    distil = config.distil
    if distil.teacher is None or not distil.hidden_weight:
        return None
    folder = bundle.inside(Path(distil.teacher[0]).expanduser())
    if not run_directory.is_run(folder):
        raise ConfigError(
            f"distil.hidden_weight needs the hidden states of the first teacher, and {distil.teacher[0]} is not a run. "
            "Name a run first, or set distil.hidden_weight=0."
        )
    teacher = load_encoder(f"run:{folder}")
    if (teacher.vocabulary, teacher.lowercase) != (student.vocabulary, student.lowercase):
        raise ConfigError(
            f"distil.hidden_weight needs a teacher that reads the same tokens as the student, and {distil.teacher[0]} "
            "has another vocabulary. Set distil.hidden_weight=0: the student then learns its probabilities alone."
        )
    if config.text.max_tokens > teacher.backbone.max_sequence_length:
        raise ConfigError(
            f"text.max_tokens is {config.text.max_tokens}, and the teacher {distil.teacher[0]} has "
            f"{teacher.backbone.max_sequence_length} positions. Set text.max_tokens to that or less, or "
            "distil.hidden_weight=0."
        )
    pair_layers(distil, student.backbone, teacher.backbone)
    return teacher


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
    if setup.examples.teachers:
        _log_teachers(setup)
    more = f" and {setup.examples.unlabelled:,} texts without labels" if setup.examples.unlabelled else ""
    logger.info(
        f"{len(setup.splits.train):,} reviews{more}, {int(tokens.lengths.sum()):,} tokens an epoch in {plan.steps:,} "
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


def _log_teachers(setup: TrainingSetup) -> None:
    distil = setup.config.distil
    names = ", ".join(teacher["path"] for teacher in setup.examples.teachers)
    logger.info(
        f"Learning from {names} at temperature {distil.temperature:g}. The loss of training has the teacher's part; "
        "that of validation is of the labels alone."
    )
    if setup.hidden_teacher is not None:
        pairs = pair_layers(distil, setup.encoder.backbone, setup.hidden_teacher.backbone)
        shown = ", ".join(f"{ours} ← {theirs}" for ours, theirs in enumerate(pairs))
        logger.info(f"Layers of the student imitate layers of the teacher: {shown}.")
