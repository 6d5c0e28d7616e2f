"""Recipes: YAML plus `--set a.b=v`, validated into frozen models before TensorFlow is loaded.

Defaults live here and nowhere else. A recipe names only the keys it changes; a run keeps the
resolved copy. All faults of a recipe are reported together.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import pydantic
import yaml
from pydantic import BaseModel, ConfigDict, Field, Strict

from tfsent.errors import ConfigError

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Rate = Annotated[float, Field(ge=0.0, lt=1.0)]
Count = Annotated[int, Field(ge=1)]


def is_encoder(uri: str) -> bool:
    """Whether this is an encoder's URI: a scheme of ours and something behind it."""
    return re.match(r"(pypi|path|hf|keras):.", uri) is not None


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class DataConfig(_Section):
    """Which reviews, and how they are split. The counts are reviews."""

    source: Literal["imdb", "imdb-wheel"] = Field("imdb", description="see the table in data.py")
    dir: str | None = Field(None, description="folder with a copy prepared by tensorflow-datasets")
    train_examples: Count | None = Field(None, description="null: all that remain")
    validation_examples: Count = Field(2500, description="taken out of the training reviews")
    test_examples: Count | None = Field(
        None, description="null: the whole official test split; a source without one needs a number"
    )
    seed: int = Field(0, description="of the splits")

    @pydantic.model_validator(mode="after")
    def _wheel_has_no_test_split(self) -> DataConfig:
        if self.source == "imdb-wheel" and self.test_examples is None:
            raise ValueError(
                "imdb-wheel has no official test split; set data.test_examples to how many reviews to hold out of train"
            )
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
    """Fine-tuning: AdamW, linear warm-up and decay."""

    epochs: Count = Field(2, description="at most; early stopping may end sooner")
    batch_tokens: Annotated[int, Field(ge=16)] = Field(8192, description="tokens a batch, padding counted in")
    learning_rate: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(6e-5, description="the peak, after warm-up")
    warmup_fraction: Fraction = Field(0.06, description="share of all steps over which the rate rises")
    weight_decay: Rate = Field(0.01, description="AdamW's; biases and layer norms are spared")
    clip_norm: Annotated[float, Field(gt=0.0)] = Field(1.0, description="of all gradients together")
    early_stopping_patience: Count = Field(2, description="epochs without a better validation accuracy")
    precision: Literal["auto", "float32", "mixed_bfloat16"] = Field("auto", description="auto: bfloat16 where native")
    seed: int = Field(0, description="of weights, dropout and batches")


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
    encoder: str = Field("pypi:minilm-l6", description="a URI; see the table in encoders.py")
    text: TextConfig = TextConfig()
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()
    export: ExportConfig = ExportConfig()

    @pydantic.field_validator("encoder")
    @classmethod
    def _encoder_has_a_scheme(cls, uri: str) -> str:
        if not is_encoder(uri):
            raise ValueError("expected pypi:minilm-l6, path:DIR, hf:OWNER/NAME or keras:PRESET")
        return uri

    def to_yaml(self) -> str:
        """The resolved recipe, every key spelt out."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


class _Loader(yaml.SafeLoader):
    """YAML 1.1 reads `6e-5` as a string; YAML 1.2 and everyone who writes a learning rate reads a number."""


_Loader.add_implicit_resolver(
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
    if path.is_file():
        return path
    if path.suffix in (".yaml", ".yml") or "/" in name:
        raise ConfigError(f"No recipe file at {name!r}. Expected a YAML file, or one of: {', '.join(known)}.")
    raise ConfigError(f"No recipe is called {name!r}.{_did_you_mean(name, known)} `tfsent recipes ls` lists them.")


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
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
    tree = {} if tree is None else tree
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: expected sections such as `train:`. Received: {tree!r}.")
    # `train:` with every key commented out is an empty section, not a fault.
    tree = {key: {} if value is None and _is_section(key) else value for key, value in tree.items()}
    for override in overrides:
        _apply(tree, override)
    try:
        return Config.model_validate(tree)
    except pydantic.ValidationError as error:
        faults = "\n".join(f"  {_fault(details)}" for details in error.errors())
        raise ConfigError(f"{path} is not a valid recipe:\n{faults}") from None


def _is_section(key: Any) -> bool:
    return key in Config.model_fields and key != "encoder"


def _apply(tree: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not all(key.split(".")):
        raise ConfigError(f"--set expects section.key=value, such as train.epochs=2. Received: {override!r}.")
    *sections, last = key.strip().split(".")
    for section in sections:
        inner = tree.setdefault(section, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"--set {override}: {section!r} is a value and not a section.")
        tree = inner
    try:
        tree[last] = yaml.load(value, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {override}: the value is not valid YAML: {error}") from error


def _fault(details: Any) -> str:
    where = ".".join(str(part) for part in details["loc"])
    if details["type"] == "extra_forbidden":
        return f"{where}: unknown key.{_did_you_mean(str(details['loc'][-1]), _siblings(details['loc']))}"
    if details["type"] == "value_error":
        return f"{where}: {details['ctx']['error']}. Received: {details['input']!r}."
    words = {"tuple_type": "Input should be a list, such as [64]", "model_type": "Input should be a section with keys"}
    return f"{where}: {words.get(details['type'], details['msg'])}. Received: {details['input']!r}."


def _siblings(location: tuple[int | str, ...]) -> list[str]:
    """The keys that exist where an unknown key stands."""
    section: type[BaseModel] = Config
    for part in location[:-1]:
        annotation = section.model_fields[str(part)].annotation
        candidates = [annotation, *get_args(annotation)]
        section = next(c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel))
    return list(section.model_fields)


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    known = list(known)
    close = difflib.get_close_matches(word, known, n=1)
    return f" Did you mean {close[0]!r}?" if close else f" Expected one of: {', '.join(known)}."
