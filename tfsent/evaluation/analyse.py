"""Answers of a model → what a person should know beyond the metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from tfsent.data.reviews import Reviews
from tfsent.evaluation import curves, traits
from tfsent.evaluation import lengths as token_lengths
from tfsent.evaluation.analysis import Analysis, WorstError
from tfsent.evaluation.errors import SHOWN, worst_errors
from tfsent.evaluation.reliability import normalized, reliability
from tfsent.evaluation.slices import find_slices
from tfsent.evaluation.traits import Trait
from tfsent.inference.keras_run import KerasPredictor
from tfsent.inference.predictor import Predictor
from tfsent.text.spec import TextSpec

Attributions = tuple[tuple[int, int, float], ...]
Attribute = Callable[[Sequence[str]], Sequence[Attributions]]
"""Texts → what each word adds to the predicted label, see `WorstError`."""


def analyse(
    predictor: Predictor,
    reviews: Reviews,
    probabilities: np.ndarray,
    *,
    before: np.ndarray | None = None,
    split: str = "",
    train: Sequence[str] | None = None,
    attribute: Attribute | None = None,
    errors: int = SHOWN,
) -> Analysis:
    """Find where a model is good and where it is not. The model is asked only for its decision and its tokens.

    Args:
        predictor: any form of a model.
        reviews: labelled ones. Each of their `columns` gives slices.
        probabilities: `float32[n, classes]`, its answers.
        before: the same without the temperature; None where there is none.
        split: `test` or `validation` of a run; empty for others.
        train: texts of the training reviews, to set errors aside that nearly occur there; None where not at hand.
        attribute: explains the worst errors, see `explainer`; None leaves them unexplained.
        errors: how many errors are kept.

    Returns:
        The analysis, in seconds for 25,000 reviews; without `attribute`.
    """
    exact = normalized(probabilities)
    predicted = predictor.choose(probabilities)
    right = predicted == reviews.labels
    two = len(reviews.label_names) == 2
    spec = token_lengths.spec_of(predictor)
    tokens = token_lengths.review_lengths(predictor, reviews.texts)
    worst, near = worst_errors(reviews, exact, predicted, train, errors)
    return Analysis(
        reviews=len(reviews),
        split=split,
        fingerprint=reviews.fingerprint,
        reliability=reliability(exact, reviews.labels),
        reliability_before=None if before is None else reliability(before, reviews.labels),
        roc=curves.roc(exact[:, 1], reviews.labels == 1) if two else None,
        precision_recall=curves.precision_recall(exact[:, 1], reviews.labels == 1) if two else None,
        scores=curves.score_histogram(exact, reviews.labels, reviews.label_names, right),
        lengths=None if tokens is None or spec is None else token_lengths.describe(tokens, spec),
        slices=find_slices(_traits(reviews, exact[np.arange(len(exact)), predicted], tokens, spec), right),
        errors=_explained(worst, attribute),
        near_duplicates=near,
    )


def explainer(predictor: Predictor) -> Attribute | None:
    """Return what explains the answers of a model; None where only a finished file is at hand.

    It takes seconds a text on a CPU.
    """
    if not isinstance(predictor, KerasPredictor):
        return None
    from tfsent.evaluation.explanation import explain

    def attribute(texts: Sequence[str]) -> list[Attributions]:
        return [tuple((w.start, w.stop, w.score) for w in one.words) for one in explain(predictor, texts)]

    return attribute


def _traits(
    reviews: Reviews, confidence: np.ndarray, tokens: np.ndarray | None, spec: TextSpec | None
) -> Iterator[Trait]:
    """Give the traits. What all reviews have in common is no trait, but for a column, which somebody asked for."""
    if tokens is not None and spec is not None:
        yield from (trait for trait in traits.of_lengths(tokens, spec) if not trait.rows.all())
    yield from (trait for trait in traits.of_texts(reviews.texts) if not trait.rows.all())
    yield from (trait for trait in traits.of_confidence(confidence) if not trait.rows.all())
    yield from traits.of_columns(reviews.columns)


def _explained(errors: Sequence[WorstError], attribute: Attribute | None) -> tuple[WorstError, ...]:
    if attribute is None or not errors:
        return tuple(errors)
    found = attribute([one.text for one in errors])
    return tuple(replace(one, attributions=words) for one, words in zip(errors, found, strict=True))
