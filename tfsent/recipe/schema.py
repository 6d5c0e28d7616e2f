"""What a recipe may say: its keys, their defaults and their limits, as frozen models. `recipes.py` reads them.

Defaults live here and nowhere else. TensorFlow is not needed for any of it.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import pydantic
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, Strict

from tfsent.errors import did_you_mean


def _spelt_labels(labels: Any) -> Any:
    """Labels may be written as numbers: `labels: [1, 2, 3]`."""
    if not isinstance(labels, (list, tuple)):
        return labels
    spelt = [str(label) if isinstance(label, int) and not isinstance(label, bool) else label for label in labels]
    if twice := [label for label in spelt if spelt.count(label) > 1]:
        raise ValueError(f"the label {twice[0]!r} stands there twice")
    return spelt


def _class_weight(value: Any) -> Any:
    """`balanced`, or a weight per label; labels may be written as numbers."""
    if value is None or value == "balanced":
        return value
    if not isinstance(value, dict) or not all(type(w) in (int, float) and w > 0 for w in value.values()):
        raise ValueError("expected balanced, or a weight above 0 for each label")
    return {str(label): float(weight) for label, weight in value.items()}


def _examples(value: Any) -> Any:
    """A number of reviews, or a share of them."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError("expected a number of reviews such as 2000, or a share of them such as 0.1")
    if value <= 0 or (isinstance(value, float) and not value < 1):
        raise ValueError("expected a whole number of reviews above 0, or a share of them between 0 and 1")
    return value


Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Proportion = Annotated[float, Field(ge=0.0, lt=1.0)]
Count = Annotated[int, Field(ge=1)]
Examples = Annotated[Any, PlainValidator(_examples)]
Paths = Annotated[tuple[str, ...], Strict(False), BeforeValidator(lambda v: (v,) if isinstance(v, str) else v)]
Labels = Annotated[tuple[str, ...], Strict(False), BeforeValidator(_spelt_labels), Field(min_length=2)]

FILE_SOURCES = ("csv", "tsv", "jsonl", "parquet", "folder")
SOURCES = ("imdb", "imdb-wheel", "tfds:NAME", *FILE_SOURCES, "memory")


ENCODERS = (
    "pypi:minilm-l6, hf:OWNER/NAME[@REVISION], keras:PRESET, kaggle:HANDLE, tfhub:HANDLE, path:DIR or run:DIR "
    "(`tfsent encoders ls` lists some)"
)
ENCODER_SCHEMES = ("pypi", "hf", "keras", "kaggle", "tfhub", "path", "run")


def is_encoder(uri: str) -> bool:
    """Whether this is an encoder's URI: a scheme of ours and something behind it."""
    return re.match(rf"({'|'.join(ENCODER_SCHEMES)}):.", uri) is not None


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    @pydantic.model_validator(mode="before")
    @classmethod
    def _may_be_empty(cls, tree: Any) -> Any:
        """`train:` with every key commented out is an empty section, not a fault."""
        return {} if tree is None else tree


class DataConfig(_Section):
    """Which reviews, and how they are split. Where a number of reviews is asked for, 0.1 is a tenth of them."""

    source: str = Field("imdb", description=", ".join(SOURCES))
    dir: str | None = Field(None, description="folder with a copy prepared by tensorflow-datasets")
    train: Paths | None = Field(None, description="files of the reviews to learn from: paths or globs")
    validation: Paths | None = Field(None, description="null: taken out of the training reviews")
    test: Paths | None = Field(None, description="null: taken out of the training reviews")
    text: str = Field("text", description="the column of the texts")
    label: str = Field("label", description="the column of the labels")
    group: str | None = Field(None, description="a column such as film_id: none of its values is on both sides")
    labels: Labels | None = Field(None, description="the classes in their order; null: those found, sorted")
    errors: Literal["strict", "replace"] = Field("strict", description="what to do with bytes that are not UTF-8")
    train_examples: Examples | None = Field(None, description="a number, or a share such as 0.1; null: all that remain")
    validation_examples: Examples | None = Field(None, description="likewise; null: a tenth of train, at most 10,000")
    test_examples: Examples | None = Field(
        None,
        description="likewise; null: the source's whole test split, else a tenth of train, at most 10,000",
    )
    seed: Annotated[int, Field(ge=0)] = Field(0, description="of the draw of the splits")

    @pydantic.model_validator(mode="after")
    def _files_belong_to_file_sources(self) -> DataConfig:
        if self.source not in SOURCES and not self.source.startswith("tfds:"):
            raise ValueError(f"unknown source {self.source!r}.{did_you_mean(self.source, SOURCES)}")
        given = [key for key in ("train", "validation", "test") if getattr(self, key) is not None]
        if self.source in FILE_SOURCES and self.train is None:
            raise ValueError(f"source {self.source} needs data.train, the file or files to learn from")
        if self.source not in FILE_SOURCES and given:
            raise ValueError(
                f"source {self.source} has its own reviews; data.{given[0]} is for {', '.join(FILE_SOURCES)}"
            )
        if self.group is not None and self.source in ("imdb", "imdb-wheel", "folder"):
            raise ValueError(f"source {self.source} has no columns, so data.group cannot name one")
        if self.validation is not None and self.validation_examples is not None:
            raise ValueError("data.validation_examples is how many to take out of train; data.validation names files")
        return self


class TextConfig(_Section):
    """How a review becomes token ids. Casing comes with the encoder."""

    max_tokens: Annotated[int, Field(ge=3, le=512)] = Field(256, description="with [CLS] and [SEP]")
    truncation: Literal["head", "tail", "head_tail", "windows"] = Field(
        "head_tail", description="which end of a long review is kept; windows: all, in overlapping pieces"
    )
    head_fraction: Fraction = Field(0.25, description="share of the kept tokens taken from the start (head_tail)")
    window_overlap: Proportion = Field(0.25, description="share of a window that the next one repeats (windows)")


class ModelConfig(_Section):
    """What stands on the encoder."""

    pooling: Literal["mean", "cls", "pooler"] = Field(
        "mean", description="over the real tokens, [CLS], or BERT's pooler"
    )
    hidden_units: Annotated[tuple[Count, ...], Strict(False)] = Field((), description="dense layers before the logits")
    dropout: Proportion = Field(0.1, description="before each dense layer")
    encoder_dropout: Proportion = Field(0.1, description="on the encoder's hidden states")


REMOVED = {
    "ema_momentum": "a moving average of the weights gained nothing on IMDb",
    "layer_decay": "layer-wise rate decay gained nothing beyond noise",
    "schedule": "a cosine schedule gained nothing beyond noise",
    "guards": "a training now stops only at a loss that is not a number, and a model that learnt nothing is reported",
}
"""Keys of section `train` that recipes of earlier versions may have."""


class TrainConfig(_Section):
    """Fine-tuning: AdamW, warm-up and decay."""

    epochs: Count = Field(2, description="at most; early stopping may end sooner")
    batch_tokens: Annotated[int, Field(ge=16)] = Field(8192, description="tokens a batch, padding counted in")
    learning_rate: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(6e-5, description="the peak, after warm-up")
    warmup_fraction: Fraction = Field(0.06, description="share of all steps over which the rate rises")
    weight_decay: Proportion = Field(0.01, description="AdamW's; biases and layer norms are spared")
    clip_norm: Annotated[float, Field(gt=0.0)] = Field(1.0, description="of all gradients together")
    class_weight: Annotated[Any, PlainValidator(_class_weight)] = Field(
        None, description="balanced: rare classes weigh more, all classes alike; or a weight per label"
    )
    label_smoothing: Proportion = Field(0.0, description="share of a label that is spread over all classes")
    accumulation_steps: Count = Field(
        1,
        description="batches whose gradients are averaged for one update; any over at the end make none",
    )
    freeze_encoder: bool = Field(False, description="train the head alone, on what the encoder makes of each text once")
    select_by: Literal["accuracy", "balanced_accuracy", "macro_f1", "loss"] | None = Field(
        None,
        description="the validation metric that chooses the best epoch; null: balanced_accuracy where class_weight is "
        "balanced, else accuracy",
    )
    early_stopping_patience: Count = Field(2, description="epochs without a better select_by before training stops")
    precision: Literal["auto", "float32", "mixed_bfloat16"] = Field("auto", description="auto: bfloat16 where native")
    backend: Literal["tensorflow", "jax"] = Field("tensorflow", description="jax: for TPUs and several hosts")
    devices: Annotated[str, Field(pattern=r"^(auto|cpu|tpu|gpu(:\d+(,\d+)*)?)$")] = Field(
        "auto", description="auto, cpu, gpu (all), gpu:0,1 or tpu; several share every batch"
    )
    jit_compile: Literal["auto", True, False] = Field(
        "auto", description="XLA; auto: where it is faster, measured on GPUs"
    )
    checkpoint_minutes: Annotated[float, Field(ge=0.0)] = Field(5.0, description="between two checkpoints")
    seed: Annotated[int, Field(ge=0, lt=2**32)] = Field(0, description="of weights, dropout and batches")

    @property
    def selection_metric(self) -> str:
        """The validation metric that chooses the best epoch, `select_by` with its default resolved."""
        return self.select_by or ("balanced_accuracy" if self.class_weight == "balanced" else "accuracy")

    @pydantic.model_validator(mode="before")
    @classmethod
    def _removed_keys(cls, tree: Any) -> Any:
        if gone := [key for key in REMOVED if isinstance(tree, dict) and key in tree]:
            raise ValueError(f"{gone[0]} was removed: {REMOVED[gone[0]]} (benchmarks/README.md). Delete the key")
        return tree

    @pydantic.model_validator(mode="after")
    def _devices_can_be_had(self) -> TrainConfig:
        if self.backend == "tensorflow" and self.devices == "tpu":
            raise ValueError(
                "devices is tpu, and there is no TensorFlow for TPUs from 2.21 on. Set train.backend=jax: what it "
                "trains is exported by TensorFlow all the same"
            )
        if self.backend == "jax" and self.jit_compile is False:
            raise ValueError("jit_compile is false, and JAX trains through XLA alone. Leave it at auto")
        numbers = self.devices.partition(":")[2].split(",")
        if len(set(numbers)) < len(numbers):
            raise ValueError(f"devices names one of them twice. Received: {self.devices!r}")
        return self


class BudgetConfig(_Section):
    """How far an exported file may stray from the trained model before it is not published."""

    savedmodel_difference: Proportion = Field(
        1e-4, description="a SavedModel with a larger difference of a probability is not published"
    )
    float32_difference: Proportion = Field(1e-4, description="likewise, a float32 .tflite file")
    int8_flips: Fraction = Field(0.01, description="likewise, an int8 file that changes more labels than this share")
    int8_accuracy_drop: Fraction = Field(
        0.005, description="likewise, one that loses more accuracy; 0.005 is half a point"
    )


class ExportConfig(_Section):
    """What is exported, and on how many held-out reviews it is proved."""

    verify_examples: Count = Field(1000, description="reviews of the test split that each exported file is run on")
    budget: BudgetConfig = BudgetConfig()


class Config(_Section):
    """A whole recipe."""

    data: DataConfig = DataConfig()
    encoder: str = Field("pypi:minilm-l6", description="URI of the pretrained encoder (`tfsent encoders ls`)")
    text: TextConfig = TextConfig()
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()
    export: ExportConfig = ExportConfig()

    @pydantic.field_validator("encoder")
    @classmethod
    def _encoder_has_a_scheme(cls, uri: str) -> str:
        if not is_encoder(uri):
            raise ValueError(f"expected {ENCODERS}")
        return uri
