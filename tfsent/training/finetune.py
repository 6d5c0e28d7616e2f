"""Fine-tuning: a recipe → a run directory with a trained model in it."""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras

from tfsent.data.reviews import save_reviews
from tfsent.errors import Interrupted, RunError
from tfsent.model.classifier import as_float32
from tfsent.recipe.loader import load_config, to_yaml, with_settings
from tfsent.recipe.schema import Config, TrainConfig
from tfsent.storage import atomic, environment, run_directory
from tfsent.text.batch_plan import BatchPlan
from tfsent.text.feed import BatchLoader
from tfsent.text.spec import write_labels, write_text_files
from tfsent.training.engine import checkpoints
from tfsent.training.engine.callbacks import CheckpointCallback, ProgressCallback
from tfsent.training.engine.checkpoints import Progress
from tfsent.training.engine.devices import Devices, find_devices, require_possible
from tfsent.training.engine.head_only import freeze
from tfsent.training.engine.interrupts import StopRequest, stop_immediately
from tfsent.training.engine.loop import fit
from tfsent.training.engine.setup import TrainingSetup, describe, set_up

logger = logging.getLogger(__name__)

SPARE_BYTES = 20_000_000
"""Room for what a run writes beside its model."""


def train(
    config: Config,
    run: Path,
    *,
    overwrite: bool = False,
    report: Callable[[int, float], None] | None = None,
    asked: StopRequest | None = None,
) -> None:
    """Fine-tune by a recipe.

    Args:
        config: the recipe.
        run: the directory to make.
        overwrite: replace a run that is there.
        report: told epoch and validation accuracy after every epoch; what it raises ends the training.
        asked: remembers signals, where more is to follow.

    Raises:
        Interrupted: the user pressed Ctrl-C; what was learnt until then is saved as a model, and `resume` goes on.
        Preempted: SIGTERM came; `resume` goes on.
        TfsentError: see `tfsent.errors`. If no checkpoint was written yet, no run directory is left, and one to be
            replaced is back in its place.
    """
    devices = find_devices(config.train)
    own = run_directory.new_run(run, overwrite=overwrite) if devices.is_chief else contextlib.nullcontext()
    with own, stop_immediately(lambda: _resume_hint(run), asked) as asked:
        _train(config, run, devices, asked, report=report)


def resume(run: Path, config: Config | None = None, *, asked: StopRequest | None = None) -> None:
    """Go on with a training that was ended, from its newest sound checkpoint, as if it had never been.

    On a CPU with one thread, the weights are bit for bit those of an uninterrupted training.

    Args:
        run: the run directory.
        config: the recipe, if it is to be compared with the one training began with.
        asked: as `train`.

    Raises:
        Interrupted, Preempted: as `train`.
        RunError: nothing to go on with, or recipe or data are not what they were.
    """
    began_with = load_config(run_directory.require_unfinished(run) / "config.yaml")
    devices = find_devices(began_with.train)
    own = run_directory.unfinished_run(run) if devices.is_chief else contextlib.nullcontext()
    with own, stop_immediately(lambda: _resume_hint(run), asked) as asked:
        found = checkpoints.newest(run / "checkpoints", remove=devices.is_chief)
        recipe = found.state["identity"]["recipe"]
        for other in (began_with, config or began_with):
            checkpoints.require_same(recipe, other.model_dump(mode="json"), "The recipe")
        _train(began_with, run, devices, asked, found)


def _resume_hint(run: Path) -> str:
    return (
        f"Go on with: tfsent train --resume {run}" if run_directory.has_checkpoint(run) else "Nothing was learnt yet."
    )


@contextlib.contextmanager
def _with_resume_hint(run: Path) -> Iterator[None]:
    """Training is done, and only its model cannot be written: nothing is lost."""
    try:
        yield
    except RunError as error:
        raise RunError(f"{error} What was learnt is in a checkpoint. {_resume_hint(run)}") from error


def _train(
    config: Config,
    run: Path,
    devices: Devices,
    asked: StopRequest,
    resumed: checkpoints.Checkpoint | None = None,
    report: Callable[[int, float], None] | None = None,
) -> None:
    # What `auto` was found to mean decides batches and bits: it stays, whatever would be found now.
    resolved_auto = resumed.state["identity"]["resolved_auto"] if resumed else {}
    now = with_settings(config, {f"train.{key}": value for key, value in resolved_auto.items()})
    require_possible(now.train, devices)
    setup = set_up(now, devices)
    plan = setup.plan()
    identity = _identity(config, setup, plan)
    if resumed is not None:
        checkpoints.require_same_origin(resumed.state["identity"], identity)
        logger.info(f"Going on from {run}/checkpoints/step-{resumed.step:08d}.")
    describe(setup, plan)
    if resumed is None and devices.is_chief:
        _write_origin(run, config, setup)
    progress = Progress(**resumed.state["progress"]) if resumed else Progress()
    # Here, so that nothing above, such as an encoder that is new, can change what is drawn.
    keras.utils.set_random_seed(config.train.seed)
    with devices.scope():
        model = setup.model()
        learner, feed, validation = trainable_part(setup, model, plan, lambda: (progress.epoch, progress.step))
        setup.compile(learner, plan.steps * plan.epochs)
        if devices.is_chief:
            _require_space(run, model, learner, config.train)
        keeper = CheckpointCallback(
            run,
            config.train,
            plan,
            progress,
            asked,
            resumed,
            identity,
            devices=devices,
            report=report,
        )
        watch = ProgressCallback(plan, progress, config.train, *setup.majority_baseline())
        interrupted = fit(learner, feed, validation, keeper, watch)
    if devices.is_chief:
        run_directory.forget_reports(run)
        with _with_resume_hint(run):
            save_model(run, model, setup)
        if not interrupted:
            run_directory.mark_finished(run)
    if interrupted:
        raise Interrupted(
            f"Training was interrupted. The model as it was then is in {run}. To go on: tfsent train --resume {run}"
            + _what_it_replaces(run)
        )


def _identity(config: Config, setup: TrainingSetup, plan: BatchPlan) -> dict[str, Any]:
    """What every checkpoint keeps, to tell whether a training may go on from it."""
    return {
        "recipe": config.model_dump(mode="json"),
        **setup.origin,
        "plan": {"epochs": plan.epochs, "steps": plan.steps, "fingerprint": plan.fingerprint()},
        "resolved_auto": {"jit_compile": setup.jit, "precision": setup.precision},
        "environment": {**environment.environment(), "devices": str(setup.devices)},
    }


def _what_it_replaces(run: Path) -> str:
    if not (previous := run_directory.replaced_by(run)).exists():
        return ""
    return f"\nThe run it is to replace is kept until it is finished: {previous}"


def trainable_part(
    setup: TrainingSetup, model: keras.Model, plan: BatchPlan, position: Callable[[], tuple[int, int]]
) -> tuple[keras.Model, BatchLoader, BatchLoader]:
    """The whole classifier, or its head alone; what it reads to learn, and to choose by."""
    if setup.config.train.freeze_encoder:
        return freeze(setup, model, plan, position)
    return model, setup.feed(plan, position), setup.validation_feed()


def _write_origin(run: Path, config: Config, setup: TrainingSetup) -> None:
    """What a run is made of, before it is made."""
    atomic.write_text(run / "config.yaml", to_yaml(config))
    atomic.write_json(run / "environment.json", environment.environment())
    atomic.write_json(run / "data.json", setup.origin)
    save_reviews(setup.splits.validation, run / "heldout" / "validation.jsonl.gz")
    save_reviews(setup.splits.test, run / "heldout" / "test.jsonl.gz")


def save_model(run: Path, model: keras.Model, setup: TrainingSetup) -> None:
    """Write `model/` in one step: `model.keras` in float32, `vocab.txt`, `text.json`, `labels.txt`."""
    with atomic.replacing(run / "model") as folder:
        folder.mkdir()
        as_float32(model).save(folder / "model.keras")
        write_text_files(folder, setup.spec, setup.encoder.vocabulary)
        write_labels(folder, setup.splits.train.label_names)


def _require_space(run: Path, model: keras.Model, learner: keras.Model, config: TrainConfig) -> None:
    """Better to learn before an hour of training than after it that the model does not fit on the disk."""
    # Two checkpoints, each with the weights, the best weights, AdamW's two moments and more; and the model.
    copies = 4 + (config.ema_momentum > 0) + (config.accumulation_steps > 1)
    needed = 4 * (2 * copies * learner.count_params() + model.count_params()) + SPARE_BYTES
    there = sum(path.stat().st_size for path in (run / "checkpoints").rglob("*") if path.is_file())
    free = shutil.disk_usage(run).free
    if free + there < needed:  # new checkpoints take the place of those that are there
        raise RunError(
            f"The disk of {run} has {free / 1e6:,.0f} MB free, and the run needs about {(needed - there) / 1e6:,.0f} "
            f"MB. Free some{', and go on with --resume' if there else ', or choose another --run-dir'}."
        )
