"""Writes the tables of the documentation that follow from the code: `make docs`. Tests compare them.

docs/recipes.md      every key of a recipe
configs/README.md    the encoders worth knowing
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from tfsent.encoders.catalogue import ENTRIES
from tfsent.recipe.reference import keys as recipe_keys

ROOT = Path(__file__).parents[1]


def keys() -> str:
    """Return the table of keys."""
    header = ("key", "default", "values", "meaning")
    return _table(header, ((f"`{k.name}`", f"`{k.default}`", k.values, k.meaning) for k in recipe_keys()))


def encoders() -> str:
    """Return the table of encoders."""
    header = ("encoder", "model", "layers × hidden", "parameters", "MB", "casing", "good for", "IMDb accuracy")
    rows = (
        (
            f"`{entry.uri}`",
            entry.name,
            f"{entry.shape[0]} × {entry.shape[1]}",
            f"{entry.parameters / 1e6:.1f} M",
            f"{entry.megabytes:,}",
            f"{'cased' if entry.cased else 'uncased'}, {entry.languages}",
            entry.good_for,
            entry.accuracy or "–",
        )
        for entry in ENTRIES
    )
    return _table(header, rows)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _write(page: Path, name: str, table: str) -> None:
    """Put a table between the marks of its name."""
    begin, end = f"<!-- {name}: made by `make docs` -->", f"<!-- /{name} -->"
    before, found_begin, rest = page.read_text(encoding="utf-8").partition(begin)
    _, found_end, after = rest.partition(end)
    if not (found_begin and found_end):
        raise SystemExit(f"{page} needs the lines {begin} and {end}, between which the table goes.")
    page.write_text(f"{before}{begin}\n{table}{end}{after}", encoding="utf-8")


if __name__ == "__main__":
    _write(ROOT / "docs" / "recipes.md", "keys", keys())
    _write(ROOT / "configs" / "README.md", "encoders", encoders())
