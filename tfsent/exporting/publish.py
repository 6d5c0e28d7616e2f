"""A run → exported files: staged, verified, and only then published.

RUN/export/serving/1/     a SavedModel; each export adds the next version
RUN/export/mobile/        model-float32.tflite, model-int8.tflite, vocab.txt, text.json, labels.txt
RUN/verify.json           the parity table of the last export, published or not
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfsent.console import progress_bar
from tfsent.data.reviews import Reviews, load_reviews
from tfsent.data.splits import split
from tfsent.exporting.parity import Parity, ReferenceAnswers, report
from tfsent.exporting.phone.tflite import PRECISIONS, verify_tflite, write_tflite
from tfsent.exporting.server.savedmodel import verify_savedmodel, write_savedmodel
from tfsent.inference.keras_run import KerasPredictor
from tfsent.recipe.schema import BudgetConfig, ExportConfig
from tfsent.storage import atomic, run_directory

logger = logging.getLogger(__name__)

TARGETS = ("serving", "mobile")


def export(run: Path, config: ExportConfig, targets: Sequence[str] = TARGETS) -> dict[str, Any]:
    """Export, verify, and publish when every file is within its budget; write `verify.json` either way.

    Args:
        run: the run directory.
        config: budgets, and on how many held-out reviews they are checked.
        targets: `serving`, `mobile` or both.

    Returns:
        The report, with `published`: paths relative to the run; empty when a file was over its budget.

    Raises:
        ExportError: a file could not be made or run.
        RunError: no finished run is there, or it cannot be written to.
    """
    predictor = KerasPredictor(run_directory.require_run(run))
    run_directory.warn_if_interrupted(run)
    reviews = load_reviews(run / "heldout" / "test.jsonl.gz")
    rows, _ = split(reviews, min(config.verify_examples, len(reviews)), np.random.default_rng(0), "verify_examples")
    reference = _ask_trained_model(predictor, reviews.take(rows))
    places = {"serving": run / "export" / "serving" / str(_next_version(run)), "mobile": run / "export" / "mobile"}
    atomic.clear_old(run, ".export.*")
    parities: list[Parity] = []
    with tempfile.TemporaryDirectory(prefix=".export.", dir=run) as scratch:
        staged = {target: Path(scratch) / target for target in targets}
        for target, folder in staged.items():
            logger.info(f"Exporting for {target}, then running each file on {len(reference.reviews):,} reviews …")
            parities += _MAKERS[target](predictor, folder, reference, config.budget)
        result = report(parities, reference)
        if result["passed"]:
            for target, folder in staged.items():
                atomic.publish(folder, places[target])
    result["published"] = [str(places[t].relative_to(run)) for t in targets] if result["passed"] else []
    atomic.write_json(run / "verify.json", result)
    return result


def _make_serving(
    predictor: KerasPredictor, folder: Path, reference: ReferenceAnswers, budget: BudgetConfig
) -> list[Parity]:
    write_savedmodel(predictor, folder)
    return [verify_savedmodel(folder, reference, budget)]


def _make_mobile(
    predictor: KerasPredictor, folder: Path, reference: ReferenceAnswers, budget: BudgetConfig
) -> list[Parity]:
    write_tflite(predictor, folder)
    return [verify_tflite(folder / f"model-{p}.tflite", p, reference, budget) for p in PRECISIONS]


_MAKERS = {"serving": _make_serving, "mobile": _make_mobile}


def _ask_trained_model(predictor: KerasPredictor, reviews: Reviews) -> ReferenceAnswers:
    with progress_bar("running the trained model", len(reviews)) as bar:
        return ReferenceAnswers(reviews, predictor.predict_proba(reviews.texts, bar.update))


def _next_version(run: Path) -> int:
    folder = run / "export" / "serving"
    numbers = [int(p.name) for p in folder.iterdir() if p.name.isdecimal()] if folder.is_dir() else []
    return max(numbers, default=0) + 1
