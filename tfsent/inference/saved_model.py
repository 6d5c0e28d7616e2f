"""A SavedModel of tfsent as a `Predictor`, run by TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfsent.errors import ArtifactError, first_line
from tfsent.inference.predictor import Advance, Predictor
from tfsent.text.spec import read_labels


class SavedModelPredictor(Predictor):
    """A SavedModel of ours: raw strings in, through its `serving_default` signature."""

    def __init__(self, folder: Path):
        import tensorflow as tf
        import tensorflow_text

        del tensorflow_text  # its import registers the ops the graph uses
        folder = newest_version(folder)
        self.label_names = read_labels(folder / "assets.extra")
        try:
            self._loaded = tf.saved_model.load(str(folder))
            self._serve = self._loaded.signatures["serving_default"]
        except (OSError, ValueError, KeyError, tf.errors.OpError) as error:
            raise ArtifactError(f"{folder} cannot be loaded as a SavedModel of tfsent: {first_line(error)}") from error

    def predict_proba(self, texts: Sequence[str], advance: Advance = lambda count: None) -> np.ndarray:
        """See `Predictor`."""
        import tensorflow as tf

        from tfsent.text.token_store import encode

        result = np.zeros((len(texts), len(self.label_names)), np.float32)
        # Texts of like length together, so that little of a batch is padding.
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        for start in range(0, len(order), 32):
            rows = order[start : start + 32]
            batch = tf.constant([encode(texts[i]) for i in rows])
            result[rows] = self._serve(text=batch)["probabilities"].numpy()
            advance(len(rows))
        return result


def newest_version(folder: Path) -> Path:
    """The SavedModel of a folder of versions: the highest number, as TensorFlow Serving takes it; else the folder."""
    versions = _versions(folder)
    return folder / str(max(versions)) if versions else folder


def _versions(folder: Path) -> list[int]:
    return [int(p.name) for p in folder.iterdir() if p.name.isdecimal() and (p / "saved_model.pb").is_file()]
