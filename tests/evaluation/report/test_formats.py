"""How figures are written."""

import pytest

from tfsent.evaluation.report import formats


@pytest.mark.parametrize(
    ("share", "written"),
    [(0.8675, "86.8%"), (1.0, "100.0%"), (0.99999, "> 99.9%"), (0.0, "0.0%"), (0.0001, "< 0.1%"), (None, "–")],
)
def test_what_is_not_certain_is_not_written_as_if_it_were(share, written):
    assert formats.percent(share) == written


def test_differences_have_a_sign():
    assert [formats.points(change) for change in (0.002, -0.018, 0.0, -0.00001, None)] == [
        *("+0.2 pt", "−1.8 pt", "±0.0 pt", "±0.0 pt"),
        "–",
    ]


def test_small_numbers():
    assert [formats.p_value(p) for p in (1.0, 0.0421, 1e-9, None)] == ["1.00", "0.042", "< 0.001", "–"]
    assert [formats.difference(d) for d in (1.4e-6, 0.057, 0.0, None)] == ["1.4e-06", "0.057", "0.000", "–"]
    assert formats.between(0.852, 0.8817) == "85.2 to 88.2%"
    assert formats.between(None, 0.9) == "–"


def test_names_are_cut():
    assert formats.short("a" * 100, 10) == "a" * 9 + "…"
    assert formats.short("two\nlines") == "two lines"
    assert formats.short(" \n") == "(empty)"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/home/me/data/my reviews.csv", "…/my reviews.csv"),
        ("reviews in /home/me/data/a.csv", "reviews in …/a.csv"),
        ("path:/srv/models/bert", "path:…/bert"),
        ("run:~/runs/first", "run:…/first"),
        ("['/a/b/c.csv', \"/a/b/d.csv\"]", "['…/c.csv', \"…/d.csv\"]"),
        ("data/a.csv", "data/a.csv"),
        ("../a.csv", "../a.csv"),
        ("tfhub:tensorflow/small_bert/1", "tfhub:tensorflow/small_bert/1"),
        ("https://example.org/a/b", "https://example.org/a/b"),
        ("good and/or bad", "good and/or bad"),
    ],
)
def test_folders_of_this_machine_are_left_out(text, shown):
    assert formats.without_folders(text) == shown
