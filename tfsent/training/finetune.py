"""Fine-tuning: a recipe → a run directory with a trained model."""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfsent.data.reviews import Reviews, save_reviews
from tfsent.errors import Interrupted, RunError
from tfsent.model.classifier import as_float32
from tfsent.model.decision import require_two_classes, write_decision
from tfsent.recipe.loader import load_config, to_yaml, with_settings
from tfsent.recipe.schema import Config
from tfsent.storage import atomic, run_directory
from tfsent.storage.environment import environment
from tfsent.storage.manifest import write_manifest
from tfsent.text.spec import write_labels, write_text_files
from tfsent.training.engine import checkpoints
from tfsent.training.engine.calibration import settle
from tfsent.training.engine.callbacks import CheckpointCallback, Report
from tfsent.training.engine.devices import Devices, find_devices, require_possible
from tfsent.training.engine.interrupts import StopRequest, stop_immediately
from tfsent.training.engine.loop import fit
from tfsent.training.engine.model_state import count_parameters
from tfsent.training.engine.setup import TrainingSetup, log_summary, set_up
from tfsent.training.engine.trainable import trainable_part

logger = logging.getLogger(__name__)

SPARE_BYTES = 20_000_000
"""For what a run writes beside its model."""

Parts = Mapping[str, Reviews]
Callbacks = Sequence[keras.callbacks.Callback]


def train(
    config: Config,
    run: Path,
    *,
    overwrite: bool = False,
    parts: Parts | None = None,
    callbacks: Callbacks = (),
    report: Report | None = None,
    stop_request: StopRequest | None = None,
) -> None:
    """Fine-tune by a recipe.

    Args:
        config: the recipe.
        run: the directory to make.
        overwrite: replace a run that is there.
        parts: reviews in memory, by split; None reads the recipe's source.
        callbacks: called by Keras after tfsent's own.
        report: told epoch, from 0, and selection metric after every epoch; what it raises ends training.
        stop_request: an existing one to reuse, where several trainings follow each other.

    Raises:
        Interrupted: the user pressed Ctrl-C. The model is saved as it is, and `resume` continues.
        Preempted: SIGTERM came. `resume` continues.
        TfsentError: see `tfsent.errors`. Where no checkpoint was written, the run directory is removed, and one that
            was to be replaced is put back.
    """
    if overwrite:
        _require_another_teacher(config, run)
    devices = find_devices(config.train)
    own = run_directory.new_run(run, overwrite=overwrite) if devices.is_chief else contextlib.nullcontext()
    with own, stop_immediately(lambda: _resume_hint(run), stop_request) as stop_request:
        _train(config, run, devices, stop_request, None, parts, callbacks, report)


def _require_another_teacher(config: Config, run: Path) -> None:
    """Refuse to replace a run by what it is to teach."""
    place = run.resolve()
    if taught := [t for t in config.distil.teacher or () if place in (p := Path(t).expanduser().resolve(), *p.parents)]:
        raise RunError(
            f"{taught[0]} is the teacher, and --overwrite would replace it. Choose another --run-dir for the student."
        )


def resume(
    run: Path,
    config: Config | None = None,
    *,
    parts: Parts | None = None,
    callbacks: Callbacks = (),
    stop_request: StopRequest | None = None,
) -> None:
    """Resume a training from its newest valid checkpoint. The result equals an uninterrupted training.

    On a CPU with one thread, the weights are equal bit for bit. A run without a checkpoint begins from its recipe. A
    finished run is left as it is.

    Args:
        run: the run directory.
        config: the recipe, to be compared with that of the run.
        parts: the reviews that were passed to `train`.
        callbacks: see `train`.
        stop_request: see `train`.

    Raises:
        Interrupted, Preempted: see `train`.
        RunError: there is no run, or recipe, data or encoder changed.
    """
    own_config = load_config(run_directory.require_unfinished(run) / "config.yaml")
    if config is not None:
        checkpoints.require_same(own_config.model_dump(mode="json"), config.model_dump(mode="json"), "The recipe")
    if run_directory.is_finished(run):
        logger.info(f"{run} is finished.")
        return
    devices = find_devices(own_config.train)
    own = run_directory.unfinished_run(run) if devices.is_chief else contextlib.nullcontext()
    with own, stop_immediately(lambda: _resume_hint(run), stop_request) as stop_request:
        checkpoint = None
        if run_directory.has_checkpoint(run):
            checkpoint = checkpoints.newest(run / "checkpoints", remove=devices.is_chief)
            recipe = checkpoint.state["identity"]["recipe"]
            checkpoints.require_same(recipe, own_config.model_dump(mode="json"), "The recipe")
        _train(own_config, run, devices, stop_request, checkpoint, parts, callbacks)


def _train(
    config: Config,
    run: Path,
    devices: Devices,
    stop_request: StopRequest,
    checkpoint: checkpoints.Checkpoint | None,
    parts: Parts | None,
    callbacks: Callbacks,
    report: Report | None = None,
) -> None:
    # What `auto` was resolved to decides batches and bits: a checkpoint keeps it.
    resolved = checkpoint.state["identity"]["resolved_auto"] if checkpoint else {}
    resolved_config = with_settings(config, {f"train.{key}": value for key, value in resolved.items()})
    require_possible(resolved_config.train, devices)
    if checkpoint is None and devices.is_chief:
        atomic.write_text(run / "config.yaml", to_yaml(config))  # `--resume` finds it: a teacher may be asked for hours
    setup = set_up(resolved_config, devices, parts)
    require_two_classes(config.train.threshold, len(setup.splits.train.label_names))
    identity = _identity(config, setup)
    if checkpoint is not None:
        checkpoints.require_same_origin(checkpoint.state["identity"], identity)
        logger.info(f"Resuming from {run}/checkpoints/step-{checkpoint.step:08d}.")
    elif devices.is_chief:
        _write_origin(run, setup)
    log_summary(setup)
    checkpointing = CheckpointCallback(run, config.train, setup.plan, devices, stop_request, identity)
    checkpointing.report = report
    if checkpoint is not None:
        checkpointing.resume_from(checkpoint)
    keras.utils.set_random_seed(config.train.seed)  # here: nothing above may change what is drawn
    with devices.scope():
        classifier = setup.build_model()
        model, loader, validation_loader = trainable_part(setup, classifier, checkpointing.position)
        setup.compile(model, setup.plan.steps * setup.plan.epochs)
        if devices.is_chief:
            _require_space(run, classifier, model, config.train.accumulation_steps)
        interrupted = fit(
            model,
            loader,
            validation_loader,
            checkpointing,
            majority=setup.majority,
            unknown=setup.unknown.advice,
            callbacks=callbacks,
        )
    if devices.is_chief:
        run_directory.forget_reports(run)
        with _with_resume_hint(run):
            save_model(run, classifier, setup)
        if not interrupted:
            run_directory.mark_finished(run)
    if interrupted:
        raise Interrupted(
            f"Training was interrupted. {run} holds the model as it was then. To continue: tfsent train --resume {run}"
        )


def _resume_hint(run: Path) -> str:
    return f"To continue: tfsent train --resume {run}"


@contextlib.contextmanager
def _with_resume_hint(run: Path) -> Iterator[None]:
    """Add to an error that only the model could not be written: training is done, and its checkpoint is there."""
    try:
        yield
    except RunError as error:
        raise RunError(f"{error} Training is complete, and its checkpoint is kept. {_resume_hint(run)}") from error


def _identity(config: Config, setup: TrainingSetup) -> dict[str, Any]:
    """Return what every checkpoint keeps, to tell whether a later training may resume from it."""
    plan = setup.plan
    return {
        "recipe": config.model_dump(mode="json"),
        **setup.origin,
        "plan": {"epochs": plan.epochs, "steps": plan.steps, "fingerprint": plan.fingerprint()},
        "resolved_auto": {"jit_compile": setup.jit, "precision": setup.precision},
        "environment": {**environment(), "devices": str(setup.devices)},
    }


def _write_origin(run: Path, setup: TrainingSetup) -> None:
    """Write what the run is made of, before training."""
    atomic.write_json(run / "environment.json", environment())
    atomic.write_json(run / "data.json", setup.origin)
    save_reviews(setup.splits.validation, run / "heldout" / "validation.jsonl.gz")
    save_reviews(setup.splits.test, run / "heldout" / "test.jsonl.gz")
    write_manifest(run / "heldout")


def save_model(run: Path, classifier: keras.Model, setup: TrainingSetup) -> None:
    """Write `model/` in one step: `model.keras` in float32, calibrated, and what belongs to it, see `run_directory`.

    Args:
        run: the run directory.
        classifier: the whole model.
        setup: of its training.

    Raises:
        RunError: the place cannot be written to.
    """
    finished = as_float32(classifier)
    decision = settle(finished, setup)
    with atomic.replacing(run / "model") as folder:
        folder.mkdir()
        finished.save(folder / "model.keras")
        write_decision(folder, decision)
        write_text_files(folder, setup.spec, setup.encoder.vocabulary)
        write_labels(folder, setup.splits.train.label_names)
        np.save(folder / "piece_counts.npy", setup.tokens.piece_counts(len(setup.encoder.vocabulary)))
        write_manifest(folder)


def _require_space(run: Path, classifier: keras.Model, model: keras.Model, accumulation_steps: int) -> None:
    """Refuse to begin a training whose checkpoints and model do not fit on the disk."""
    # Two checkpoints, each with the weights, the best weights, AdamW's two moments (and gradients that add up).
    copies = 4 + (accumulation_steps > 1)
    needed = 4 * (2 * copies * count_parameters(model) + classifier.count_params()) + SPARE_BYTES
    there = sum(path.stat().st_size for path in (run / "checkpoints").rglob("*") if path.is_file())
    free = shutil.disk_usage(run).free
    if free + there < needed:  # new checkpoints replace those that are there
        raise RunError(
            f"The disk of {run} has {free / 1e6:,.0f} MB free, and the run needs about {(needed - there) / 1e6:,.0f} "
            f"MB. Free some{', then --resume' if there else ', or choose another --run-dir'}."
        )
