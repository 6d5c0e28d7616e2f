"""A run → exported files: staged, verified, and only then published.

RUN/export/serving/1/     a SavedModel; each export adds the next version
RUN/export/mobile/        model.tflite, model-mediapipe.tflite, vocab.txt, text.json, labels.txt, golden.jsonl,
                          manifest.json
RUN/verify.json           the parity report of the last export, published or not
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tfsent.data.reviews import load_reviews
from tfsent.data.splits import split
from tfsent.exporting.parity import Budget, Parity, ParityReport, ReferenceAnswers, ask_trained_model, budgets, report
from tfsent.exporting.phone.files import make_phone_files
from tfsent.exporting.server.savedmodel import verify_savedmodel, write_savedmodel
from tfsent.inference.keras_run import KerasPredictor
from tfsent.recipe.schema import ExportConfig
from tfsent.storage import atomic, run_directory

logger = logging.getLogger(__name__)

TARGETS = ("serving", "mobile")


def export(run: Path, config: ExportConfig, targets: Sequence[str] = TARGETS) -> ParityReport:
    """Export, verify, and publish when every file is within its budget; write `verify.json` either way.

    Args:
        run: the run directory, or one of several seeds: the best is exported.
        config: budgets, and the number of held-out reviews.
        targets: `serving`, `mobile` or both.

    Returns:
        The report; `published` is relative to the exported run, and empty where a file is over its budget.

    Raises:
        ExportError: a file could not be made or run.
        RunError: the directory holds no finished run, or cannot be written to.
    """
    run = run_directory.require_run(run)
    predictor = KerasPredictor(run)
    run_directory.warn_if_interrupted(run)
    reviews = load_reviews(run / "heldout" / "test.jsonl.gz")
    rows, _ = split(reviews, min(config.verify_examples, len(reviews)), np.random.default_rng(0), "verify_examples")
    reference = ask_trained_model(predictor, reviews.take(rows))
    limits = budgets(config)
    atomic.clear_old(run, ".export.*")
    parities: list[Parity] = []
    with tempfile.TemporaryDirectory(prefix=".export.", dir=run) as scratch:
        staged = {target: Path(scratch) / target for target in targets}
        for target, folder in staged.items():
            logger.info(f"Exporting for {target}, then running each file on {len(reference.reviews):,} reviews …")
            parities += _MAKERS[target](predictor, folder, reference, limits, config)
        result = report(parities, reference)
        if result.passed:
            places = {"serving": _next_version(run), "mobile": run / "export" / "mobile"}
            for target, folder in staged.items():
                atomic.publish(folder, places[target])
            result = replace(result, published=tuple(str(places[target].relative_to(run)) for target in targets))
    atomic.write_json(run / "verify.json", result.to_dict())
    return result


def _make_serving(
    predictor: KerasPredictor, folder: Path, reference: ReferenceAnswers, limits: dict[str, Budget], _: ExportConfig
) -> list[Parity]:
    write_savedmodel(predictor, folder)
    return [verify_savedmodel(folder, reference, limits["savedmodel"])]


_MAKERS = {"serving": _make_serving, "mobile": make_phone_files}


def _next_version(run: Path) -> Path:
    folder = run / "export" / "serving"
    numbers = [int(p.name) for p in folder.iterdir() if p.name.isdecimal()] if folder.is_dir() else []
    return folder / str(max(numbers, default=0) + 1)
