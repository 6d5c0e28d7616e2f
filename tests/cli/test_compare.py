"""`tfsent compare` on the command line."""

import json

import numpy as np
import pytest
from command_line import call

from tfsent.cli.compare import print_comparison
from tfsent.data.reviews import Reviews
from tfsent.evaluation.comparison import compare_answers


def answers(classes=2, count=300):
    rng = np.random.default_rng(0)
    names = tuple(f"request_{i}" for i in range(classes)) if classes > 2 else ("negative", "positive")
    labels = rng.integers(classes, size=count).astype(np.int32)
    found = [rng.dirichlet(np.ones(classes), count).astype(np.float32) for _ in "ab"]
    reviews = Reviews(tuple(f"review {i} " + "word\n" * 40 for i in range(count)), labels, names, "made up")
    return reviews, tuple(found)


@pytest.fixture
def compared(monkeypatch):
    """What the command asks for; it answers with made-up models."""
    asked = []
    reviews, (a, b) = answers()

    def compare(*paths, **options):
        asked.append((*paths, options))
        return compare_answers(reviews, (a, b), (a.argmax(axis=1), b.argmax(axis=1)), ("x", "y"), "test")

    monkeypatch.setattr("tfsent.api.comparing.compare", compare)
    return asked


def test_the_table_and_the_json_say_the_same(compared):
    printed = call("compare", "x", "y")
    assert "A: x\nB: y\n300 reviews: made up\n" in printed
    tree = json.loads(call("compare", "x", "y", "--json"))
    assert tree["verdict"] in printed
    assert f"{tree['gained']:,} only B has right, {tree['lost']:,} only A, 0 neither" in printed
    assert "Only B is right" in printed and "Only A is right" in printed and "Neither" not in printed


def test_options_reach_the_call(compared, tmp_path):
    call("compare", "x", "y", "--split", "validation")
    call("compare", "x", "y", "--data", "new.csv", "--text", "body", "--label", "stars", "--set", "data.errors=replace")
    said = call("compare", "x", "y", "--output", tmp_path / "flips.csv")
    assert f"flips: {tmp_path}/flips.csv" in said.replace("\n", "")
    (_, _, split, first), (_, _, _, second), (_, _, third, _) = compared
    assert (split, first["data"], third) == ("validation", None, "test")
    assert (second["data"], second["overrides"]) == (
        "new.csv",
        ['data.text="body"', 'data.label="stars"', "data.errors=replace"],
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--text", "body"], "--text, --label and --set are about a file of yours. Name it with --data"),
        (["--data", "a.csv", "--split", "test"], "--split chooses held-out reviews of runs, --data reviews of yours"),
    ],
)
def test_options_that_do_not_go_together(words, message):
    assert message in call("compare", "a", "b", *words, code=1)


def test_a_wrong_path_is_one_message():
    assert "There is nothing at nowhere" in call("compare", "nowhere", "nowhere", code=1)


@pytest.mark.parametrize("classes", [2, 4])
def test_tables_stay_within_100_columns(classes, capsys):
    reviews, (a, b) = answers(classes)
    print_comparison(compare_answers(reviews, (a, b), (a.argmax(axis=1), b.argmax(axis=1))))
    lines = capsys.readouterr().out.splitlines()
    assert ("Neither is right" in lines) == (classes > 2)
    assert max(len(line) for line in lines if "points" not in line) <= 100


def test_the_same_answers_need_no_table_of_flips(capsys):
    reviews, (a, _) = answers()
    print_comparison(compare_answers(reviews, (a, a), (a.argmax(axis=1), a.argmax(axis=1))))
    printed = capsys.readouterr().out
    assert "No difference in accuracy: A and B are right and wrong alike on all 300 reviews." in printed
    assert "flip" not in printed
