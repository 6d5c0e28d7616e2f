"""Recipes: YAML and overrides such as `train.epochs=3` → a validated `Config`, and back.

A recipe names only the keys that it changes. A run keeps the resolved copy. All faults of a recipe are reported
together.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pydantic
from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import YAMLError
from ruamel.yaml.representer import SafeRepresenter

from tfsent.errors import ConfigError, did_you_mean
from tfsent.recipe.schema import FILE_SOURCES, REMOVED, Config

DATA_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet", ".gz", ".tar", ".tgz", ".zip", ".xlsx")


class _Words(SafeConstructor):
    """Reads a date as a word: a folder or a label may be called 2024-06-01."""


_Words.add_constructor("tag:yaml.org,2002:timestamp", SafeConstructor.construct_yaml_str)


class _Escaped(SafeRepresenter):
    """Escapes what a line of text cannot hold, such as U+0085, which YAML reads as a line break."""


def _represent(representer: SafeRepresenter, text: str) -> Any:
    return representer.represent_scalar("tag:yaml.org,2002:str", text, style=None if text.isprintable() else '"')


_Escaped.add_representer(str, _represent)


def _yaml() -> YAML:
    """Return a reader and writer of YAML 1.2: `6e-5` is a number, `no` is a word, a duplicate key is an error."""
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor, yaml.Representer = _Words, _Escaped
    yaml.default_flow_style = False  # type: ignore[assignment]
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.width = 4096  # a long label stays on one line
    return yaml


def recipes() -> dict[str, Path]:
    """Return the recipes that tfsent ships, by name."""
    package = Path(__file__).parents[1]
    # In an installed wheel the recipes are in the package, in a checkout in configs/.
    folder = next(place for place in (package / "configs", package.parent / "configs") if place.is_dir())
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find_recipe(name: str) -> Path:
    """Return the file of a recipe.

    Args:
        name: of a recipe, or a path to a YAML file.

    Raises:
        ConfigError: there is none.
    """
    known = recipes()
    if name in known:
        return known[name]
    path = Path(name)
    if (path / "config.yaml").is_file():
        raise ConfigError(f"{name} is a run, not a recipe. Its recipe is {path / 'config.yaml'}.")
    if is_data(name):
        raise ConfigError(f"{name} is data, not a recipe. To train on it: tfsent train imdb --set data.train={name}")
    if path.is_file():
        return path
    if path.suffix in (".yaml", ".yml") or "/" in name:
        raise ConfigError(f"No recipe file at {name!r}. Expected a YAML file, or one of: {', '.join(known)}.")
    raise ConfigError(f"No recipe is called {name!r}.{did_you_mean(name, known)} `tfsent recipes ls` lists them.")


def is_data(name: str) -> bool:
    """Return whether a name is of data, not of a recipe: a folder, a file that is not YAML, or an ending of data."""
    path = Path(name)
    if name in recipes() or path.suffix in (".yaml", ".yml"):
        return False
    return path.exists() or path.suffix.lower() in DATA_SUFFIXES or any(parent.is_file() for parent in path.parents)


def describe_recipe(path: Path) -> str:
    """Return the first comment line of a recipe, which says what it is for."""
    first = path.read_text(encoding="utf-8").splitlines()[0]
    return first.lstrip("# ")


def load_config(recipe: str | Path | Mapping[str, Any] | Config, overrides: Sequence[str] = ()) -> Config:
    """Read a recipe, apply overrides and validate the result.

    Args:
        recipe: a name, a path to a YAML file, a dict of sections, or a `Config`.
        overrides: such as `train.epochs=3`; the value is YAML.

    Raises:
        ConfigError: names every fault at once.
    """
    tree = _tree(recipe)
    for override in overrides:
        _apply(tree, override)
    _take_files(tree, overrides)
    try:
        return Config.model_validate(tree)
    except pydantic.ValidationError as error:
        faults = "\n".join(f"  {_fault(details)}" for details in error.errors())
        name = recipe if isinstance(recipe, str | Path) else "The recipe"
        changed = f", with {' '.join(f'--set {override}' for override in overrides)}," if overrides else ""
        raise ConfigError(f"{name}{changed} is not a valid recipe:\n{faults}") from None


def _take_files(tree: dict[str, Any], overrides: Sequence[str]) -> None:
    """Let `--set data.train=FILE` replace the source of a recipe that has reviews of its own."""
    keys = {override.partition("=")[0].strip() for override in overrides}
    data = tree.get("data")
    if "data.train" not in keys or "data.source" in keys or not isinstance(data, dict):
        return
    if data.get("train") is not None and data.get("source") not in FILE_SOURCES:
        data["source"] = "files"
        data.pop("dir", None)


def _tree(recipe: str | Path | Mapping[str, Any] | Config) -> dict[str, Any]:
    """Return a recipe as nested dicts that may be changed."""
    if isinstance(recipe, Config):
        return recipe.model_dump(mode="json")
    if isinstance(recipe, Mapping):
        return copy.deepcopy(dict(recipe))
    path = find_recipe(str(recipe))
    try:
        tree = _yaml().load(path.read_text(encoding="utf-8"))
    except (YAMLError, ValueError) as error:
        fault = str(error).partition("\n\nTo suppress")[0]  # ruamel.yaml's advice is for programmers
        raise ConfigError(f"{path} is not valid YAML: {fault}") from error
    tree = {} if tree is None else tree
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: expected sections such as `train:`. Received: {_shown(tree)}.")
    return tree


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
        # `*.csv` is a glob here. YAML takes it for an alias, and one value has nothing to refer to.
        tree[last] = value if value.startswith("*") else _yaml().load(value)
    except (YAMLError, ValueError) as error:
        raise ConfigError(f"--set {override}: the value is not valid YAML: {error}") from error


def _fault(details: Any) -> str:
    where = ".".join(str(part) for part in details["loc"])
    if where in REMOVED:
        return f"{where} was removed: {REMOVED[where]}. Delete the key."
    if details["type"] == "extra_forbidden" and (key := _elsewhere(where)):
        return f"{where}: unknown key. Did you mean {key!r}?"
    if details["type"] == "extra_forbidden":
        return f"{where}: unknown key.{did_you_mean(str(details['loc'][-1]), _siblings(details['loc']))}"
    if details["type"] == "value_error":
        # The error names the key; the whole section would not help.
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
    """Return the beginning of what was received."""
    shown = repr(value)
    return shown if len(shown) <= 100 else f"{shown[:99]}…"


def _elsewhere(key: str) -> str | None:
    """Return `train.epochs` for `epochs`: the section was forgotten."""
    sections: dict[str, Any] = {n: field.annotation for n, field in Config.model_fields.items() if _is_section(n)}
    return next((f"{name}.{key}" for name, section in sections.items() if key in section.model_fields), None)


def _siblings(location: tuple[int | str, ...]) -> list[str]:
    """Return the keys that exist in the section of an unknown key."""
    section: Any = Config
    for part in location[:-1]:
        section = section.model_fields[str(part)].annotation
    return list(section.model_fields)


def to_yaml(config: Config) -> str:
    """Return the resolved recipe as YAML, with every key."""
    out = io.StringIO()
    _yaml().dump(config.model_dump(mode="json"), out)
    return out.getvalue()


def with_settings(config: Config, settings: Mapping[str, Any]) -> Config:
    """Return the recipe with some keys replaced, such as `{"train.epochs": 3}`."""
    tree = config.model_dump(mode="json")
    for name, value in settings.items():
        section, key = name.split(".")
        tree[section][key] = value
    return Config.model_validate(tree)
