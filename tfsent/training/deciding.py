"""A finished run whose decision is chosen again: its temperature, its threshold."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from pathlib import Path

from tfsent.console import progress_bar
from tfsent.data.reviews import load_reviews
from tfsent.errors import ConfigError
from tfsent.inference.keras_run import KerasPredictor
from tfsent.model import decision as decisions
from tfsent.model.classifier import divide_logits
from tfsent.model.decision import Decision
from tfsent.storage import atomic, run_directory
from tfsent.storage.manifest import write_manifest
from tfsent.training.engine.calibration import describe

logger = logging.getLogger(__name__)


def decide(run: Path, *, calibrate: bool, threshold: str | None) -> Decision:
    """Choose temperature and threshold of a finished run anew; see `tfsent.decide`."""
    run = run_directory.require_run(run)
    predictor = KerasPredictor(run)
    old = predictor.decision
    aim = old.aim if threshold is None else None if threshold == "none" else threshold
    decisions.require_two_classes(aim, len(predictor.label_names))
    reviews = load_reviews(run / "heldout" / "validation.jsonl.gz")
    with progress_bar("asking the model", len(reviews)) as bar:
        logits, owner = predictor.logits_and_owners(reviews.texts, bar.update)
    found = decisions.decide(logits, owner, reviews.labels, calibrate=calibrate, aim=aim)
    if aim is not None and found.threshold is None:
        raise ConfigError(
            f"No threshold reaches {aim} on the {len(reviews):,} validation reviews. Ask for less. Nothing was changed."
        )
    describe(logits, owner, reviews.labels, found, aim)
    # The weights have the old temperature already.
    whole = replace(found, temperature=round(old.temperature * found.temperature, 4))
    _write(run, predictor, found.temperature, whole)
    return whole


def _write(run: Path, predictor: KerasPredictor, factor: float, decision: Decision) -> None:
    """Replace the model in one step, and remove what described the old one."""
    with atomic.replacing(run / "model") as folder:
        shutil.copytree(run / "model", folder)
        if factor != 1:
            divide_logits(predictor.model, factor)
            (folder / "model.keras").unlink()
            predictor.model.save(folder / "model.keras")
        decisions.write_decision(folder, decision)
        (folder / "manifest.json").unlink(missing_ok=True)
        write_manifest(folder)
    run_directory.forget_figures(run)
    if (run / "export").is_dir():
        logger.warning(f"The files in {run / 'export'} are of the model as it was. Next: tfsent export {run}")
