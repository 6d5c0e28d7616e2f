"""Fine-tuning: a recipe → a run directory with a trained model in it.

AdamW (I. Loshchilov, F. Hutter, Decoupled Weight Decay Regularization, 2019) without decay on biases and layer norms,
linear warm-up and decay as in BERT (Devlin et al. 2018), gradients clipped by their global norm, early stopping on the
validation accuracy with the best weights restored.
"""

from __future__ import annotations

import math
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from tfsent import runs
from tfsent.batching import BatchPlan, Tokens, make_dataset, tokenize_all
from tfsent.config import Config, TextConfig, TrainConfig
from tfsent.console import Meter, say
from tfsent.data import Reviews, load_splits, save_reviews
from tfsent.encoders import Encoder, load_encoder
from tfsent.errors import ConfigError, RunError, TrainingError
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
        TfsentError: see `tfsent.errors`. No run directory is left then, and one to be replaced is back in its place.
    """
    with runs.new_run(run, overwrite=overwrite):
        keras.utils.set_random_seed(config.train.seed)
        splits = load_splits(config.data, say)
        encoder = load_encoder(config.encoder, say)
        tokenizer = make_tokenizer(config.text, encoder)
        tokens = tokenize_all(tokenizer, splits.train.texts)
        validation_tokens = tokenize_all(tokenizer, splits.validation.texts)
        plan = BatchPlan(tokens.lengths, config.train.batch_tokens, seed=config.train.seed, epochs=config.train.epochs)
        _describe(config, splits.train, tokens, plan)
        runs.write_text(run / "config.yaml", config.to_yaml())
        runs.write_json(run / "environment.json", runs.environment())
        runs.write_json(run / "data.json", {"splits": splits.describe(), "encoder": encoder.provenance})
        save_reviews(splits.validation, run / "heldout" / "validation.jsonl.gz")
        save_reviews(splits.test, run / "heldout" / "test.jsonl.gz")
        policy = choose_precision(config.train.precision)
        backbone = encoder.rebuilt(dropout=config.model.encoder_dropout, dtype=policy)
        model = build_classifier(backbone, config.model, len(splits.train.label_names))
        compile_model(model, config.train, plan)
        _require_space(run, 4 * model.count_params())
        data = make_dataset(tokens, splits.train.labels[tokens.owner], plan, tokenizer.pad_id)
        validation_plan = BatchPlan(validation_tokens.lengths, config.train.batch_tokens)
        validation_labels = splits.validation.labels[validation_tokens.owner]
        validation = make_dataset(validation_tokens, validation_labels, validation_plan, tokenizer.pad_id)
        weights = class_weights(config.train.class_weight, splits.train)
        interrupted = _fit(model, config.train, plan, data, validation, run, weights)
        save_model(run, as_float32(model), tokenizer, splits.train.label_names)
    return interrupted


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
    needed, free = model_bytes + SPARE_BYTES, shutil.disk_usage(run).free
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


def _fit(
    model: keras.Model,
    config: TrainConfig,
    plan: BatchPlan,
    data: tf.data.Dataset,
    validation: tf.data.Dataset,
    run: Path,
    weights: dict[int, float] | None,
) -> bool:
    watch = Watch(plan)
    callbacks = [
        watch,
        keras.callbacks.EarlyStopping(
            monitor="val_accuracy", mode="max", patience=config.early_stopping_patience, restore_best_weights=True
        ),
        keras.callbacks.CSVLogger(str(run / "history.csv")),
        keras.callbacks.TensorBoard(str(run / "tensorboard"), write_graph=False),
    ]
    with _stop_on_ctrl_c() as stop:
        callbacks.append(stop)
        try:
            model.fit(
                data,
                epochs=plan.epochs,
                steps_per_epoch=plan.steps,
                validation_data=validation,
                class_weight=weights,
                callbacks=callbacks,
                shuffle=False,
                verbose=0,
            )
        except _StoppedError:
            say("Interrupted: saving what was learnt so far.")
            return True
        except tf.errors.ResourceExhaustedError as error:
            if "No space left" in str(error):
                raise RunError(f"The disk of {run} is full. Free some, or choose another --run-dir.") from error
            raise TrainingError(
                f"The device ran out of memory. Lower train.batch_tokens (now {config.batch_tokens})."
            ) from error
        finally:
            watch.close()
    return False


class Watch(keras.callbacks.Callback):
    """Shows loss, accuracy, tokens a second and the time left; stops when the loss is no longer a number."""

    def __init__(self, plan: BatchPlan):
        super().__init__()
        self.plan = plan
        self.real_tokens: list[int] = []
        self.open = ExitStack()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Start a bar."""
        self.real_tokens = [int(self.plan.lengths[rows].sum()) for rows, _ in self.plan.epoch(epoch)]
        self.started, self.seen = time.monotonic(), 0
        self.meter = Meter(f"epoch {epoch + 1}/{self.plan.epochs}", self.plan.steps)
        self.open.enter_context(self.meter)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Advance the bar."""
        loss = float(logs["loss"])
        if not math.isfinite(loss):
            raise TrainingError(
                f"The loss became {loss} at step {batch + 1}. Usually the learning rate is too high "
                f"(train.learning_rate; try a third of it), or bfloat16 is too coarse (train.precision=float32)."
            )
        if batch == 0:
            # The first step of all traces the graph; its time says nothing of the speed.
            self.clock = time.monotonic()
        else:
            self.seen += self.real_tokens[batch]
        speed = self.seen / max(time.monotonic() - self.clock, 1e-9)
        self.meter.advance(1, f"loss {loss:.4f} · accuracy {float(logs['accuracy']):.2%} · {speed:,.0f} tokens/s")

    def on_test_begin(self, logs: Any = None) -> None:
        """The steps of the epoch are done; validation begins."""
        self.close()

    def close(self) -> None:
        """Take the bar down, or the terminal would keep its hidden cursor after an interrupted epoch."""
        self.open.close()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """One line that stays."""
        say(
            f"epoch {epoch + 1}/{self.plan.epochs}: loss {logs['loss']:.4f}, accuracy {logs['accuracy']:.2%}, "
            f"validation loss {logs['val_loss']:.4f}, validation accuracy {logs['val_accuracy']:.2%} "
            f"({(time.monotonic() - self.started) / 60:.1f} min)"
        )


class _StoppedError(Exception):
    """Leaves `fit` between two steps."""


class _Stop(keras.callbacks.Callback):
    requested = False

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self.requested:
            raise _StoppedError


@contextmanager
def _stop_on_ctrl_c() -> Iterator[_Stop]:
    """The first Ctrl-C ends training after the step at hand; a second one ends the process at once."""
    stop = _Stop()

    def handler(*_: object) -> None:
        signal.signal(signal.SIGINT, previous)
        stop.requested = True
        say("Finishing this step, then saving. Ctrl-C again quits at once and saves nothing.")

    previous = signal.signal(signal.SIGINT, handler)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, previous)
