"""Finds texts that occur more than once: verbatim or nearly so, within a split and across splits.

Near duplicates are pairs whose sets of 5-word shingles have a Jaccard index of at least 0.8 (A. Broder, On the
resemblance and containment of documents, 1997). Candidates share one of the 16 smallest hashes of their shingles; the
index of each candidate pair is then computed exactly.
"""

from __future__ import annotations

import hashlib
import logging
import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from tfsent.console import progress_bar
from tfsent.data.reviews import Reviews

logger = logging.getLogger(__name__)

NEAR = 0.8
SHINGLE = 5
SKETCH = 16
EXAMPLES = 3
COMPARED = 200_000
"""Reviews of a split that near duplicates are searched in; of a larger split a random sample."""


@dataclass(frozen=True)
class Shared:
    """Texts that train and another split have in common, verbatim."""

    texts: int
    with_the_same_label: int


@dataclass(frozen=True)
class NearPair:
    """An example of two texts that are nearly the same."""

    where: str
    texts: tuple[str, str]
    """The first 100 characters of each."""


@dataclass(frozen=True)
class Duplicates:
    """Texts that occur more than once."""

    repeated_in: dict[str, int]
    """Verbatim repetitions within each split."""
    texts_with_two_labels: int
    """Of soft labels, texts with two most probable classes: their probabilities may differ otherwise."""
    shared: dict[str, Shared]
    """By split, such as `train and test`."""
    near_duplicate_pairs: dict[str, int]
    """By place, such as `within train` or `train and test`."""
    near_duplicate_examples: tuple[NearPair, ...]
    compared: int
    """Texts among which near duplicates were searched."""


def find_duplicates(parts: Mapping[str, Reviews]) -> Duplicates:
    """Find the duplicates of a data set.

    Args:
        parts: `train`, and perhaps `validation` and `test`.
    """
    labels_of: dict[bytes, dict[str, Counter[int]]] = defaultdict(lambda: defaultdict(Counter))
    for name, part in parts.items():
        for text, label in zip(part.texts, part.labels.tolist(), strict=True):
            labels_of[_digest(text, 12)][name][label] += 1
    texts = labels_of.values()
    pairs, examples, compared = _near(parts)
    return Duplicates(
        repeated_in={name: sum(here[name].total() - 1 for here in texts if name in here) for name in parts},
        texts_with_two_labels=sum(len(set().union(*here.values())) > 1 for here in texts),
        shared={f"train and {name}": _shared(texts, name) for name in parts if name != "train"},
        near_duplicate_pairs=pairs,
        near_duplicate_examples=examples,
        compared=compared,
    )


def warn_about_overlap(held_out: Mapping[str, Reviews], train: Reviews) -> None:
    """Warn how many held-out texts occur in train as well.

    Args:
        held_out: splits that are reported on, by name.
        train: the training reviews.
    """
    learnt = digests_of(train.texts)
    for name, part in held_out.items():
        if count := int(np.isin(digests_of(part.texts), learnt).sum()):
            logger.warning(
                f"{count:,} of the {len(part):,} {name} reviews also occur in train, verbatim. Memorised reviews "
                "inflate the reported accuracy (`tfsent data` counts duplicates)."
            )


def nearly_in(texts: Sequence[str], others: Sequence[str]) -> np.ndarray:
    """Return which texts nearly occur among others, `bool[n]`: with a Jaccard index of at least 0.8, as above.

    Each text is compared with each of the others that shares a shingle with it, so nothing is missed. Meant for tens of
    texts and many others.

    Args:
        texts: those that are looked for.
        others: such as the training reviews.
    """
    own = [shingles_of(text) for text in texts]
    sizes = np.array([len(one) for one in own], np.int64)
    hashes = np.concatenate([np.zeros(0, np.uint64), *own])
    order = np.argsort(hashes, kind="stable")
    hashes, owner = hashes[order], np.repeat(np.arange(len(own)), sizes)[order]
    found = np.zeros(len(texts), bool)
    with progress_bar("comparing with train", len(others)) as bar:
        for other in others:
            theirs = shingles_of(other)
            start, stop = (np.searchsorted(hashes, theirs, side=side) for side in ("left", "right"))
            shared = [owner[i:j] for i, j in zip(start[start < stop], stop[start < stop], strict=True)]
            if shared:
                both = np.bincount(np.concatenate(shared), minlength=len(own))
                found |= both / (sizes + len(theirs) - both) >= NEAR
            bar.update(1)
    return found


def _digest(text: str, size: int) -> bytes:
    return hashlib.blake2b(text.encode("utf-8"), digest_size=size).digest()


def digests_of(texts: Iterable[str], *, words: bool = False) -> np.ndarray:
    """Return a hash of each text, `uint64[n]`.

    Args:
        texts: `n` texts.
        words: hash the words alone, without case, punctuation and white space; a text without words as it is.
    """
    if words:
        texts = (" ".join(re.findall(r"\w+", text.casefold())) or text for text in texts)
    return np.frombuffer(b"".join(_digest(text, 8) for text in texts), np.uint64)


def _shared(texts: Iterable[dict[str, Counter[int]]], name: str) -> Shared:
    both = [here for here in texts if "train" in here and name in here]
    return Shared(len(both), sum(bool(set(here["train"]) & set(here[name])) for here in both))


def _near(parts: Mapping[str, Reviews]) -> tuple[dict[str, int], tuple[NearPair, ...], int]:
    """Count the pairs that are nearly the same, by place; give some examples, and the number of texts compared."""
    texts: list[str] = []
    names: list[str] = []
    for name, part in parts.items():
        texts += list(_sample(part.texts))
        names += [name] * (len(texts) - len(names))
    shingles = []
    with progress_bar("comparing reviews", len(texts)) as bar:
        for text in texts:
            shingles.append(shingles_of(text))
            bar.update(1)
    counts, examples = Counter[str](), list[NearPair]()
    for a, b in sorted(_candidates(shingles)):
        if texts[a] == texts[b] or jaccard(shingles[a], shingles[b]) < NEAR:
            continue
        where = f"within {names[a]}" if names[a] == names[b] else f"{names[a]} and {names[b]}"
        counts[where] += 1
        if len(examples) < EXAMPLES:
            examples.append(NearPair(where, (texts[a][:100], texts[b][:100])))
    return dict(counts), tuple(examples), len(texts)


def _sample(texts: Sequence[str]) -> Iterator[str]:
    if len(texts) <= COMPARED:
        return iter(texts)
    rows = np.sort(np.random.default_rng(0).choice(len(texts), COMPARED, replace=False))
    return (texts[int(i)] for i in rows)


def shingles_of(text: str) -> np.ndarray:
    """Return hashes of the text's runs of `SHINGLE` words, without case and punctuation: sorted `uint64[n]`."""
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
    """Return pairs that share one of their smallest hashes. In a large family each is paired with its neighbours."""
    rows = np.concatenate([np.full(min(SKETCH, len(s)), i) for i, s in enumerate(shingles)])
    hashes = np.concatenate([s[:SKETCH] for s in shingles])
    order = np.lexsort((rows, hashes))
    same = np.flatnonzero(hashes[order][1:] == hashes[order][:-1])
    return {(int(rows[order[i]]), int(rows[order[i + 1]])) for i in same}


def jaccard(a: np.ndarray, b: np.ndarray) -> float:
    """Return the Jaccard index of two texts, given by their shingles."""
    both = len(np.intersect1d(a, b, assume_unique=True))
    return both / (len(a) + len(b) - both)
