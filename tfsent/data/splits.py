"""Splits reviews into train, validation and test.

The test split is used only to report. A split that the source lacks is drawn from train: stratified by label, seeded,
and in whole groups where the recipe names a group. IMDb's own train and test have no film in common. A part of its
train shares films with the rest, so accuracy on that part is slightly too high.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tfsent.data.duplicates import warn_about_overlap
from tfsent.data.reading import load_parts
from tfsent.data.reviews import Reviews
from tfsent.errors import DataError
from tfsent.recipe.schema import DataConfig


def split(reviews: Reviews, count: int, rng: np.random.Generator, key: str) -> tuple[np.ndarray, np.ndarray]:
    """Draw rows so that every class keeps its share. Return the drawn rows and the rest, both shuffled.

    Args:
        reviews: to draw from.
        count: how many.
        rng: decides the draw.
        key: of the recipe, for errors.

    Raises:
        DataError: there are fewer reviews than `count`.
    """
    _require_enough(reviews, count, key)
    # An order that spreads each class evenly over [0, 1): any prefix has every class in proportion.
    position = np.empty(len(reviews))
    for label in range(len(reviews.label_names)):
        rows = rng.permutation(np.flatnonzero(reviews.labels == label))
        position[rows] = (np.arange(len(rows)) + 0.5) / max(len(rows), 1)
    order = np.argsort(position, kind="stable")
    return rng.permutation(order[:count]), rng.permutation(order[count:])


def _require_enough(reviews: Reviews, count: int, key: str) -> None:
    if count > len(reviews):
        raise DataError(
            f"{key} asks for {count:,} reviews, but only {len(reviews):,} are left ({reviews.origin}). Ask for fewer, "
            f"or for a share such as 0.1; --set {key}=null restores the default."
        )


def split_by_group(reviews: Reviews, count: int, rng: np.random.Generator, key: str) -> tuple[np.ndarray, np.ndarray]:
    """Draw about `count` rows in whole groups, with classes in proportion as far as the groups allow.

    Args:
        reviews, count, rng, key: see `split`.

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
            f"{key} asks for {count:,} of {len(reviews):,} reviews, but they form only {there:,} groups: too few for "
            "so small a share. Ask for more, or leave data.group out."
        )
    fold = StratifiedGroupKFold(folds, shuffle=True, random_state=int(rng.integers(2**31)))
    try:
        parts = [part for _, part in fold.split(np.zeros(len(reviews)), reviews.labels, reviews.groups)]
    except ValueError as error:
        raise DataError(
            f"{key} asks for {count:,} of {len(reviews):,} reviews, but every class has fewer than {folds} reviews. "
            "Ask for more, or leave data.group out."
        ) from error
    taken = max(1, round(share * folds))
    chosen, rest = (np.concatenate([np.zeros(0, int), *some]) for some in (parts[:taken], parts[taken:]))
    return rng.permutation(chosen), rng.permutation(rest)


HELD_OUT_AT_MOST = 10_000
"""Most reviews that are held out by default. With 10,000 an accuracy is known to about half a point."""


@dataclass(frozen=True)
class Splits:
    """Reviews to train on, to choose the best epoch by, and to report on."""

    train: Reviews
    validation: Reviews
    test: Reviews

    def describe(self) -> dict[str, object]:
        """Return counts, origins and fingerprints, as `data.json` keeps them."""
        return {
            name: {
                "reviews": len(part),
                "classes": part.class_counts,
                "origin": part.origin,
                "fingerprint": part.fingerprint,
            }
            for name, part in vars(self).items()
        }


def load_splits(config: DataConfig, parts: Mapping[str, Reviews] | None = None) -> Splits:
    """Read the source and split it. The result is the same on every machine.

    Args:
        config: section `data` of the recipe.
        parts: reviews by split, unsplit otherwise; nothing is read then. None reads the source.

    Raises:
        DataError: the source is missing, empty or faulty, a class has no examples, or the split asks for too many.
        AssetError: a download failed.
    """
    parts = load_parts(config) if parts is None else parts
    train, rng = parts["train"], np.random.default_rng(config.seed)
    _require_apart(parts, config)
    test, train = _held_out("test", parts, train, config.test_examples, rng, config)
    validation, train = _held_out("validation", parts, train, config.validation_examples, rng, config)
    if config.train_examples is not None:
        chosen, _ = split(train, _count(config.train_examples, train), rng, "data.train_examples")
        train = train.take(chosen)
    splits = Splits(train, validation, test)
    for name, part in vars(splits).items():
        _require_classes(part, name)
    warn_about_overlap({"validation": validation, "test": test}, train)
    return splits


def _count(wanted: float | None, reviews: Reviews) -> int:
    """Resolve a number of reviews, a share of them, or the default of a tenth."""
    if wanted is None:
        return min(max(1, round(0.1 * len(reviews))), HELD_OUT_AT_MOST)
    return wanted if isinstance(wanted, int) else max(1, round(wanted * len(reviews)))


def _held_out(
    name: str,
    parts: Mapping[str, Reviews],
    train: Reviews,
    wanted: float | None,
    rng: np.random.Generator,
    config: DataConfig,
) -> tuple[Reviews, Reviews]:
    """Return the reviews of a held-out split and the rest of train."""
    key = f"data.{name}_examples"
    if name not in parts:
        return _hold_out(train, wanted, rng, key, config)
    part = parts[name]
    if wanted is not None:
        chosen, _ = split(part, _count(wanted, part), rng, key)
        part = part.take(chosen, f"{len(chosen):,} reviews drawn from the {part.origin}")
    return part, train


def _hold_out(
    reviews: Reviews, wanted: float | None, rng: np.random.Generator, key: str, config: DataConfig
) -> tuple[Reviews, Reviews]:
    """Draw held-out reviews. Return them and the rest."""
    draw = split if reviews.groups is None else split_by_group
    chosen, rest = draw(reviews, _count(wanted, reviews), rng, key)
    origin = "held out of the training reviews"
    if config.source == "imdb-wheel" and key == "data.test_examples":
        origin += ", which share its films; not the official test split"
    elif reviews.groups is not None:
        origin += f", no {config.group} on both sides"
    return reviews.take(chosen, origin), reviews.take(rest)


def _require_apart(parts: Mapping[str, Reviews], config: DataConfig) -> None:
    """Check that no group of train occurs in a given split."""
    train = parts["train"].groups
    if train is None:
        return
    for name, part in parts.items():
        if name == "train" or part.groups is None:
            continue
        shared = np.isin(part.groups, train)
        if shared.any():
            raise DataError(
                f"{int(shared.sum()):,} of the {len(part):,} {part.origin} have a {config.group} that train also has "
                f"(such as {part.texts[int(np.argmax(shared))][:60]!r}). Remove them from one, or leave data.{name} "
                "out and let tfsent split by group."
            )


def _require_classes(reviews: Reviews, name: str) -> None:
    if not len(reviews):
        raise DataError(f"The {name} split is empty ({reviews.origin}).")
    empty = [label for label, count in reviews.class_counts.items() if not count]
    if empty:
        raise DataError(
            f"The {name} split ({len(reviews):,} reviews) has no example of class {', '.join(map(repr, empty))}. "
            "Every split needs every class: give it more reviews."
        )
