"""Recipes: YAML plus `--set a.b=v`, validated into frozen models before TensorFlow is loaded.

Defaults live here and nowhere else. A recipe names only the keys it changes; a run keeps the
resolved copy. All faults of a recipe are reported together.
"""

from __future__ import annotations

import difflib
import re
import zipfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import pydantic
import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, Strict

from tfsent.errors import ConfigError


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
Rate = Annotated[float, Field(ge=0.0, lt=1.0)]
Count = Annotated[int, Field(ge=1)]
Examples = Annotated[Any, PlainValidator(_examples)]
Paths = Annotated[tuple[str, ...], Strict(False), BeforeValidator(lambda v: (v,) if isinstance(v, str) else v)]
Labels = Annotated[tuple[str, ...], Strict(False), BeforeValidator(_spelt_labels), Field(min_length=2)]

FILE_SOURCES = ("csv", "tsv", "jsonl", "parquet", "folder")
SOURCES = ("imdb", "imdb-wheel", "tfds:NAME", *FILE_SOURCES)


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

    source: str = Field("imdb", description=f"{', '.join(SOURCES)}; see the table in sources.py")
    dir: str | None = Field(None, description="folder with a copy prepared by tensorflow-datasets")
    train: Paths | None = Field(None, description="files of the reviews to learn from: paths or globs")
    validation: Paths | None = Field(None, description="null: taken out of the training reviews")
    test: Paths | None = Field(None, description="null: taken out of the training reviews")
    text: str = Field("text", description="the column of the texts")
    label: str = Field("label", description="the column of the labels")
    group: str | None = Field(None, description="a column such as film_id: none of its values is on both sides")
    labels: Labels | None = Field(None, description="the classes in their order; null: those found, sorted")
    errors: Literal["strict", "replace"] = Field("strict", description="what to do with bytes that are not UTF-8")
    train_examples: Examples | None = Field(None, description="null: all that remain")
    validation_examples: Examples | None = Field(None, description="null: a tenth of train, at most 10,000")
    test_examples: Examples | None = Field(
        None, description="null: the source's whole test split, or where it has none a tenth of train, at most 10,000"
    )
    seed: Annotated[int, Field(ge=0)] = Field(0, description="of the splits")

    @pydantic.model_validator(mode="after")
    def _files_belong_to_file_sources(self) -> DataConfig:
        if self.source not in SOURCES and not self.source.startswith("tfds:"):
            raise ValueError(f"unknown source {self.source!r}.{_did_you_mean(self.source, SOURCES)}")
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
    window_overlap: Rate = Field(0.25, description="share of a window that the next one repeats (windows)")


class ModelConfig(_Section):
    """What stands on the encoder."""

    pooling: Literal["mean", "cls", "pooler"] = Field(
        "mean", description="over the real tokens, [CLS], or BERT's pooler"
    )
    hidden_units: Annotated[tuple[Count, ...], Strict(False)] = Field((), description="dense layers before the logits")
    dropout: Rate = Field(0.1, description="before each dense layer")
    encoder_dropout: Rate = Field(0.1, description="on the encoder's hidden states")


class TrainConfig(_Section):
    """Fine-tuning: AdamW, warm-up and decay."""

    epochs: Count = Field(2, description="at most; early stopping may end sooner")
    batch_tokens: Annotated[int, Field(ge=16)] = Field(8192, description="tokens a batch, padding counted in")
    learning_rate: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(6e-5, description="the peak, after warm-up")
    warmup_fraction: Fraction = Field(0.06, description="share of all steps over which the rate rises")
    schedule: Literal["linear", "cosine"] = Field("linear", description="how the rate falls after warm-up")
    layer_decay: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        1.0, description="learning rate of an encoder layer as a share of that of the layer above it"
    )
    weight_decay: Rate = Field(0.01, description="AdamW's; biases and layer norms are spared")
    clip_norm: Annotated[float, Field(gt=0.0)] = Field(1.0, description="of all gradients together")
    class_weight: Annotated[Any, PlainValidator(_class_weight)] = Field(
        None, description="balanced: rare classes weigh more, all classes alike; or a weight per label"
    )
    label_smoothing: Rate = Field(0.0, description="share of a label that is spread over all classes")
    ema_momentum: Rate = Field(0.0, description="0.999: evaluate and keep a moving average of the weights; 0: do not")
    accumulation_steps: Count = Field(1, description="batches whose gradients are averaged for one update")
    freeze_encoder: bool = Field(False, description="train the head alone, on what the encoder makes of each text once")
    early_stopping_patience: Count = Field(2, description="epochs without a better validation accuracy")
    guards: bool = Field(True, description="end a training that explodes, collapses onto one class or learns nothing")
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

    @pydantic.model_validator(mode="after")
    def _devices_can_be_had(self) -> TrainConfig:
        if self.backend == "tensorflow" and self.devices == "tpu":
            raise ValueError(
                "devices is tpu, and there is no TensorFlow for TPUs from 2.21 on. Set train.backend=jax: what it "
                "trains is exported by TensorFlow all the same"
            )
        numbers = self.devices.partition(":")[2].split(",")
        if len(set(numbers)) < len(numbers):
            raise ValueError(f"devices names one of them twice. Received: {self.devices!r}")
        return self


class BudgetConfig(_Section):
    """How far an exported file may stray from the trained model before it is not published."""

    savedmodel_difference: Rate = Field(1e-4, description="largest difference of a probability")
    float32_difference: Rate = Field(1e-4, description="largest difference of a probability")
    int8_flips: Fraction = Field(0.01, description="share of reviews whose label changes")
    int8_accuracy_drop: Fraction = Field(0.005, description="0.005 is half a point")


class ExportConfig(_Section):
    """What is exported, and on how many held-out reviews it is proved."""

    verify_examples: Count = Field(1000, description="drawn from the test split")
    budget: BudgetConfig = BudgetConfig()


class Config(_Section):
    """A whole recipe."""

    data: DataConfig = DataConfig()
    encoder: str = Field("pypi:minilm-l6", description="a URI; see the table in hubs.py")
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

    def to_yaml(self) -> str:
        """The resolved recipe, every key spelt out."""
        return yaml.dump(self.model_dump(mode="json"), Dumper=_Dumper, sort_keys=False)


class _Loader(yaml.SafeLoader):
    """YAML 1.1 reads `6e-5` as a string and the label `no` as false; YAML 1.2 and everyone who writes them does not.

    And a key that stands there twice is a mistake: PyYAML would take the second without a word.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {twice[0]!r} stands there twice", node.start_mark
            )
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":bool", ":timestamp"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)


class _Dumper(yaml.SafeDumper):
    """Puts into quotes what `_Loader` would read as a number, such as the label `7E5`."""


for _reader_or_writer in (_Loader, _Dumper):
    _reader_or_writer.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
    )


def recipes() -> dict[str, Path]:
    """The recipes tfsent ships, by name."""
    package = Path(__file__).parent
    # In an installed wheel the recipes lie in the package; in a checkout in configs/.
    folder = package / "recipes" if (package / "recipes").is_dir() else package.parent / "configs"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find_recipe(name: str) -> Path:
    """The file of a recipe given by name, or by a path to a YAML file.

    Raises:
        ConfigError: there is none.
    """
    known = recipes()
    if name in known:
        return known[name]
    path = Path(name)
    if (kind := source_of(name)) is not None:
        raise ConfigError(
            f"{name} is data and no recipe. To learn from it: tfsent train imdb --set data.source={kind} --set "
            f"data.train={name}"
        )
    if path.is_file():
        return path
    if path.suffix in (".yaml", ".yml") or "/" in name:
        raise ConfigError(f"No recipe file at {name!r}. Expected a YAML file, or one of: {', '.join(known)}.")
    raise ConfigError(f"No recipe is called {name!r}.{_did_you_mean(name, known)} `tfsent recipes ls` lists them.")


def source_of(path: str) -> str | None:
    """The kind of source a path to data is, by its name: None for a recipe, or what is none of ours."""
    if path in recipes():
        return None
    if Path(path).is_dir():
        return "folder"
    name = Path(path.lower())
    packed = name.suffix in (".gz", ".zip")
    kind = (Path(name.stem) if packed else name).suffix[1:]
    if kind in FILE_SOURCES:
        return kind
    return _kind_in_zip(path) if name.suffix == ".zip" else None


def _kind_in_zip(path: str) -> str | None:
    """What a zip holds most of."""
    try:
        with zipfile.ZipFile(path) as archive:
            found = Counter(Path(name).suffix[1:].lower() for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return None
    kinds = {kind: found["txt" if kind == "folder" else kind] for kind in FILE_SOURCES}
    return max(kinds, key=kinds.__getitem__) if any(kinds.values()) else None


def describe_recipe(path: Path) -> str:
    """The first comment line of a recipe: what it is for."""
    first = path.read_text(encoding="utf-8").splitlines()[0]
    return first.lstrip("# ")


def load_config(recipe: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a recipe, lay `a.b=value` overrides over it and validate the whole.

    Raises:
        ConfigError: naming every fault at once.
    """
    path = find_recipe(str(recipe))
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
    tree = {} if tree is None else tree
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: expected sections such as `train:`. Received: {_shown(tree)}.")
    for override in overrides:
        _apply(tree, override)
    try:
        return Config.model_validate(tree)
    except pydantic.ValidationError as error:
        faults = "\n".join(f"  {_fault(details)}" for details in error.errors())
        changed = f", with {' '.join(f'--set {override}' for override in overrides)}," if overrides else ""
        raise ConfigError(f"{recipe}{changed} is not a valid recipe:\n{faults}") from None


def _is_section(key: Any) -> bool:
    return key in Config.model_fields and key != "encoder"


def _apply(tree: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not all(key.split(".")):
        raise ConfigError(f"--set expects section.key=value, such as train.epochs=2. Received: {override!r}.")
    *sections, last = key.strip().split(".")
    for section in sections:
        if tree.get(section) is None:
            tree[section] = {}
        inner = tree[section]
        if not isinstance(inner, dict):
            raise ConfigError(f"--set {override}: {section!r} is a value and not a section.")
        tree = inner
    try:
        # `*.csv` is a glob here; to YAML it would be an alias, and in one value there is nothing to point at.
        tree[last] = value if value.startswith("*") else yaml.load(value, Loader=_Loader)
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"--set {override}: the value is not valid YAML: {error}") from error


def _fault(details: Any) -> str:
    where = ".".join(str(part) for part in details["loc"])
    if details["type"] == "extra_forbidden" and (key := _elsewhere(where)):
        return f"{where}: unknown key. Did you mean {key!r}?"
    if details["type"] == "extra_forbidden":
        return f"{where}: unknown key.{_did_you_mean(str(details['loc'][-1]), _siblings(details['loc']))}"
    if details["type"] == "value_error":
        # A whole section is no use to read; the error names its keys.
        received = "" if isinstance(details["input"], dict) else f" Received: {_shown(details['input'])}."
        said = str(details["ctx"]["error"])
        return f"{where}: {said}{'' if said.endswith(('?', '.')) else '.'}{received}"
    words = {"tuple_type": "Input should be a list, such as [64]", "model_type": "Input should be a section with keys"}
    if details["type"] == "too_short":
        words["too_short"] = f"Expected at least {details['ctx']['min_length']} of them"
    if where == "train.devices":
        words["string_pattern_mismatch"] = words["string_type"] = "Expected auto, cpu, gpu, gpu:0,1 or tpu"
    return f"{where}: {words.get(details['type'], details['msg'])}. Received: {_shown(details['input'])}."


def _shown(value: Any) -> str:
    """As much of what was received as a person reads."""
    shown = repr(value)
    return shown if len(shown) <= 100 else f"{shown[:99]}…"


def _elsewhere(key: str) -> str | None:
    """`train.epochs` for `epochs`: the section was forgotten."""
    sections = {name: field.annotation for name, field in Config.model_fields.items() if _is_section(name)}
    return next((f"{name}.{key}" for name, section in sections.items() if key in _keys(section)), None)


def _siblings(location: tuple[int | str, ...]) -> list[str]:
    """The keys that exist where an unknown key stands."""
    section: type[BaseModel] = Config
    for part in location[:-1]:
        annotation = section.model_fields[str(part)].annotation
        candidates = [annotation, *get_args(annotation)]
        section = next(c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel))
    return _keys(section)


def _keys(section: Any) -> list[str]:
    return list(section.model_fields)


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    known = list(known)
    close = difflib.get_close_matches(word, known, n=1)
    return f" Did you mean {close[0]!r}?" if close else f" Expected one of: {', '.join(known)}."
