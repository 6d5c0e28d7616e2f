"""Texts with their token ids and probabilities: what the tests of an app replay, in whatever language it is written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tfsent.inference.keras_run import KerasPredictor
from tfsent.text.token_store import tokenize_all

REAL_TEXTS = 200
NASTY_TEXTS = (
    "",
    " \t\n",
    "[CLS] spelt out [SEP] [PAD] [MASK]",
    "A film.<br /><BR>Two lines.<br>",
    "Café, naïve, coöperate; cafe\u0301",
    "ÀÉÎÕÜ ß ẞ ŒUVRE İstanbul ΣΊΣΥΦΟΣ",
    "日本の映画 is good. 中文 한국어 각",
    "👍👍 great 👩\u200d👩\u200d👧 🏽 ❤\ufe0f",
    "non\u00a0breaking\u3000ideographic\u2003em\u2028line",
    "zero\u200bwidth\u200djoiner soft\u00adhyphen \ufeffmark",
    "\u202eright to left\u202c \u200fשלום مرحبا",
    "control\x00\x07\x1f\x7fcharacters \ufffd \ue000",
    "“curly” ‘quotes’ — dashes – and … dots",
    "e-mail@example.com https://example.com/a?b=c&d=e #tag @name $9.99 50%",
    "don't won't it's I'm they've",
    "sooooooooooooo goooooood!!!!!!!!!!!! ?????",
    "x" * 100,
    "x" * 101,
    "é" * 101,
    "word " * 1000,
    "१२३ ٤٥٦ ½ ² ⅷ",
)
"""Texts on which tokenizers differ."""


def write_golden(predictor: KerasPredictor, texts: Sequence[str], path: Path) -> None:
    """Write a JSON line for each text: `text`, `rows` and the `probabilities` of the trained model.

    `rows` are token ids from [CLS] to [SEP]; with `truncation: windows` there may be several.

    Args:
        predictor: the run's model.
        texts: held-out reviews; the first `REAL_TEXTS` are taken, and `NASTY_TEXTS` follow.
        path: of the file.
    """
    chosen = [*texts[:REAL_TEXTS], *NASTY_TEXTS]
    tokens = tokenize_all(predictor.tokenizer, chosen)
    rows: list[list[list[int]]] = [[] for _ in chosen]
    for row, owner in enumerate(tokens.owner.tolist()):
        rows[owner].append(tokens[row].tolist())
    with path.open("w", encoding="utf-8") as out:
        for text, ids, probabilities in zip(chosen, rows, predictor.predict_proba(chosen).tolist(), strict=True):
            out.write(json.dumps({"text": text, "rows": ids, "probabilities": probabilities}) + "\n")
