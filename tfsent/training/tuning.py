"""Searches the settings of a recipe with Optuna, trial by trial, on validation reviews alone.

The sampler is TPE (J. Bergstra et al., Algorithms for Hyper-Parameter Optimization, 2011).

    DIR/recipe.yaml      the recipe that is tuned
        study.db         every trial, for Optuna; the same command continues from it
        trials.csv       one line per trial
        trials.png       the score over each setting
        best.yaml        the recipe with the best settings, ready to train
"""

from __future__ import annotations

import csv
import importlib.util
import logging
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from tfsent.errors import ConfigError, RunError, TrainingError, first_line
from tfsent.recipe.loader import load_config, to_yaml, with_settings
from tfsent.recipe.schema import Config
from tfsent.storage import atomic
from tfsent.training.engine.checkpoints import require_same
from tfsent.training.engine.devices import find_devices
from tfsent.training.engine.interrupts import StopRequest, stop_between_runs
from tfsent.training.finetune import train

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    Space = dict[str, FloatDistribution | CategoricalDistribution]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trial:
    """One training with settings that were tried."""

    settings: dict[str, Any]
    """Each searched key of the recipe with its value."""
    state: str
    """`complete`, `pruned` (stopped early because it fell behind) or `failed`."""
    epochs: int
    score: float | None
    """The best validation value of the selection metric; None when no epoch ended."""
    why: str
    """Why it failed, else empty."""


@dataclass(frozen=True)
class TuningResult:
    """All trials of a folder, in the order in which they ended."""

    metric: str
    """The recipe's selection metric, such as `accuracy`."""
    trials: tuple[Trial, ...]
    best: Trial

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON-ready values."""
        return asdict(self)


def search_space(config: Config) -> Space:
    """Return the settings that are searched for a recipe, each key with its distribution.

    A head alone (`train.freeze_encoder`) needs higher learning rates and more epochs.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    head_only = config.train.freeze_encoder
    rates = (3e-4, 3e-2) if head_only else (1e-5, 4e-4)
    return {
        "train.learning_rate": FloatDistribution(*rates, log=True),
        "train.batch_tokens": CategoricalDistribution([2048, 4096, 8192]),
        "train.epochs": CategoricalDistribution([5, 10, 20] if head_only else [1, 2, 3]),
        "model.dropout": FloatDistribution(0.0, 0.3),
        "text.truncation": CategoricalDistribution(["head", "tail", "head_tail"]),
    }


def tune(
    config: Config, folder: Path, trials: int, fixed: Sequence[str] = (), *, stop_request: StopRequest | None = None
) -> TuningResult:
    """Train a recipe repeatedly with other settings and keep the best ones by the recipe's selection metric.

    A trial whose best score is behind the median of the others after the same share of its epochs is stopped early.
    Calling this again with the same folder continues until the folder has as many trials as requested.

    Args:
        config: the recipe; the keys of `search_space` are replaced.
        folder: see the module.
        trials: how many in total, including those of earlier calls.
        fixed: keys of `search_space` that stay as the recipe has them.
        stop_request: see `tfsent.training.finetune.train`.

    Raises:
        ConfigError: Optuna is not installed, every key is fixed, or the folder exists and holds no trials.
        RunError: the folder belongs to another recipe, other keys were fixed, or another process uses it.
        Interrupted: the user pressed Ctrl-C; the same call continues.
        Preempted: SIGTERM came; the same call continues.
        TrainingError: no trial was completed.

    Example:
        >>> result = tune(load_config("quickstart"), Path("runs/quickstart.tune"), trials=20)
        >>> result.best.settings["train.learning_rate"]
        0.000123
    """
    if importlib.util.find_spec("optuna") is None:
        raise ConfigError("`tfsent tune` needs Optuna: pip install 'tfsent[tune]'")
    find_devices(config.train)  # missing devices are reported before anything is written
    every = search_space(config)
    space = {name: values for name, values in every.items() if name not in fixed}
    if not space:
        raise ConfigError(f"Nothing is left to search: --set fixes all of {', '.join(every)}. Leave one of them out.")
    _open_folder(config, folder)
    with atomic.in_use(folder), stop_between_runs("Tuning", stop_request) as stop_request:
        study = _open_study(config, folder, space)
        _retry_killed(study)
        try:
            while (done := len(_ended(study))) < trials:
                stop_request.raise_if_any("Tuning")
                trial = study.ask(dict(space))
                settings = ", ".join(f"{name} {value}" for name, value in _rounded(trial.params).items())
                logger.info(f"Trial {done + 1} of {trials}: {settings}")
                _run_trial(study, trial, config, folder / "trial", stop_request)
                _write_trials(study, config, folder, list(space))
        finally:
            _plot(study, folder / "trials.png", config.train.selection_metric, list(space))
        best = _write_trials(study, config, folder, list(space))
        if best is None:
            raise TrainingError(f"None of the {trials} trials was completed; {folder}/trials.csv says why.")
        return TuningResult(config.train.selection_metric, tuple(_trials(study)), best)


def _open_folder(config: Config, folder: Path) -> None:
    """Create the folder, or check that it belongs to the same recipe."""
    recipe = folder / "recipe.yaml"
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not recipe.is_file())):
        raise ConfigError(f"{folder} exists and holds no trials of tfsent. Expected a new --dir, or one with trials.")
    if not recipe.is_file():
        atomic.write_text(recipe, to_yaml(config))
        return
    require_same(
        load_config(recipe).model_dump(mode="json"),
        config.model_dump(mode="json"),
        f"The recipe of {folder}",
        "choose another --dir",
    )


def _open_study(config: Config, folder: Path, space: Space) -> optuna.Study:
    import optuna
    from sqlalchemy.exc import DatabaseError

    path = (folder / "study.db").resolve()
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # by default Optuna writes to standard error
    try:
        study = optuna.create_study(
            study_name="tfsent",
            storage=optuna.storages.RDBStorage(f"sqlite:///{path}"),
            direction="minimize" if config.train.selection_metric == "loss" else "maximize",
            pruner=optuna.pruners.MedianPruner(n_startup_trials=3),
            load_if_exists=True,
        )
    except (DatabaseError, optuna.exceptions.StorageInternalError) as error:
        raise ConfigError(f"{path} cannot be read ({first_line(error)}). Remove {folder} to start again.") from error
    finally:
        optuna.logging.set_verbosity(verbosity)
    searched = study.user_attrs.get("searched", list(space))
    if searched != list(space):
        raise RunError(
            f"{folder} searches {', '.join(searched)}, and this command {', '.join(space)}. Expected the same keys in "
            "--set as before, or another --dir."
        )
    study.set_user_attr("searched", searched)
    # With the recipe's seed alone, a continued study would sample its first trials again.
    seed = config.train.seed + len(study.get_trials())
    study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=5)
    return study


def _retry_killed(study: optuna.Study) -> None:
    """Queue the trial again that was running when its process was killed or stopped.

    The folder is locked, so a running trial has no process. Optuna's heartbeat would find that out only minutes later.
    """
    from optuna.trial import TrialState

    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        study.enqueue_trial(trial.params)


def _ended(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Return the trials that count: those that were killed have no reason and are tried again."""
    from optuna.trial import TrialState

    ended = study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL))
    return [trial for trial in ended if trial.state != TrialState.FAIL or "why" in trial.user_attrs]


def _run_trial(study: optuna.Study, trial: optuna.Trial, config: Config, run: Path, stop_request: StopRequest) -> None:
    """Train once and store the result in the study."""
    import optuna
    from optuna.trial import TrialState

    scores: list[float] = []
    config = with_settings(config, _rounded(trial.params))

    def report(epoch: int, score: float) -> None:
        scores.append(score)
        trial.report(score, round(100 * (epoch + 1) / config.train.epochs))
        if trial.should_prune():
            raise optuna.TrialPruned

    shutil.rmtree(run, ignore_errors=True)
    try:
        train(config, run, report=report, stop_request=stop_request)
        study.tell(trial, _best_of(study)(scores))
    except optuna.TrialPruned:
        study.tell(trial, state=TrialState.PRUNED)
    except TrainingError as error:
        logger.warning(f"The trial failed: {error}")
        trial.set_user_attr("why", str(error))
        study.tell(trial, state=TrialState.FAIL)
    finally:
        shutil.rmtree(run, ignore_errors=True)
        keras.backend.clear_session()


def _best_of(study: optuna.Study) -> Any:
    """Return `max`, or `min` for a loss."""
    return min if study.direction.name == "MINIMIZE" else max


def _rounded(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings with three significant digits: easy to read, and precise enough for a rate."""
    return {name: float(f"{value:.3g}") if isinstance(value, float) else value for name, value in settings.items()}


def _trials(study: optuna.Study) -> list[Trial]:
    return [
        Trial(
            settings=_rounded(trial.params),
            state="failed" if "why" in trial.user_attrs else trial.state.name.lower(),
            epochs=len(trial.intermediate_values),
            score=_best_of(study)(trial.intermediate_values.values(), default=None),
            why=trial.user_attrs.get("why", ""),
        )
        for trial in _ended(study)
    ]


def _write_trials(study: optuna.Study, config: Config, folder: Path, searched: list[str]) -> Trial | None:
    """Write `trials.csv` and `best.yaml`; return the best trial, None when none was completed."""
    metric = config.train.selection_metric
    trials = _trials(study)
    with atomic.replacing(folder / "trials.csv") as staged, staged.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow([*searched, "state", "epochs", f"validation_{metric}", "why"])
        for trial in trials:
            settings = [trial.settings.get(name, "") for name in searched]
            writer.writerow([*settings, trial.state, trial.epochs, trial.score, trial.why])
    completed = [trial for trial in trials if trial.state == "complete"]
    best: Trial | None = _best_of(study)(completed, key=lambda trial: trial.score, default=None)
    if best is not None:
        header = (
            f"# The best of {len(trials)} trials: validation {metric.replace('_', ' ')} {best.score:.4f}. "
            "It was chosen on the validation reviews, so this value is slightly optimistic.\n"
        )
        atomic.write_text(folder / "best.yaml", header + to_yaml(with_settings(config, best.settings)))
    return best


def _plot(study: optuna.Study, png: Path, metric: str, searched: list[str]) -> None:
    """Draw the score of the completed trials over each searched setting."""
    if all(trial.state.name != "COMPLETE" for trial in _ended(study)):
        return
    import matplotlib
    import matplotlib.pyplot as plt
    from optuna.exceptions import ExperimentalWarning
    from optuna.visualization.matplotlib import plot_slice

    with warnings.catch_warnings(), matplotlib.rc_context(), atomic.replacing(png) as staged:
        warnings.simplefilter("ignore", ExperimentalWarning)
        plot_slice(study, searched, target_name=f"validation {metric.replace('_', ' ')}")
        figure = plt.gcf()
        figure.savefig(staged, format="png", dpi=120, bbox_inches="tight")
        plt.close(figure)
