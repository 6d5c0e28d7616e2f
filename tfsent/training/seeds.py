"""The same recipe from several seeds: how much of a figure is luck, and the best of them by validation."""

from __future__ import annotations

import csv
import logging
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from tfsent.errors import Interrupted, Preempted, RunError, TrainingError
from tfsent.recipe.loader import load_config, with_settings
from tfsent.recipe.schema import Config
from tfsent.storage import atomic, run_directory
from tfsent.training.engine.devices import find_devices
from tfsent.training.engine.interrupts import StopRequest, stop_between_runs
from tfsent.training.finetune import resume, train

logger = logging.getLogger(__name__)


def train_seeds(
    config: Config, run: Path, seeds: Sequence[int], *, overwrite: bool = False, asked: StopRequest | None = None
) -> dict[str, Any]:
    """Train once a seed, into `RUN.seeds/SEED`, and make the best one RUN.

    What was begun before goes on: finished seeds are kept, RUN among them, and one that was ended is resumed. A seed
    whose training goes wrong is told, and the others are trained all the same: that is luck too.

    Args:
        config: the recipe; `train.seed` is replaced.
        run: where the best one goes.
        seeds: at least two, all different.
        overwrite: replace a run that is there, and those of seeds that are of another recipe.
        asked: as `tfsent.train.train`.

    Returns:
        `seeds` (validation accuracy and epochs of each), `failed` (seeds, and why), `mean` and `standard_deviation` (of
        the sample; None of one) over the former, `best` (the seed). It is in RUN/seeds.json too.

    Raises:
        Interrupted: the user pressed Ctrl-C; the same command goes on.
        Preempted: SIGTERM came; likewise.
        RunError: RUN exists, RUN.seeds holds runs of another recipe, or another process trains in it.
        TrainingError: it went wrong with every seed.
    """
    find_devices(config.train)  # what is not here is told before anything is made
    run_directory.require_free(run, overwrite)
    folder = run.with_name(f"{run.name}.seeds")
    folder.mkdir(parents=True, exist_ok=True)
    with atomic.in_use(folder), stop_between_runs("Training", asked) as asked:
        _take_back(config, run, folder, seeds)
        found, failed = [], []
        for number, seed in enumerate(seeds, 1):
            asked.raise_if_any("Training")
            logger.info(f"Seed {seed} ({number} of {len(seeds)})")
            try:
                _train_one(with_settings(config, {"train.seed": seed}), folder / str(seed), overwrite, asked)
                found.append({"seed": seed, **_best_epoch(folder / str(seed))})
            except (Interrupted, Preempted):
                raise
            except TrainingError as error:
                logger.info(f"Seed {seed} failed: {error}")
                failed.append({"seed": seed, "why": str(error)})
            keras.backend.clear_session()
        if not found:
            raise TrainingError(f"Training went wrong with every seed; with {seeds[0]}: {failed[0]['why']}")
        result = {**_summary(found), "failed": failed}
        best = folder / str(result["best"])
        atomic.write_json(best / "seeds.json", result)
        run_directory.require_free(run, overwrite)  # it was hours ago that it was
        atomic.publish(best, run)
    return result


def _summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    accuracies = [entry["validation_accuracy"] for entry in found]
    return {
        "seeds": found,
        "mean": statistics.mean(accuracies),
        "standard_deviation": statistics.stdev(accuracies) if len(accuracies) > 1 else None,
        "best": max(found, key=lambda entry: entry["validation_accuracy"])["seed"],
    }


def _take_back(config: Config, run: Path, folder: Path, seeds: Sequence[int]) -> None:
    """RUN may be the best of fewer seeds: then it is one of those that are finished."""
    if not run_directory.is_finished(run):
        return
    own = load_config(run / "config.yaml")
    place = folder / str(own.train.seed)
    if own.train.seed in seeds and own == with_settings(config, {"train.seed": own.train.seed}) and not place.exists():
        (run / "seeds.json").unlink(missing_ok=True)
        run.rename(place)


def _train_one(config: Config, run: Path, overwrite: bool, asked: StopRequest) -> None:
    begun = run_directory.has_checkpoint(run) or run_directory.has_model(run)
    same = begun and load_config(run / "config.yaml") == config
    if begun and not same and not overwrite:
        raise RunError(f"{run} is of another recipe. Pass --overwrite to replace it, or choose another --run-dir.")
    if same and run_directory.is_finished(run):
        logger.info(f"{run} is finished.")
        return
    if same:
        resume(run, config, asked=asked)
    else:
        # What was killed before its first checkpoint left a folder with nothing in it to lose.
        train(config, run, overwrite=run.exists(), asked=asked)


def _best_epoch(run: Path) -> dict[str, Any]:
    with (run / "history.csv").open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    found = [(float(row["val_accuracy"]), -float(row["val_loss"])) for row in rows]
    best = max(found)
    return {"validation_accuracy": best[0], "epochs": len(rows), "best_epoch": 1 + found.index(best)}
