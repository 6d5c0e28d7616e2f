"""A review and its attributions become pieces that are the review again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfsent.evaluation.report.marked_text import FIRST, LONGEST, mark


def whole(marked):
    return "".join(piece.text for piece in (*marked.first, *marked.rest))


def test_words_are_marked_by_sign_and_strength():
    marked = mark("not good at all", [(0, 3, -2.0), (4, 8, 1.0), (9, 11, 0.01)])
    assert [(one.text, one.kind, one.level) for one in marked.first] == [
        ("not", "against", 3),
        (" ", "", 0),
        ("good", "for", 2),
        (" at all", "", 0),
    ]
    assert marked.towards == (("good", 1.0),)
    assert marked.against == (("not", -2.0),)


def test_a_word_that_occurs_twice_counts_once():
    marked = mark("Good, good", [(0, 4, 1.0), (6, 10, 0.5)])
    assert marked.towards == (("good", 1.5),)


@pytest.mark.parametrize(
    "attributions",
    [
        None,
        [],
        [(5, 99, 1.0)],
        [(3, 3, 1.0)],
        [(-2, 1, 1.0)],
        [(0, 3, float("nan"))],
        [(0, 3, float("inf"))],
        [(0, 3, 0)],
    ],
)
def test_attributions_that_do_not_fit_mark_nothing(attributions):
    marked = mark("good film", attributions)
    assert [(one.text, one.kind) for one in marked.first] == [("good film", "")]


def test_words_that_overlap_are_marked_once():
    assert whole(mark("good film", [(0, 6, 1.0), (3, 9, 1.0)])) == "good film"


def test_a_long_review_is_cut_between_words():
    text = "word " * 300
    marked = mark(text, None)
    assert whole(marked) == text
    assert marked.first[-1].text.endswith(" ")
    assert len("".join(one.text for one in marked.first)) <= FIRST
    assert marked.hidden == len(text) - len("".join(one.text for one in marked.first))


def test_a_review_that_is_a_little_longer_is_not_cut():
    assert mark("word " * (FIRST // 5 + 10), None).rest == ()


def test_a_very_long_review_is_not_kept_whole():
    marked = mark("x" * (LONGEST + 50), None)
    assert (len(whole(marked)), marked.left_out) == (LONGEST, 50)


@given(
    st.text(max_size=3 * FIRST),
    st.lists(st.tuples(st.integers(0, 1500), st.integers(0, 1500), st.floats()), max_size=30),
)
def test_the_pieces_are_the_review(text, attributions):
    assert whole(mark(text, attributions)) == text
