"""What a recipe may say: its keys, their defaults and their limits, as frozen models. `loader.py` reads them.

Defaults are here and nowhere else. None of it needs TensorFlow.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import pydantic
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, Strict

from tfsent.errors import did_you_mean
from tfsent.recipe.encoder_uri import split_layers


def _spelt_labels(labels: Any) -> Any:
    """Accept labels that are written as numbers: `labels: [1, 2, 3]`."""
    if not isinstance(labels, (list, tuple)):
        return labels
    spelt = [str(label) if isinstance(label, int) and not isinstance(label, bool) else label for label in labels]
    if twice := [label for label in spelt if spelt.count(label) > 1]:
        raise ValueError(f"the label {twice[0]!r} is listed twice")
    return spelt


def _distinct(columns: tuple[str, ...]) -> tuple[str, ...]:
    if twice := [column for column in columns if columns.count(column) > 1]:
        raise ValueError(f"the column {twice[0]!r} is listed twice")
    return columns


def _class_weight(value: Any) -> Any:
    """Accept `balanced`, or a weight per label; labels may be written as numbers."""
    if value is None or value == "balanced":
        return value
    if not isinstance(value, dict) or not all(type(w) in (int, float) and w > 0 for w in value.values()):
        raise ValueError("expected balanced, or a weight above 0 for each label")
    return {str(label): float(weight) for label, weight in value.items()}


def _examples(value: Any) -> Any:
    """Accept a number of reviews, or a share of them."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError("expected a number of reviews such as 2000, or a share of them such as 0.1")
    if value <= 0 or (isinstance(value, float) and not value < 1):
        raise ValueError("expected a whole number of reviews above 0, or a share of them between 0 and 1")
    return value


def _encoding(name: str) -> str:
    """Accept a codec of text that Python knows."""
    try:
        "".encode(name)
    except LookupError:
        raise ValueError(f"unknown encoding {name!r}. Expected one such as utf-8, latin-1, cp1252 or utf-16") from None
    return name


Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Proportion = Annotated[float, Field(ge=0.0, lt=1.0)]
Count = Annotated[int, Field(ge=1)]
Examples = Annotated[Any, PlainValidator(_examples)]
Paths = Annotated[tuple[str, ...], Strict(False), BeforeValidator(lambda v: (v,) if isinstance(v, str) else v)]
Column = Annotated[str, BeforeValidator(lambda v: str(v) if type(v) is int else v)]
ProbabilityColumns = Annotated[tuple[Column, ...], Strict(False), AfterValidator(_distinct), Field(min_length=2)]
Labels = Annotated[tuple[str, ...], Strict(False), BeforeValidator(_spelt_labels), Field(min_length=2)]

FILE_SOURCES = ("files", "csv", "tsv", "jsonl", "parquet", "folder")
SOURCES = ("imdb", "imdb-wheel", "tfds:NAME", *FILE_SOURCES, "memory")


ENCODERS = (
    "pypi:minilm-l6, hf:OWNER/NAME[@REVISION], keras:PRESET, kaggle:HANDLE, tfhub:HANDLE, path:DIR or run:DIR "
    "(`tfsent encoders ls` lists some), with some of its layers alone: URI#layers=0,2,4"
)
ENCODER_SCHEMES = ("pypi", "hf", "keras", "kaggle", "tfhub", "path", "run")


def is_encoder(uri: str) -> bool:
    """Return whether this is the URI of an encoder: a known scheme and something after it."""
    return re.match(rf"({'|'.join(ENCODER_SCHEMES)}):(?!#layers=).", uri) is not None


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    @pydantic.model_validator(mode="before")
    @classmethod
    def _may_be_empty(cls, tree: Any) -> Any:
        """Accept `train:` with every key commented out as an empty section."""
        return {} if tree is None else tree


class DataConfig(_Section):
    """Which reviews, and how they are split. A number of reviews may be a share: 0.1 is a tenth of them."""

    source: str = Field(
        "imdb",
        description=f"{', '.join(SOURCES)}; files: each file's content decides; memory: data passed to tfsent.train. "
        "Where data.train is set, the default is files",
    )
    dir: str | None = Field(None, description="folder of a copy that tensorflow-datasets prepared; null: download")
    train: Paths | None = Field(None, description="files of the training reviews: paths or globs")
    validation: Paths | None = Field(None, description="files of the validation reviews; null: hold some of train out")
    test: Paths | None = Field(None, description="files of the test reviews; null: hold some of train out")
    text: Column = Field("text", description="the column of the texts")
    label: Column | ProbabilityColumns = Field(
        "label",
        description="the column of the labels; or one column of probabilities for each class, such as [negative, "
        "positive]: soft labels, and the columns name the classes",
    )
    group: Column | None = Field(
        None, description="a column such as film_id; none of its values occurs on both sides of a split"
    )
    header: Annotated[tuple[Column, ...], Strict(False), Field(min_length=1)] | None = Field(
        None, description="names of the columns of a table without a header, such as [label, text]"
    )
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = Field(
        None, description='what separates the columns of a table, such as ";" or "\\t"; null: found from the header'
    )
    quoting: Literal["double", "none"] | None = Field(
        None,
        description="double: a field may stand in double quotes, and a quote inside it is written twice; none: quotes "
        "are part of the text; null: double, and a quote that looks unbalanced is an error",
    )
    escape: Annotated[str, Field(min_length=1, max_length=1)] | None = Field(
        None, description='what stands before a quote inside a quoted field, such as "\\" in files of MySQL'
    )
    encoding: Annotated[str, AfterValidator(_encoding)] = Field(
        "utf-8", description="encoding of the files, such as latin-1, cp1252 or utf-16"
    )
    labels: Labels | None = Field(
        None, description="the classes in their order; null: the classes found in train, sorted"
    )
    errors: Literal["strict", "replace"] = Field(
        "strict", description="bytes that data.encoding does not have: refuse the file, or replace them"
    )
    train_examples: Examples | None = Field(
        None, description="training reviews, a number or a share such as 0.1; null: all that remain"
    )
    validation_examples: Examples | None = Field(
        None, description="validation reviews, a number or a share; null: a tenth of train, at most 10,000"
    )
    test_examples: Examples | None = Field(
        None,
        description="test reviews, a number or a share; null: the source's whole test split, else a tenth of train, at "
        "most 10,000",
    )
    seed: Annotated[int, Field(ge=0)] = Field(0, description="random seed of the splits")

    @property
    def is_soft(self) -> bool:
        """Whether the labels are probabilities, in a column for each class."""
        return not isinstance(self.label, str)

    @pydantic.model_validator(mode="before")
    @classmethod
    def _files_need_no_source(cls, tree: Any) -> Any:
        """Accept `train: FILE` without a source."""
        if isinstance(tree, dict) and tree.get("train") is not None and "source" not in tree:
            return {**tree, "source": "files"}
        return tree

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
        if self.is_soft and (self.source == "folder" or self.source not in (*FILE_SOURCES, "memory")):
            raise ValueError(f"source {self.source} has no columns of probabilities, so data.label cannot name several")
        if self.is_soft and self.labels is not None:
            raise ValueError("data.label names a column for each class, so data.labels cannot name the classes again")
        if self.validation is not None and self.validation_examples is not None:
            raise ValueError("data.validation_examples is how many to take out of train; data.validation names files")
        return self


class TextConfig(_Section):
    """How a review becomes token ids. Casing comes with the encoder."""

    max_tokens: Annotated[int, Field(ge=3, le=512)] = Field(
        256, description="longest row of token ids, [CLS] and [SEP] included"
    )
    truncation: Literal["head", "tail", "head_tail", "windows"] = Field(
        "head_tail",
        description="the part of a long review that is kept; windows: all of it, in overlapping rows whose answers are "
        "averaged",
    )
    head_fraction: Fraction = Field(
        0.25, description="with head_tail: share of the kept tokens that is taken from the start"
    )
    window_overlap: Proportion = Field(0.25, description="with windows: share of a row that the next row repeats")


class ModelConfig(_Section):
    """The head on the encoder."""

    pooling: Literal["mean", "cls", "pooler"] = Field(
        "mean", description="features of a review: the mean of its tokens, the [CLS] token, or BERT's pooler"
    )
    hidden_units: Annotated[tuple[Count, ...], Strict(False)] = Field(
        (), description="widths of dense layers before the logits, such as [64]"
    )
    dropout: Proportion = Field(0.1, description="dropout rate before each dense layer of the head")
    encoder_dropout: Proportion = Field(
        0.1, description="dropout rate on the encoder's hidden states; attention weights are never dropped out"
    )


REMOVED = {
    "train.ema_momentum": "a moving average of the weights gained nothing beyond noise (benchmarks/README.md)",
    "train.layer_decay": "layer-wise rate decay gained nothing beyond noise (benchmarks/README.md)",
    "train.schedule": "a cosine schedule gained nothing beyond noise (benchmarks/README.md)",
    "export.budget.int8_flips": "it is called export.mobile.max_flips",
    "export.budget.int8_accuracy_drop": "it is called export.mobile.max_accuracy_drop",
    "train.guards": "training stops only at a loss that is not a number, and reports a model that learnt nothing",
}
"""Keys that recipes of earlier versions may have, and why they were removed."""


class TrainConfig(_Section):
    """Fine-tuning."""

    epochs: Count = Field(2, description="at most this many; early stopping may end training sooner")
    batch_tokens: Annotated[int, Field(ge=16)] = Field(8192, description="tokens of a batch, padding included")
    learning_rate: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(
        6e-5, description="peak learning rate, after warm-up"
    )
    warmup_fraction: Fraction = Field(
        0.06, description="share of all steps in which the learning rate rises; then it falls linearly to 0"
    )
    weight_decay: Proportion = Field(0.01, description="weight decay of AdamW; biases and layer norms do not decay")
    clip_norm: Annotated[float, Field(gt=0.0)] = Field(1.0, description="largest global norm of the gradients")
    class_weight: Annotated[Any, PlainValidator(_class_weight)] = Field(
        None,
        description="weight of each class in the loss; balanced: classes contribute equally; or a weight per label",
    )
    calibrate: bool = Field(
        False,
        description="fit a temperature on the validation reviews after training, and fold it into the last layer: the "
        "probabilities of every form of the model then say how often it is right",
    )
    threshold: Annotated[str, Field(pattern=r"^(accuracy|f1|(precision|recall)>=(0?\.\d+|1(\.0*)?))$")] | None = Field(
        None,
        description="aim of the decision threshold of two classes, chosen on the validation reviews: accuracy, f1, "
        "precision>=0.9 or recall>=0.9, of the second class; null: the more probable class is answered",
    )
    label_smoothing: Proportion = Field(0.0, description="share of each label that is spread over all classes")
    accumulation_steps: Count = Field(
        1,
        description="batches whose gradients are averaged for one update; left-over batches at the end make none",
    )
    freeze_encoder: bool = Field(False, description="train the head alone, on features that the encoder computes once")
    select_by: Literal["accuracy", "balanced_accuracy", "macro_f1", "loss"] | None = Field(
        None,
        description="validation metric that chooses the best epoch; null: balanced_accuracy where class_weight is "
        "balanced, else accuracy",
    )
    early_stopping_patience: Count = Field(
        2, description="epochs without an improvement of select_by after which training stops"
    )
    precision: Literal["auto", "float32", "mixed_bfloat16"] = Field(
        "auto", description="auto: mixed_bfloat16 where the hardware has bfloat16"
    )
    backend: Literal["tensorflow", "jax"] = Field(
        "tensorflow", description="Keras backend of training; jax is for TPUs and several hosts"
    )
    devices: Annotated[str, Field(pattern=r"^(auto|cpu|tpu|gpu(:\d+(,\d+)*)?)$")] = Field(
        "auto", description="auto, cpu, gpu (all of them), gpu:0,1 or tpu; several devices share every batch"
    )
    jit_compile: Literal["auto", True, False] = Field(
        "auto", description="compile the training step with XLA; auto: on one GPU, and always on JAX"
    )
    checkpoint_minutes: Annotated[float, Field(ge=0.0)] = Field(5.0, description="minutes between two checkpoints")
    seed: Annotated[int, Field(ge=0, lt=2**32)] = Field(
        0, description="random seed of the head's weights, of dropout and of batches"
    )

    @property
    def selection_metric(self) -> str:
        """The validation metric that chooses the best epoch, `select_by` with its default resolved."""
        return self.select_by or ("balanced_accuracy" if self.class_weight == "balanced" else "accuracy")

    @pydantic.model_validator(mode="after")
    def _devices_can_be_had(self) -> TrainConfig:
        if self.backend == "tensorflow" and self.devices == "tpu":
            raise ValueError(
                "devices is tpu, and there is no TensorFlow for TPUs from 2.21 on. Set train.backend=jax: what JAX "
                "trains is exported by TensorFlow"
            )
        if self.backend == "jax" and self.jit_compile is False:
            raise ValueError("jit_compile is false, and JAX always trains through XLA. Leave it at auto")
        numbers = self.devices.partition(":")[2].split(",")
        if len(set(numbers)) < len(numbers):
            raise ValueError(f"devices names a device twice. Received: {self.devices!r}")
        return self


class BudgetConfig(_Section):
    """How far an exported file may stray from the trained model and still be published."""

    savedmodel_difference: Proportion = Field(
        1e-4, description="largest allowed difference of a probability in the SavedModel"
    )
    float32_difference: Proportion = Field(
        1e-4, description="largest allowed difference of a probability in the float32 .tflite file"
    )


class MobileConfig(_Section):
    """The file for phones: its size, and what it may cost."""

    quantization: Literal["auto", "float32", "float16", "int8", "int4-table", "int4"] = Field(
        "auto",
        description="how small the weights are; auto: all of them are tried on held-out reviews, and the smallest that "
        "is within the limits below and not slower ships; int4-table: int4 for the table of tokens alone",
    )
    max_accuracy_drop: Fraction = Field(0.005, description="largest allowed loss of accuracy; 0.005 is half a point")
    max_flips: Fraction = Field(0.01, description="largest allowed share of labels that the file changes")
    max_size_mb: Annotated[float, Field(gt=0.0)] | None = Field(
        None, description="largest allowed size in megabytes of 1,000,000 bytes; null: any"
    )
    vocabulary: Literal["all", "auto"] | Count = Field(
        "all",
        description="tokens that the file knows; auto: those that occur 5 times in the training reviews, and all "
        "their single characters; or how many, the most frequent ones",
    )
    lengths: Literal["auto"] | Annotated[tuple[Annotated[int, Field(ge=3)], ...], Strict(False)] = Field(
        "auto",
        description="lengths in tokens that the file has a signature for, beside text.max_tokens; auto: by the lengths "
        "of held-out reviews",
    )


SERVERS = ("2.12", "2.13", "2.14", "2.15", "2.16", "2.17", "2.18", "2.19", "2.20")


def _server(release: Any) -> Any:
    """Accept a release of TensorFlow Serving. YAML reads 2.20 as the number 2.2; there was a 2.2, too old for us."""
    spelt = f"{release:.2f}" if isinstance(release, float) else release
    if spelt not in SERVERS:
        raise ValueError(f"expected one of {', '.join(SERVERS)}")
    return spelt


class ServingConfig(_Section):
    """The SavedModel for TensorFlow Serving."""

    precision: Literal["float32", "bfloat16", "auto"] = Field(
        "float32",
        description="of the encoder; bfloat16 is half the size, and faster on CPUs that have it (AVX-512 BF16, AMX); "
        "auto: the faster on this machine that is within the limits below",
    )
    max_accuracy_drop: Fraction = Field(0.005, description="of bfloat16: largest allowed loss of accuracy")
    max_flips: Fraction = Field(0.01, description="of bfloat16: largest allowed share of labels that it changes")
    min_server: Annotated[str, BeforeValidator(_server)] = Field(
        "2.12", description="oldest release of TensorFlow Serving that must run the file, 2.12 to 2.20"
    )
    keep: Count | None = Field(
        None, description="versions that stay in export/serving, the newest ones; null: all (`tfsent export --keep`)"
    )


class DistilConfig(_Section):
    """What a model learns from a teacher (`tfsent distil`)."""

    teacher: Paths | None = Field(
        None,
        description="models that `tfsent predict` opens, whose probabilities are averaged, or tables of probabilities "
        "with the columns data.text and one for each class; null: no teacher",
    )
    unlabelled: Paths | None = Field(
        None,
        description="files of texts without labels, which the teacher labels: paths or globs; or split:NAME, a split "
        "of the recipe's own source or a part of one, such as split:unsupervised[:30000] of IMDb",
    )
    temperature: Annotated[float, Field(ge=0.1, le=100.0)] = Field(
        2.0, description="divides the scores of teacher and student where they are compared"
    )
    label_weight: Annotated[float, Field(ge=0.0)] = Field(
        0.5, description="weight of the cross-entropy with the labels"
    )
    teacher_weight: Annotated[float, Field(ge=0.0)] = Field(
        0.5, description="weight of the cross-entropy with the teacher's probabilities, times the temperature squared"
    )
    hidden_weight: Annotated[float, Field(ge=0.0)] = Field(
        0.0,
        description="weight of the mean squared difference of hidden states, through a learnt projection; the first "
        "teacher must be a run with the vocabulary of the student",
    )
    layers: Literal["auto"] | Annotated[tuple[Annotated[int, Field(ge=0)], ...], Strict(False)] = Field(
        "auto",
        description="with hidden_weight: the teacher's layer, counted from 0, for each layer of the student; auto: "
        "evenly spread, the last for the last",
    )

    @pydantic.model_validator(mode="after")
    def _something_is_learnt(self) -> DistilConfig:
        if self.teacher is not None and not self.teacher_weight:
            raise ValueError("distil.teacher_weight is 0: nothing would be learnt from the teacher's probabilities")
        if self.layers != "auto" and not self.hidden_weight:
            raise ValueError("distil.layers is for hidden states, and distil.hidden_weight is 0")
        return self


class ExportConfig(_Section):
    """How exported files are verified."""

    verify_examples: Count = Field(1000, description="test reviews on which each exported file is run")
    budget: BudgetConfig = BudgetConfig()
    serving: ServingConfig = ServingConfig()
    mobile: MobileConfig = MobileConfig()


class Config(_Section):
    """A whole recipe."""

    data: DataConfig = DataConfig()
    encoder: str = Field("pypi:minilm-l6", description="URI of the pretrained encoder (`tfsent encoders ls`)")
    text: TextConfig = TextConfig()
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()
    distil: DistilConfig = DistilConfig()
    export: ExportConfig = ExportConfig()

    @pydantic.model_validator(mode="after")
    def _hidden_states_are_trained(self) -> Config:
        if self.distil.teacher is not None and self.distil.hidden_weight and self.train.freeze_encoder:
            raise ValueError(
                "train.freeze_encoder trains the head alone, so distil.hidden_weight has no hidden states to change"
            )
        return self

    @pydantic.field_validator("encoder")
    @classmethod
    def _encoder_has_a_scheme(cls, uri: str) -> str:
        if not is_encoder(uri):
            raise ValueError(f"expected {ENCODERS}")
        split_layers(uri)
        return uri
