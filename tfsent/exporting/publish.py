"""A run → exported files: staged, verified, and only then published.

RUN/export/serving/1/     a SavedModel; each export adds the next version
RUN/export/mobile/        model.tflite, model-mediapipe.tflite, vocab.txt, text.json, labels.txt, golden.jsonl,
                          manifest.json
RUN/verify.json           the parity report of the last export, published or not
RUN/report.html           with it; and RUN/README.md
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tfsent.data.reviews import load_reviews
from tfsent.errors import ExportError
from tfsent.evaluation.report.renew import renew
from tfsent.exporting.parity import Parity, ParityReport, ask_trained_model, budgets, report
from tfsent.exporting.phone.files import make_phone_files
from tfsent.exporting.record import digests_of_model
from tfsent.exporting.sample import verification_sample
from tfsent.exporting.server.files import make_server_files, publish_version
from tfsent.exporting.verification import require_complete
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
    of_model = digests_of_model(run / "model")
    predictor = KerasPredictor(run)
    run_directory.warn_if_interrupted(run)
    reviews = verification_sample(load_reviews(run / "heldout" / "test.jsonl.gz"), config.verify_examples)
    reference = ask_trained_model(predictor, reviews)
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
            for target, folder in staged.items():
                require_complete(predictor, target, folder)
            if digests_of_model(run / "model") != of_model:  # the records would name a model that was not exported
                raise ExportError(f"Nothing was published: the model changed meanwhile. Again: tfsent export {run}")
            places = [_publish(target, folder, run / "export" / target, config) for target, folder in staged.items()]
            result = replace(result, published=tuple(str(place.relative_to(run)) for place in places))
    atomic.write_json(run / "verify.json", result.to_dict())
    renew(run)
    return result


_MAKERS = {"serving": make_server_files, "mobile": make_phone_files}


def _publish(target: str, staged: Path, place: Path, config: ExportConfig) -> Path:
    if target == "serving":
        return publish_version(staged, place, config.serving.keep)
    atomic.publish(staged, place)
    return place
