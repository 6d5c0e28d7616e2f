"""Recipes: YAML plus `--set a.b=v` → a validated `Config`, and back.

A recipe names only the keys it changes; a run keeps the resolved copy. All faults of a recipe are reported together.
"""

from __future__ import annotations

import re
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pydantic
import yaml

from tfsent.errors import ConfigError, did_you_mean
from tfsent.recipe.schema import FILE_SOURCES, Config


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
    package = Path(__file__).parents[1]
    # In an installed wheel the recipes lie in the package; in a checkout in configs/.
    folder = next(place for place in (package / "configs", package.parent / "configs") if place.is_dir())
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
    raise ConfigError(f"No recipe is called {name!r}.{did_you_mean(name, known)} `tfsent recipes ls` lists them.")


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
        return f"{where}: unknown key.{did_you_mean(str(details['loc'][-1]), _siblings(details['loc']))}"
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
    sections: dict[str, Any] = {n: field.annotation for n, field in Config.model_fields.items() if _is_section(n)}
    return next((f"{name}.{key}" for name, section in sections.items() if key in section.model_fields), None)


def _siblings(location: tuple[int | str, ...]) -> list[str]:
    """The keys that exist where an unknown key stands."""
    section: Any = Config
    for part in location[:-1]:
        section = section.model_fields[str(part)].annotation
    return list(section.model_fields)


def to_yaml(config: Config) -> str:
    """The resolved recipe, every key listed."""
    return yaml.dump(config.model_dump(mode="json"), Dumper=_Dumper, sort_keys=False)


def with_settings(config: Config, settings: Mapping[str, Any]) -> Config:
    """The recipe with some keys, such as `train.epochs`, replaced."""
    tree = config.model_dump(mode="json")
    for name, value in settings.items():
        section, key = name.split(".")
        tree[section][key] = value
    return Config.model_validate(tree)
