"""Errors of TensorFlow, JAX and the system during training, in tfsent's words."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tfsent.errors import RunError, TfsentError, TrainingError

_DISK = ("No space left",)
_MEMORY = ("RESOURCE_EXHAUSTED", "ResourceExhaustedError")
"""What the text or the type of such an error contains. A full disk is RESOURCE_EXHAUSTED, too, for TensorFlow."""


@contextlib.contextmanager
def explained(batch_tokens: int, run: Path | None = None) -> Iterator[None]:
    """Translate foreign errors of the body.

    Args:
        batch_tokens: `train.batch_tokens`, named in the advice.
        run: the run directory, where one is written.

    Raises:
        TrainingError: the device has too little memory.
        RunError: the disk is full.
    """
    try:
        yield
    except TfsentError:
        raise
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        if any(word in said for word in _DISK):
            raise RunError(
                f"The disk of {run or 'the run'} is full. Free some, or choose another --run-dir."
            ) from error
        if any(word in said for word in _MEMORY):
            raise TrainingError(
                f"The device ran out of memory. Lower train.batch_tokens (now {batch_tokens}); raise "
                "train.accumulation_steps to keep the batch size."
            ) from error
        raise
