"""What goes into a training: recipes, data, tokens, encoders."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfsent import backend
from tfsent.errors import ConfigError

if TYPE_CHECKING:
    from tfsent.data.statistics import DataStatistics
    from tfsent.encoders.catalogue import Entry
    from tfsent.encoders.loader import Encoder
    from tfsent.encoders.report import EncoderReport
    from tfsent.recipe.reference import Key
    from tfsent.recipe.schema import Config
    from tfsent.text.tokenizer import Tokenizer


def list_recipes() -> dict[str, Path]:
    """Return the recipes that tfsent ships, by name."""
    from tfsent.recipe.loader import recipes

    return recipes()


def describe_recipe(path: Path) -> str:
    """Return the first comment line of a recipe."""
    from tfsent.recipe.loader import describe_recipe

    return describe_recipe(path)


def copy_recipe(name: str, target: str | Path = "") -> Path:
    """Copy a recipe to change it.

    Args:
        name: of a recipe, or a path to one.
        target: a file, or a folder; by default the current folder.

    Returns:
        The file that was written.

    Raises:
        ConfigError: there is no such recipe, or the target exists.
    """
    from tfsent.recipe.loader import find_recipe
    from tfsent.storage.atomic import write_text

    source = find_recipe(name)
    if str(target).endswith("/") and not Path(target).is_dir():
        raise ConfigError(f"{target} does not exist. Make the folder first, or name a file.")
    path = Path(target) / source.name if Path(target).is_dir() else Path(target)
    if path.exists():
        raise ConfigError(f"{path} exists already. Name another target.")
    write_text(path, source.read_text(encoding="utf-8"))
    return path


def load_recipe(recipe: Any, overrides: Any = (), *, data_in_memory: bool = False) -> Config:
    """Read and validate a recipe.

    Args:
        recipe: the name of a recipe, a path to a YAML file, a dict of sections, or a `Config`.
        overrides: keys to change, as `{"train.epochs": 3}` or as `["train.epochs=3"]`.
        data_in_memory: set `data.source` to `memory`: the caller passes the reviews.

    Raises:
        ConfigError: names every fault at once.
    """
    from tfsent.recipe.loader import load_config

    own = ["data.source=memory", *(f"data.{key}=null" for key in ("dir", "train", "validation", "test"))]
    return load_config(recipe, [*(own if data_in_memory else ()), *as_words(overrides)])


def resolved_recipe(recipe: Any, overrides: Any = ()) -> str:
    """Return a recipe as YAML, with every key.

    Args:
        recipe, overrides: see `load_recipe`.

    Raises:
        ConfigError: names every fault at once.
    """
    from tfsent.recipe.loader import to_yaml

    return to_yaml(load_recipe(recipe, overrides))


def recipe_keys() -> list[Key]:
    """Return every key of a recipe with its default, its limits and its meaning."""
    from tfsent.recipe.reference import keys

    return keys()


def as_words(overrides: Any) -> list[str]:
    """Return overrides as `--set` takes them.

    Raises:
        ConfigError: `overrides` is one string.
    """
    if isinstance(overrides, Mapping):
        return [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in overrides.items()]  # JSON is YAML
    if isinstance(overrides, str):
        raise ConfigError(
            f"Overrides are a dict or a list, such as {{'train.epochs': 3}} or ['train.epochs=3']. "
            f"Received: {overrides!r}."
        )
    return list(overrides)


def inspect_data(source: Any, overrides: Any = (), *, png: str | Path | None = None) -> DataStatistics:
    """Count classes, lengths and duplicates of a recipe's data, or of a file.

    Args:
        source: a recipe, see `train`; or a path to a file or folder of reviews, which is read as recipe `imdb` would.
        overrides: see `train`.
        png: where to draw classes and lengths; None draws nothing.

    Returns:
        The statistics. Lengths are in tokens of the recipe's encoder.

    Raises:
        DataError: the reviews cannot be read.
        TfsentError: see `train`.
    """
    config = load_recipe(*_of_file(source, as_words(overrides)))
    backend.use("tensorflow")
    from tfsent.data import statistics
    from tfsent.data.reading import load_parts
    from tfsent.encoders.loader import load_encoder
    from tfsent.storage import atomic
    from tfsent.text.token_store import tokenize_all
    from tfsent.text.tokenizer import Tokenizer
    from tfsent.text.unknown import count_unknown, some
    from tfsent.training.engine.setup import text_spec

    parts = load_parts(config.data)  # before the encoder, which may have to be downloaded
    encoder = load_encoder(config.encoder)
    tokenizer = Tokenizer(text_spec(config.text, encoder), encoder.vocabulary)
    tokens = tokenize_all(tokenizer, parts["train"].texts)
    unknown = count_unknown(some(tokens), tokenizer.unk_id)
    unknown.warn("Training reviews")
    found = statistics.statistics(parts, tokens.review_lengths, (unknown.tokens, unknown.texts))
    if png is not None:
        with atomic.replacing(Path(png)) as staged:
            statistics.plot(found, staged)
    return found


def open_tokenizer(source: str, overrides: Any = ()) -> Tokenizer:
    """Open the tokenizer of a run, or of an encoder with the settings of recipe `imdb`.

    Args:
        source: a run directory or the URI of an encoder.
        overrides: keys below `text.` to change; only of an encoder.

    Returns:
        The tokenizer. `explain(text)` shows the tokens of a text.

    Raises:
        ConfigError: overrides are given for a run, whose text specification is fixed by its training.
        TfsentError: there is no such run or encoder.
    """
    from tfsent.recipe.schema import is_encoder

    config = load_recipe("imdb", overrides).text
    backend.use("tensorflow")
    from tfsent.encoders.loader import load_encoder
    from tfsent.storage.run_directory import require_run
    from tfsent.text.tokenizer import Tokenizer
    from tfsent.training.engine.setup import text_spec

    if is_encoder(source):
        encoder = load_encoder(source)
        return Tokenizer(text_spec(config, encoder), encoder.vocabulary)
    if words := as_words(overrides):
        raise ConfigError(
            f"A run's text specification is fixed by its training; --set is for encoders. Received: {words[0]}."
        )
    return Tokenizer.load(require_run(source) / "model")


def list_encoders() -> list[tuple[Entry, bool]]:
    """Return the encoders worth knowing, each with whether it is on this machine already."""
    from tfsent.encoders import catalogue, hubs

    return [(entry, hubs.cached(entry.uri)) for entry in catalogue.ENTRIES]


def fetch_encoder(uri: str) -> Encoder:
    """Download an encoder, open it, and record the SHA-256 of its files.

    Args:
        uri: such as `hf:google-bert/bert-base-uncased`; see `tfsent encoders ls`.

    Raises:
        EncoderError: the checkpoint cannot be used, or its files are not those that were recorded.
        AssetError: the download failed.
    """
    backend.use("tensorflow")
    from tfsent.encoders.loader import load_encoder

    return load_encoder(uri, ask_hub=True)


def check_encoder(uri: str) -> EncoderReport:
    """Open an encoder and compare its files with what was recorded.

    Args:
        uri: see `fetch_encoder`.

    Raises:
        EncoderError: a file is not what was recorded.
        AssetError: the download failed.
    """
    backend.use("tensorflow")
    from tfsent.encoders.report import check_encoder

    return check_encoder(uri)


def _of_file(source: Any, overrides: list[str]) -> tuple[Any, list[str]]:
    """Turn the path of a data file into recipe `imdb` with that file."""
    from tfsent.recipe.loader import is_data

    if not isinstance(source, (str, Path)) or not is_data(str(source)):
        return source, overrides
    return "imdb", [f"data.train={json.dumps(str(source), ensure_ascii=False)}", *overrides]
