"""What the queue asks of a model, whichever runtime it is in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import numpy as np

from tfsent.model.decision import Decision
from tfsent.serving.answers import Answers, Output, outputs
from tfsent.text.light_tokenizer import LightTokenizer
from tfsent.text.spec import MAX_WINDOWS

Run = Callable[[Sequence[str]], Answers]


class Engine(ABC):
    """A model that is open.

    Attributes:
        label_names: its classes, in the order of labels.txt.
        decision: chooses the label of a text.
        batch: how many texts it is given at most at a time.
        logits: whether it gives logits.
        tokenizer: counts tokens for the page; None where its files are missing.
    """

    label_names: tuple[str, ...]
    decision: Decision = Decision()
    batch: int
    logits: bool
    tokenizer: LightTokenizer | None

    @abstractmethod
    def worker(self) -> Run:
        """Return what answers texts in one thread. Each thread calls this once, and uses no other's."""

    def wide_worker(self) -> Run | None:
        """Return what answers a text that is alone on all cores; None where the workers do that as well."""
        return None

    @property
    def outputs(self) -> tuple[Output, ...]:
        """The outputs of its signature."""
        return outputs(len(self.label_names), logits=self.logits)

    def tokens(self, text: str) -> tuple[int, int] | None:
        """Return how many tokens of a text the model reads, and how many there are; None where that is not known."""
        if self.tokenizer is None:
            return None
        spec, there = self.tokenizer.spec, len(self.tokenizer.tokenize([text])[0])
        reach = spec.room
        if spec.truncation == "windows":
            reach += (MAX_WINDOWS - 1) * spec.window_step
        return min(there, reach), there

    def check(self, run: Run, texts: Sequence[str]) -> np.ndarray:
        """Ask texts and return their probabilities, `float32[n, classes]`.

        Raises:
            ValueError: an answer is no distribution over the classes.
        """
        probabilities = run(texts).probabilities
        if probabilities.shape != (len(texts), len(self.label_names)):
            raise ValueError(
                f"it gives {probabilities.shape[-1]} probabilities, and labels.txt has {len(self.label_names)} classes"
            )
        if not np.isfinite(probabilities).all() or abs(probabilities.sum(axis=1) - 1).max() > 1e-3:
            raise ValueError("its probabilities are not numbers that sum to 1")
        return probabilities
