"""Texts with their token ids and probabilities: what the tests of an app replay, in whatever language it is written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfsent.inference.keras_run import KerasPredictor
from tfsent.inference.tflite_file import TFLitePredictor

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


def write_golden(predictor: KerasPredictor, phone: TFLitePredictor, texts: Sequence[str], path: Path) -> None:
    """Write a JSON line for each text.

    - `text`.
    - `ids`: rows of token ids from [CLS] to [SEP]; several with `truncation: windows`.
    - `probabilities`: what the phone file says in LiteRT on this machine. Another processor may differ by little.
    - `label`: what follows from `probabilities`, as the model decides.
    - `logits`, a list a row, and `trained`: what the trained model says, as logits and as probabilities.

    Args:
        predictor: the run's model.
        phone: the file that ships.
        texts: held-out reviews; the first `REAL_TEXTS` are taken, and `NASTY_TEXTS` follow.
        path: of the file.
    """
    chosen = [*texts[:REAL_TEXTS], *NASTY_TEXTS]
    rows, owner = phone.tokenizer(chosen)
    logits = predictor.predict_logits(chosen)
    found_all = phone.predict_proba(chosen)
    labels = [predictor.label_names[i] for i in predictor.choose(found_all).tolist()]
    answers = zip(found_all.tolist(), predictor.predict_proba(chosen).tolist(), labels, strict=True)
    with path.open("w", encoding="utf-8") as out:
        for i, (found, trained, label) in enumerate(answers):
            line = {
                "text": chosen[i],
                "ids": [rows[row].tolist() for row in np.flatnonzero(owner == i)],
                "probabilities": found,
                "label": label,
                "trained": trained,
                "logits": logits[i].tolist(),
            }
            out.write(json.dumps(line) + "\n")
