"""Rows become reviews: labels are sorted, faults are collected, rows without text are left out."""

import pytest

from tfsent.data.reading import collect
from tfsent.data.records import Faults, Row
from tfsent.errors import DataError


def rows_of(*pairs, groups=None):
    groups = groups or [""] * len(pairs)
    return [
        Row(text, label, group, f"f.csv, line {i}")
        for i, ((text, label), group) in enumerate(zip(pairs, groups, strict=True), 2)
    ]


def gather(rows, labels=None, groups=None):
    return collect(iter(rows), labels, groups, Faults(), "reviews")


def test_labels_are_sorted_numbers_numerically():
    words = gather(rows_of(("x", "pos"), ("y", "neg"), ("z", " pos ")))
    assert (words.label_names, words.labels.tolist(), list(words.texts)) == (("neg", "pos"), [1, 0, 1], ["x", "y", "z"])
    stars = gather(rows_of(("x", "10"), ("y", "9"), ("z", "10")))
    assert (stars.label_names, stars.labels.tolist()) == (("9", "10"), [1, 0, 1])
    floats = gather(rows_of(("x", "10.0"), ("y", "9.5")))
    assert floats.label_names == ("9.5", "10.0")
    assert gather(rows_of(("x", "nan"), ("y", "1"))).label_names == ("1", "nan")
    fixed = gather(rows_of(("x", "pos"), ("y", "neg")), labels=("pos", "neutral", "neg"))
    assert (fixed.label_names, fixed.labels.tolist()) == (("pos", "neutral", "neg"), [0, 2])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("a", ""), ("b", "x"), ("c", "  ")], "2 faulty rows:\n  f.csv, line 2: no label\n  f.csv, line 4: no label"),
        ([("a", "neg\nneg"), ("b", "pos")], "f.csv, line 2: a label of several lines, 'neg\\nneg'"),
        ([("a", "neg"), ("b", "po")], "f.csv, line 3: unknown label 'po'; the labels are 'neg', 'pos'"),
    ],
)
def test_missing_and_unknown_labels_name_their_rows(rows, message):
    with pytest.raises(DataError) as caught:
        gather(rows_of(*rows), labels=("neg", "pos") if rows[0][1] == "neg" else None)
    assert message in str(caught.value)


def test_implausible_label_columns_are_refused():
    with pytest.raises(DataError, match="one class only, 'x'. Expected at least two"):
        gather(rows_of(("a", "x"), ("b", "x")))
    with pytest.raises(DataError, match="There are no reviews in the reviews"):
        gather([])
    with pytest.raises(
        DataError, match="200 different labels in 200 rows, such as '0'. Is data.label the right column"
    ):
        gather(rows_of(*((f"t{i}", str(i)) for i in range(200))))
    with pytest.raises(DataError, match="labels that look alike: 'Pos', 'pos'. They .* Spell them alike; or list"):
        gather(rows_of(("a", "pos"), ("b", "Pos"), ("c", "neg")))
    assert gather(rows_of(("a", "pos"), ("b", "Pos")), labels=("Pos", "pos")).label_names == ("Pos", "pos")
    with pytest.raises(
        DataError, match="labels that are the same number: '1', '1.0'. Spell it in one way; or list all"
    ):
        gather(rows_of(("a", "1"), ("b", "1.0"), ("c", "0"), ("d", "x")))
    assert gather(rows_of(("a", "1"), ("b", "01")), labels=("1", "01")).label_names == ("1", "01")
    names = tuple(map(str, range(200)))  # what the recipe or train says is right
    assert len(gather(rows_of(*((f"t{i}", str(i)) for i in range(200))), labels=names)) == 200


def test_rows_without_text_are_left_out_and_reported(messages):
    found = gather(rows_of(("", "x"), (" \n", "x"), ("a", "x"), ("b", "y")))
    assert list(found.texts) == ["a", "b"]
    assert "2 rows without text are left out, such as f.csv, line 2." in messages.text


def test_lone_surrogates_are_dropped():
    """JSON may hold one, and no file that is UTF-8 can."""
    found = gather(rows_of(("nice \ud83d", "x\ud83d"), ("\ud83d", "x"), ("b", "y")))
    assert (list(found.texts), found.label_names, found.empty_rows) == (["nice ", "b"], ("x", "y"), 1)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("caf\u00e9", "cafe\u0301"),
        ("very good", "very\u00a0 good"),
        ("pos\u200b", "pos"),
        ("\uff11", "1"),
        ("STRASSE", "straße"),
    ],
)
def test_labels_that_look_alike_are_refused(one, other):
    with pytest.raises(DataError, match="labels that look alike: "):
        gather(rows_of(("a", one), ("b", other), ("c", "x")))
    assert len(gather(rows_of(("a", one), ("b", other)), labels=(one, other)).label_names) == 2


@pytest.mark.parametrize("word", ["nan", "NULL", "None", "N/A", "#N/A", "<NA>"])
def test_labels_that_stand_for_a_missing_value_are_named(word, messages):
    gather(rows_of(("a", word), ("b", word), ("c", "x")))
    assert f"have the label {word!r} 2 times, which many programs write for a missing value" in messages.text


def test_blank_rows_are_counted_as_rows_without_text(messages):
    found = gather(rows_of(("a", "x"), ("b", "y"), ("", ""), (" ", " ")))
    assert (len(found), found.empty_rows) == (2, 2)
    assert "2 rows without text are left out" in messages.text


def test_a_row_without_its_group_is_a_fault():
    with pytest.raises(DataError, match="f.csv, line 3: no group"):
        gather(rows_of(("a", "x"), ("b", "y"), groups=["g", ""]), groups={})
