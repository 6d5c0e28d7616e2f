"""`RUN/export/mobile/`: the phone file that ships, with all that an app needs beside it."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import numpy as np

from tfsent.errors import ExportError
from tfsent.exporting.golden import write_golden
from tfsent.exporting.parity import Budget, Parity, ReferenceAnswers, compare
from tfsent.exporting.phone.contents import write_contents
from tfsent.exporting.phone.convert import convert
from tfsent.exporting.phone.lengths import signatures_of
from tfsent.exporting.phone.mediapipe import write_mediapipe
from tfsent.exporting.phone.mediapipe_proof import verify_mediapipe
from tfsent.exporting.phone.pruning import pieces_to_keep, read_counts
from tfsent.exporting.phone.quantization import KINDS, choose
from tfsent.exporting.phone.tflite import ask_in_turns
from tfsent.inference.keras_run import KerasPredictor
from tfsent.inference.tflite_file import MODEL, TFLitePredictor
from tfsent.model.decision import write_decision
from tfsent.recipe.schema import ExportConfig
from tfsent.text.light_tokenizer import LightTokenizer
from tfsent.text.spec import write_labels, write_text_files

logger = logging.getLogger(__name__)

COMPANIONS = ("vocab.txt", "text.json", "labels.txt", "decision.json")
"""What a phone file is read with."""


def make_phone_files(
    predictor: KerasPredictor,
    folder: Path,
    reference: ReferenceAnswers,
    limits: dict[str, Budget],
    config: ExportConfig,
) -> list[Parity]:
    """Make the candidates, run them, and keep the one that ships; with what an app needs beside it."""
    mobile = config.mobile
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        candidates = Path(scratch)
        kept = _write_companions(predictor, candidates, mobile.vocabulary)
        rows, _ = LightTokenizer.load(candidates)(reference.reviews.texts)
        longest = predictor.tokenizer.spec.max_tokens
        signatures = signatures_of(mobile.lengths, np.array([len(row) for row in rows]), longest)
        wanted = KINDS if mobile.quantization == "auto" else (mobile.quantization,)
        kinds = convert(predictor, candidates, wanted, signatures, kept)
        if not kinds:
            raise ExportError(
                f"This model has no {mobile.quantization} file: int4 needs widths that are multiples of 32. Set "
                "export.mobile.quantization=int8, or auto."
            )
        paths = {kind: candidates / f"{kind}.tflite" for kind in kinds}
        answers = ask_in_turns(paths, reference)
        parities = choose(
            [
                compare(kind, paths[kind], answers[kind], reference, limits.get(kind, limits["mobile"]))
                for kind in kinds
            ],
            mobile.max_size_mb,
        )
        chosen = next((one for one in parities if one.passed and one.not_chosen is None), parities[-1])
        folder.mkdir()
        for name in COMPANIONS:
            (candidates / name).rename(folder / name)
        paths[chosen.artifact].rename(folder / MODEL)
    write_mediapipe(folder / MODEL, folder)
    write_golden(predictor, TFLitePredictor(folder / MODEL), reference.reviews.texts, folder / "golden.jsonl")
    write_contents(folder, chosen.artifact, predictor.folder, config)
    return [*parities, verify_mediapipe(predictor, folder, reference, limits["mobile"])]


def _write_companions(predictor: KerasPredictor, folder: Path, vocabulary: int | str) -> list[int] | None:
    """Write what lies beside a phone file; return the ids of the pieces that it knows, None for all."""
    spec, pieces, kept = predictor.tokenizer.spec, predictor.tokenizer.vocabulary, None
    if vocabulary != "all":
        kept = pieces_to_keep(pieces, read_counts(predictor.folder), vocabulary)
        logger.info(f"The phone file knows {len(kept):,} of {len(pieces):,} pieces.")
        pieces = tuple(pieces[i] for i in kept)
    write_text_files(folder, spec, pieces)
    write_labels(folder, predictor.label_names)
    write_decision(folder, predictor.decision)
    return kept
