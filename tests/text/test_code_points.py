"""The stored table against the Hugging Face `tokenizers` that is installed, code point by code point."""

import numpy as np
import pytest
from unicode_reference import TARGET, reference_tables

from tfsent.text.code_points import CODE_POINTS, PAGE, UNKNOWN, code_point_table, stand_ins, vocabulary_table


def test_the_stored_table_is_what_hugging_face_tokenizers_does():
    with np.load(TARGET) as stored:
        tables = reference_tables()
        assert set(stored) == set(tables)
        for name, table in tables.items():
            different = np.flatnonzero(stored[name] != table) if stored[name].shape == table.shape else "its shape"
            assert len(different) == 0, f"{name}: {different[:10]}"


@pytest.mark.parametrize(
    ("character", "uncased", "cased"),
    [
        ("A", "a", "A"),
        ("\u0301", "", "\u0301"),
        ("É", "e", "É"),
        ("İ", "i", "İ"),
        ("ß", "ß", "ß"),
        ("ﬁ", "ﬁ", "ﬁ"),
        ("Σ", "σ", "Σ"),
        ("\u3000", " ", " "),
        ("\t", " ", " "),
        ("\x00", "", ""),
        ("\u200d", "", ""),
        ("日", " 日 ", " 日 "),
        ("$", " $ ", " $ "),
        ("각", "\u1100\u1161\u11a8", "각"),
        ("≠", " = ", "≠"),
    ],
)
def test_characters_written_by_hand(character, uncased, cased):
    for lowercase, expected in ((True, uncased), (False, cased)):
        row = code_point_table(lowercase)[ord(character)]
        assert "".join(chr(c) for c in row if c >= 0) == expected


def test_the_folded_table_is_the_whole_one_with_strangers_marked():
    alphabet = set("abcé日,")
    pages, outputs = vocabulary_table(True, alphabet)
    whole = code_point_table(True)
    codes = np.arange(CODE_POINTS)
    unfolded = outputs[PAGE * pages[codes // PAGE] + codes % PAGE]
    spelt = {-1: -1, ord(" "): ord(" "), ord("é"): UNKNOWN + 1, ord("日"): UNKNOWN + 2}
    spelt |= {ord(c): ord(c) for c in "abc,"}
    expected = np.full_like(whole, UNKNOWN)
    for before, after in spelt.items():
        expected[whole == before] = after
    np.testing.assert_array_equal(unfolded, expected)
    assert stand_ins(alphabet) == {ord("é"): UNKNOWN + 1, ord("日"): UNKNOWN + 2}
    assert outputs.nbytes < 1_000_000
