"""What reviews have in common."""

import numpy as np
import pytest

from tfsent.evaluation import traits
from tfsent.text.spec import TextSpec


def by_value(found):
    return {trait.value: trait.rows.tolist() for trait in found if trait.rows.any()}


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("A fine film", "Latin"),
        ("Été à la plage, naïve", "Latin"),
        ("Отличный фильм, OK", "Cyrillic"),
        ("这部电影很好", "Han"),
        ("この映画は最高だった", "Japanese"),
        ("映画最高傑作だ", "Japanese"),
        ("정말 좋은 영화", "Hangul"),
        ("فيلم رائع", "Arabic"),
        ("Υπέροχη ταινία", "Greek"),
        ("बहुत अच्छी फिल्म", "Devanagari"),
        ("10/10 !!!", "no letters"),
        ("🎉 🥰", "no letters"),
        ("", "no letters"),
        ("\u3400", "Han"),
        ("\U000e0001", "no letters"),
    ],
)
def test_scripts(text, script):
    assert traits.script_of(text) == script


def test_a_script_is_that_of_most_letters():
    assert traits.script_of("Лучший фильм — Titanic") == "Cyrillic"
    assert traits.script_of("Titanic was the best film, как всегда") == "Latin"


@pytest.mark.parametrize(
    ("text", "negates", "contrasts"),
    [
        ("It is not good.", True, False),
        ("I DON'T like it", True, False),
        ("I don’t like it", True, False),
        ("Nothing happens, but I liked it", True, True),
        ("However good it is", False, True),
        ("another knot in the notion of butter", False, False),
        ("There can be no doubt", True, False),
    ],
)
def test_english_words(text, negates, contrasts):
    found = {trait.by: trait.rows[0] for trait in traits.of_texts([text])}
    assert (found["negation (English)"], found["contrast (English)"]) == (negates, contrasts)


def test_lengths_are_in_bands_without_gap_or_overlap():
    lengths = np.array([2, 16, 17, 32, 33, 1024, 1025, 9000])
    found = list(traits.of_lengths(lengths, TextSpec(lowercase=True, max_tokens=32)))
    bands = [trait for trait in found if trait.by == "length"]
    assert np.sum([trait.rows for trait in bands], axis=0).tolist() == [1] * 8
    names = {trait.value for trait in bands}
    assert {"up to 16 tokens", "17 to 32 tokens", "513 to 1,024 tokens", "over 1,024 tokens"} <= names
    assert [(t.by, t.value, t.rows.sum()) for t in found[len(bands) :]] == [("truncation", "cut, over 32 tokens", 4)]
    windows = traits.of_lengths(lengths, TextSpec(lowercase=True, max_tokens=32, truncation="windows"))
    several = next(trait for trait in windows if trait.by == "windows")
    assert (several.value, several.rows.sum()) == ("read in several windows, over 32 tokens", 4)


def test_confidence_is_in_bands_without_gap_or_overlap():
    found = list(traits.of_confidence(np.array([0.3, 0.6, 0.61, 0.9, 0.99, 0.995, 1.0], np.float64)))
    assert [trait.value for trait in found] == [
        "up to 60%",
        "60% to 70%",
        "70% to 80%",
        "80% to 90%",
        "90% to 99%",
        "over 99%",
    ]
    assert np.sum([trait.rows for trait in found], axis=0).tolist() == [1] * 7


def test_a_column_of_words_is_taken_by_value():
    values = ["web", "app", "web", "", "  a\nb ", "x" * 100]
    found = by_value(traits.of_columns({"channel": values}))
    assert found["web"] == [True, False, True, False, False, False]
    assert found["(empty)"] == [False, False, False, True, False, False]
    assert "a b" in found and f"{'x' * 59}…" in found
    assert {trait.by for trait in traits.of_columns({"channel": values})} == {"channel"}


def test_many_values_end_in_one():
    values = [str(i) for i in "abcdefghijklmnopqrstuvwxyz"] + ["z"] * 5
    found = list(traits.of_columns({"c": values}))
    assert len(found) == 20
    assert (found[0].value, found[0].rows.sum()) == ("z", 6)
    assert (found[-1].value, found[-1].rows.sum()) == ("7 other values", 7)
    assert np.sum([trait.rows for trait in found], axis=0).tolist() == [1] * len(values)
    assert len(list(traits.of_columns({"c": values[:20]}))) == 20


def test_many_numbers_are_taken_in_quartiles():
    numbers = [str(i) for i in range(1, 101)]
    found = by_value(traits.of_columns({"votes": [*numbers, ""]}))
    assert {name: sum(rows) for name, rows in found.items()} == {
        "up to 25": 25,
        "over 25 up to 50": 25,
        "over 50 up to 75": 25,
        "over 75": 25,
        "(empty)": 1,
    }
    skewed = by_value(traits.of_columns({"votes": ["0"] * 90 + [str(i) for i in range(10)]}))
    assert {name: sum(rows) for name, rows in skewed.items()} == {"up to 0": 91, "over 0": 9}
    assert set(by_value(traits.of_columns({"stars": list("1234512345")}))) == set("12345")


@pytest.mark.parametrize("values", [["nan", "1", "2"], ["inf", "1"], ["", "", ""], ["1", "x"]])
def test_what_is_no_number_is_taken_by_value(values):
    assert len(by_value(traits.of_columns({"c": values}))) == len(set(values))
