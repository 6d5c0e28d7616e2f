"""How much of a text the encoder's vocabulary does not know: such words are all the same [UNK] to a model."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

logger = logging.getLogger(__name__)

EXAMINED_AT_MOST = 10_000
"""Texts that are examined. With so many, a share of 1% is known to a fifth of a point."""
WORTH_A_WARNING = 0.01
MULTILINGUAL = "hf:google-bert/bert-base-multilingual-cased"

T = TypeVar("T", covariant=True)


class Items(Protocol[T]):
    """Texts, or rows of tokens: what has a length and can be indexed."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> T: ...


@dataclass(frozen=True)
class Unknown:
    """Shares of what is unknown."""

    tokens: float
    """Share of the tokens that are [UNK]; [CLS] and [SEP] are not counted, nor is what truncation cuts."""
    texts: float
    """Share of the texts that are nothing but [UNK]."""

    @property
    def advice(self) -> str | None:
        """What to say of it; None where it is below 1%."""
        if max(self.tokens, self.texts) <= WORTH_A_WARNING:
            return None
        return (
            f"{self.tokens:.1%} of the tokens are [UNK], words or signs that the encoder's vocabulary does not have; "
            f"{self.texts:.1%} of the texts are nothing else. Choose an encoder of their language (tfsent encoders "
            f"ls), or a multilingual one, such as {MULTILINGUAL}."
        )

    def warn(self, of: str) -> None:
        """Log a warning where there is advice.

        Args:
            of: whose tokens these are, such as `Training reviews`.
        """
        if self.advice:
            logger.warning(f"{of}: {self.advice}")


def count_unknown(rows: Iterable[np.ndarray], unk_id: int) -> Unknown:
    """Count [UNK] in rows of token ids.

    Args:
        rows: each `int32[length]`, [CLS] and [SEP] included.
        unk_id: the id of [UNK].
    """
    counts = np.array([(np.count_nonzero(row == unk_id), len(row) - 2) for row in rows]).reshape(-1, 2)
    unknown, lengths = counts.T
    whole = (unknown == lengths) & (lengths > 0)
    return Unknown(float(unknown.sum() / max(lengths.sum(), 1)), float(whole.mean()) if len(counts) else 0.0)


def some(items: Items[T]) -> list[T]:
    """Return at most `EXAMINED_AT_MOST` items that lie evenly over all."""
    chosen = np.unique(np.linspace(0, len(items) - 1, min(len(items), EXAMINED_AT_MOST)).astype(np.int64))
    return [items[i] for i in chosen.tolist()]
