"""A finished run is calibrated, and gets a threshold, after its training."""

import shutil

import numpy as np
import pytest
from click.testing import CliRunner

import tfsent
from tfsent.cli.main import main
from tfsent.data.reviews import load_reviews
from tfsent.errors import ConfigError
from tfsent.evaluation.evaluate import evaluate_run
from tfsent.inference.keras_run import KerasPredictor
from tfsent.model.decision import Decision, read_decision
from tfsent.storage.manifest import fault

TEXTS = ["good film", "bad film", "a film"]


@pytest.fixture
def run(tiny_run, tmp_path):
    return shutil.copytree(tiny_run, tmp_path / "run")


def logits_of(run):
    return np.concatenate(KerasPredictor(run).predict_logits(TEXTS))


def test_a_run_is_calibrated_and_gets_a_threshold(run, messages):
    before = logits_of(run)
    evaluate_run(run)
    found = tfsent.decide(run, calibrate=True, threshold="recall>=0.9")
    assert found == read_decision(run / "model")
    assert found.aim == "recall>=0.9"
    np.testing.assert_allclose(logits_of(run) * found.temperature, before, rtol=1e-3, atol=1e-4)
    assert fault(run / "model", ["model.keras", "decision.json"]) is None
    assert not (run / "metrics.json").exists()  # of the model as it was
    validation = load_reviews(run / "heldout" / "validation.jsonl.gz")
    predictor = KerasPredictor(run)
    chosen = predictor.choose(predictor.predict_proba(validation.texts))
    assert (chosen[validation.labels == 1] == 1).mean() >= 0.9


def test_the_second_calibration_changes_nothing_more(run):
    first = tfsent.decide(run, calibrate=True)
    second = tfsent.decide(run, calibrate=True)
    assert second.temperature == pytest.approx(first.temperature, rel=0.01)


def test_an_aim_is_kept_or_removed(run):
    tfsent.decide(run, threshold="f1")
    assert tfsent.decide(run, calibrate=True).aim == "f1"
    assert tfsent.decide(run, threshold="none").threshold is None


def test_every_form_answers_by_the_threshold(run, tmp_path):
    model = KerasPredictor(run)
    texts = load_reviews(run / "heldout" / "test.jsonl.gz").texts
    scores = np.sort(model.predict_proba(texts)[:, 1])
    threshold = float((scores[80] + scores[81]) / 2)  # so that some reviews above 0.5 stay below it
    from tfsent.model.decision import write_decision

    write_decision(run / "model", Decision(1.0, threshold, "f1"))
    assert tfsent.export(run, overrides=["export.mobile.quantization=float32", "export.verify_examples=60"]).passed
    said = [p.label for p in tfsent.load(run).predict(texts)]
    assert said.count(model.label_names[1]) == len(texts) - 81
    for form in ("export/serving", "export/mobile/model.tflite"):
        assert [p.label for p in tfsent.load(run / form).predict(texts)] == said, form


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threshold": "precise"}, r"train.threshold"),
        ({"threshold": "precision>=2"}, r"train.threshold"),
    ],
)
def test_what_is_no_aim_is_refused(run, settings, message):
    with pytest.raises(ConfigError, match=message):
        tfsent.decide(run, **settings)


def test_a_precision_out_of_reach_changes_nothing(run, monkeypatch):
    from tfsent.model import decision

    monkeypatch.setattr(decision, "choose_threshold", lambda *_: None)
    before = (run / "model" / "decision.json").read_bytes()
    with pytest.raises(ConfigError, match=r"No threshold reaches precision>=0.99 on the 40 validation reviews"):
        tfsent.decide(run, threshold="precision>=0.99")
    assert (run / "model" / "decision.json").read_bytes() == before


def test_the_command_says_what_it_chose(run):
    result = CliRunner().invoke(main, ["decide", str(run), "--calibrate", "--threshold", "f1"])
    assert result.exit_code == 0, result.output
    assert "; threshold 0." in result.output
    assert f"Next: tfsent evaluate {run}" in result.output
    refused = CliRunner().invoke(main, ["decide", str(run)])
    assert (refused.exit_code, "Say what to decide" in refused.output) == (1, True)
