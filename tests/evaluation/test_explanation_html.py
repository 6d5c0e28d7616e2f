"""What a terminal and a page show of an explanation, made by hand here: no model is needed."""

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfsent.evaluation.explanation import Explanation
from tfsent.evaluation.explanation_html import page
from tfsent.evaluation.explanation_parts import remarks, stretches, strongest, summary
from tfsent.evaluation.explanation_words import Word
from tfsent.inference.predictor import Prediction

EVIL = '<script>alert(1)</script> & "good" <img src=x onerror=alert(2)> \x1b[31mred\x00 \u202eflipped ${sections} $x'


def explained(text, words=(), cut=(), label="positive"):
    prediction = Prediction(text, label, 0.75, {label: 0.75, "other": 0.25})
    words = tuple(Word(*word) for word in words)
    return Explanation(text, prediction, label, words, 1.1, -0.25, 0.0125, 1234, 234 if cut else 0, tuple(cut))


class Reader(HTMLParser):
    """Collects tags, attributes and the text of the paragraphs of class `text`."""

    def __init__(self, source):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.text, self.inside = [], [], "", False
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        self.inside = self.inside or ("class", "text") in attrs

    def handle_endtag(self, tag):
        self.inside = self.inside and tag != "p"

    def handle_data(self, data):
        self.text += data if self.inside else ""


def test_a_text_is_escaped_and_whole():
    found = Reader(page([explained(EVIL, [(1, 7, 0.5), (9, 14, -0.25)])]))
    assert not {"script", "img", "b"} & set(found.tags)
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert found.text == EVIL.replace("\x1b", "\ufffd").replace("\x00", "\ufffd")


def test_names_of_classes_are_escaped():
    source = page([explained("good", label='<b onclick="x">')])
    assert "<b " not in source
    assert "&lt;b onclick=&quot;x&quot;&gt;" in source


def test_the_page_stands_alone():
    source = page([explained("good film", [(0, 4, 1.0)])])
    assert "default-src 'none'" in source
    assert not re.search(r"https?:|//|url\(|@import|<script|<link", source.replace("<!doctype html>", ""))
    assert "prefers-color-scheme: dark" in source
    assert source.isascii() or 'charset="utf-8"' in source


def test_sign_and_strength_are_marked_without_colour_as_well():
    source = page([explained("good bad so-so", [(0, 4, 2.0), (5, 8, -1.0), (9, 14, 0.01)])])
    assert '<mark class="for" style="--s:1.00" title="+2.000">good</mark>' in source
    assert '<mark class="against" style="--s:0.50" title="-1.000">bad</mark> so-so' in source
    assert "border-bottom-style: dashed" in source


def test_what_was_cut_is_struck_through():
    found = explained("good film that was bad", [(0, 4, 1.0), (19, 22, -1.0)], [(5, 18)])
    assert '<s title="cut">film that was</s>' in page([found])
    assert "234 of 1,234 tokens were cut." in remarks(found)
    assert "Nothing was cut." in remarks(explained("good"))


def test_a_word_that_is_partly_cut_is_shown_once():
    found = explained("good unlikely film", [(0, 4, 1.0), (5, 13, -1.0)], [(7, 18)])
    assert list(stretches(found)) == [
        ("", 0.0),
        ("good", 1.0),
        (" ", 0.0),
        ("unlikely", -1.0),
        ("", 0.0),
        (" film", None),
        ("", 0.0),
    ]


@given(st.text(max_size=30), st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30), st.floats(-2, 2)), max_size=5))
def test_no_character_is_lost_or_doubled(text, spans):
    ends = sorted({min(end, len(text)) for start, stop, _ in spans for end in (start, stop)})
    words = [(start, stop, 1.0) for start, stop in zip(ends[::2], ends[1::2], strict=False)]
    cut = [(start, stop) for start, stop in zip(ends[1::2], ends[2::2], strict=False)]
    assert len("".join(part for part, _ in stretches(explained(text, words, cut)))) == len(text)
    page([explained(text, words, cut)]).encode("utf-8")


def test_the_strongest_words_come_first():
    found = explained("a b c d", [(0, 1, 0.1), (2, 3, -3.0), (4, 5, 2.0), (6, 7, -0.5)])
    assert strongest(found, 1, 5) == [("c", 2.0), ("a", 0.1)]
    assert strongest(found, -1, 1) == [("b", -3.0)]


def test_the_first_line_says_what_is_explained():
    assert summary(explained("good")) == ("positive 75.0%. Log odds of positive: +1.10; without the words -0.25.")
    assert "within 0.013." in remarks(explained("good"))


@pytest.mark.parametrize("words", [[], [(0, 4, 0.0)]])
def test_a_text_that_nothing_speaks_for_is_shown(words):
    assert ">good</p>" in page([explained("good", words)])
