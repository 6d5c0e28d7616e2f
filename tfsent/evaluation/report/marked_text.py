"""A review and its attributions → pieces to be coloured, cut into what is shown at once and what can be unfolded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Attribution = tuple[int, int, float]

LONGEST = 2500
"""Characters of a review that a report keeps."""
FIRST = 420
"""Characters that are shown at once."""
LEVELS = (0.12, 0.33, 0.66)
"""Shares of the largest contribution from which a word is marked, and marked more strongly."""
TOP_WORDS = 5


@dataclass(frozen=True)
class Piece:
    """Some characters of a review."""

    text: str
    kind: str = ""
    """`for` or `against` the predicted label; empty for neither."""
    level: int = 0
    """1 to 3, 0 for neither."""


@dataclass(frozen=True)
class MarkedText:
    """A review, ready to be shown."""

    first: tuple[Piece, ...]
    rest: tuple[Piece, ...]
    left_out: int
    """Characters of a very long review that are not kept."""
    towards: tuple[tuple[str, float], ...]
    """Words that speak for the predicted label, the strongest first."""
    against: tuple[tuple[str, float], ...]

    @property
    def hidden(self) -> int:
        """Characters of the rest."""
        return sum(len(piece.text) for piece in self.rest)


def mark(text: str, attributions: Sequence[Attribution] | None) -> MarkedText:
    """Mark the words of a review.

    Args:
        text: the review.
        attributions: see `WorstError`. Those that do not fit the text are left out.
    """
    kept = text[:LONGEST]
    spans = _sound(kept, attributions or ())
    largest = max((abs(value) for *_, value in spans), default=0.0)
    pieces, end = [], 0
    for start, stop, value in spans:
        level = sum(abs(value) >= share * largest for share in LEVELS) if largest else 0
        if level:
            pieces += [Piece(kept[end:start]), Piece(kept[start:stop], "for" if value > 0 else "against", level)]
            end = stop
    pieces = [piece for piece in [*pieces, Piece(kept[end:])] if piece.text]
    first, rest = _cut(pieces)
    words = _together([(kept[start:stop], value) for start, stop, value in spans if abs(value) >= LEVELS[0] * largest])
    return MarkedText(
        first,
        rest,
        len(text) - len(kept),
        tuple(word for word in words if word[1] > 0)[:TOP_WORDS],
        tuple(word for word in words if word[1] < 0)[:TOP_WORDS],
    )


def _sound(text: str, attributions: Sequence[Attribution]) -> list[Attribution]:
    """Return the attributions in their order, without those that overlap or leave the text."""
    found: list[Attribution] = []
    for start, stop, value in sorted(attributions):
        if (found[-1][1] if found else 0) <= start < stop <= len(text) and abs(value) < float("inf"):
            found.append((start, stop, value))
    return found


def _together(words: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    """Add up what each word contributes, the strongest first."""
    sums: dict[str, float] = {}
    for word, value in words:
        sums[word.casefold()] = sums.get(word.casefold(), 0.0) + value
    return sorted(sums.items(), key=lambda word: -abs(word[1]))


def _cut(pieces: Sequence[Piece]) -> tuple[tuple[Piece, ...], tuple[Piece, ...]]:
    """Cut after about `FIRST` characters, between two words where there is a space."""
    if sum(len(piece.text) for piece in pieces) <= FIRST + FIRST // 3:
        return tuple(pieces), ()
    seen = 0
    for i, piece in enumerate(pieces):
        if seen + len(piece.text) >= FIRST:
            room = FIRST - seen
            at = len(piece.text) if piece.kind else piece.text.rfind(" ", 0, room) + 1 or room
            head, tail = Piece(piece.text[:at], piece.kind, piece.level), piece.text[at:]
            rest = [Piece(tail, piece.kind, piece.level)] if tail else []
            return (*pieces[:i], head), (*rest, *pieces[i + 1 :])
        seen += len(piece.text)
    return tuple(pieces), ()
