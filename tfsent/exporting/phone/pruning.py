"""A smaller vocabulary for the phone: the pieces that the training text needs.

Half of a small encoder's weights is the table of its tokens, and most pieces hardly occur in reviews. A word whose
piece is left out is spelt by smaller ones. All single characters of the training text, of ASCII and of Latin stay, so
that such a word does not become [UNK].
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfsent.errors import ConfigError, RunError, first_line
from tfsent.text.spec import SPECIAL_TOKENS

SEEN = 5
"""`auto` keeps pieces that occur at least this often in the training reviews."""


def read_counts(folder: Path) -> np.ndarray:
    """Read how often each piece occurs in the training reviews, `int64[pieces]`.

    Args:
        folder: `RUN/model`.

    Raises:
        RunError: the run has no counts, or they are damaged.
    """
    path = folder / "piece_counts.npy"
    if not path.is_file():
        raise RunError(
            f"{folder} has no piece_counts.npy: an earlier tfsent trained it. To export with a smaller vocabulary, "
            "train again; or set export.mobile.vocabulary=all."
        )
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise RunError(f"{path} is damaged: {first_line(error)}. Expected what training wrote.") from error


def pieces_to_keep(vocabulary: Sequence[str], counts: np.ndarray, wanted: int | str) -> list[int]:
    """Return the ids of the pieces to keep, rising: a piece's new id is its place in this list.

    Args:
        vocabulary: all pieces.
        counts: `int64[pieces]`, occurrences in the training reviews.
        wanted: how many to keep; or `auto`, those that occur at least `SEEN` times.

    Raises:
        ConfigError: more pieces than wanted cannot be left out.
    """
    used = set("".join(piece.removeprefix("##") for piece, n in zip(vocabulary, counts, strict=True) if n))
    must = {i for i, piece in enumerate(vocabulary) if piece in SPECIAL_TOKENS or _is_letter(piece, used)}
    if wanted == "auto":
        return sorted(must | set(np.flatnonzero(counts >= SEEN).tolist()))
    if int(wanted) < len(must):
        raise ConfigError(
            f"export.mobile.vocabulary is {wanted}. Expected auto, all, or at least {len(must):,}: so many are special "
            "tokens and single characters."
        )
    rest = [i for i in np.argsort(-counts, kind="stable").tolist() if i not in must]
    return sorted([*must, *rest[: int(wanted) - len(must)]])


def _is_letter(piece: str, used: set[str]) -> bool:
    character = piece.removeprefix("##")
    if len(character) != 1:
        return False
    return character in used or character.isascii() or "LATIN" in unicodedata.name(character, "")
