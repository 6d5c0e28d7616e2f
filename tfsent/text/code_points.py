"""BERT's basic tokenizer as a table of Unicode code points that a graph can look up.

BERT's `tokenization.py` cleans, spaces, strips and lower-cases one character at a time; none of these steps depends on
a neighbour. So together they map a code point to a few code points. The map is the table `code_points.npz`. It was made
by asking Hugging Face `tokenizers` about every code point (`tests/unicode_reference.py`): the tables of Python, ICU and
RE2 differ between versions, and ids must not.

One step does depend on a neighbour: NFD orders combining marks. Marks of category Mn are removed in any case. Only ten
characters of category Mc stay: U+302E, U+302F, U+1D165, U+1D166 and U+1D16D to U+1D172. Their order may differ from
Hugging Face's when two of different combining class follow each other, as in "\\U0001d16d\\U0001d165". An id differs
only if the vocabulary contains them: a word with a character that is in no token is [UNK]. In IMDb's 100,000 texts no
id differs (benchmarks/tokenizer.py).
"""

from __future__ import annotations

import functools
from collections.abc import Set
from pathlib import Path

import numpy as np

CODE_POINTS = 0x110000
PAGE_BITS = 8
PAGE = 2**PAGE_BITS
UNKNOWN = 0xF0000
"""Stands for every character that is in no token of the vocabulary: its word is [UNK]. The private-use code points
after it stand for the vocabulary's characters beyond ASCII. BERT removes private-use characters: no text has one."""

KEEP, DROP, SPACE, ALONE, MAPPED = range(5)
"""Kinds of code points: kept; removed; white space; a word of its own (punctuation, CJK); replaced by others."""


@functools.cache
def code_point_table(lowercase: bool) -> np.ndarray:
    """Return the output of each code point, `int32[0x110000, 3]`, padded with -1; spaces surround words of their own.

    Args:
        lowercase: for uncased vocabularies; includes NFD without combining marks.
    """
    with np.load(Path(__file__).with_name("code_points.npz")) as stored:
        prefix = "uncased" if lowercase else "cased"
        kinds, lengths, values = (stored[f"{prefix}_{name}"] for name in ("kinds", "lengths", "values"))
    own = np.arange(CODE_POINTS, dtype=np.int32)
    table = np.full((CODE_POINTS, 3), -1, np.int32)
    table[:, 0] = np.where(kinds == KEEP, own, np.where(kinds == DROP, -1, ord(" ")))
    table[kinds == ALONE, 1] = own[kinds == ALONE]
    table[kinds == ALONE, 2] = ord(" ")
    mapped = np.full((len(lengths), 3), -1, np.int32)
    mapped[np.arange(3) < lengths[:, None]] = values
    table[kinds == MAPPED] = mapped
    return table


def stand_ins(alphabet: Set[str]) -> dict[int, int]:
    """Return a private-use code point for each character beyond ASCII, for `str.translate`.

    The WordPiece op splits at punctuation by itself, and its definition depends on the version of ICU. Private use is
    never punctuation, and on ASCII all versions agree.
    """
    return {ord(c): UNKNOWN + i for i, c in enumerate(sorted(alphabet - set(map(chr, range(128)))), 1)}


def vocabulary_table(lowercase: bool, alphabet: Set[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the table for one vocabulary, folded to fit into a graph: most pages of 256 code points are equal.

    Args:
        lowercase: see `code_point_table`.
        alphabet: the characters of the vocabulary. Those beyond ASCII become their `stand_ins`; all other characters
            become `UNKNOWN`.

    Returns:
        `pages int32[4352]` and `outputs int32[n, 3]`: code point c becomes `outputs[256 * pages[c // 256] + c % 256]`.
    """
    spelt = np.full(CODE_POINTS, UNKNOWN, np.int32)
    ascii_known = [ord(" "), *(ord(c) for c in alphabet if c.isascii())]
    spelt[ascii_known] = ascii_known
    for code_point, stand_in in stand_ins(alphabet).items():
        spelt[code_point] = stand_in
    table = code_point_table(lowercase)
    table = np.where(table >= 0, spelt[table], np.int32(-1))
    order: dict[bytes, int] = {}
    pages = [order.setdefault(page.tobytes(), len(order)) for page in table.reshape(-1, PAGE, 3)]
    outputs = np.frombuffer(b"".join(order), np.int32).reshape(-1, 3)
    return np.array(pages, np.int32), outputs
