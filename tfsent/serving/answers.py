"""What is asked and what is answered, whatever the protocol: one signature, its input and its outputs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tfsent.model.decision import Decision

SIGNATURE = "serving_default"
CLASSIFY = "classify"
INPUT = "text"
METHOD = "tensorflow/serving/predict"
STRING, FLOAT = "DT_STRING", "DT_FLOAT"


@dataclass(frozen=True)
class Output:
    """One output of the signature."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    """-1 is the number of texts."""


def outputs(classes: int, *, logits: bool) -> tuple[Output, ...]:
    """Return the outputs of a model.

    Args:
        classes: how many classes it has.
        logits: whether it gives them. A `.tflite` file does not.
    """
    found = [
        Output("label", STRING, (-1,)),
        Output("probability", FLOAT, (-1,)),
        Output("probabilities", FLOAT, (-1, classes)),
    ]
    return (*found, Output("logits", FLOAT, (-1, classes))) if logits else tuple(found)


@dataclass(frozen=True)
class Answers:
    """What a model says of some texts.

    Attributes:
        label_names: its classes.
        probabilities: `float32[n, classes]`.
        logits: `float32[n, classes]`, or None where the model gives none.
        decision: chooses the label of each text.
    """

    label_names: tuple[str, ...]
    probabilities: np.ndarray
    logits: np.ndarray | None = None
    decision: Decision = field(default_factory=Decision)

    def columns(self) -> dict[str, list[Any]]:
        """Return each output as a list over the texts, in the order of `outputs`."""
        chosen = self.decision.choose(self.probabilities).tolist()
        probabilities = [_numbers(row) for row in self.probabilities]
        found: dict[str, list[Any]] = {
            "label": [self.label_names[i] for i in chosen],
            "probability": [row[i] for row, i in zip(probabilities, chosen, strict=True)],
            "probabilities": probabilities,
        }
        if self.logits is not None:
            found["logits"] = [_numbers(row) for row in self.logits]
        return found


def _numbers(row: np.ndarray) -> list[float]:
    """The shortest decimals that are these float32: 0.96, and not 0.9599999785423279."""
    return [float(str(number)) for number in row]
