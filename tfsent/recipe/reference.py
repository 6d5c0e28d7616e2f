"""What each key of a recipe means, as a table: for `tfsent config keys` and configs/KEYS.md."""

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
    """Those allowed, or their limits; empty where the meaning says it."""
    meaning: str


def keys() -> list[Key]:
    """All keys, in the order in which a recipe has them."""
    schema = Config.model_json_schema()
    return list(_of_section(schema, schema["$defs"], ""))


def _of_section(section: dict[str, Any], sections: dict[str, Any], prefix: str) -> Iterator[Key]:
    for name, field in section["properties"].items():
        if "$ref" in field:
            yield from _of_section(sections[field["$ref"].rpartition("/")[2]], sections, f"{prefix}{name}.")
        else:
            yield Key(f"{prefix}{name}", json.dumps(field["default"]), _values(field), field.get("description", ""))


def _values(field: dict[str, Any]) -> str:
    """What JSON Schema says of a field, in a few words."""
    if "enum" in field:
        return ", ".join(value if isinstance(value, str) else json.dumps(value) for value in field["enum"])
    if field.get("type") == "boolean":
        return "true, false"
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    return ", ".join(f"{sign} {field[limit]:,.10g}" for limit, sign in signs.items() if limit in field)


def markdown() -> str:
    """The page configs/KEYS.md."""
    lines = [("key", "default", "values", "meaning"), ("---",) * 4]
    lines += [(f"`{key.name}`", f"`{key.default}`", key.values, key.meaning) for key in keys()]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    made = "Made by `make docs` from tfsent/config.py. `tfsent config keys` prints the same."
    return f"# The keys of a recipe\n\n{made}\n\n{table}\n"
