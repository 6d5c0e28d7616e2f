"""Which lengths a `.tflite` file has a signature for: a text costs what the shortest that holds it costs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tfsent.errors import ConfigError
from tfsent.inference.tflite_file import DEFAULT_SIGNATURE

LENGTHS = (32, 64, 96, 128, 192, 256, 384, 512)
"""Tokens, [CLS] and [SEP] included. The first is always there: people type short texts into an app. A length adds about
80 kB to a file of MiniLM-L6, and 12 MB to the memory of a process on a CPU."""
WORTH_IT = 0.01
"""Share of the rows that a length must be the shortest for."""


def signatures_of(wanted: Sequence[int] | str, rows: np.ndarray, max_tokens: int) -> dict[str, int]:
    """Return the signatures of a file, each with its length, the shortest first.

    The longest is `serving_default` with `max_tokens`. The others are called `tokens_LENGTH`.

    Args:
        wanted: lengths; or `auto`: 32, and those of `LENGTHS` that at least a hundredth of the rows use.
        rows: tokens of the rows of real texts, `int[n]`.
        max_tokens: the longest row that there can be.

    Raises:
        ConfigError: a wanted length is too long.
    """
    if wanted == "auto":
        shorter: list[int] = []
        for length in LENGTHS:
            before = shorter[-1] if shorter else 0
            used = np.mean((rows > before) & (rows <= length))
            if length < max_tokens and (used >= WORTH_IT or length == LENGTHS[0]):
                shorter.append(length)
    else:
        if too_long := [length for length in wanted if int(length) > max_tokens]:
            raise ConfigError(
                f"export.mobile.lengths has {too_long[0]}. Expected at most text.max_tokens, here {max_tokens}."
            )
        shorter = sorted({int(length) for length in wanted} - {max_tokens})
    return {**{f"tokens_{length}": length for length in shorter}, DEFAULT_SIGNATURE: max_tokens}
