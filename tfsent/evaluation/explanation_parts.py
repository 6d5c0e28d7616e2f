"""An explanation → the parts that a terminal and a page show."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from tfsent.evaluation.explanation import Explanation

FAINTEST = 0.05
"""Share of the strongest score from which a word is marked."""


def shown(text: str) -> str:
    """Return a text of the same length that is safe to show: no control characters, no lone surrogates."""
    return "".join("\ufffd" if unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t" else c for c in text)


def stretches(found: Explanation) -> Iterator[tuple[str, float | None]]:
    """Yield the text piece by piece: words with their scores, what is between them with 0, what was cut with None."""
    marks: list[tuple[int, int, float | None]] = [(word.start, word.stop, word.score) for word in found.words]
    text, end = shown(found.text), 0
    for start, stop, score in sorted(
        [*marks, *((start, stop, None) for start, stop in found.cut)], key=lambda m: m[:2]
    ):
        start, stop = max(start, end), max(stop, end)  # a word may be cut in its middle
        yield text[end:start], 0.0
        yield text[start:stop], score
        end = stop
    yield text[end:], 0.0


def summary(found: Explanation) -> str:
    """Return what is explained, in a line."""
    p = found.prediction
    return (
        f"{p.label} {p.probability:.1%}. Log odds of {found.label}: {found.logit:+.2f}; without the words "
        f"{found.baseline_logit:+.2f}."
    )


def remarks(found: Explanation) -> str:
    """Return what was cut, and how well the scores add up."""
    cut = f"{found.tokens_cut:,} of {found.tokens:,} tokens were cut" if found.tokens_cut else "Nothing was cut"
    return f"{cut}. The scores add up to the change of the log odds within {found.completeness_error:.3f}."


def strongest(found: Explanation, sign: int, count: int) -> list[tuple[str, float]]:
    """Return the words with the largest scores for the class (`sign` 1) or against it (-1), the strongest first."""
    text = shown(found.text)
    words = [(text[word.start : word.stop], word.score) for word in found.words if sign * word.score > 0]
    return sorted(words, key=lambda word: -abs(word[1]))[:count]
