"""One interface over every form of a model: the run's Keras model, the SavedModel, the `.tflite` file.

`predict` knows only this interface, and `evaluate` and `verify` ask through it, so that the shipped forms are asked
what the trained model was asked. (A SavedModel is verified by `isolated_process.py`, where there is no tfsent.)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

Advance = Callable[[int], None]


@dataclass(frozen=True)
class Prediction:
    """What a model says of one text."""

    text: str
    label: str
    probability: float
    probabilities: dict[str, float]


class Predictor(ABC):
    """Texts in, probabilities out.

    Attributes:
        label_names: the classes, in the order of the columns of `probabilities`.
    """

    label_names: tuple[str, ...]

    @abstractmethod
    def predict_proba(self, texts: Sequence[str], advance: Advance = lambda count: None) -> np.ndarray:
        """Class probabilities, `float32[n, classes]`, rows in the order of `texts`.

        `advance` is told how many more texts are done, for a progress bar.
        """

    def predict(self, texts: Iterable[str]) -> list[Prediction]:
        """Label, its probability and all probabilities of each text."""
        if isinstance(texts, str):
            raise TypeError("predict takes a list of texts. Received one string: put it in a list.")
        texts = list(texts)  # pandas gives a Series of texts by label, not by place
        if strange := [text for text in texts if not isinstance(text, str)]:
            raise TypeError(f"predict takes a list of texts. Received in it: {strange[0]!r}.")
        results = []
        for text, row in zip(texts, self.predict_proba(texts).tolist(), strict=True):
            best = int(np.argmax(row))
            named = dict(zip(self.label_names, row, strict=True))
            results.append(Prediction(text, self.label_names[best], row[best], named))
        return results
