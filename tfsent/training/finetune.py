"""Fine-tuning: a recipe → a run directory with a trained model in it."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras

from tfsent.console import say
from tfsent.data.reviews import save_reviews
from tfsent.errors import Interrupted, RunError
from tfsent.model.classifier import as_float32
from tfsent.recipe.loader import load_config, to_yaml, with_settings
from tfsent.recipe.schema import Config, TrainConfig
from tfsent.storage import atomic, environment, run_directory
from tfsent.text.batch_plan import BatchPlan
from tfsent.text.feed import Feed
from tfsent.text.spec import write_labels, write_text_files
from tfsent.training.engine import checkpoints
from tfsent.training.engine.callbacks import Keeper, Watch
from tfsent.training.engine.checkpoints import Progress
from tfsent.training.engine.devices import Devices, find_devices, require_possible
from tfsent.training.engine.head_only import freeze
from tfsent.training.engine.interrupts import Asked, at_once
from tfsent.training.engine.loop import fit
from tfsent.training.engine.setup import Material, describe, prepare

SPARE_BYTES = 20_000_000
"""Room for what a run writes beside its model."""


def train(
    config: Config,
    run: Path,
    *,
    overwrite: bool = False,
    report: Callable[[int, float], None] | None = None,
    asked: Asked | None = None,
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
    with own, at_once(lambda: _way_on(run), asked) as asked:
        _train(config, run, devices, asked, report=report)


def resume(run: Path, config: Config | None = None, *, asked: Asked | None = None) -> None:
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
    with own, at_once(lambda: _way_on(run), asked) as asked:
        found = checkpoints.newest(run / "checkpoints", say, remove=devices.is_chief)
        recipe = found.state["belongs_to"]["recipe"]
        for other in (began_with, config or began_with):
            checkpoints.require_same(recipe, other.model_dump(mode="json"), "The recipe")
        _train(began_with, run, devices, asked, found)


def _way_on(run: Path) -> str:
    return (
        f"Go on with: tfsent train --resume {run}" if run_directory.has_checkpoint(run) else "Nothing was learnt yet."
    )


@contextlib.contextmanager
def _way_on_told(run: Path) -> Iterator[None]:
    """Training is done, and only its model cannot be written: nothing is lost."""
    try:
        yield
    except RunError as error:
        raise RunError(f"{error} What was learnt is in a checkpoint. {_way_on(run)}") from error


def _train(
    config: Config,
    run: Path,
    devices: Devices,
    asked: Asked,
    resumed: checkpoints.Checkpoint | None = None,
    report: Callable[[int, float], None] | None = None,
) -> None:
    # What `auto` was found to mean decides batches and bits: it stays, whatever would be found now.
    settled = resumed.state["belongs_to"]["settled"] if resumed else {}
    now = with_settings(config, {f"train.{key}": value for key, value in settled.items()})
    require_possible(now.train, devices)
    material = prepare(now, devices)
    plan = material.plan()
    belongs_to = _belongs_to(config, material, plan)
    if resumed is not None:
        checkpoints.require_same_origin(resumed.state["belongs_to"], belongs_to, say)
        say(f"Going on from {run}/checkpoints/step-{resumed.step:08d}.")
    describe(material, plan)
    if resumed is None and devices.is_chief:
        _write_origin(run, config, material)
    progress = Progress(**resumed.state["progress"]) if resumed else Progress()
    # Here, so that nothing above, such as an encoder that is new, can change what is drawn.
    keras.utils.set_random_seed(config.train.seed)
    with devices.scope():
        model = material.model()
        learner, feed, validation = what_learns(material, model, plan, lambda: (progress.epoch, progress.step))
        material.compile(learner, plan.steps * plan.epochs)
        if devices.is_chief:
            _require_space(run, model, learner, config.train)
        keeper = Keeper(
            run,
            config.train,
            plan,
            progress,
            asked,
            resumed,
            belongs_to,
            devices=devices,
            report=report,
        )
        watch = Watch(plan, progress, config.train, *material.without_looking())
        interrupted = fit(learner, feed, validation, keeper, watch)
    if devices.is_chief:
        run_directory.forget_reports(run, say)
        with _way_on_told(run):
            save_model(run, model, material)
        if not interrupted:
            run_directory.finish(run)
    if interrupted:
        raise Interrupted(
            f"Training was interrupted. The model as it was then is in {run}. To go on: tfsent train --resume {run}"
            + _what_it_replaces(run)
        )


def _belongs_to(config: Config, material: Material, plan: BatchPlan) -> dict[str, Any]:
    """What every checkpoint keeps, to tell whether a training may go on from it."""
    return {
        "recipe": config.model_dump(mode="json"),
        **material.origin,
        "plan": {"epochs": plan.epochs, "steps": plan.steps, "fingerprint": plan.fingerprint()},
        "settled": {"jit_compile": material.jit, "precision": material.precision},
        "environment": {**environment.environment(), "devices": str(material.devices)},
    }


def _what_it_replaces(run: Path) -> str:
    if not (previous := run_directory.replaced_by(run)).exists():
        return ""
    return f"\nThe run it is to replace is kept until it is finished: {previous}"


def what_learns(
    material: Material, model: keras.Model, plan: BatchPlan, position: Callable[[], tuple[int, int]]
) -> tuple[keras.Model, Feed, Feed]:
    """The whole classifier, or its head alone; what it reads to learn, and to choose by."""
    if material.config.train.freeze_encoder:
        return freeze(material, model, plan, position)
    return model, material.feed(plan, position), material.validation_feed()


def _write_origin(run: Path, config: Config, material: Material) -> None:
    """What a run is made of, before it is made."""
    atomic.write_text(run / "config.yaml", to_yaml(config))
    atomic.write_json(run / "environment.json", environment.environment())
    atomic.write_json(run / "data.json", material.origin)
    save_reviews(material.splits.validation, run / "heldout" / "validation.jsonl.gz")
    save_reviews(material.splits.test, run / "heldout" / "test.jsonl.gz")


def save_model(run: Path, model: keras.Model, material: Material) -> None:
    """Write `model/` in one step: `model.keras` in float32, `vocab.txt`, `text.json`, `labels.txt`."""
    with atomic.replacing(run / "model") as folder:
        folder.mkdir()
        as_float32(model).save(folder / "model.keras")
        write_text_files(folder, material.spec, material.encoder.vocabulary)
        write_labels(folder, material.splits.train.label_names)


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
