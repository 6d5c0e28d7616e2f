"""Why a model answered what it did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfsent import backend
from tfsent.errors import ArtifactError, ConfigError, DataError, did_you_mean

if TYPE_CHECKING:
    from tfsent.evaluation.explanation import Explanation


def explain(
    model: str | Path, texts: Sequence[str], *, label: str | None = None, advance: Callable[[int], Any] | None = None
) -> list[Explanation]:
    """Explain which words made a run answer as it did, by integrated gradients; see docs/explaining.md.

    Args:
        model: a run directory. An exported file cannot be differentiated.
        texts: none of them blank.
        label: the class to be explained; None explains the predicted class of each text.
        advance: is told how many more texts are done.

    Returns:
        For each text the prediction, and a score for each word that the model read: what it adds to the log odds of
        the class, in nats.

    Raises:
        ArtifactError: the model is not a run; where it lies in one, that is named.
        ConfigError: the model has no such class, or Keras is loaded on another backend than TensorFlow.
        DataError: a text is blank.
        RunError: the run is not finished.
        TypeError: `texts` is one string, or holds something that is not a string.

    Example:
        >>> found = tfsent.explain("runs/quickstart", ["Loved every minute."])[0]
        >>> [(found.text[word.start : word.stop], round(word.score, 1)) for word in found.words]
        [('Loved', 1.9), ('every', 0.3), ('minute', 0.1), ('.', 0.1)]
    """
    texts = _require_texts(texts)
    path = _require_run(Path(model))
    index = _index_of(label, path)
    backend.use("tensorflow")
    from tfsent.evaluation import explanation
    from tfsent.inference.keras_run import KerasPredictor
    from tfsent.inference.predictor import ignore

    labels = None if index is None else [index] * len(texts)
    return explanation.explain(KerasPredictor(path), texts, labels=labels, advance=advance or ignore)


def _require_texts(texts: Sequence[str]) -> list[str]:
    if isinstance(texts, str):
        raise TypeError("explain takes a list of texts. Received one string: put it in a list.")
    for number, text in enumerate(texts, 1):
        if not isinstance(text, str):
            raise TypeError(f"explain takes a list of texts. Received in it: {text!r}.")
        if not text.strip():
            raise DataError(f"Text {number} is blank. Expected a review.")
        if any("\ud800" <= char <= "\udfff" for char in text):  # how Python hands on what it cannot decode
            raise DataError(f"Text {number} is not UTF-8. Expected a review in UTF-8.")
    return list(texts)


def _require_run(path: Path) -> Path:
    """Return the directory of a run, before TensorFlow is loaded."""
    from tfsent.inference import opening
    from tfsent.inference.keras_run import KerasPredictor
    from tfsent.storage.run_directory import require_run

    if opening.opener_of(path) is KerasPredictor:
        return require_run(path)
    run = next((folder for folder in path.resolve().parents if (folder / "config.yaml").is_file()), None)
    advice = f"Its run is {run}: name that." if run else "Name the run that it was exported from."
    raise ArtifactError(f"{path} is an exported file, and only a run can be explained. {advice}")


def _index_of(label: str | None, run: Path) -> int | None:
    from tfsent.text.spec import read_labels

    names = read_labels(run / "model")
    if label is None:
        return None
    if label not in names:
        raise ConfigError(f"The model has no class {label!r}.{did_you_mean(label, names)}")
    return names.index(label)
