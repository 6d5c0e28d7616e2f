"""What is in the data: balance, lengths, duplicates, leaks from train to test, scripts. For `tfsent data`.

Near duplicates are pairs whose sets of 5-word shingles have a Jaccard index of at least 0.8 (A. Broder, On the
resemblance and containment of documents, 1997). Candidates share one of the 16 smallest hashes of their shingles, and
each is then counted exactly.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tfsent.console import Meter
from tfsent.data import Reviews
from tfsent.text import Tokenizer
from tfsent.tokens import tokenize_all, truncated

LENGTHS = (32, 64, 128, 192, 256, 384, 512)
"""Values of `text.max_tokens` that people choose between."""
NEAR = 0.8
SHINGLE = 5
SKETCH = 16
EXAMPLES = 3
LOOKED_AT = 200_000
"""Reviews of a part that near duplicates and scripts are looked for in; a random choice of a larger one."""


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
    cut = {n: dict(zip(("reviews_cut", "tokens_lost"), truncated(review_lengths, n), strict=True)) for n in LENGTHS}
    return {
        "mean": float(lengths.mean()),
        "longest": longest,
        "quantiles": quantiles,
        "max_tokens": cut,
        "histogram": {"up_to": up_to, "reviews": histogram.tolist()},
    }


def _exact(parts: Mapping[str, Reviews]) -> dict[str, Any]:
    """Texts that occur again, letter by letter: within a part, with another label, in train and elsewhere."""
    seen: dict[bytes, dict[str, Counter[int]]] = defaultdict(lambda: defaultdict(Counter))
    for name, part in parts.items():
        for text, label in zip(part.texts, part.labels.tolist(), strict=True):
            digest = hashlib.blake2b(text.encode("utf-8"), digest_size=12).digest()
            seen[digest][name][label] += 1
    again = {name: sum(here[name].total() - 1 for here in seen.values() if name in here) for name in parts}
    conflicts = sum(len(set().union(*here.values())) > 1 for here in seen.values())
    leaks = {
        f"train and {name}": {
            "texts": sum("train" in here and name in here for here in seen.values()),
            "with_the_same_label": sum(
                bool(set(here["train"]) & set(here[name])) for here in seen.values() if "train" in here and name in here
            ),
        }
        for name in parts
        if name != "train"
    }
    return {"repeated_in": again, "texts_with_two_labels": conflicts, "shared": leaks}


def _near(parts: Mapping[str, Reviews]) -> dict[str, Any]:
    """Pairs that are nearly the same: within train, and of train and another part."""
    texts: list[str] = []
    names: list[str] = []
    for name, part in parts.items():
        texts += list(_sample(part.texts))
        names += [name] * (len(texts) - len(names))
    shingles = []
    with Meter("comparing reviews", len(texts)) as meter:
        for text in texts:
            shingles.append(_shingles(text))
            meter.advance(1)
    counts, examples = Counter[str](), list[dict[str, Any]]()
    for a, b in sorted(_candidates(shingles)):
        if texts[a] == texts[b] or _jaccard(shingles[a], shingles[b]) < NEAR:
            continue
        key = f"within {names[a]}" if names[a] == names[b] else f"{names[a]} and {names[b]}"
        counts[key] += 1
        if len(examples) < EXAMPLES:
            examples.append({"where": key, "texts": [texts[a][:100], texts[b][:100]]})
    return {"near_duplicate_pairs": dict(counts), "near_duplicate_examples": examples, "compared": len(texts)}


def _sample(texts: Sequence[str]) -> Iterator[str]:
    if len(texts) <= LOOKED_AT:
        return iter(texts)
    rows = np.sort(np.random.default_rng(0).choice(len(texts), LOOKED_AT, replace=False))
    return (texts[int(i)] for i in rows)


def _shingles(text: str) -> np.ndarray:
    """Hashes of the text's runs of `SHINGLE` words, without case and punctuation: sorted `uint64[n]`."""
    words = np.array([_word(word) for word in re.findall(r"\w+", text.casefold())] or [0], np.uint64)
    width = min(SHINGLE, len(words))
    mixed = np.zeros(len(words) - width + 1, np.uint64)
    for i in range(width):
        mixed = mixed * np.uint64(0x9E3779B97F4A7C15) + words[i : i + len(mixed)]
    mixed ^= mixed >> np.uint64(29)
    return np.unique(mixed * np.uint64(0xBF58476D1CE4E5B9))


@cache
def _word(word: str) -> int:
    return zlib.crc32(word.encode("utf-8")) + 1


def _candidates(shingles: Sequence[np.ndarray]) -> set[tuple[int, int]]:
    """Pairs that share one of their smallest hashes. In a large family each is paired with its neighbours only."""
    rows = np.concatenate([np.full(min(SKETCH, len(s)), i) for i, s in enumerate(shingles)])
    hashes = np.concatenate([s[:SKETCH] for s in shingles])
    order = np.lexsort((rows, hashes))
    same = np.flatnonzero(hashes[order][1:] == hashes[order][:-1])
    return {(int(rows[order[i]]), int(rows[order[i + 1]])) for i in same}


def _jaccard(a: np.ndarray, b: np.ndarray) -> float:
    both = len(np.intersect1d(a, b, assume_unique=True))
    return both / (len(a) + len(b) - both)


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
