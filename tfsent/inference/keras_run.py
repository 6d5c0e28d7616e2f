"""The model of a run directory as a `Predictor`, run by Keras."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tfsent.inference.predictor import Advance, Predictor, ignore
from tfsent.model.decision import probabilities_of, read_decision
from tfsent.storage.run_directory import require_run
from tfsent.text.batch_plan import BatchPlan, Shapes, bucket_lengths
from tfsent.text.spec import read_labels
from tfsent.text.unknown import Unknown, count_unknown, some

if TYPE_CHECKING:
    import keras

    from tfsent.text.token_store import Tokens
    from tfsent.text.tokenizer import Tokenizer

BATCH_TOKENS = 8192


class KerasPredictor(Predictor):
    """The model of a run, as it was trained, in float32.

    Args:
        run: the run directory.

    Attributes:
        model: the `keras.Model`, from `token_ids`, `segment_ids` and `padding_mask` to logits.
        tokenizer: the text graph.
        folder: `RUN/model`.

    Raises:
        RunError: the directory holds no finished run.
        ArtifactError: its model is damaged.
    """

    tokenizer: Tokenizer

    def __init__(self, run: Path):
        from tfsent.model.classifier import load_classifier
        from tfsent.text.tokenizer import Tokenizer

        folder = self.folder = require_run(run) / "model"
        self.label_names = read_labels(folder)
        self.decision = read_decision(folder)
        self.tokenizer = Tokenizer.load(folder)
        self.model = load_classifier(folder / "model.keras")

    def with_truncation(self, truncation: str) -> KerasPredictor:
        """Return the same model with another `text.truncation`."""
        from tfsent.text.tokenizer import Tokenizer

        twin = copy.copy(self)
        twin.tokenizer = Tokenizer(replace(self.tokenizer.spec, truncation=truncation), self.tokenizer.vocabulary)
        return twin

    def unknown(self, texts: Sequence[str]) -> Unknown:
        """See `Predictor`."""
        from tfsent.text.token_store import tokenize_all

        return count_unknown(some(tokenize_all(self.tokenizer, some(texts))), self.tokenizer.unk_id)

    def predict_proba(self, texts: Sequence[str], advance: Advance = ignore) -> np.ndarray:
        """See `Predictor`."""
        logits, tokens = self._logits(texts, advance)
        return probabilities_of(logits, tokens.owner)

    def predict_proba_before(self, texts: Sequence[str], advance: Advance = ignore) -> tuple[np.ndarray, np.ndarray]:
        """Return class probabilities, and what they would be without the temperature, both `float32[n, classes]`."""
        logits, tokens = self._logits(texts, advance)
        return (
            probabilities_of(logits, tokens.owner),
            probabilities_of(logits, tokens.owner, 1 / self.decision.temperature),
        )

    def logits_and_owners(self, texts: Sequence[str], advance: Advance = ignore) -> tuple[np.ndarray, np.ndarray]:
        """Return the logits of rows, `float32[rows, classes]`, and the index of the text of each, `int32[rows]`."""
        logits, tokens = self._logits(texts, advance)
        return logits, tokens.owner

    def predict_logits(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return the logits of each text, `float32[rows, classes]`: one row, or several with `truncation: windows`."""
        logits, tokens = self._logits(texts, ignore)
        return [logits[tokens.owner == i] for i in range(len(texts))]

    def _logits(self, texts: Sequence[str], advance: Advance) -> tuple[np.ndarray, Tokens]:
        from tfsent.text.token_store import tokenize_all

        tokens = tokenize_all(self.tokenizer, texts)
        return logits_of(self.model, tokens, self.tokenizer.spec.max_tokens, self.tokenizer.pad_id, advance), tokens


def logits_of(
    model: keras.Model, tokens: Tokens, max_tokens: int, pad_id: int, advance: Advance = ignore
) -> np.ndarray:
    """Return the logits of rows of token ids, `float32[rows, classes]`, on any backend of Keras.

    Args:
        model: of `model.classifier.build_classifier`.
        tokens: of the texts.
        max_tokens: of the longest row.
        pad_id: the id of [PAD].
        advance: see `Predictor`.
    """
    import keras

    of_rows = np.zeros((len(tokens), model.output_shape[-1]), np.float32)
    shapes = Shapes(bucket_lengths(max_tokens))
    for rows, length in BatchPlan(tokens.lengths, BATCH_TOKENS, shapes=shapes).epoch(0):
        of_rows[rows] = keras.ops.convert_to_numpy(model.predict_on_batch(tokens.pad(rows, length, pad_id)))
        advance(tokens.reviews_begun(rows))
    return of_rows
