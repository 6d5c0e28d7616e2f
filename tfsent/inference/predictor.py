"""One interface over every form of a model: a run's Keras model, a SavedModel, a `.tflite` file.

Every form is asked through it, so that the exported forms are asked exactly what the trained model is asked. The one
exception is the proof of a SavedModel, which runs in a process without tfsent.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tfsent.model.decision import MOST_PROBABLE, Decision

if TYPE_CHECKING:
    from tfsent.text.unknown import Unknown

Advance = Callable[[int], Any]


def ignore(count: int) -> None:
    """Do nothing with a progress."""


@dataclass(frozen=True)
class Prediction:
    """What a model says of one text."""

    text: str
    label: str
    probability: float
    """Of the label."""
    probabilities: dict[str, float]
    """Of every class, in the order of `label_names`."""

    def to_dict(self) -> dict[str, Any]:
        """Return the prediction ready for JSON."""
        return asdict(self)


class Predictor(ABC):
    """Texts in, probabilities out. Any number of threads may ask one predictor.

    Attributes:
        label_names: the classes, in the order of the columns of `predict_proba`.
        decision: chooses the label.
    """

    label_names: tuple[str, ...]
    decision: Decision = MOST_PROBABLE

    def choose(self, probabilities: np.ndarray) -> np.ndarray:
        """Return the class that the model answers, `int64[n]`, from `float32[n, classes]`."""
        return self.decision.choose(probabilities)

    @abstractmethod
    def predict_proba(self, texts: Sequence[str], advance: Advance = ignore) -> np.ndarray:
        """Return class probabilities, `float32[n, classes]`, in the order of the texts.

        Args:
            texts: the texts.
            advance: is told how many more texts are done, for a progress bar.
        """

    def unknown(self, texts: Sequence[str]) -> Unknown | None:
        """Return the share of [UNK] in some of the texts; None where the model's vocabulary is not at hand."""
        return None

    def predict(self, texts: Iterable[str]) -> list[Prediction]:
        """Classify texts.

        Args:
            texts: a list, a pandas Series, or another iterable of strings.

        Raises:
            TypeError: `texts` is one string, or holds something that is not a string.

        Example:
            >>> tfsent.load("runs/quickstart").predict(["Loved every minute."])[0].label
            'positive'
        """
        if isinstance(texts, str):
            raise TypeError("predict takes a list of texts. Received one string: put it in a list.")
        texts = list(texts)  # a pandas Series is indexed by label, not by position
        if strange := [text for text in texts if not isinstance(text, str)]:
            raise TypeError(f"predict takes a list of texts. Received in it: {strange[0]!r}.")
        results = []
        probabilities = self.predict_proba(texts)
        chosen = self.choose(probabilities).tolist()
        for text, row, best in zip(texts, probabilities.tolist(), chosen, strict=True):
            named = dict(zip(self.label_names, row, strict=True))
            results.append(Prediction(text, self.label_names[best], row[best], named))
        return results
