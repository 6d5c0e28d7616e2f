"""The analysis of any form of a model, and that it can be read again."""

import numpy as np
import pytest
from stub_predictor import Stub
from tiny import VOCABULARY, tiny_texts

import tfsent
from tfsent.data.reviews import Reviews, load_reviews
from tfsent.evaluation.analyse import analyse, explainer
from tfsent.evaluation.analysis import read_analysis
from tfsent.evaluation.metrics import compute_metrics
from tfsent.inference.predictor import ignore
from tfsent.model.decision import Decision
from tfsent.storage import atomic
from tfsent.text.light_tokenizer import LightTokenizer
from tfsent.text.spec import TextSpec


def said(predictor, reviews):
    return predictor.predict_proba(reviews.texts, ignore)


def tiny_reviews(count=200, columns=None):
    texts, labels = zip(*tiny_texts(count, 3), strict=True)
    return Reviews(texts, np.array(labels, np.int32), ("negative", "positive"), "tiny reviews", columns=columns or {})


def test_a_model_without_a_tokenizer(tmp_path):
    reviews, predictor = tiny_reviews(), Stub()
    probabilities = said(predictor, reviews)
    found = analyse(predictor, reviews, probabilities, split="test")
    assert (found.reviews, found.split, found.fingerprint) == (200, "test", reviews.fingerprint)
    assert (found.lengths, found.near_duplicates, found.reliability_before) == (None, None, None)
    assert not {one.by for one in found.slices} & {"length", "truncation"}
    assert len(found.errors) == 10
    of_metrics = compute_metrics(probabilities, reviews.labels, reviews.label_names)
    assert found.reliability.error == pytest.approx(of_metrics.calibration_error)
    atomic.write_json(tmp_path / "analysis.json", found.to_dict())
    assert read_analysis(tmp_path / "analysis.json") == found


def test_the_threshold_of_the_model_says_what_is_right():
    reviews, predictor = tiny_reviews(), Stub()
    predictor.decision = Decision(threshold=0.0)  # always positive
    found = analyse(predictor, reviews, said(predictor, reviews))
    assert {one.predicted_label for one in found.errors} == {"positive"}
    assert {one.true_label for one in found.errors} == {"negative"}


def test_lengths_columns_and_train(tmp_path):
    channel = ["web", "app"] * 100
    reviews, predictor = tiny_reviews(columns={"channel": channel, "shop": ["one"] * 200}), Stub()
    predictor.tokenizer = LightTokenizer(TextSpec(lowercase=True, max_tokens=24), VOCABULARY)
    probabilities = np.tile(np.array([[0.1, 0.9]], np.float32), (200, 1))  # all that is positive is right
    found = analyse(predictor, reviews, probabilities, before=probabilities, train=reviews.texts[:100])
    worst, best = (next(one for one in found.slices if one.value == value) for value in ("web", "app"))
    assert (worst.by, worst.verdict, worst.accuracy, worst.rest) == ("channel", "worse", 0, 1)
    assert (best.verdict, found.slices[0]) == ("better", worst)
    assert next(one for one in found.slices if one.by == "shop").rest is None
    assert found.reliability_before == found.reliability
    assert found.near_duplicates > 0
    assert not set(one.text for one in found.errors) & set(reviews.texts[:100])
    assert {"length", "truncation"} <= {one.by for one in found.slices}
    assert found.lengths.max_tokens == 24


def test_several_classes_have_no_curves():
    texts = tuple(f"review {i}" for i in range(90))
    reviews = Reviews(texts, np.arange(90, dtype=np.int32) % 3, ("a", "b", "c"), "")
    found = analyse(Stub(), reviews, np.random.default_rng(0).dirichlet(np.ones(3), 90).astype(np.float32))
    assert (found.roc, found.precision_recall, list(found.scores.counts)) == (None, None, ["right", "wrong"])


def test_the_worst_errors_are_explained():
    reviews, predictor = tiny_reviews(), Stub()
    asked = []

    def attribute(texts):
        asked.extend(texts)
        return [((0, 3, 0.5),)] * len(texts)

    found = analyse(predictor, reviews, said(predictor, reviews), attribute=attribute, errors=4)
    assert [one.text for one in found.errors] == asked
    assert all(one.attributions == ((0, 3, 0.5),) for one in found.errors)
    assert explainer(predictor) is None


@pytest.mark.parametrize("form", ["", "export/mobile/model.tflite", "export/serving"])
def test_every_form_of_a_model_is_analysed(exported, form):
    predictor = tfsent.load(exported / form)
    reviews = load_reviews(exported / "heldout" / "test.jsonl.gz")
    found = analyse(predictor, reviews, said(predictor, reviews), attribute=explainer(predictor))
    assert found.lengths.max_tokens == 32
    assert sum(found.lengths.histogram.counts["reviews"]) == found.reviews == 100
    for one in found.errors:
        assert (one.attributions is None) == bool(form)
        assert form or all(0 <= start < stop <= len(one.text) for start, stop, _ in one.attributions)
