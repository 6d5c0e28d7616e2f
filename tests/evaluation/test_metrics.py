"""Metrics, against figures worked out by hand."""

import csv
import json
import shutil

import numpy as np
import pytest

from tfsent.cli.tables import print_metrics
from tfsent.evaluation.metrics import ClassMetrics, compute_metrics, evaluate


def test_two_classes_by_hand():
    positive = np.array([0.9, 0.8, 0.3, 0.6, 0.2], np.float32)
    labels = np.array([1, 1, 1, 0, 0])
    found = compute_metrics(np.stack([1 - positive, positive], axis=1), labels, ("no", "yes"))
    assert found.accuracy == 3 / 5
    # Wilson: (p + z²/2n ± z·sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n), z = 1.959964, p = 0.6, n = 5
    assert found.accuracy_interval == pytest.approx([0.230724, 0.882379], abs=1e-5)
    assert found.confusion_matrix == [[1, 1], [1, 2]]
    assert found.classes["yes"].support == 3
    yes = found.classes["yes"]
    assert (yes.precision, yes.recall, yes.f1) == pytest.approx((2 / 3, 2 / 3, 2 / 3))
    assert found.balanced_accuracy == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert found.macro_f1 == pytest.approx((1 / 2 + 2 / 3) / 2)
    # Of the 6 pairs (positive, negative) the positive ranks higher in 5.
    assert found.roc_auc == pytest.approx(5 / 6)
    assert found.log_loss == pytest.approx(-np.log([0.9, 0.8, 0.3, 0.4, 0.8]).mean(), abs=1e-6)


def test_three_classes_one_never_predicted():
    probabilities = np.array([[0.7, 0.2, 0.1], [0.2, 0.7, 0.1], [0.5, 0.4, 0.1]], np.float32)
    found = compute_metrics(probabilities, np.array([0, 1, 2]), ("a", "b", "c"))
    assert found.accuracy == pytest.approx(2 / 3)
    assert found.classes["c"] == ClassMetrics(precision=0.0, recall=0.0, f1=0.0, support=1)
    assert found.confusion_matrix[2] == [1, 0, 0]
    probabilities = np.array([[0.3, 0.6, 0.1], [0.2, 0.5, 0.3], [0.4, 0.4, 0.2], [0.25, 0.25, 0.5]], np.float32)
    found = compute_metrics(probabilities, np.array([0, 0, 1, 2]), ("a", "b", "c"))
    # Each class against the rest, pair by pair. a: 0.3 and 0.2 against 0.4 and 0.25: 1 of 4. b: 0.4 against 0.6, 0.5
    # and 0.25: 1 of 3. c: 3 of 3. The mean, whatever their sizes:
    assert found.roc_auc == pytest.approx((1 / 4 + 1 / 3 + 1) / 3)


@pytest.mark.parametrize("classes", [2, 3])
def test_a_class_without_reviews_has_no_roc_auc(classes, capsys):
    probabilities = np.full((3, classes), 1 / classes, np.float32)
    names = tuple("abc"[:classes])
    found = compute_metrics(probabilities, np.array([0, 0, classes - 2]), names)
    assert found.roc_auc is None
    json.dumps(found.to_dict(), allow_nan=False)
    print_metrics(found)
    assert "ROC-AUC – " in capsys.readouterr().out


def test_the_best_of_several_seeds_is_evaluated(tiny_run, tmp_path):
    best = shutil.copytree(tiny_run, tmp_path / "run" / "seed-2")
    (tmp_path / "run" / "seeds.json").write_text('{"best_run": "seed-2"}')
    assert evaluate(tmp_path / "run").to_dict() == json.loads((best / "metrics.json").read_text())


def test_evaluate_writes_what_it_says(tiny_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    result = evaluate(run)
    assert json.loads((run / "metrics.json").read_text()) == result.to_dict()
    assert result.reviews == 100
    assert result.origin == "official IMDb test split"
    assert b"\r" not in (run / "predictions.csv").read_bytes()
    with (run / "predictions.csv").open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    assert np.mean([row["true_label"] == row["predicted_label"] for row in rows]) == result.accuracy
    assert all(abs(float(row["p_negative"]) + float(row["p_positive"]) - 1) < 1e-5 for row in rows)
    assert evaluate(run, "validation").reviews == 40
    assert json.loads((run / "metrics.json").read_text()) == result.to_dict()


def test_the_tiny_model_has_learnt(tiny_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    assert evaluate(run).accuracy > 0.9
