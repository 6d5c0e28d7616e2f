"""Lengths of reviews in the tokens of a model, and what of them it does not read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tfsent.evaluation.analysis import Lengths
from tfsent.evaluation.curves import histogram
from tfsent.inference.predictor import Predictor
from tfsent.text.light_tokenizer import LightTokenizer
from tfsent.text.spec import MAX_WINDOWS, TextSpec

BARS = 30
"""Of the histogram, about."""
CHUNK = 1024
"""Texts that are tokenised at a time."""


def spec_of(predictor: Predictor) -> TextSpec | None:
    """Return the text specification of a model; None where its tokenizer is not at hand."""
    return getattr(getattr(predictor, "tokenizer", None), "spec", None)


def review_lengths(predictor: Predictor, texts: Sequence[str]) -> np.ndarray | None:
    """Return the tokens of each text, [CLS] and [SEP] included, `int64[n]`; None where no tokenizer is at hand."""
    tokenizer = getattr(predictor, "tokenizer", None)
    if tokenizer is None:
        return None
    if isinstance(tokenizer, LightTokenizer):
        chunks = (tokenizer.tokenize(texts[i : i + CHUNK]) for i in range(0, len(texts), CHUNK))
        return np.array([len(ids) + 2 for chunk in chunks for ids in chunk], np.int64)
    from tfsent.text.token_store import tokenize_all

    return tokenize_all(tokenizer, texts).review_lengths.astype(np.int64) + 2


def tokens_read(spec: TextSpec) -> int:
    """Return how many tokens of a review a model reads at most, [CLS] and [SEP] included."""
    return spec.max_tokens + (spec.window_step * (MAX_WINDOWS - 1) if spec.truncation == "windows" else 0)


def describe(lengths: np.ndarray, spec: TextSpec) -> Lengths:
    """Count lengths in bins of equal width; the last bin has all that is longer than 99 of 100 reviews.

    Args:
        lengths: `int[n]`, of `review_lengths`.
        spec: of the model.
    """
    end = max(float(np.quantile(lengths, 0.99)), min(spec.max_tokens, int(lengths.max())) + 1, 2)
    width = next(size for size in _round_sizes() if size * BARS >= end)
    edges = [float(width * i) for i in range(int(-(-end // width)) + 1)]
    cut = float((lengths > tokens_read(spec)).mean())
    return Lengths(histogram({"reviews": lengths}, edges), spec.max_tokens, cut)


def _round_sizes() -> list[int]:
    return [step * 10**power for power in range(7) for step in (1, 2, 5)]
