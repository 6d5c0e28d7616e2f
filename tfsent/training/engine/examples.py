"""What a model learns from: labelled reviews and, with a teacher, texts without labels; and the targets of all."""

from __future__ import annotations

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
from tfsent.training.engine.teachers import Answers, ask_all, require_all

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
    given = (parts or {}).get(UNLABELLED)
    more: Sequence[str] = () if given is None else given.texts
    if distil.unlabelled is not None:
        more = load_unlabelled(config.data, distil.unlabelled)
    reviews = _joined(train, _never_held_out(more, splits))
    answers = ask_all(distil.teacher, reviews.texts, train.label_names, config.data)
    unlabelled = len(reviews) - len(train)
    _require_answers(reviews, answers, unlabelled, distil.label_weight)
    return Examples(reviews, _targets(train, answers, distil.temperature), unlabelled, answers.teachers)


def _never_held_out(texts: Sequence[str], splits: Splits) -> Sequence[str]:
    """Leave out texts that validation or test has: a figure of them would flatter."""
    if not len(texts):
        return texts
    rest, left_out = without(texts, [splits.validation.texts, splits.test.texts])
    if left_out:
        logger.warning(f"{left_out:,} of the texts without labels are in validation or test, and are left out.")
    return rest


def _joined(train: Reviews, more: Sequence[str]) -> Reviews:
    """Return the training reviews and, after them, texts without labels."""
    if not len(more):
        return train
    store = RowStore()
    for texts in (train.texts, more):
        for text in texts:
            store.append(text.encode("utf-8"))
    labels = np.concatenate([train.labels, np.full(len(more), -1, np.int32)])
    origin = f"{train.origin} and {len(more):,} texts without labels"
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
            f"as {reviews.texts[first][:60]!r}. Expected a row for each, its text letter for letter the same."
        )
    if unknown.any():
        what = "their label alone" if label_weight else "nothing, for distil.label_weight is 0"
        logger.warning(
            f"No teacher knows {int(unknown.sum()):,} of the {labelled:,} training reviews: they teach {what}."
        )


def _targets(train: Reviews, answers: Answers, temperature: float) -> np.ndarray:
    """Return `float32[n, 2, classes]`: labels, zeros where there is none; then the teacher's softened probabilities."""
    targets = np.zeros((len(answers.probabilities), 2, len(train.label_names)), np.float32)
    labels = np.eye(len(train.label_names), dtype=np.float32)[train.labels] if train.soft is None else train.soft
    targets[: len(train), 0] = labels
    known = ~np.isnan(answers.probabilities[:, 0])
    targets[known, 1] = soften(answers.probabilities[known], temperature)
    return targets
