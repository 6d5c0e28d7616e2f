"""Texts nobody planned for, and a vocabulary over which every difference between tokenizers shows."""

import random
import re

from hypothesis import strategies as st

from tfsent.exporting.golden import NASTY_TEXTS
from tfsent.text.code_points import code_point_table
from tfsent.text.light_tokenizer import LightTokenizer
from tfsent.text.mediapipe_tokenizer import for_mediapipe
from tfsent.text.spec import SPECIAL_TOKENS


def rich_vocabulary(lowercase):
    """Every character of many scripts is a token, so that no difference hides behind an [UNK]."""
    blocks = [(0x21, 0x530), (0x590, 0x700), (0x900, 0x980), (0xE00, 0xE80), (0x1100, 0x1200), (0x1E00, 0x2070)]
    blocks += [(0x20A0, 0x2200), (0x2E80, 0x3100), (0x4E00, 0x4E40), (0xAC00, 0xAC40), (0xFB00, 0xFB20)]
    blocks += [(0xFE00, 0x10000), (0x1D400, 0x1D420), (0x1F600, 0x1F650), (0x20000, 0x20010)]
    table = code_point_table(lowercase)
    found = {chr(c) for block in blocks for c in table[slice(*block)].ravel().tolist() if c > 32}
    characters = sorted(found)
    return [*SPECIAL_TOKENS, "good", "film", *characters, *(f"##{c}" for c in characters)]


TROUBLE = (
    "\u0130\u0131ßſﬁΣσςǅK가각한글日本𠀀豈À́ẛ̣≠≮\u00a0\u3000\u2003\u2028\u2029\u0085\u200b\u200c\u200d\u2060\ufeff\u202e\u200f"
    "\u00ad\x00\x07\x0b\x0c\x1f\x7f\ufffd\u037e\u0e33\u0e4d\u0f0b\u180e\u1680‘’“”…—·،؟।。！？＃＄¡¿«»§¶†©®™°±²½×÷€₿♥☃⭐😀👩🏽"
    "\u20e3\ufe0f\u0378\ue000\U000e0001\U00020000\U0002b830\U0010fffd\u0301\u0327\u0338\u05b0\u0903\u093e"
)
TEXTS = st.lists(
    st.one_of(
        st.sampled_from(["good", "film", "GOOD", " ", "\n", "\t", "<br />", "it's", "a" * 100, "é" * 100, "本a"]),
        st.text(st.sampled_from(TROUBLE), max_size=6),
        st.text(st.characters(codec="utf-8"), max_size=8),
        st.text(st.characters(max_codepoint=0x2FF), max_size=8),
        st.text(st.sampled_from("aé"), min_size=90, max_size=110),
    ),
    max_size=12,
).map("".join)
REORDERED = re.compile("[\u302e\u302f\U0001d165\U0001d166\U0001d16d-\U0001d172]{2}")
"""Marks that NFD orders otherwise than our table; see `code_points.py`."""


def nasty(count):
    """Texts for tokenizers in other languages: those of golden.jsonl, and some that are made, always the same."""
    chance = random.Random(3)
    parts = ["good", "film", "GOOD", " ", "\n", "\t", "<br />", "<BR>", "it's", "a" * 100, "é" * 101, "本a", *TROUBLE]
    made = ["".join(chance.choices(parts, k=chance.randint(1, 12))) for _ in range(count)]
    return [text.encode("utf-8", "ignore").decode() for text in [*NASTY_TEXTS, *made]]


def read_otherwise(found, plain, spec, vocabulary, texts):
    """The texts that a tokenizer in another language gives other rows, and those it hands to MediaPipe otherwise."""
    rows, owner = LightTokenizer(spec, vocabulary)(texts)
    expected = [[] for _ in texts]
    for row, text in zip(rows, owner, strict=True):
        expected[text].append(row.tolist())
    others = [text for text, theirs, ours in zip(texts, found, expected, strict=True) if theirs != ours]
    return others, [text for text, theirs in zip(texts, plain, strict=True) if theirs != for_mediapipe(text, spec)]
