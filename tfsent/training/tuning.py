"""The settings of a recipe by trial: learning rate, batch, epochs, dropout, truncation, chosen on validation alone.

With Optuna, and not KerasTuner: a study is one append-only file from which any process goes on, its sampler
(TPE, J. Bergstra et al., Algorithms for Hyper-Parameter Optimization, 2011) and its pruner take any training loop,
and it is maintained. KerasTuner wants a loop and checkpoints of its own.

    DIR/recipe.yaml      what is tuned
        study.journal    every trial; the same command goes on from it
        trials.csv       a line a trial
        trials.png       accuracy over each setting
        best.yaml        the recipe with the best settings, ready to train
"""

from __future__ import annotations

import csv
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from tfsent.errors import ConfigError, Interrupted, Preempted, RunError, TrainingError, first_line
from tfsent.recipe.loader import load_config, to_yaml, with_settings
from tfsent.recipe.schema import Config
from tfsent.storage import atomic
from tfsent.training.engine.checkpoints import require_same
from tfsent.training.engine.devices import find_devices
from tfsent.training.engine.interrupts import StopRequest, stop_between_runs
from tfsent.training.finetune import train

logger = logging.getLogger(__name__)

try:
    import optuna
    from optuna.distributions import CategoricalDistribution, FloatDistribution
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend
    from optuna.trial import TrialState
except ImportError as error:
    raise ConfigError("`tfsent tune` needs Optuna: pip install 'tfsent[tune]'") from error

Space = dict[str, FloatDistribution | CategoricalDistribution]

SPACE: Space = {
    "train.learning_rate": FloatDistribution(1e-5, 4e-4, log=True),
    "train.batch_tokens": CategoricalDistribution([2048, 4096, 8192]),
    "train.epochs": CategoricalDistribution([1, 2, 3]),
    "model.dropout": FloatDistribution(0.0, 0.3),
    "text.truncation": CategoricalDistribution(["head", "tail", "head_tail"]),
}
"""What is tried."""
HEAD_ALONE: Space = {
    "train.learning_rate": FloatDistribution(3e-4, 3e-2, log=True),
    "train.epochs": CategoricalDistribution([5, 10, 20]),
}
"""What is tried instead with `train.freeze_encoder`."""

optuna.logging.set_verbosity(optuna.logging.WARNING)


def space_of(config: Config) -> Space:
    """What is tried for a recipe, as `SPACE`."""
    return SPACE | HEAD_ALONE if config.train.freeze_encoder else SPACE


def tune(
    config: Config, folder: Path, trials: int, fixed: Sequence[str] = (), *, asked: StopRequest | None = None
) -> dict[str, Any]:
    """Train a recipe with other settings again and again; what is known already says what to try next.

    Trials that are behind half of the others after the same share of their epochs, over which the learning rate falls,
    are ended. A folder that was begun goes on until it has as many trials as are asked for.

    Args:
        config: the recipe; the settings of `SPACE` are replaced.
        folder: see the module.
        trials: how many in all.
        fixed: keys of `SPACE` that stay as the recipe has them.
        asked: as `tfsent.train.train`.

    Returns:
        `trials`, each with `settings`, `state`, `validation_accuracy` (None when it failed), and `best`.

    Raises:
        ConfigError: Optuna is not installed, all is fixed, or the folder is no folder of trials.
        RunError: the folder is of another recipe, other settings were fixed, or another process is at work in it.
        Interrupted: the user pressed Ctrl-C; the same command goes on.
        Preempted: SIGTERM came; likewise.
        TrainingError: no trial came to an end.
    """
    find_devices(config.train)  # what is not here is told before anything is made
    space = {name: values for name, values in space_of(config).items() if name not in fixed}
    if not space:
        raise ConfigError(f"Nothing is left to look for: --set fixes all of {', '.join(SPACE)}. Leave one of them out.")
    _begin(config, folder)
    with atomic.in_use(folder), stop_between_runs("Tuning", asked) as asked:
        return _tune(config, folder, trials, space, asked)


def _tune(config: Config, folder: Path, trials: int, space: Space, asked: StopRequest) -> dict[str, Any]:
    study = _open(config, folder, space)
    _requeue(study)
    while len(_ended(study)) < trials:
        asked.raise_if_any("Tuning")
        trial = study.ask(dict(space))
        settings = ", ".join(f"{name} {value}" for name, value in _rounded(trial.params).items())
        logger.info(f"Trial {len(_ended(study)) + 1} of {trials}: {settings}")
        _try(study, trial, config, folder / "trial", asked)
        _write(_result(study), config, folder)
    result = _result(study)
    if result["best"] is None:
        raise TrainingError(f"None of the {trials} trials came to an end; {folder}/trials.csv says why.")
    _write(result, config, folder)
    return result


def _begin(config: Config, folder: Path) -> None:
    """Make the folder, or find that it is of the same recipe."""
    recipe = folder / "recipe.yaml"
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not recipe.is_file())):
        raise ConfigError(f"{folder} is there and holds no trials of tfsent. Expected a new --dir, or one to go on in.")
    if recipe.is_file():
        require_same(
            load_config(recipe).model_dump(mode="json"),
            config.model_dump(mode="json"),
            f"The recipe of {folder}",
            "choose another --dir",
        )
        return
    atomic.write_text(recipe, to_yaml(config))


def _open(config: Config, folder: Path, space: Space) -> Any:
    # The whole path: Optuna's lock is a link to it, and one that leads nowhere is never found to be old.
    journal = (folder / "study.journal").resolve()
    _clear_after_kill(journal)
    try:
        storage = JournalStorage(JournalFileBackend(str(journal)))
        study = optuna.create_study(
            study_name="tfsent",
            storage=storage,
            direction="maximize",
            pruner=optuna.pruners.MedianPruner(n_startup_trials=3),
            load_if_exists=True,
        )
    except (ValueError, KeyError) as error:
        raise ConfigError(f"{journal} is damaged ({first_line(error)}). Remove {folder} to begin anew.") from error
    searched = study.user_attrs.get("searched", list(space))
    if searched != list(space):
        raise RunError(
            f"{folder} looks for {', '.join(searched)}, and this command for {', '.join(space)}: --set fixes what it "
            "names. Expected the same --set as before, or another --dir."
        )
    study.set_user_attr("searched", searched)
    # With the seed alone, a sampler that goes on would draw the first trials again.
    seed = config.train.seed + len(study.get_trials())
    study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=5)
    return study


def _clear_after_kill(journal: Path) -> None:
    """Take away what a killed process left: Optuna's lock, and half a line at the end. The folder is ours alone."""
    journal.with_name(f"{journal.name}.lock").unlink(missing_ok=True)
    if journal.exists():
        lines = journal.read_bytes()
        with journal.open("rb+") as handle:
            handle.truncate(lines.rfind(b"\n") + 1)


def _requeue(study: Any) -> None:
    """A trial that was running when its process was killed is tried again."""
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        study.enqueue_trial(trial.params)


def _ended(study: Any) -> list[Any]:
    return [
        trial
        for trial in study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL))
        if trial.state != TrialState.FAIL or "why" in trial.user_attrs
    ]


def _try(study: Any, trial: Any, config: Config, run: Path, asked: StopRequest) -> None:
    """Train once, and tell the study what came of it."""
    reported: list[float] = []
    config = with_settings(config, _rounded(trial.params))

    def report(epoch: int, accuracy: float) -> None:
        reported.append(accuracy)
        trial.report(accuracy, round(100 * (epoch + 1) / config.train.epochs))
        if trial.should_prune():
            raise optuna.TrialPruned

    shutil.rmtree(run, ignore_errors=True)
    try:
        train(config, run, report=report, asked=asked)
        study.tell(trial, max(reported))
    except optuna.TrialPruned:
        study.tell(trial, state=TrialState.PRUNED)
    except (Interrupted, Preempted):
        raise
    except TrainingError as error:
        logger.info(f"The trial failed: {error}")
        trial.set_user_attr("why", str(error))
        study.tell(trial, state=TrialState.FAIL)
    finally:
        shutil.rmtree(run, ignore_errors=True)
        keras.backend.clear_session()


def _rounded(settings: dict[str, Any]) -> dict[str, Any]:
    """Three digits are what a person wants to read, and more than a rate needs."""
    return {name: float(f"{value:.3g}") if isinstance(value, float) else value for name, value in settings.items()}


def _result(study: Any) -> dict[str, Any]:
    found = []
    for trial in _ended(study):
        best = max(trial.intermediate_values.values(), default=None)
        found.append(
            {
                "settings": _rounded(trial.params),
                "state": trial.state.name.lower(),
                "epochs": len(trial.intermediate_values),
                "validation_accuracy": best,
                "why": trial.user_attrs.get("why", ""),
            }
        )
    whole = [entry for entry in found if entry["state"] == "complete"]
    best = max(whole, key=lambda entry: entry["validation_accuracy"], default=None)
    return {"trials": found, "best": best}


def _write(result: dict[str, Any], config: Config, folder: Path) -> None:
    rest = ("state", "epochs", "validation_accuracy", "why")
    with atomic.replacing(folder / "trials.csv") as staged, staged.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow([*SPACE, *rest])
        for entry in result["trials"]:
            settings = [entry["settings"].get(name, "") for name in SPACE]
            writer.writerow([*settings, *(entry[name] for name in rest)])
    if result["best"] is not None:
        best = with_settings(config, result["best"]["settings"])
        header = (
            f"# The best of {len(result['trials'])} trials: validation accuracy "
            f"{result['best']['validation_accuracy']:.2%}, chosen among them and so a little too good.\n"
        )
        atomic.write_text(folder / "best.yaml", header + to_yaml(best))
        with atomic.replacing(folder / "trials.png") as staged:
            figure(result, space_of(config)).savefig(staged, format="png", dpi=120)


def figure(result: dict[str, Any], space: Space) -> Any:
    """Validation accuracy over each setting that was searched in a space, a panel each, as a matplotlib `Figure`."""
    from matplotlib.figure import Figure

    space = {name: values for name, values in space.items() if name in result["best"]["settings"]}
    drawn = Figure(figsize=(3 * len(space), 3.2), layout="constrained")
    seen = [entry for entry in result["trials"] if entry["validation_accuracy"] is not None]
    for axes, (name, values) in zip(
        drawn.subplots(1, len(space), sharey=True, squeeze=False)[0], space.items(), strict=True
    ):
        for state, marker in (("complete", "o"), ("pruned", "x")):
            some = [entry for entry in seen if entry["state"] == state]
            places = [entry["settings"][name] for entry in some]
            if isinstance(values, CategoricalDistribution):
                places = [values.choices.index(place) for place in places]
            axes.plot(places, [entry["validation_accuracy"] for entry in some], marker, label=state)
        if isinstance(values, CategoricalDistribution):
            axes.set_xticks(range(len(values.choices)), [str(choice) for choice in values.choices])
            axes.set_xlim(-0.5, len(values.choices) - 0.5)
        else:
            axes.set(xscale="log" if values.log else "linear", xlim=(values.low, values.high))
        axes.set_xlabel(name)
    drawn.axes[0].set(ylabel="validation accuracy")
    drawn.legend(*drawn.axes[0].get_legend_handles_labels(), loc="outside right upper")
    return drawn
