"""Probabilities → the columns of an answer, by the decision of the model."""

import subprocess
import sys

import numpy as np
import pytest

from tfsent.model.decision import Decision
from tfsent.serving.answers import Answers

ABOVE = np.nextafter(np.float32(0.42), np.float32(1))
ROWS = np.array([[0.3, 0.7], [0.57, 0.43], [0.59, 0.41], [0.5, 0.5], [1 - ABOVE, ABOVE]], np.float32)


@pytest.mark.parametrize(
    ("threshold", "labels"),
    [
        (None, ["pos", "neg", "neg", "neg", "neg"]),  # of equals the first
        (0.42, ["pos", "pos", "neg", "pos", "pos"]),
        (0.5, ["pos", "neg", "neg", "neg", "neg"]),  # equal is not greater
        (float(ROWS[0, 1]), ["neg"] * 5),
        (float(ABOVE), ["pos", "pos", "neg", "pos", "neg"]),
        (0.0, ["pos"] * 5),
        (1.0, ["neg"] * 5),
    ],
)
def test_two_classes_follow_the_threshold(threshold, labels):
    columns = Answers(("neg", "pos"), ROWS, decision=Decision(threshold=threshold)).columns()
    assert columns["label"] == labels
    chosen = [row[("neg", "pos").index(label)] for row, label in zip(columns["probabilities"], labels, strict=True)]
    assert columns["probability"] == chosen  # of the label, not the largest


def test_the_threshold_is_compared_as_a_double():
    """The float32 nearest to 0.7 is 0.699999988: it is not greater than 0.7, and is greater than a little less."""
    row = np.array([[0.3, 0.7]], np.float32)
    assert Answers(("neg", "pos"), row, decision=Decision(threshold=0.7)).columns()["label"] == ["neg"]
    assert Answers(("neg", "pos"), row, decision=Decision(threshold=0.69999998)).columns()["label"] == ["pos"]


def test_three_classes_have_no_threshold():
    rows = np.array([[0.5, 0.3, 0.2], [0.2, 0.4, 0.4]], np.float32)
    assert Answers(("a", "b", "c"), rows, decision=Decision(threshold=0.1)).columns()["label"] == ["a", "b"]


def test_it_needs_neither_keras_nor_tensorflow():
    check = "import sys, tfsent.serving.answers; print([n for n in ('keras', 'tensorflow') if n in sys.modules])"
    assert subprocess.run([sys.executable, "-c", check], capture_output=True, text=True).stdout == "[]\n"
