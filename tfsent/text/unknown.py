"""How much of a text the encoder's vocabulary does not know: such words are all the same [UNK] to a model."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tfsent.text.token_store import Tokens, tokenize_all

if TYPE_CHECKING:
    from tfsent.text.tokenizer import Tokenizer

logger = logging.getLogger(__name__)

EXAMINED_AT_MOST = 10_000
"""Texts that are examined. With so many, a share of 1% is known to a fifth of a point."""
WORTH_A_WARNING = 0.01
MULTILINGUAL = "hf:google-bert/bert-base-multilingual-cased"


@dataclass(frozen=True)
class Unknown:
    """Shares of what is unknown, in at most `EXAMINED_AT_MOST` texts that lie evenly over all."""

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
            of: whose tokens these are, such as `train`.
        """
        if self.advice:
            logger.warning(f"{of}: {self.advice}")


def unknown_in(tokens: Tokens, unk_id: int) -> Unknown:
    """Count [UNK] in tokenised texts.

    Args:
        tokens: of the texts.
        unk_id: the id of [UNK].
    """
    rows = np.unique(np.linspace(0, len(tokens) - 1, min(len(tokens), EXAMINED_AT_MOST)).astype(np.int64))
    lengths = tokens.lengths[rows].astype(np.int64) - 2
    unknown = np.array([np.count_nonzero(tokens[row] == unk_id) for row in rows.tolist()])
    whole = (unknown == lengths) & (lengths > 0)
    return Unknown(float(unknown.sum() / max(lengths.sum(), 1)), float(whole.mean()))


def examine(tokenizer: Tokenizer, texts: Sequence[str]) -> Unknown:
    """Tokenise some of the texts and count [UNK].

    Args:
        tokenizer: of the model.
        texts: at least one.
    """
    chosen = np.unique(np.linspace(0, len(texts) - 1, min(len(texts), EXAMINED_AT_MOST)).astype(np.int64))
    return unknown_in(tokenize_all(tokenizer, [texts[i] for i in chosen.tolist()]), tokenizer.unk_id)
