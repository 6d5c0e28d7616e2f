"""Which reviews are held out: stratified by label, seeded, and with whole groups where there are groups."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from tfsent.errors import DataError

if TYPE_CHECKING:
    from tfsent.data import Reviews


def split(reviews: Reviews, count: int, rng: np.random.Generator, key: str) -> tuple[np.ndarray, np.ndarray]:
    """Draw `count` rows so that every class keeps its share; give the rows drawn and the rest, both shuffled.

    Raises:
        DataError: there are fewer reviews than that.
    """
    _require_enough(reviews, count, key)
    # Rows in an order that spreads each class evenly over [0, 1): any prefix then holds every class in proportion.
    position = np.empty(len(reviews))
    for label in range(len(reviews.label_names)):
        rows = rng.permutation(np.flatnonzero(reviews.labels == label))
        position[rows] = (np.arange(len(rows)) + 0.5) / max(len(rows), 1)
    order = np.argsort(position, kind="stable")
    return rng.permutation(order[:count]), rng.permutation(order[count:])


def _require_enough(reviews: Reviews, count: int, key: str) -> None:
    if count > len(reviews):
        raise DataError(
            f"{key} asks for {count:,} reviews and only {len(reviews):,} are left ({reviews.origin}). Ask for fewer, "
            f"or for a share of them such as 0.1; --set {key}=null takes what there is for it by default."
        )


def split_by_group(reviews: Reviews, count: int, rng: np.random.Generator, key: str) -> tuple[np.ndarray, np.ndarray]:
    """Draw about `count` rows, whole groups only, classes as nearly in proportion as the groups allow.

    Raises:
        DataError: there are too few groups.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    assert reviews.groups is not None
    _require_enough(reviews, count, key)
    share, there = max(count, 1) / len(reviews), len(np.unique(reviews.groups))
    folds = round(1 / share) if share < 1 / 3 else min(10, there)
    if there < max(folds, 2):
        raise DataError(
            f"{key} asks for {count:,} of {len(reviews):,} reviews, and they are of {there:,} groups only: none is "
            "that small. Ask for more, or leave data.group out."
        )
    fold = StratifiedGroupKFold(folds, shuffle=True, random_state=int(rng.integers(2**31)))
    try:
        parts = [part for _, part in fold.split(np.zeros(len(reviews)), reviews.labels, reviews.groups)]
    except ValueError as error:
        raise DataError(
            f"{key} asks for {count:,} of {len(reviews):,} reviews, and no class has as many as {folds}. Ask for more, "
            "or leave data.group out."
        ) from error
    taken = max(1, round(share * folds))
    chosen, rest = (np.concatenate([np.zeros(0, int), *some]) for some in (parts[:taken], parts[taken:]))
    return rng.permutation(chosen), rng.permutation(rest)


def say_repeated(held_out: Mapping[str, Reviews], train: Reviews, say: Callable[[str], None]) -> None:
    """Tell how many of the held-out texts are learnt from, too."""
    learnt = _digests(train)
    for name, part in held_out.items():
        if count := int(np.isin(_digests(part), learnt).sum()):
            say(
                f"Of the {len(part):,} {name} reviews, train has {count:,} too, letter by letter: what is known by "
                "heart flatters the figures (`tfsent data` counts texts that are there more than once)."
            )


def _digests(reviews: Reviews) -> np.ndarray:
    """A number that stands for each text, `uint64[n]`."""
    hashes = (hashlib.blake2b(text.encode("utf-8"), digest_size=8).digest() for text in reviews.texts)
    return np.frombuffer(b"".join(hashes), np.uint64)
