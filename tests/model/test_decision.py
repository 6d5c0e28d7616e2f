"""From logits to a label: temperature, threshold, and the file that keeps them."""

import json

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st

from tfsent.errors import ArtifactError, ConfigError
from tfsent.model.decision import (
    Decision,
    choose_threshold,
    decide,
    fit_temperature,
    probabilities_of,
    read_decision,
    require_two_classes,
    write_decision,
)


def overconfident(n=4000, factor=3.0):
    """Logits whose softmax at temperature `factor` is the true probability."""
    rng = np.random.default_rng(0)
    true = rng.normal(0, 1.5, (n, 3)).astype(np.float32)
    cumulated = probabilities_of(true, np.arange(n)).cumsum(axis=1)
    labels = (rng.random(n)[:, None] > cumulated).sum(axis=1).clip(0, 2)
    return factor * true, labels


def test_the_temperature_undoes_overconfidence():
    logits, labels = overconfident()
    found = fit_temperature(logits, np.arange(len(labels)), labels)
    assert found == pytest.approx(3.0, rel=0.1)

    def loss(temperature):  # another minimiser, over the temperature itself
        scaled = logits.astype(float) / temperature
        return (np.log(np.exp(scaled).sum(axis=1)) - scaled[np.arange(len(labels)), labels]).mean()

    other = scipy.optimize.minimize(loss, 1.0, method="Nelder-Mead").x[0]
    assert found == pytest.approx(other, rel=1e-2)


def test_a_model_that_is_always_right_on_few_reviews_becomes_no_surer_than_they_allow():
    logits = np.array([[5, -5], [-5, 5]] * 20, np.float32)
    found = fit_temperature(logits, np.arange(40), np.array([0, 1] * 20))
    sure = probabilities_of(logits, np.arange(40), found).max()
    assert sure == pytest.approx(41 / 42, abs=1e-3)  # Platt's target


def test_a_text_of_several_rows_has_the_mean_of_their_probabilities():
    logits = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    found = probabilities_of(logits, np.array([0, 0, 1, 2, 2]), 2.0)
    exp = np.exp(logits / 2) / np.exp(logits / 2).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found, [exp[:2].mean(axis=0), exp[2], exp[3:].mean(axis=0)], rtol=1e-6)
    assert found.dtype == np.float32


@pytest.mark.parametrize("aim", ["accuracy", "f1", "precision>=0.8", "recall>=0.9"])
def test_a_threshold_is_the_best_of_all(aim):
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 300)
    scores = np.clip(rng.normal(0.35 + 0.2 * labels, 0.15), 0.01, 0.99).round(2).astype(np.float32)
    threshold = choose_threshold(scores, labels, aim)

    def measures(limit):
        chosen = scores > limit
        hits = (chosen & (labels == 1)).sum()
        precision, recall = hits / max(chosen.sum(), 1), hits / labels.sum()
        return (chosen == labels).mean(), 2 * hits / (chosen.sum() + labels.sum()), precision, recall

    tried = [measures(limit) for limit in np.linspace(-0.005, 1.005, 102)]
    accuracy, f1, precision, recall = measures(threshold)
    if aim == "accuracy":
        assert accuracy == max(one[0] for one in tried)
    elif aim == "f1":
        assert f1 == max(one[1] for one in tried)
    elif aim.startswith("precision"):
        assert precision >= 0.8
        assert recall == max(one[3] for one in tried if one[2] >= 0.8)
    else:
        assert recall >= 0.9
        assert precision == max(one[2] for one in tried if one[3] >= 0.9)


def test_a_precision_that_is_out_of_reach_leaves_the_most_probable_class():
    logits = np.array([[0, 1], [0, 1], [1, 0]], np.float32)
    found = decide(logits, np.arange(3), np.array([0, 1, 1]), calibrate=False, aim="precision>=0.9")
    assert found == Decision()


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 1, width=32), st.integers(0, 1)), min_size=1), st.sampled_from(["accuracy", "f1"])
)
def test_every_set_of_scores_has_a_threshold(pairs, aim):
    scores, labels = (np.array(column) for column in zip(*pairs, strict=True))
    assert 0 <= choose_threshold(scores.astype(np.float32), labels, aim) <= 1


def test_the_second_class_needs_more_than_the_threshold():
    rows = np.array([[0.5, 0.5], [0.25, 0.75], [0.2, 0.8]], np.float32)
    assert Decision(threshold=0.75).choose(rows).tolist() == [0, 0, 1]
    assert Decision().choose(rows).tolist() == [0, 1, 1]
    three = np.array([[0.2, 0.5, 0.3]], np.float32)
    assert Decision(threshold=0.75).choose(three).tolist() == [1]


def test_the_file_keeps_the_decision(tmp_path):
    assert read_decision(tmp_path) == Decision()  # of an earlier version
    write_decision(tmp_path, Decision(1.25, 0.375, "f1"))
    assert read_decision(tmp_path) == Decision(1.25, 0.375, "f1")


@pytest.mark.parametrize(
    "content",
    [
        *("", "[]", "{}", "\0", '{"temperature": "1"}', '{"temperature": 0, "threshold": null, "aim": null}'),
        *('{"temperature": 1, "threshold": 1.5, "aim": "f1"}', '{"temperature": 1, "threshold": "1", "aim": "f1"}'),
        *('{"temperature": NaN, "threshold": null, "aim": null}', '{"temperature": null, "threshold": 1, "aim": "f1"}'),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, content):
    (tmp_path / "decision.json").write_text(content)
    with pytest.raises(ArtifactError, match=r"decision.json cannot be read .* Expected a temperature above 0, and a"):
        read_decision(tmp_path)


def test_a_threshold_is_for_two_classes():
    require_two_classes("f1", 2)
    require_two_classes(None, 3)
    with pytest.raises(ConfigError, match="train.threshold is 'f1', and the data has 3 classes"):
        require_two_classes("f1", 3)


def test_what_is_written_is_json(tmp_path):
    write_decision(tmp_path, Decision())
    assert json.loads((tmp_path / "decision.json").read_text()) == {"temperature": 1.0, "threshold": None, "aim": None}
