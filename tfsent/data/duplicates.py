"""Finds texts that occur more than once: exact and near duplicates, within a split and across splits."""

from __future__ import annotations

import hashlib
import logging
import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from tfsent.console import progress_bar
from tfsent.data.reviews import Reviews

logger = logging.getLogger(__name__)


NEAR = 0.8
SHINGLE = 5
SKETCH = 16
EXAMPLES = 3
LOOKED_AT = 200_000
"""Reviews of a part that near duplicates and scripts are looked for in; a random choice of a larger one."""


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
    with progress_bar("comparing reviews", len(texts)) as bar:
        for text in texts:
            shingles.append(_shingles(text))
            bar.update(1)
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


def warn_about_overlap(held_out: Mapping[str, Reviews], train: Reviews) -> None:
    """Tell how many of the held-out texts are learnt from, too."""
    learnt = _digests(train)
    for name, part in held_out.items():
        if count := int(np.isin(_digests(part), learnt).sum()):
            logger.info(
                f"Of the {len(part):,} {name} reviews, train has {count:,} too, letter by letter: what is known by "
                "heart flatters the figures (`tfsent data` counts texts that are there more than once)."
            )


def _digests(reviews: Reviews) -> np.ndarray:
    """A number that stands for each text, `uint64[n]`."""
    hashes = (hashlib.blake2b(text.encode("utf-8"), digest_size=8).digest() for text in reviews.texts)
    return np.frombuffer(b"".join(hashes), np.uint64)
