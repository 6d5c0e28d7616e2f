"""What the file for MediaPipe answers, with the token ids that MediaPipe makes."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from tfsent.errors import ExportError
from tfsent.exporting.parity import Budget, Parity, ReferenceAnswers, ask_trained_model, compare
from tfsent.exporting.phone.tflite import ask_in_turns
from tfsent.inference.keras_run import KerasPredictor
from tfsent.inference.tflite_file import MEDIAPIPE, TFLitePredictor
from tfsent.text.mediapipe_tokenizer import MediaPipeTokenizer


def verify_mediapipe(predictor: KerasPredictor, folder: Path, reference: ReferenceAnswers, budget: Budget) -> Parity:
    """Compare the file for MediaPipe with the trained model, and hold it to what the trained model says of text heads.

    MediaPipe keeps the head of a long text. What that costs against the recipe's truncation is in the figures, and is
    no fault of the file. The figures are those of an app that calls `for_mediapipe` first; the remark says what changes
    without.

    Args:
        predictor: the run's model.
        folder: of the export.
        reference: the trained model's answers.
        budget: of phone files.

    Raises:
        ExportError: vocabulary or labels in the file are not those beside it.
    """
    path = folder / MEDIAPIPE
    with zipfile.ZipFile(path) as inside:
        for name in ("vocab.txt", "labels.txt"):
            if inside.read(name) != (folder / name).read_bytes():
                raise ExportError(f"{MEDIAPIPE} has another {name} than the folder. Expected the same.")
    own, seconds = ask_in_turns({"mediapipe": path}, reference)["mediapipe"]
    normalized, read_otherwise = _as_mediapipe_reads(path, reference, own, normalized=True)
    raw, raw_otherwise = _as_mediapipe_reads(path, reference, own, normalized=False)
    chosen = predictor.choose(own)
    flips, raw_flips = (int((predictor.choose(found) != chosen).sum()) for found in (normalized, raw))
    remark = (
        f"MediaPipe reads {raw_otherwise:,} of {len(own):,} reviews otherwise than tfsent, and {raw_flips:,} labels "
        f"change; {read_otherwise:,} and {flips:,} after the normalisation of export/README.md."
    )
    heads = reference
    if predictor.tokenizer.spec.truncation != "head":
        heads = ask_trained_model(predictor.with_truncation("head"), reference.reviews)
    answers = (normalized, seconds)
    faults = compare("mediapipe", path, answers, heads, budget).faults
    return replace(compare("mediapipe", path, answers, reference, Budget()), faults=faults, remark=remark)


def _as_mediapipe_reads(
    path: Path, reference: ReferenceAnswers, own: np.ndarray, *, normalized: bool
) -> tuple[np.ndarray, int]:
    """Return the file's answers to MediaPipe's token ids, and how many reviews have others than tfsent's."""
    predictor = TFLitePredictor(path)
    texts, tokenizer = reference.reviews.texts, predictor.tokenizer
    mediapipe = MediaPipeTokenizer(tokenizer.spec, tokenizer.vocabulary, normalized=normalized)
    pairs = zip(tokenizer(texts)[0], mediapipe(texts)[0], strict=True)
    others = [i for i, (ours, theirs) in enumerate(pairs) if not np.array_equal(ours, theirs)]
    predictor.tokenizer = mediapipe
    found = own.copy()
    order = [predictor.label_names.index(name) for name in reference.reviews.label_names]
    found[others] = predictor.predict_proba([texts[i] for i in others])[:, order]
    return found, len(others)
