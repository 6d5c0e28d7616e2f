"""Which words made a model answer as it did: integrated gradients (M. Sundararajan, A. Taly, Q. Yan, ICML 2017).

What is explained is the log odds of a class, `F = log(p / (1 - p))` in nats, `p` being the probability that the model
answers: of two classes the difference of the logits, of more the logit of the class minus the logsumexp of the others.
With `truncation: windows` `p` is the mean over the windows, as in an answer.

The baseline is the same row with the embedding of [PAD] in the place of each token but [CLS] and [SEP], at the same
positions. Between the two, `F` is differentiated along the straight line of the token embeddings: the scores of the
tokens add up to `F(text) - F(baseline)`. [CLS] and [SEP] stay as they are, so their score is 0. Against a vector of
zeros, [MASK] and the mean of the table, [PAD] needs the fewest steps and leaves the model the least decided
(benchmarks/README.md). The trapezoidal rule needs fewer than that of Gauss and Lobatto, for the derivative is nearly 0
at both ends; and its points can be used again when there are twice as many.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tfsent.evaluation.explanation_words import Word, cut_stretches, places_of_rows, words_of
from tfsent.inference.keras_run import KerasPredictor
from tfsent.inference.predictor import Advance, Prediction, ignore

if TYPE_CHECKING:
    import keras

FIRST_STEPS = 16
STEPS = 64
TOLERANCE = 0.05
"""A path has `FIRST_STEPS`, then twice as many, until the scores add up within `TOLERANCE` nats, or `STEPS`."""
BATCH_TOKENS = 1024
"""Tokens that are differentiated together. MiniLM-L6 takes 0.5 GB, BERT base with 512 tokens a row 2 GB."""


@dataclass(frozen=True)
class Explanation:
    """What each word of a text contributes to the log odds of a class."""

    text: str
    prediction: Prediction
    label: str
    """The class that is explained: the predicted one, unless another was asked for."""
    words: tuple[Word, ...]
    """Of the tokens that the model read, in the order of the text. A word that is partly cut has the score of the rest;
    one that is wholly cut is not there."""
    logit: float
    """Log odds of the class, in nats. 0 is a probability of one half."""
    baseline_logit: float
    """The same without the words."""
    completeness_error: float
    """How far all scores together are from `logit - baseline_logit`."""
    tokens: int
    """Of the text, without [CLS] and [SEP]."""
    tokens_cut: int
    """Those that the model did not read."""
    cut: tuple[tuple[int, int], ...]
    """First character and character after the last of each stretch that the model did not read."""

    def to_dict(self) -> dict[str, Any]:
        """Return the explanation ready for JSON."""
        return {**asdict(self), "words": [{"word": self.text[w.start : w.stop], **asdict(w)} for w in self.words]}


def explain(
    predictor: KerasPredictor,
    texts: Sequence[str],
    *,
    labels: Sequence[int] | None = None,
    steps: int = STEPS,
    advance: Advance = ignore,
) -> list[Explanation]:
    """Explain what a model says of texts.

    Args:
        predictor: of a run.
        texts: the texts. One without a token, such as a blank one, has no words in its explanation.
        labels: the class to be explained of each text; None explains the predicted one.
        steps: the most steps of a path; a power of 2, at least `FIRST_STEPS`.
        advance: is told how many more texts are done.

    Returns:
        An explanation of each text. The same text has the same scores, whatever texts it comes with.
    """
    if not texts:
        return []
    from tfsent.text.token_store import tokenize_all

    predictions = predictor.predict(texts)
    if labels is None:
        labels = [predictor.label_names.index(prediction.label) for prediction in predictions]
    tokens, differentiate = tokenize_all(predictor.tokenizer, texts), _differentiator(predictor)
    found = []
    for i, (prediction, label) in enumerate(zip(predictions, labels, strict=True)):
        rows = [tokens[row] for row in np.flatnonzero(tokens.owner == i).tolist()]
        scores, ends = _integrate([functools.partial(differentiate, row, int(label)) for row in rows], steps)
        found.append(_explanation(predictor, prediction, int(label), scores, ends))
        advance(1)
    return found


def _explanation(
    predictor: KerasPredictor, prediction: Prediction, label: int, scores: list[np.ndarray], ends: tuple[float, float]
) -> Explanation:
    """Bring the scores of the tokens of each row, `float64[s]`, back to the text. `ends` are baseline and text."""
    text = prediction.text
    # The tokenizer drops both U+FFFD and lone surrogates, but does not count the latter.
    pieces = predictor.tokenizer.explain(re.sub("[\ud800-\udfff]", "\ufffd", text))
    of_pieces, read = np.zeros(len(pieces)), np.zeros(len(pieces), bool)
    for place, row in zip(places_of_rows(pieces, predictor.tokenizer.spec), scores, strict=True):
        of_pieces[place] += row[1:-1]
        read[place] = True
    return Explanation(
        text=text,
        prediction=prediction,
        label=predictor.label_names[label],
        words=words_of(text, pieces, of_pieces, read),
        logit=ends[1],
        baseline_logit=ends[0],
        completeness_error=_error(scores, ends),
        tokens=len(pieces),
        tokens_cut=int(np.count_nonzero(~read)),
        cut=cut_stretches(text, pieces, read),
    )


Differentiate = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Of a row: shares of the path, `float64[n]`, → log odds there, `float64[n]`, and what each token contributes to their
derivative by the share, `float64[n, s]`."""


def _integrate(rows: Sequence[Differentiate], steps: int) -> tuple[list[np.ndarray], tuple[float, float]]:
    """Return the scores of the tokens of each row, `float64[s]`, and the text's log odds at baseline and text."""
    count = FIRST_STEPS
    measured = [row(np.linspace(0, 1, count + 1)) for row in rows]
    while True:
        shares, whole = _through_the_mean(np.stack([odds for odds, _ in measured]))
        weights = np.full(count + 1, 1 / count)
        weights[[0, -1]] /= 2
        scores = [(weights * share) @ gradients for share, (_, gradients) in zip(shares, measured, strict=True)]
        ends = float(whole[0]), float(whole[-1])
        if _error(scores, ends) <= TOLERANCE or 2 * count > steps:
            return scores, ends
        between = (np.arange(count) + 0.5) / count
        measured = [_woven(old, row(between)) for old, row in zip(measured, rows, strict=True)]
        count *= 2


def _error(scores: Sequence[np.ndarray], ends: tuple[float, float]) -> float:
    return abs(sum(float(row.sum()) for row in scores) - (ends[1] - ends[0]))


def _woven(old: tuple[np.ndarray, np.ndarray], new: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Put values between the old ones: `[n + 1, …]` and `[n, …]` → `[2n + 1, …]`."""
    odds, gradients = (np.insert(a, np.arange(1, len(a)), b, axis=0) for a, b in zip(old, new, strict=True))
    return odds, gradients


def _through_the_mean(odds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what a row's log odds count in the text's, whose probability is the mean over the rows.

    Args:
        odds: of each row and point, `float64[rows, n]`.

    Returns:
        The derivative of the text's log odds by those of each row, `float64[rows, n]`, 1 where there is one row; and
        the text's log odds, `float64[n]`.
    """
    # Logarithms of p and 1 - p: a probability of nearly 1 must not be rounded to 1.
    log_p, log_q = -np.logaddexp(0, -odds), -np.logaddexp(0, odds)
    mean_p = np.logaddexp.reduce(log_p, axis=0) - np.log(len(odds))
    mean_q = np.logaddexp.reduce(log_q, axis=0) - np.log(len(odds))
    return np.exp(log_p + log_q - mean_p - mean_q) / len(odds), mean_p - mean_q


def _differentiator(predictor: KerasPredictor) -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """Return a function of a row, `int32[s]`, a class and shares of the path; see `Differentiate`."""
    import tensorflow as tf

    network, table = from_vectors(predictor.model)
    pad_id = predictor.tokenizer.pad_id

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32), tf.TensorSpec([], tf.int32), tf.TensorSpec([None])])
    def at_points(row: Any, label: Any, shares: Any) -> tuple[Any, Any]:
        whole = tf.gather(table, row)
        ends = tf.gather(table, tf.concat([row[:1], tf.fill([tf.size(row) - 2], pad_id), row[-1:]], 0))
        shape = [tf.size(shares), tf.size(row)]
        points = ends + shares[:, None, None] * (whole - ends)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(points)
            inputs = {
                "token_ids": points,
                "segment_ids": tf.zeros(shape, tf.int32),
                "padding_mask": tf.fill(shape, True),
            }
            logits = network(inputs, training=False)
            others = tf.boolean_mask(logits, tf.range(tf.shape(logits)[1]) != label, axis=1)
            odds = logits[:, label] - tf.reduce_logsumexp(others, axis=1)
        return odds, tf.reduce_sum(tape.gradient(odds, points) * (whole - ends), axis=2)

    def differentiate(row: np.ndarray, label: int, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        together = max(1, BATCH_TOKENS // len(row))
        parts = [
            at_points(row, label, shares[i : i + together].astype(np.float32)) for i in range(0, len(shares), together)
        ]
        odds, gradients = (np.concatenate([part.numpy() for part in one]) for one in zip(*parts, strict=True))
        return odds.astype(np.float64), gradients.astype(np.float64)

    return differentiate


def from_vectors(classifier: keras.Model) -> tuple[keras.Model, Any]:
    """Return a classifier that takes the vectors of the tokens, and the table of these vectors.

    Args:
        classifier: of `build_classifier`.

    Returns:
        A model with the same layers and weights, but for the token table, which passes on `token_ids`,
        `float32[b, s, e]`; and the table, a variable `[vocabulary, e]`.
    """
    import keras

    from tfsent.model.bert import BertEncoder

    encoder = next(layer for layer in classifier.layers if isinstance(layer, BertEncoder))

    def instead_of(old: Any, new: Any, model: keras.Model) -> keras.Model:
        inputs = {
            "token_ids": keras.Input((None, encoder.embedding_dim), name="token_ids"),
            "segment_ids": keras.Input((None,), dtype="int32", name="segment_ids"),
            "padding_mask": keras.Input((None,), dtype="bool", name="padding_mask"),
        }
        return keras.models.clone_model(
            model, input_tensors=inputs, clone_function=lambda layer: new if layer is old else layer
        )

    network = instead_of(encoder.token_embedding, keras.layers.Identity(), encoder)
    return instead_of(encoder, network, classifier), encoder.token_embedding.embeddings
