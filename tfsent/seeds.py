"""The same recipe from several seeds: how much of a figure is luck, and the best of them by validation."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from tfsent import runs
from tfsent.config import Config, load_config
from tfsent.console import say
from tfsent.devices import find_devices
from tfsent.errors import Interrupted, Preempted, RunError
from tfsent.signals import at_once
from tfsent.train import resume, train


def train_seeds(config: Config, run: Path, seeds: Sequence[int], *, overwrite: bool = False) -> dict[str, Any]:
    """Train once a seed, into `RUN.seeds/SEED`, and make the best one RUN.

    What was begun before goes on: finished seeds are kept, one that was ended is resumed.

    Args:
        config: the recipe; `train.seed` is replaced.
        run: where the best one goes.
        seeds: at least two, all different.
        overwrite: replace a run that is there, and those of seeds that are of another recipe.

    Returns:
        `seeds` (validation accuracy and epochs of each), `mean` and `standard_deviation` (of the sample) over them,
        `best` (the seed). It is in RUN/seeds.json too.

    Raises:
        Interrupted: the user pressed Ctrl-C; the same command goes on.
        Preempted: SIGTERM came; likewise.
        RunError: RUN exists, RUN.seeds holds runs of another recipe, or another process trains in it.
    """
    find_devices(config.train)  # what is not here is told before anything is made
    runs.require_free(run, overwrite)
    folder = run.with_name(f"{run.name}.seeds")
    folder.mkdir(parents=True, exist_ok=True)
    with runs.in_use(folder), at_once(lambda: "SIGTERM came. The same command goes on.") as asked:
        found = []
        for number, seed in enumerate(seeds, 1):
            if asked.by:
                raise Interrupted("Training was interrupted. The same command goes on.")
            say(f"Seed {seed} ({number} of {len(seeds)})")
            _train_one(_with_seed(config, seed), folder / str(seed), overwrite)
            found.append({"seed": seed, **_best_epoch(folder / str(seed))})
            keras.backend.clear_session()
        result = _summary(found)
        best = folder / str(result["best"])
        runs.write_json(best / "seeds.json", result)
        runs.require_free(run, overwrite)  # it was hours ago that it was
        runs.publish(best, run)
    return result


def _summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    accuracies = [entry["validation_accuracy"] for entry in found]
    return {
        "seeds": found,
        "mean": statistics.mean(accuracies),
        "standard_deviation": statistics.stdev(accuracies),
        "best": max(found, key=lambda entry: entry["validation_accuracy"])["seed"],
    }


def _with_seed(config: Config, seed: int) -> Config:
    return config.model_copy(update={"train": config.train.model_copy(update={"seed": seed})})


def _train_one(config: Config, run: Path, overwrite: bool) -> None:
    begun = runs.has_checkpoint(run) or runs.has_model(run)
    same = begun and load_config(run / "config.yaml") == config
    if begun and not same and not overwrite:
        raise RunError(f"{run} is of another recipe. Pass --overwrite to replace it, or choose another --run-dir.")
    if same and runs.is_finished(run):
        say(f"{run} is finished.")
        return
    try:
        # What was killed before its first checkpoint left a folder with nothing in it to lose.
        interrupted = resume(run, config) if same else train(config, run, overwrite=run.exists())
    except Preempted as error:
        raise Preempted("SIGTERM came. The same command goes on.") from error
    if interrupted:
        raise Interrupted(f"Training was interrupted; {run.parent} keeps what was learnt. The same command goes on.")


def _best_epoch(run: Path) -> dict[str, Any]:
    with (run / "history.csv").open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    found = [(float(row["val_accuracy"]), -float(row["val_loss"])) for row in rows]
    best = max(found)
    return {"validation_accuracy": best[0], "epochs": len(rows), "best_epoch": 1 + found.index(best)}
