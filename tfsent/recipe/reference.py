"""What each key of a recipe means, for `tfsent config keys` and docs/recipes.md."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from tfsent.recipe.schema import Config


class Key(NamedTuple):
    """A key of a recipe."""

    name: str
    """As `--set` takes it, such as `train.epochs`."""
    default: str
    """As YAML."""
    values: str
    """The allowed values, or their limits; empty where the meaning says it."""
    meaning: str


def keys() -> list[Key]:
    """Return all keys, in the order of a recipe."""
    schema = Config.model_json_schema()
    return list(_of_section(schema, schema["$defs"], ""))


def _of_section(section: dict[str, Any], sections: dict[str, Any], prefix: str) -> Iterator[Key]:
    for name, field in section["properties"].items():
        if "$ref" in field:
            yield from _of_section(sections[field["$ref"].rpartition("/")[2]], sections, f"{prefix}{name}.")
        else:
            yield Key(f"{prefix}{name}", json.dumps(field["default"]), _values(field), field.get("description", ""))


def _values(field: dict[str, Any]) -> str:
    """Return the limits of a field in JSON Schema, in a few words."""
    if "enum" in field:
        return ", ".join(value if isinstance(value, str) else json.dumps(value) for value in field["enum"])
    if field.get("type") == "boolean":
        return "true, false"
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    return ", ".join(f"{sign} {field[limit]:,.10g}" for limit, sign in signs.items() if limit in field)
