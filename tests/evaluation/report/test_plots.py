"""Axes with round ticks, and plots that are sound XML whatever the figures."""

import itertools
import re
import xml.etree.ElementTree as ET

import pytest

from tfsent.evaluation.analysis import Histogram
from tfsent.evaluation.report import plots
from tfsent.evaluation.report.exported import read_exports
from tfsent.evaluation.report.facts import Epoch, read_facts
from tfsent.evaluation.report.frame import axis, tag, whole_axis
from tfsent.evaluation.report.measured import Figure


def elements(svg, name):
    root = ET.fromstring(str(svg))
    numbers = re.findall(r'(?:x|y|x1|x2|y1|y2|cx|cy|r|width|height|points)="([^"]*)"', str(svg))
    assert not [number for number in numbers if "nan" in number or "inf" in number]
    return [one for one in root.iter() if one.tag == name]


@pytest.mark.parametrize(
    ("low", "high", "percent", "ticks"),
    [
        (0, 1, True, ["0%", "20%", "40%", "60%", "80%", "100%"]),
        (0.83, 0.9, True, ["82%", "84%", "86%", "88%", "90%"]),
        (0.9234, 0.9241, True, ["92.34%", "92.36%", "92.38%", "92.40%", "92.42%"]),
        (0, 97, False, ["0", "20", "40", "60", "80", "100"]),
        (0, 0.06, False, ["0.00", "0.02", "0.04", "0.06"]),
        (0.9, 0.9, True, ["80%", "85%", "90%", "95%", "100%"]),
        (0, 0, False, ["-0.10", "-0.05", "0.00", "0.05", "0.10"]),
    ],
)
def test_ticks_are_round(low, high, percent, ticks):
    found = axis(low, high, "x", percent=percent)
    assert [found.write(tick) for tick in found.ticks] == ticks
    assert found.low <= low <= high <= found.high


def test_many_epochs_do_not_crowd():
    assert len(whole_axis(1, 100, "epoch").ticks) <= 10
    assert whole_axis(1, 1, "epoch").ticks == (1.0,)


def test_attributes_and_text_are_escaped():
    assert (
        str(tag("text", "<b>&", class_='"><script>')) == '<text class="&#34;&gt;&lt;script&gt;">&lt;b&gt;&amp;</text>'
    )


def test_a_learning_curve_has_a_point_for_each_figure():
    history = [Epoch(i, {"loss": 0.5 / i, "val_loss": 0.6 / i}) for i in (1, 2, 3)]
    svg = plots.learning_curve(history, "loss", history[2], 0)
    assert len(elements(svg, "circle")) == 3
    assert len(elements(svg, "rect")) == 3
    assert elements(svg, "title")[0].text == "Loss by epoch"


def test_a_learning_curve_of_one_epoch_or_of_none():
    assert elements(plots.learning_curve([Epoch(1, {"val_accuracy": 0.9})], "accuracy", None, 500), "circle")
    assert plots.learning_curve([Epoch(1, {"loss": 1.0})], "accuracy", None, 0) is None
    assert plots.learning_curve([], "loss", None, 0) is None


@pytest.mark.parametrize("point", [None, (0.1, 0.9)])
def test_curves(point):
    curve = ((0.0, 0.0), (0.1, 0.9), (1.0, 1.0))
    assert len(elements(plots.roc(curve, point), "polyline")) == 2
    assert elements(plots.precision_recall(curve, point, None), "polyline")


def test_two_series_stand_up_and_hang_down():
    found = Histogram((0.0, 0.5, 1.0), {"a": (10, 0), "b": (0, 20)})
    svg = plots.histogram("k", "t", found, "score", share=True, line=0.5)
    assert [one.get("class") for one in elements(svg, "rect")] == ["bar b", "bar a"]


@pytest.mark.parametrize(
    "found",
    [
        Histogram((), {}),
        Histogram((0.0, 1.0), {}),
        Histogram((0.0, 1.0), {"a": (0,)}),
        Histogram((0.0, 1.0), {"a": (1, 2)}),
    ],
)
def test_a_histogram_without_counts_is_not_drawn(found):
    assert plots.histogram("k", "t", found, "score", share=True, line=None) is None


def test_what_is_cut_is_pale():
    found = Histogram((0.0, 100.0, 200.0), {"reviews": (5, 6)})
    svg = plots.histogram("k", "t", found, "tokens", share=False, line=100.0, pale=True)
    assert [one.get("class") for one in elements(svg, "rect")] == ["bar b", "bar b pale"]


def test_three_series_are_added_up():
    found = Histogram((0.0, 1.0), {"a": (1,), "b": (2,), "c": (3,)})
    assert "6 reviews" in str(plots.histogram("k", "t", found, "score", share=True, line=None))


def test_candidates_are_told_apart_by_shape(runs):
    run = runs(exported=True)
    files = read_facts(run).exports.of("phone")
    svg = plots.candidates(files, 0.85)
    assert [one.get("class") for one in elements(svg, "circle")] == ["point b", "hollow b"]
    assert [one.get("class") for one in elements(svg, "path")] == ["stroke a"]
    assert plots.candidates(files[:1], 0.85) is None


def test_labels_of_candidates_do_not_overlap(runs):
    rows = [{"artifact": f"kind-{i}", "megabytes": 10 + i / 10, "accuracy": 0.9} for i in range(5)]
    svg = plots.candidates(read_exports({"artifacts": rows}, runs.folder).files, None)
    labels = [one for one in elements(svg, "text") if (one.text or "").startswith("kind-")]
    heights = sorted(float(one.get("y")) for one in labels)
    assert min(b - a for a, b in itertools.pairwise(heights)) > 12


def test_an_interval_bar_is_left_to_the_text_beside_it():
    svg = plots.interval_bar(Figure(0.8, 0.7, 0.9), 0.5, 1.0, 0.85)
    assert ET.fromstring(str(svg)).get("aria-hidden") == "true"
    assert elements(plots.interval_bar(Figure(0.8), 0.8, 0.8, None), "circle")
