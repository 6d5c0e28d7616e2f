"""A column of probabilities for each class → the soft label of a row, checked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

SUM_WITHIN = 1e-3
"""How far from 1 the sum of a row may be: files have rounded numbers."""
_SLACK = 1e-9
"""What adding decimal fractions may be off, so that 0.999 and 1.001 are inside."""
MOST = 1 + SUM_WITHIN + _SLACK
"""The highest probability, rounded."""


def probabilities_of(fields: Mapping[str, Any], columns: Sequence[str]) -> tuple[float, ...]:
    """Return the probabilities of a row, divided by their sum, as float32.

    Args:
        fields: of the row, by column: numbers, or strings of numbers.
        columns: one for each class.

    Raises:
        ValueError: one is missing, is not a number of 0 to 1, or they do not sum to 1.
    """
    values = [_probability(fields.get(column), column) for column in columns]
    total = math.fsum(values)
    if not abs(total - 1) <= SUM_WITHIN + _SLACK:
        raise ValueError(f"the probabilities sum to {total:.6g}; expected 1, within {SUM_WITHIN}")
    return tuple((np.array(values) / total).astype(np.float32).tolist())


def has_none(fields: Mapping[str, Any], columns: Sequence[str]) -> bool:
    """Return whether a row lacks the probability of every class."""
    return all(_is_missing(fields.get(column)) for column in columns)


def most_probable(probabilities: Sequence[float]) -> int:
    """Return the index of the highest probability, the first of equals."""
    return max(range(len(probabilities)), key=probabilities.__getitem__)


def is_probability(field: str) -> bool:
    """Return whether a field of a table may be a probability."""
    try:
        return 0 <= float(field) <= MOST
    except ValueError:
        return False


def _is_missing(value: object) -> bool:
    if isinstance(value, str | bytes):
        return not value.strip()
    return value is None or (isinstance(value, float) and math.isnan(value))


def _probability(value: Any, column: str) -> float:
    if _is_missing(value):
        raise ValueError(f"{column!r} has no probability")
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not 0 <= number <= MOST:
        raise ValueError(f"{column!r}: expected a probability, a number of 0 to 1; received {value!r:.40}")
    return number
