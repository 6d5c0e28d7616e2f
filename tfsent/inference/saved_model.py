"""A SavedModel of tfsent as a `Predictor`, run by TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfsent.errors import ArtifactError, first_line
from tfsent.inference.predictor import Advance, Predictor, ignore
from tfsent.model.decision import read_decision
from tfsent.text.spec import read_labels
from tfsent.text.unknown import Unknown, count_unknown, some


class SavedModelPredictor(Predictor):
    """A SavedModel: raw strings in, through its `serving_default` signature.

    Args:
        folder: the SavedModel, or the folder of its versions.

    Raises:
        ArtifactError: a file is missing or damaged, or tfsent did not write it.
    """

    def __init__(self, folder: Path):
        import tensorflow as tf

        from tfsent.text.tokenizer import Tokenizer  # with tensorflow_text, which registers the ops of the graph

        folder = newest_version(folder)
        extra = folder / "assets.extra"
        self.label_names = read_labels(extra)
        self.decision = read_decision(extra)
        self.tokenizer = Tokenizer.load(extra) if (extra / "vocab.txt").is_file() else None
        try:
            self._loaded = tf.saved_model.load(str(folder))
            self._serve = self._loaded.signatures["serving_default"]
        except (OSError, ValueError, KeyError, tf.errors.OpError) as error:
            raise ArtifactError(f"{folder} cannot be loaded as a SavedModel of tfsent: {first_line(error)}") from error

    def unknown(self, texts: Sequence[str]) -> Unknown | None:
        """See `Predictor`."""
        from tfsent.text.token_store import tokenize_all

        if self.tokenizer is None:
            return None
        return count_unknown(some(tokenize_all(self.tokenizer, some(texts))), self.tokenizer.unk_id)

    def predict_proba(self, texts: Sequence[str], advance: Advance = ignore) -> np.ndarray:
        """See `Predictor`."""
        import tensorflow as tf

        from tfsent.text.token_store import encode

        result = np.zeros((len(texts), len(self.label_names)), np.float32)
        # Texts of similar length go together, so that little of a batch is padding. `isolated_process.py` repeats
        # this on purpose: it cannot import tfsent.
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        for start in range(0, len(order), 32):
            rows = order[start : start + 32]
            batch = tf.constant([encode(texts[i]) for i in rows])
            result[rows] = self._serve(text=batch)["probabilities"].numpy()
            advance(len(rows))
        return result


def newest_version(folder: Path) -> Path:
    """Return the SavedModel with the highest version number, which TensorFlow Serving takes; else the folder itself."""
    versions = versions_of(folder)
    return folder / str(max(versions)) if versions else folder


def versions_of(folder: Path) -> list[int]:
    """Return the numbers of the SavedModels in a folder of versions."""
    return [int(p.name) for p in folder.iterdir() if p.name.isdecimal() and (p / "saved_model.pb").is_file()]
