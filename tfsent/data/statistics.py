"""What is in the data: balance, lengths, duplicates, leaks from train to test, scripts. For `tfsent data`.

Near duplicates are pairs whose sets of 5-word shingles have a Jaccard index of at least 0.8 (A. Broder, On the
resemblance and containment of documents, 1997). Candidates share one of the 16 smallest hashes of their shingles, and
each is then counted exactly.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfsent.data.duplicates import _exact, _near, _sample
from tfsent.data.reviews import Reviews
from tfsent.text.token_store import tokenize_all, truncation_loss
from tfsent.text.tokenizer import Tokenizer

LENGTHS = (32, 64, 128, 192, 256, 384, 512)
"""Values of `text.max_tokens` that people choose between."""


def audit(parts: Mapping[str, Reviews], tokenizer: Tokenizer) -> dict[str, Any]:
    """Statistics of the parts of a data set.

    Args:
        parts: `train`, and perhaps `validation` and `test`.
        tokenizer: of the recipe's encoder, for lengths.

    Returns:
        `parts` (reviews, classes, empty rows), `tokens` of train (quantiles, and for each of `LENGTHS` the share of the
        reviews and of the tokens it would cut), `duplicates`, and `scripts` (share of the letters).
    """
    describe = {
        name: {"reviews": len(part), "classes": part.class_counts, "empty_rows": part.empty_rows, "origin": part.origin}
        for name, part in parts.items()
    }
    lengths = tokenize_all(tokenizer, parts["train"].texts).review_lengths
    return {
        "parts": describe,
        "tokens": _lengths(lengths),
        "duplicates": {**_exact(parts), **_near(parts)},
        "scripts": _scripts(parts["train"].texts),
    }


def _lengths(review_lengths: np.ndarray) -> dict[str, Any]:
    """With [CLS] and [SEP] counted in, as `text.max_tokens` counts."""
    lengths = review_lengths + 2
    quantiles = {f"{q:.0%}": int(np.quantile(lengths, q)) for q in (0.05, 0.25, 0.5, 0.75, 0.95, 0.99)}
    longest = int(lengths.max())
    up_to = [*(n for n in LENGTHS if n < longest), longest]
    histogram = np.histogram(lengths, [0, *(n + 1 for n in up_to)])[0]
    cut = {
        n: dict(zip(("reviews_cut", "tokens_lost"), truncation_loss(review_lengths, n), strict=True)) for n in LENGTHS
    }
    return {
        "mean": float(lengths.mean()),
        "longest": longest,
        "quantiles": quantiles,
        "max_tokens": cut,
        "histogram": {"up_to": up_to, "reviews": histogram.tolist()},
    }


def _scripts(texts: Sequence[str]) -> dict[str, float]:
    """Share of the letters that are of each script, most first."""
    letters = Counter[str]()
    for text in _sample(texts):
        letters.update(text)
    scripts = Counter[str]()
    for letter, count in letters.items():
        if letter.isalpha():
            # Unicode names begin with the script: LATIN SMALL LETTER A, CJK UNIFIED IDEOGRAPH-4E00.
            scripts[unicodedata.name(letter, "unnamed").split()[0].lower()] += count
    return {script: count / scripts.total() for script, count in scripts.most_common()}


def plot(result: dict[str, Any], target: Path) -> None:
    """Draw classes and lengths as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4), layout="constrained")
    classes, lengths = figure.subplots(1, 2)
    width = 0.8 / len(result["parts"])
    for i, (name, part) in enumerate(result["parts"].items()):
        places = np.arange(len(part["classes"]))
        shares = [count / max(part["reviews"], 1) for count in part["classes"].values()]
        classes.bar(places + i * width, shares, width, label=f"{name} ({part['reviews']:,})")
    middle = places + width * (len(result["parts"]) - 1) / 2
    classes.set_xticks(middle, list(part["classes"]))
    classes.set(title="Share of each class", xlabel="class")
    classes.margins(y=0.25)  # room for the legend above the bars
    classes.legend()
    histogram = result["tokens"]["histogram"]
    lengths.bar([f"≤ {n}" for n in histogram["up_to"]], histogram["reviews"])
    lengths.set(title="Tokens of the training reviews", xlabel="tokens, with [CLS] and [SEP]", ylabel="reviews")
    figure.savefig(target, format="png", dpi=120)
