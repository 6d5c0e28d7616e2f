"""Fine-tuning: a recipe → a run directory with a trained model in it.

AdamW (I. Loshchilov, F. Hutter, Decoupled Weight Decay Regularization, 2019) without decay on biases and layer norms,
linear warm-up and decay as in BERT (Devlin et al. 2018), gradients clipped by their global norm, early stopping on the
validation accuracy with the best weights restored.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from tfsent import checkpoint, runs
from tfsent.batching import BatchPlan, Tokens, make_dataset, tokenize_all
from tfsent.config import Config, TextConfig, TrainConfig, load_config
from tfsent.console import say
from tfsent.data import Reviews, Splits, load_splits, save_reviews
from tfsent.encoders import Encoder, load_encoder
from tfsent.errors import ConfigError, RunError
from tfsent.fit import Progress, fit
from tfsent.model import as_float32, build_classifier
from tfsent.text import TextSpec, Tokenizer

SPARE_BYTES = 20_000_000
"""Room for what a run writes beside its model."""
NO_DECAY = ("bias", "gamma", "beta")
"""Names of the variables that weight decay leaves alone: biases and the layer norms' scale and shift."""


@keras.saving.register_keras_serializable(package="tfsent")
class WarmupLinearDecay(keras.optimizers.schedules.LearningRateSchedule):
    """From 0 up to `peak` over `warmup_steps`, then straight down to 0 at `total_steps`."""

    def __init__(self, peak: float, warmup_steps: int, total_steps: int):
        self.peak, self.warmup_steps, self.total_steps = peak, warmup_steps, total_steps

    def __call__(self, step: Any) -> Any:
        """The learning rate of a step, counted from 0."""
        done = keras.ops.cast(step, "float32") + 1.0
        up = done / max(self.warmup_steps, 1)
        down = (self.total_steps + 1.0 - done) / max(self.total_steps + 1 - self.warmup_steps, 1)
        return self.peak * keras.ops.clip(keras.ops.minimum(up, down), 0.0, 1.0)

    def get_config(self) -> dict[str, Any]:
        """What rebuilds it."""
        return {"peak": self.peak, "warmup_steps": self.warmup_steps, "total_steps": self.total_steps}


def train(config: Config, run: Path, *, overwrite: bool = False) -> bool:
    """Fine-tune by a recipe.

    Args:
        config: the recipe.
        run: the directory to make.
        overwrite: replace a run that is there.

    Returns:
        Whether training was interrupted by the user; what was learnt until then is saved all the same.

    Raises:
        Preempted: SIGTERM came; `resume` goes on.
        TfsentError: see `tfsent.errors`. If no checkpoint was written yet, no run directory is left, and one to be
            replaced is back in its place.
    """
    with runs.new_run(run, overwrite=overwrite):
        return _train(config, run, None)


def resume(run: Path, config: Config | None = None) -> bool:
    """Go on with a training that was ended, from its newest sound checkpoint, as if it had never been.

    With the same number of threads on a CPU, the weights are those of an uninterrupted training.

    Args:
        run: the run directory.
        config: the recipe, if it is to be compared with the one training began with.

    Returns:
        As `train`.

    Raises:
        RunError: nothing to go on with, or recipe or data are not what they were.
    """
    with runs.unfinished_run(run):
        began_with = load_config(run / "config.yaml")
        found = checkpoint.newest(run / "checkpoints", say)
        for other in (began_with, config):
            if other is not None:
                _require_same(found.state["belongs_to"]["recipe"], other.model_dump(mode="json"), "The recipe")
        say(f"Going on from {run}/checkpoints/step-{found.step:08d}.")
        return _train(began_with, run, found)


def _train(config: Config, run: Path, resumed: checkpoint.Checkpoint | None) -> bool:
    keras.utils.set_random_seed(config.train.seed)
    splits = load_splits(config.data, say)
    encoder = load_encoder(config.encoder, say)
    about = {"splits": splits.describe(), "encoder": encoder.provenance}
    belongs_to = {"recipe": config.model_dump(mode="json"), **about, "environment": runs.environment()}
    if resumed is not None:
        _require_fit(resumed.state["belongs_to"], belongs_to)
    tokenizer = make_tokenizer(config.text, encoder)
    tokens = tokenize_all(tokenizer, splits.train.texts)
    validation_tokens = tokenize_all(tokenizer, splits.validation.texts)
    plan = BatchPlan(tokens.lengths, config.train.batch_tokens, seed=config.train.seed, epochs=config.train.epochs)
    _describe(config, splits.train, tokens, plan)
    if resumed is None:
        _write_origin(run, config, about, splits)
    backbone = encoder.rebuilt(dropout=config.model.encoder_dropout, dtype=choose_precision(config.train.precision))
    model = build_classifier(backbone, config.model, len(splits.train.label_names))
    compile_model(model, config.train, plan)
    _require_space(run, 4 * model.count_params())
    progress = Progress(**resumed.state["progress"]) if resumed else Progress()
    labels = splits.train.labels[tokens.owner]
    data = make_dataset(tokens, labels, plan, tokenizer.pad_id, lambda: (progress.epoch, progress.step))
    validation_plan = BatchPlan(validation_tokens.lengths, config.train.batch_tokens)
    validation_labels = splits.validation.labels[validation_tokens.owner]
    validation = make_dataset(validation_tokens, validation_labels, validation_plan, tokenizer.pad_id)
    interrupted = fit(
        model,
        config.train,
        plan,
        data,
        validation,
        run,
        progress,
        resumed=resumed,
        belongs_to=belongs_to,
        class_weight=class_weights(config.train.class_weight, splits.train),
    )
    save_model(run, as_float32(model), tokenizer, splits.train.label_names)
    if not interrupted:
        shutil.rmtree(run / "checkpoints", ignore_errors=True)
    return interrupted


def _write_origin(run: Path, config: Config, about: dict[str, Any], splits: Splits) -> None:
    """What a run is made of, before it is made."""
    runs.write_text(run / "config.yaml", config.to_yaml())
    runs.write_json(run / "environment.json", runs.environment())
    runs.write_json(run / "data.json", about)
    save_reviews(splits.validation, run / "heldout" / "validation.jsonl.gz")
    save_reviews(splits.test, run / "heldout" / "test.jsonl.gz")


def _require_fit(old: dict[str, Any], new: dict[str, Any]) -> None:
    """A checkpoint goes on only with its own data and encoder."""
    _require_same(old["splits"], new["splits"], "The data")
    _require_same(old["encoder"]["files"], new["encoder"]["files"], "The encoder")
    _mention_changes(old["environment"], new["environment"])


def _require_same(expected: Any, received: Any, what: str) -> None:
    """Nothing may differ between what training began with and what it is to go on with."""
    if differences := list(_differences(expected, json.loads(json.dumps(received)), "")):
        raise RunError(
            f"{what} changed since training began, so it cannot go on exactly: {'; '.join(differences)}. Expected the "
            "same again; or train anew with --overwrite."
        )


def _differences(old: Any, new: Any, where: str) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from _differences(old.get(key), new.get(key), f"{where}.{key}" if where else str(key))
    elif old != new:
        yield f"{where} was {old!r} and is {new!r}"


def _mention_changes(old: dict[str, Any], new: dict[str, Any]) -> None:
    if differences := list(_differences(old, json.loads(json.dumps(new)), "")):
        say(f"Other software or machine than before, so the last bits may differ: {'; '.join(differences)}.")


def make_tokenizer(config: TextConfig, encoder: Encoder) -> Tokenizer:
    """The text graph of a recipe over an encoder's vocabulary.

    Raises:
        ConfigError: the recipe asks for more tokens than the encoder has positions.
    """
    positions = encoder.backbone.max_sequence_length
    if config.max_tokens > positions:
        raise ConfigError(f"text.max_tokens is {config.max_tokens}, and the encoder has {positions} positions.")
    return Tokenizer(TextSpec(lowercase=encoder.lowercase, **config.model_dump()), encoder.vocabulary)


def compile_model(model: keras.Model, config: TrainConfig, plan: BatchPlan) -> None:
    """Give the model its optimiser, schedule, loss and metric."""
    total = plan.steps * plan.epochs
    schedule = WarmupLinearDecay(config.learning_rate, round(total * config.warmup_fraction), total)
    optimizer = keras.optimizers.AdamW(
        schedule, weight_decay=config.weight_decay, global_clipnorm=config.clip_norm, epsilon=1e-6
    )
    optimizer.exclude_from_weight_decay(var_names=list(NO_DECAY))
    model.compile(
        optimizer,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
        # XLA on a CPU trains at half the speed and compiles one program per batch shape.
        jit_compile="auto" if tf.config.list_physical_devices("GPU") else False,
    )


def class_weights(config: Literal["balanced"] | dict[str, float] | None, reviews: Reviews) -> dict[int, float] | None:
    """What each class weighs in the loss: by its number.

    `balanced` is scikit-learn's: reviews / (classes · reviews of the class) (G. King, L. Zeng, Logistic Regression in
    Rare Events Data, 2001).

    Raises:
        ConfigError: a weight is for no class, or a class has none.
    """
    if config is None:
        return None
    counts = reviews.class_counts
    if config == "balanced":
        return {i: len(reviews) / (len(counts) * count) for i, count in enumerate(counts.values())}
    if set(config) != set(counts):
        raise ConfigError(
            f"train.class_weight: expected balanced, or a weight for each of {', '.join(counts)}. Received: {config}."
        )
    return {i: config[name] for i, name in enumerate(counts)}


def choose_precision(precision: str) -> str:
    """`auto` is mixed_bfloat16 where the hardware multiplies bfloat16 natively, else float32."""
    if precision != "auto":
        return precision
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        capability = tf.config.experimental.get_device_details(gpus[0]).get("compute_capability", (0, 0))
        return "mixed_bfloat16" if capability >= (8, 0) else "float32"
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return "float32"
    return "mixed_bfloat16" if "avx512_bf16" in flags or "amx_bf16" in flags else "float32"


def save_model(run: Path, model: keras.Model, tokenizer: Tokenizer, label_names: tuple[str, ...]) -> None:
    """Write `model/` in one step: `model.keras`, `vocab.txt`, `text.json`, `labels.txt`."""
    with runs.replacing(run / "model") as folder:
        folder.mkdir()
        model.save(folder / "model.keras")
        tokenizer.save(folder)
        runs.write_labels(folder, label_names)


def _require_space(run: Path, model_bytes: int) -> None:
    """Better to learn before an hour of training than after it that the model does not fit on the disk."""
    # Two checkpoints, each with the weights, the best weights and AdamW's two moments; and the model.
    needed, free = 9 * model_bytes + SPARE_BYTES, shutil.disk_usage(run).free
    if free < needed:
        raise RunError(
            f"The disk of {run} has {free / 1e6:,.0f} MB free, and the run needs about {needed / 1e6:,.0f} MB. "
            "Free some, or choose another --run-dir."
        )


def _describe(config: Config, reviews: Reviews, tokens: Tokens, plan: BatchPlan) -> None:
    say(
        f"{len(reviews):,} reviews, {int(tokens.lengths.sum()):,} tokens an epoch in {plan.steps:,} batches "
        f"({plan.padding():.1%} padding)."
    )
    room = config.text.max_tokens - 2
    over = np.maximum(tokens.review_lengths - room, 0)
    share = float(np.mean(over > 0))
    if config.text.truncation == "windows":
        say(f"{share:.1%} of the reviews are longer than {room} tokens and make {len(tokens):,} windows in all.")
    else:
        say(
            f"{share:.1%} of the reviews are cut to {room} tokens ({config.text.truncation}); "
            f"{over.sum() / max(tokens.review_lengths.sum(), 1):.1%} of all tokens are lost."
        )
