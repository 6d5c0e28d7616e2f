"""A SavedModel for the server, run by TensorFlow: texts in batches, tokenised in its own graph."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfsent.backend import quiet_stderr
from tfsent.errors import ArtifactError, first_line
from tfsent.model.decision import read_decision
from tfsent.serving.answers import INPUT, SIGNATURE, Answers
from tfsent.serving.engine import Engine, Run
from tfsent.text.light_tokenizer import LightTokenizer
from tfsent.text.spec import read_labels

TEXTS = ("A text.", "A longer text, so that both are padded.")
"""A model must answer these before it is served."""


class SavedModelEngine(Engine):
    """A SavedModel that is loaded. Keras is not: the graph has all of it.

    Args:
        folder: the SavedModel.
        batch: texts at a time, at most.

    Raises:
        ArtifactError: a file is missing or damaged, or tfsent did not write it.
    """

    def __init__(self, folder: Path, batch: int):
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        with quiet_stderr():
            import tensorflow as tf
            import tensorflow_text  # noqa: F401 - registers the ops of the graph

        self.batch = batch
        extra = folder / "assets.extra"
        self.label_names, self.decision = read_labels(extra), read_decision(extra)
        self.tokenizer = LightTokenizer.load(extra) if (extra / "text.json").is_file() else None
        try:
            loaded = tf.saved_model.load(str(folder))
            serve = loaded.signatures[SIGNATURE]
            self.logits = "logits" in serve.structured_outputs

            self._loaded = loaded  # it keeps the variables alive, which the signature does not
            self._serve = serve
            self.check(self._run, TEXTS)
            self._check_labels()
        except (OSError, ValueError, KeyError, TypeError, tf.errors.OpError) as error:
            raise ArtifactError(f"{folder} cannot be served as a SavedModel of tfsent: {first_line(error)}") from error

    def worker(self) -> Run:
        """See `Engine`. TensorFlow's functions may be called from any thread."""
        return self._run

    def _run(self, texts: Sequence[str]) -> Answers:
        found = self._ask(texts)
        logits = found["logits"].numpy() if self.logits else None
        return Answers(self.label_names, found["probabilities"].numpy(), logits, self.decision)

    def _ask(self, texts: Sequence[str]) -> dict[str, Any]:
        import tensorflow as tf

        return self._serve(**{INPUT: tf.constant([text.encode("utf-8", "ignore") for text in texts])})

    def _check_labels(self) -> None:
        """Compare the labels that the graph gives, which TensorFlow Serving answers, with those of decision.json."""
        found = self._ask(TEXTS)
        graph = [label.decode() for label in found["label"].numpy().tolist()]
        here = Answers(self.label_names, found["probabilities"].numpy(), decision=self.decision).columns()["label"]
        if graph != here:
            raise ValueError(f"by its graph two texts are {graph}, and by decision.json {here}")
