"""Scores of tokens → scores of the words of the original text, and what of the text was not read."""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tfsent.text.spec import MAX_WINDOWS, TextSpec

if TYPE_CHECKING:
    from tfsent.text.tokenizer import Piece


@dataclass(frozen=True)
class Word:
    """A word of BERT: letters and digits, a punctuation mark, or an ideograph."""

    start: int
    """It is `text[start:stop]`."""
    stop: int
    score: float
    """What it adds to the log odds of the explained class, in nats; negative where it speaks against the class."""


def places_of_rows(pieces: Sequence[Piece], spec: TextSpec) -> list[np.ndarray]:
    """Return which pieces stand between [CLS] and [SEP] of each row of a text, indices `int64[n]`.

    Args:
        pieces: of `Tokenizer.explain`.
        spec: of the same tokenizer.
    """
    if spec.truncation != "windows":
        return [np.flatnonzero([piece.kept for piece in pieces])]
    over = max(len(pieces) - spec.room, 0)
    count = min(1 - (-over // spec.window_step), MAX_WINDOWS)
    starts = (min(i * spec.window_step, over) for i in range(count))
    return [np.arange(start, min(start + spec.room, len(pieces))) for start in starts]


def words_of(text: str, pieces: Sequence[Piece], scores: np.ndarray, read: np.ndarray) -> tuple[Word, ...]:
    """Add up the scores of the pieces of each word.

    Args:
        text: the text.
        pieces: of `Tokenizer.explain`.
        scores: of each piece, `float64[n]`.
        read: which pieces the model read, `bool[n]`; words without one are left out.
    """
    # A number sign is a word of its own, so only the rest of a word begins with two.
    firsts = [i for i, piece in enumerate(pieces) if not piece.token.startswith("##")]
    words = []
    for first, after in itertools.pairwise([*firsts, len(pieces)]):
        if read[first:after].any():
            limit = pieces[after].start if after < len(pieces) else len(text)
            stop = _with_marks(text, pieces[after - 1].stop, limit)
            words.append(Word(pieces[first].start, stop, float(scores[first:after].sum())))
    return tuple(words)


def _with_marks(text: str, stop: int, limit: int) -> int:
    """Return the end of a word with the combining marks and joiners after it, which the tokenizer drops."""
    while stop < limit and (unicodedata.category(text[stop])[0] == "M" or unicodedata.category(text[stop]) == "Cf"):
        stop += 1
    return stop


def cut_stretches(text: str, pieces: Sequence[Piece], read: np.ndarray) -> tuple[tuple[int, int], ...]:
    """Return the stretches of a text that the model did not read, each from its first piece to its last.

    Args:
        text: the text.
        pieces: of `Tokenizer.explain`.
        read: which pieces the model read, `bool[n]`.
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[True], read, [True]]).astype(int)))
    return tuple(
        (pieces[first].start, _with_marks(text, pieces[after - 1].stop, len(text)))
        for first, after in edges.reshape(-1, 2).tolist()
    )
