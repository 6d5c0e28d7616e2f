"""Splits reviews into train, validation and test.

The test split is used only to report. A split that the source lacks is drawn from train: stratified by label, seeded,
and in whole groups where the recipe names a group. IMDb's own train and test have no film in common. A part of its
train shares films with the rest, so accuracy on that part is slightly too high.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tfsent.data.duplicates import warn_about_overlap
from tfsent.data.reading import load_parts
from tfsent.data.reviews import Reviews
from tfsent.errors import DataError
from tfsent.recipe.schema import DataConfig

logger = logging.getLogger(__name__)


def split(
    reviews: Reviews, count: int, rng: np.random.Generator, key: str, *, others: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Draw rows so that every class keeps its share, and has a row on both sides. Return them and the rest, shuffled.

    Args:
        reviews: to draw from.
        count: how many.
        rng: decides the draw.
        key: of the recipe, for errors.
        others: how many other splits need a row of each class. 0: the rest may lack classes.

    Raises:
        DataError: there are fewer reviews than `count`, or too few of a class.
    """
    _require_enough(reviews, count, key)
    counts = np.bincount(reviews.labels, minlength=len(reviews.label_names))
    if others:
        _require_one_of_each(reviews, counts, count, key, others)
    # An order that spreads each class evenly over [0, 1): any prefix has every class in proportion.
    position = np.empty(len(reviews))
    of_class = [rng.permutation(np.flatnonzero(reviews.labels == label)) for label in range(len(counts))]
    for rows in of_class:
        position[rows] = (np.arange(len(rows)) + 0.5) / max(len(rows), 1)
    order = np.argsort(position, kind="stable")
    if others and _lacks_a_class(reviews, order, count, others):
        for rows in of_class:
            position[rows[0]], position[rows[len(rows) - others :]] = -1, 2  # taken first, and last
        order = np.argsort(position, kind="stable")
    return rng.permutation(order[:count]), rng.permutation(order[count:])


def _lacks_a_class(reviews: Reviews, order: np.ndarray, count: int, others: int) -> bool:
    """Return whether the first `count` rows lack a class, or the rest has fewer than `others` of one."""
    sides = order[:count], order[count:]
    first, rest = (np.bincount(reviews.labels[rows], minlength=len(reviews.label_names)) for rows in sides)
    return bool((first < 1).any() or (rest < others).any())


def _require_one_of_each(reviews: Reviews, counts: np.ndarray, count: int, key: str, others: int) -> None:
    """Check that a split with every class can be drawn, and leaves every class to the other splits."""
    few = {name: int(n) for name, n in zip(reviews.label_names, counts, strict=True) if n < 1 + others}
    if few:
        named = ", ".join(f"{name!r} ({n})" for name, n in list(few.items())[:5])
        raise DataError(
            f"Too few reviews of class {named}: {1 + others} splits are drawn from the {reviews.origin}, and each "
            f"needs one of every class. Expected at least {1 + others} of each class. Remove the class or merge it "
            "with another; or name files of your own in data.validation and data.test."
        )
    most = len(reviews) - others * len(counts)
    if not len(counts) <= count <= most:
        raise DataError(
            f"{key} asks for {count:,} of {len(reviews):,} reviews, and every split needs one of each of the "
            f"{len(counts)} classes. Expected {len(counts):,} to {most:,}."
        )


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
    for _ in range(GROUP_DRAWS):
        fold = StratifiedGroupKFold(folds, shuffle=True, random_state=int(rng.integers(2**31)))
        try:
            parts = [part for _, part in fold.split(np.zeros(len(reviews)), reviews.labels, reviews.groups)]
        except ValueError as error:
            raise DataError(
                f"{key} asks for {count:,} of {len(reviews):,} reviews, but every class has fewer than {folds}. Ask "
                "for more, or leave data.group out."
            ) from error
        taken = max(1, round(share * folds))
        chosen, rest = (np.concatenate([np.zeros(0, int), *some]) for some in (parts[:taken], parts[taken:]))
        sides = [rows for rows in (chosen, rest) if len(rows)]
        missing = {i for rows in sides for i in set(reviews.labels.tolist()) - set(reviews.labels[rows])}
        if not missing:
            return rng.permutation(chosen), rng.permutation(rest)
    named = ", ".join(repr(reviews.label_names[i]) for i in sorted(missing))
    raise DataError(
        f"{key} asks for {count:,} of {len(reviews):,} reviews in whole groups, and no draw of {GROUP_DRAWS} had every "
        f"class on both sides; the last one lacked {named}. Ask for more, or leave data.group out."
    )


GROUP_DRAWS = 10
"""Draws of whole groups that are tried until every class is on both sides."""
HELD_OUT_AT_MOST = 10_000
"""Most reviews that are held out by default. With 10,000 an accuracy is known to about half a point."""


@dataclass(frozen=True)
class Splits:
    """Reviews to train on, to choose the best epoch by, and to report on. Only those of train may have soft labels."""

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
    drawn = [name for name in ("test", "validation") if name not in parts]
    others = len(drawn)  # each drawn split leaves a review of every class to those after it, and to train
    held_out = {}
    for name, wanted in (("test", config.test_examples), ("validation", config.validation_examples)):
        key = f"data.{name}_examples"
        if name in drawn:
            held_out[name], train = _hold_out(train, wanted, rng, key, config, others)
            others -= 1
        else:
            held_out[name] = _given(parts[name], wanted, rng, key)
        held_out[name] = held_out[name].hard()
    if config.train_examples is not None:
        chosen, _ = split(train, _count(config.train_examples, train), rng, "data.train_examples")
        train = train.take(chosen)
    splits = Splits(train, **held_out)
    for name, part in vars(splits).items():
        _require_classes(part, name)
    warn_about_overlap({"validation": splits.validation, "test": splits.test}, train)
    return splits


def _count(wanted: float | None, reviews: Reviews) -> int:
    """Resolve a number of reviews, a share of them, or the default of a tenth."""
    if wanted is None:
        return min(max(1, round(0.1 * len(reviews))), HELD_OUT_AT_MOST)
    return wanted if isinstance(wanted, int) else max(1, round(wanted * len(reviews)))


def _given(part: Reviews, wanted: float | None, rng: np.random.Generator, key: str) -> Reviews:
    """Return a split that the source has, or some of it."""
    if wanted is None:
        return part
    chosen, _ = split(part, _count(wanted, part), rng, key)
    return part.take(chosen, f"{len(chosen):,} reviews drawn from the {part.origin}")


def _hold_out(
    reviews: Reviews, wanted: float | None, rng: np.random.Generator, key: str, config: DataConfig, others: int
) -> tuple[Reviews, Reviews]:
    """Draw held-out reviews. Return them and the rest."""
    origin = "held out of the training reviews"
    if reviews.groups is not None:
        chosen, rest = split_by_group(reviews, _count(wanted, reviews), rng, key)
        return reviews.take(chosen, f"{origin}, no {config.group} on both sides"), reviews.take(rest)
    count = _count(wanted, reviews)
    if reviews.soft is not None and min(reviews.class_counts.values()) < 1 + others:
        others = 0  # a class need not be the most probable one anywhere
    if wanted is None:  # a tenth may be fewer than there are classes
        count = max(count, len(reviews.label_names))
    chosen, rest = split(reviews, count, rng, key, others=others)
    if config.source == "imdb-wheel" and key == "data.test_examples":
        origin += ", which share its films; not the official test split"
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


FEW = 5
"""With fewer reviews of a class than this, a warning names it."""


def _require_classes(reviews: Reviews, name: str) -> None:
    """Check that train has every class; warn of held-out splits that have too few reviews of one."""
    if not len(reviews):
        raise DataError(f"The {name} split is empty ({reviews.origin}).")
    counts = reviews.class_counts
    empty = [label for label, count in counts.items() if not count]
    if reviews.soft is not None:  # a class is learnt from any probability
        empty = [label for label, total in zip(counts, reviews.soft.sum(axis=0), strict=True) if not total]
    if empty and name == "train":
        key = "data.labels" if reviews.soft is None else "data.label"
        raise DataError(
            f"The {name} split ({len(reviews):,} reviews) has no example of class {', '.join(map(repr, empty[:5]))}. "
            f"Give it more reviews, or remove the class from {key}."
        )
    if empty:
        logger.warning(
            f"The {name} split has no review of {_named(empty)}: nothing is measured there about "
            f"{'this class' if len(empty) == 1 else 'these classes'}."
        )
    if few := [f"{label!r} ({count})" for label, count in counts.items() if 0 < count < FEW]:
        more = f" and {len(few) - 5} more classes" if len(few) > 5 else ""
        logger.warning(
            f"The {name} split has few reviews of {', '.join(few[:5])}{more}: too few to "
            f"{'learn' if name == 'train' else 'measure'} much about them."
        )


def _named(labels: list[str]) -> str:
    more = f" and {len(labels) - 5} more classes" if len(labels) > 5 else ""
    return ", ".join(map(repr, labels[:5])) + more
