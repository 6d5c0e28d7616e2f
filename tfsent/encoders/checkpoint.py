"""A checkpoint as it lies on disk, whatever its layout: the weights under canonical names and what else it says.

The readers are `layout_huggingface.py` and `layout_tensorflow.py`. Nothing of a checkpoint is run by them: a
SavedModel's graph is looked at, never executed, and pickles are refused.
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
    """What a folder holds."""

    format: str
    arrays: dict[str, np.ndarray]
    """float32, by canonical name (`bert.py`)."""
    heads: int
    activation: str
    epsilon: float
    vocabulary: tuple[str, ...]
    lowercase: bool | None
    """None: the checkpoint does not say."""
    files: tuple[str, ...]
    """What was read, relative to the folder: a digest of these is a digest of the encoder."""


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        EncoderError: it is none.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EncoderError(f"{path} is not valid JSON: {first_line(error)}.") from error
    if not isinstance(found, dict):
        raise EncoderError(f"{path} is not a JSON object. Received: {str(found)[:60]}.")
    return found


def read_gelu(name: str, known: dict[str, str], folder: Path) -> str:
    """Our name of an activation (`bert.ACTIVATIONS`).

    Raises:
        EncoderError: it is none of the `known` ones.
    """
    if name not in known:
        raise EncoderError(f"{folder} uses the activation {name!r}. Expected one of {', '.join(known)}.")
    return known[name]


def read_heads(value: Any, folder: Path) -> int:
    """The number of attention heads a configuration gives.

    Raises:
        EncoderError: it gives none.
    """
    if type(value) is not int or value < 1:
        raise EncoderError(f"{folder}: its configuration should have a number of attention heads. Received: {value!r}.")
    return value
