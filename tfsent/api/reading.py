"""Labelled reviews of the caller's → `Reviews` of a model's classes, read as the run of the model reads its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfsent.api.inputs import as_words
from tfsent.errors import ConfigError

if TYPE_CHECKING:
    from tfsent.data.reviews import Reviews
    from tfsent.recipe.schema import DataConfig

READING = ("text", "label", "header", "delimiter", "quoting", "escape", "encoding", "errors")
"""Keys of section `data` that say how a file is read."""


def reading_of(model: str | Path, data: Any, overrides: Any) -> DataConfig:
    """Return how a file is to be read: as the recipe of a run says, else by the defaults; then the overrides.

    Args:
        model: a run, a bundle of one, or an exported file.
        data: a path, or reviews in memory.
        overrides: keys below `data.`.

    Raises:
        ConfigError: another key is overridden.
    """
    from tfsent.recipe.loader import load_config
    from tfsent.storage import bundle

    words = as_words(overrides)
    if strange := [word for word in words if not word.startswith("data.")]:
        raise ConfigError(f"The model is trained: only keys below data. can still be set. Received: {strange[0]!r}.")
    section: dict[str, Any] = {"source": "memory"}
    if isinstance(data, str | Path):
        section = {"source": "files", "train": str(data)}
    run = bundle.inside(Path(model))
    for place in (run, *sorted(run.glob("seed-*"))):
        if (place / "config.yaml").is_file():
            own = load_config(place / "config.yaml").data
            section |= {key: getattr(own, key) for key in READING if getattr(own, key) is not None}
            break
    return load_config({"data": section}, words).data


def read_labelled(
    data: Any, config: DataConfig, label_names: Sequence[str], columns: Sequence[str] = ()
) -> tuple[Reviews, dict[str, int]]:
    """Read labelled reviews for a model. Rows whose label it does not know are left out.

    Args:
        data: a path, `(texts, labels)`, a DataFrame or an Arrow table.
        config: of `reading_of`.
        label_names: the classes of the model.
        columns: further columns, which become `Reviews.columns`.

    Returns:
        The reviews; and of the labels that the model does not know, the rows.

    Raises:
        DataError: the reviews cannot be read, a column is missing, or no label is one that the model knows.
    """
    from tfsent.data.files import find_files, read_files
    from tfsent.data.memory import memory_rows
    from tfsent.data.reading import load_labelled
    from tfsent.data.records import Faults

    faults, more = Faults(), tuple(dict.fromkeys(columns))
    if isinstance(data, str | Path):
        rows, origin = read_files(find_files([str(data)], "train"), config, faults, more), f"reviews in {data}"
    else:
        rows, origin = memory_rows(data, "data", config, faults, more), "reviews passed to tfsent"
    return load_labelled(rows, label_names, faults, origin, more)
