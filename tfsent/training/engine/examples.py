"""What a model learns from: labelled reviews and, with a teacher, texts without labels; and the targets of all."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfsent.data.memory import UNLABELLED
from tfsent.data.reviews import Reviews
from tfsent.data.splits import Splits
from tfsent.data.unlabelled import load_unlabelled, without
from tfsent.errors import ConfigError, DataError
from tfsent.model.loss import soften
from tfsent.recipe.schema import Config
from tfsent.storage.row_store import RowStore, StoredTexts
from tfsent.training.engine.teachers import Answers, ask_all, require_all, warn_of_other_splits

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Examples:
    """Training examples, and what is to be learnt from each."""

    reviews: Reviews
    """The training reviews; then the texts without labels, whose label is -1."""
    targets: np.ndarray
    """What `ClassifierLoss` takes: labels, `int32[n]`; soft labels, `float32[n, classes]`; or labels and the teacher's
    softened probabilities, `float32[n, 2, classes]`."""
    unlabelled: int = 0
    """How many of the examples have no label."""
    teachers: tuple[dict[str, Any], ...] = ()
    """See `Answers.teachers`."""

    def describe(self) -> dict[str, Any]:
        """Return where the examples beyond the training reviews come from, as `data.json` keeps it."""
        if not self.teachers:
            return {}
        about = {"reviews": self.unlabelled, "fingerprint": self.reviews.fingerprint}
        return {"teachers": list(self.teachers), UNLABELLED: about}


def require_teachers(config: Config, parts: Mapping[str, Reviews] | None = None) -> None:
    """Check, before anything is read, that there is a teacher where one is needed, and a model or table at its path.

    Args:
        config, parts: see `find_examples`.

    Raises:
        ConfigError: there are texts without labels, and no teacher.
        ArtifactError, RunError: there is nothing at a path that can be a teacher.
    """
    distil = config.distil
    if distil.teacher is None and (distil.unlabelled is not None or UNLABELLED in (parts or {})):
        raise ConfigError(
            "There are texts without labels, and no teacher to label them. Name one: tfsent distil RECIPE --teacher "
            "RUN; or leave distil.unlabelled out."
        )
    require_all(distil.teacher or ())


def find_examples(config: Config, splits: Splits, parts: Mapping[str, Reviews] | None = None) -> Examples:
    """Return the examples of a recipe. Teachers are asked where the cache does not have their answers.

    Args:
        config: the recipe.
        splits: the labelled reviews.
        parts: reviews in memory, among them perhaps `unlabelled`; None reads what the recipe names.

    Raises:
        ConfigError: a teacher has other classes.
        DataError: texts cannot be read, or no teacher knows a text that has no label.
        ArtifactError, RunError: see `ask_all`.
    """
    train, distil = splits.train, config.distil
    if distil.teacher is None:
        return Examples(train, train.labels if train.soft is None else train.soft)
    warn_of_other_splits(distil.teacher, config.data, splits)
    given = (parts or {}).get(UNLABELLED)
    more = [] if given is None else [given.texts]
    if distil.unlabelled is not None:
        more.append(load_unlabelled(config.data, distil.unlabelled))
    reviews = _joined(train, [_only_new(texts, splits) for texts in more])
    answers = ask_all(distil.teacher, reviews.texts, train.label_names, config.data)
    unlabelled = len(reviews) - len(train)
    _require_answers(reviews, answers, unlabelled, distil.label_weight)
    return Examples(reviews, _targets(train, answers, distil.temperature), unlabelled, answers.teachers)


def _only_new(texts: Sequence[str], splits: Splits) -> Sequence[str]:
    """Leave out texts of validation and test, whose figures would flatter; and those of train, which are learnt anyway.

    The same words are the same text.
    """
    rest, held_out = without(texts, [splits.validation.texts, splits.test.texts])
    if held_out:
        logger.warning(f"Texts without labels: {held_out:,} are in validation or test, and are left out.")
    rest, known = without(rest, [splits.train.texts])
    if known:
        logger.info(f"Texts without labels: {known:,} are training reviews, and are left out.")
    return rest


def _joined(train: Reviews, more: Sequence[Sequence[str]]) -> Reviews:
    """Return the training reviews and, after them, texts without labels."""
    count = sum(map(len, more))
    if not count:
        return train
    store = RowStore()
    for text in itertools.chain(train.texts, *more):
        store.append(text.encode("utf-8"))
    labels = np.concatenate([train.labels, np.full(count, -1, np.int32)])
    origin = f"{train.origin} and {count:,} texts without labels"
    return Reviews(StoredTexts(store), labels, train.label_names, origin)


def _require_answers(reviews: Reviews, answers: Answers, unlabelled: int, label_weight: float) -> None:
    """Check that something is learnt from every text."""
    unknown = np.isnan(answers.probabilities[:, 0])
    labelled = len(reviews) - unlabelled
    if unknown[labelled:].any() or unknown.all():
        first = int(np.argmax(unknown[labelled:])) + labelled if unknown[labelled:].any() else 0
        of = f"{unlabelled:,} texts without labels" if unknown[labelled:].any() else f"{labelled:,} training reviews"
        raise DataError(
            f"The table has no probabilities for {int(unknown[labelled:].sum() or unknown.sum()):,} of the {of}, such "
            f"as {reviews.texts[first][:60]!r}. Expected a row for each, with exactly the same text."
        )
    if unknown.any():
        what = "only their labels are" if label_weight else "nothing is (distil.label_weight is 0)"
        logger.warning(
            f"No teacher has probabilities for {int(unknown.sum()):,} of the {labelled:,} training reviews: {what} "
            "learnt from them."
        )


def _targets(train: Reviews, answers: Answers, temperature: float) -> np.ndarray:
    """Return `float32[n, 2, classes]`: labels, zeros where there is none; then the teacher's softened probabilities."""
    targets = np.zeros((len(answers.probabilities), 2, len(train.label_names)), np.float32)
    labels = np.eye(len(train.label_names), dtype=np.float32)[train.labels] if train.soft is None else train.soft
    targets[: len(train), 0] = labels
    known = ~np.isnan(answers.probabilities[:, 0])
    targets[known, 1] = soften(answers.probabilities[known], temperature)
    return targets
