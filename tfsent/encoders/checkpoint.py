"""The content of a checkpoint, the same for every layout. `from_huggingface.py` and `from_tensorflow.py` read it.

No code of a checkpoint is run: a SavedModel's graph is read, never executed, and pickles are refused.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfsent.errors import EncoderError, first_line


@dataclass(frozen=True)
class PretrainedWeights:
    """The weights of a checkpoint, and what its settings say about them."""

    format: str
    arrays: dict[str, np.ndarray]
    """float32, by canonical name (`model/bert.py`)."""
    heads: int
    activation: str
    """One of `bert.ACTIVATIONS`."""
    epsilon: float
    """Of the layer norms."""
    vocabulary: tuple[str, ...]
    lowercase: bool | None
    """None where the checkpoint does not say."""
    files: tuple[str, ...]
    """Paths of the files that were read, relative to the folder."""


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        EncoderError: the file is unreadable or holds something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EncoderError(f"{path} is not valid JSON: {first_line(error)}.") from error
    if not isinstance(found, dict):
        raise EncoderError(f"{path} is not a JSON object. Received: {str(found)[:60]}.")
    return found


def read_gelu(name: str, known: dict[str, str], folder: Path) -> str:
    """Return our name of an activation.

    Args:
        name: in the checkpoint's configuration.
        known: the checkpoint's name → one of `bert.ACTIVATIONS`.
        folder: of the checkpoint, for the message.

    Raises:
        EncoderError: the name is not in `known`.
    """
    if name not in known:
        raise EncoderError(f"{folder} uses the activation {name!r}. Expected one of {', '.join(known)}.")
    return known[name]


def read_heads(value: Any, folder: Path) -> int:
    """Return the number of attention heads that a configuration gives.

    Raises:
        EncoderError: it is not a number above 0.
    """
    if type(value) is not int or value < 1:
        raise EncoderError(
            f"{folder}: its configuration does not give the number of attention heads. Expected a whole number above "
            f"0. Received: {value!r}."
        )
    return value
