"""What reviews have in common, seen from the texts, the model's tokens and the columns of the data."""

from __future__ import annotations

import functools
import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tfsent.evaluation.lengths import tokens_read
from tfsent.text.spec import TextSpec

LENGTHS = (16, 32, 64, 128, 256, 512, 1024)
"""Upper ends of the bands of length in tokens."""
CONFIDENCES = (0.6, 0.7, 0.8, 0.9, 0.99)
"""Ends of the bands of confidence."""
VALUES = 20
"""Of a column, at most; the rest is one value, `other values`."""
NUMBERS = 8
"""A column of numbers with more different values than this is taken in quartiles."""
LONGEST = 60
"""Characters of a column's value that are shown."""

NEGATION = re.compile(
    r"\b(?:not|no|never|none|nobody|nothing|nowhere|neither|nor|without|cannot|hardly|barely|scarcely)\b|n['’]t\b",
    re.IGNORECASE,
)
CONTRAST = re.compile(
    r"\b(?:but|however|although|though|despite|yet|nevertheless|nonetheless|whereas|except|unfortunately)\b",
    re.IGNORECASE,
)
SCRIPTS = {
    "CJK": "Han",
    "HIRAGANA": "Japanese",
    "KATAKANA": "Japanese",
    "HANGUL": "Hangul",
    "LATIN": "Latin",
}
"""First words of the names of characters in Unicode → scripts; other scripts are called as there, such as Cyrillic."""


class Trait(NamedTuple):
    """Reviews that have something in common."""

    by: str
    value: str
    rows: np.ndarray
    """`bool[n]`."""


def of_lengths(lengths: np.ndarray, spec: TextSpec) -> Iterator[Trait]:
    """Give the bands of length, and the reviews that the model does not read in one row.

    Args:
        lengths: `int[n]`, tokens of the reviews, [CLS] and [SEP] included.
        spec: of the model.
    """
    low = 0
    for high in LENGTHS:
        yield Trait(
            "length", f"{low + 1:,} to {high:,} tokens" if low else f"up to {high} tokens", _within(lengths, low, high)
        )
        low = high
    yield Trait("length", f"over {low:,} tokens", lengths > low)
    if spec.truncation == "windows":
        yield Trait("windows", f"read in several windows, over {spec.max_tokens:,} tokens", lengths > spec.max_tokens)
    yield Trait("truncation", f"cut, over {tokens_read(spec):,} tokens", lengths > tokens_read(spec))


def of_confidence(confidence: np.ndarray) -> Iterator[Trait]:
    """Give the bands of confidence, `float[n]`: the probability of the answer."""
    ends = (0.0, *CONFIDENCES, 1.0)
    for low, high in itertools.pairwise(ends):
        name = f"up to {high:.0%}" if low == 0 else f"over {low:.0%}" if high == 1 else f"{low:.0%} to {high:.0%}"
        yield Trait("confidence", name, _within(confidence, low, high))


def of_texts(texts: Sequence[str]) -> Iterator[Trait]:
    """Give scripts, and the reviews with words that negate or contrast. The words are English."""
    scripts, negation, contrast = [], np.zeros(len(texts), bool), np.zeros(len(texts), bool)
    for row, text in enumerate(texts):
        scripts.append(script_of(text))
        negation[row] = NEGATION.search(text) is not None
        contrast[row] = CONTRAST.search(text) is not None
    yield from _of_values("script", scripts)
    yield Trait("negation (English)", "has not, no, never, …", negation)
    yield Trait("contrast (English)", "has but, however, …", contrast)


def script_of(text: str) -> str:
    """Return the script of most letters of a text, by the names of the characters in Unicode.

    A text with kana is `Japanese`, whatever Chinese characters it has. A text without a letter is `no letters`.

    Example:
        >>> script_of("Отличный фильм, OK")
        'Cyrillic'
    """
    if text.isascii():
        return "Latin" if any(map(str.isalpha, text)) else "no letters"
    counts = Counter[str]()
    for character, count in Counter(text).items():
        if (script := _script(character)) is not None:
            counts[script] += count
    if not counts:
        return "no letters"
    found = counts.most_common(1)[0][0]
    return "Japanese" if found == "Han" and counts["Japanese"] else found


@functools.cache
def _script(character: str) -> str | None:
    if not character.isalpha():
        return None
    word = unicodedata.name(character, "other").split()[0].split("-")[0]
    return SCRIPTS.get(word, word.capitalize())


def of_columns(columns: Mapping[str, Sequence[str]]) -> Iterator[Trait]:
    """Give the values of columns: numbers in quartiles where there are many, else the most frequent values.

    Args:
        columns: `n` values of each.
    """
    for name, values in columns.items():
        numbers = _numbers(values)
        if numbers is None or len(np.unique(numbers[~np.isnan(numbers)])) <= NUMBERS:
            yield from _of_values(name, [_shown(value) for value in values])
        else:
            yield from _in_quartiles(name, numbers)


def _of_values(by: str, values: Sequence[str]) -> Iterator[Trait]:
    counts = Counter(values).most_common()
    frequent = [value for value, _ in (counts if len(counts) <= VALUES else counts[: VALUES - 1])]
    codes = {value: code for code, value in enumerate(frequent)}
    of_rows = np.array([codes.get(value, len(codes)) for value in values])
    for value, code in codes.items():
        yield Trait(by, value, of_rows == code)
    if len(counts) > len(codes):
        yield Trait(by, f"{len(counts) - len(codes):,} other values", of_rows == len(codes))


def _in_quartiles(by: str, numbers: np.ndarray) -> Iterator[Trait]:
    ends = np.unique(np.nanquantile(numbers, [0.25, 0.5, 0.75], method="inverted_cdf"))
    low = -np.inf
    for high in ends:
        name = f"up to {high:g}" if low == -np.inf else f"over {low:g} up to {high:g}"
        yield Trait(by, name, _within(numbers, low, high))
        low = float(high)
    yield Trait(by, f"over {low:g}", numbers > low)
    yield Trait(by, "(empty)", np.isnan(numbers))


def _numbers(values: Sequence[str]) -> np.ndarray | None:
    """Return a column as `float64[n]`, not a number where it is empty; None where a value is not a finite number."""
    try:
        numbers = np.array([float(value) if value else np.nan for value in values])
    except ValueError:
        return None
    empty = np.array([not value for value in values])
    return numbers if np.isfinite(numbers[~empty]).all() and not empty.all() else None


def _shown(value: str) -> str:
    line = " ".join(value.split())
    return (line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…") or "(empty)"


def _within(values: np.ndarray, low: float, high: float) -> np.ndarray:
    return (values > low) & (values <= high)
