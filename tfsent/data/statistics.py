"""Statistics of a data set: class balance, lengths, duplicates, texts that splits share. For `tfsent data`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfsent.data.duplicates import Duplicates, find_duplicates
from tfsent.data.reviews import Reviews

LENGTHS = (32, 64, 128, 192, 256, 384, 512)
"""Values of `text.max_tokens` that people choose between."""
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


@dataclass(frozen=True)
class PartStatistics:
    """Counts of one split."""

    reviews: int
    classes: dict[str, int]
    empty_rows: int
    """Rows of the source without a text, which are left out."""
    origin: str


@dataclass(frozen=True)
class Truncation:
    """What a value of `text.max_tokens` cuts, as shares."""

    reviews_cut: float
    tokens_lost: float


@dataclass(frozen=True)
class LengthStatistics:
    """Tokens of the training reviews, with [CLS] and [SEP]."""

    mean: float
    longest: int
    quantiles: dict[str, int]
    max_tokens: dict[int, Truncation]
    up_to: list[int]
    """Upper bounds of the histogram's bins."""
    reviews: list[int]
    """Reviews in each bin."""
    unknown_tokens: float
    """Share of the tokens that are [UNK]."""
    unknown_texts: float
    """Share of the reviews that are nothing but [UNK]."""


@dataclass(frozen=True)
class DataStatistics:
    """What `tfsent data` shows."""

    parts: dict[str, PartStatistics]
    tokens: LengthStatistics
    duplicates: Duplicates

    def to_dict(self) -> dict[str, Any]:
        """Return the statistics ready for JSON."""
        return asdict(self)


def statistics(
    parts: Mapping[str, Reviews], review_lengths: np.ndarray, unknown: tuple[float, float]
) -> DataStatistics:
    """Compute the statistics of a data set.

    Args:
        parts: `train`, and perhaps `validation` and `test`.
        review_lengths: tokens of each training review, uncut, without [CLS] and [SEP], `int32[reviews]`.
        unknown: shares of the training tokens that are [UNK], and of the reviews that are nothing else.
    """
    counts = {
        name: PartStatistics(len(part), part.class_counts, part.empty_rows, part.origin) for name, part in parts.items()
    }
    return DataStatistics(counts, _lengths(review_lengths, unknown), find_duplicates(parts))


def _lengths(review_lengths: np.ndarray, unknown: tuple[float, float]) -> LengthStatistics:
    lengths = review_lengths + 2  # [CLS] and [SEP], as `text.max_tokens` counts
    longest = int(lengths.max())
    up_to = [*(n for n in LENGTHS if n < longest), longest]
    return LengthStatistics(
        mean=float(lengths.mean()),
        longest=longest,
        quantiles={f"{q:.0%}": int(np.quantile(lengths, q)) for q in QUANTILES},
        max_tokens={n: Truncation(*truncation_loss(review_lengths, n)) for n in LENGTHS},
        up_to=up_to,
        reviews=np.histogram(lengths, [0, *(n + 1 for n in up_to)])[0].tolist(),
        unknown_tokens=unknown[0],
        unknown_texts=unknown[1],
    )


def truncation_loss(review_lengths: np.ndarray, max_tokens: int) -> tuple[float, float]:
    """Return the shares of the reviews and of their tokens that `text.max_tokens` cuts.

    Args:
        review_lengths: see `statistics`.
        max_tokens: with [CLS] and [SEP].

    Example:
        >>> truncation_loss(np.array([2, 6]), max_tokens=6)  # room for 4 tokens
        (0.5, 0.25)
    """
    over = np.maximum(review_lengths - (max_tokens - 2), 0)
    return float(np.mean(over > 0)), float(over.sum() / max(review_lengths.sum(), 1))


def plot(found: DataStatistics, target: Path) -> None:
    """Draw the share of each class and a histogram of the lengths as a PNG."""
    from matplotlib.figure import Figure

    names = list(found.parts["train"].classes)
    # A row per class, so that 77 long names stay readable.
    figure = Figure(figsize=(11, min(max(4, 1 + 0.2 * len(names)), 60)), layout="constrained")
    classes, lengths = figure.subplots(1, 2)
    width = 0.8 / len(found.parts)
    places = np.arange(len(names))
    for i, (name, part) in enumerate(found.parts.items()):
        shares = [count / max(part.reviews, 1) for count in part.classes.values()]
        classes.barh(places + i * width, shares, width, label=f"{name} ({part.reviews:,})")
    classes.set_yticks(places + width * (len(found.parts) - 1) / 2, names)
    classes.invert_yaxis()
    classes.set(title="Share of each class", xlabel="share of the reviews")
    figure.legend(loc="outside lower left", ncols=3)
    lengths.bar([f"≤ {n}" for n in found.tokens.up_to], found.tokens.reviews)
    lengths.set(title="Tokens of the training reviews", xlabel="tokens, with [CLS] and [SEP]", ylabel="reviews")
    figure.savefig(target, format="png", dpi=120)
