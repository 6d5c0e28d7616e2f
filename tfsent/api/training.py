"""The trainings a Python user starts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfsent import backend
from tfsent.api.inputs import as_words, load_recipe
from tfsent.api.models import Run
from tfsent.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import keras

    from tfsent.data.reviews import Reviews
    from tfsent.recipe.schema import Config
    from tfsent.training.learning_rate import SweepResult
    from tfsent.training.seeds import SeedsResult
    from tfsent.training.tuning import TuningResult


def train(
    recipe: Any = None,
    overrides: Any = (),
    *,
    data: Any = None,
    run_dir: str | Path | None = None,
    overwrite: bool = False,
    resume: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Run:
    """Fine-tune an encoder on labelled reviews.

    Args:
        recipe: the name of a recipe, a path to a YAML file, a dict of sections, or a `Config`. With `resume` it may be
            left out: the run has its own.
        overrides: keys to change, as `{"train.epochs": 3}` or as `["train.epochs=3"]`.
        data: reviews to use in place of the recipe's source: `(texts, labels)`; a pandas DataFrame or Arrow table with
            the columns that the recipe names (`data.text`, `data.label`, `data.group`); or a dict with `train` and
            perhaps `validation` and `test`, each one of these. Where `data.label` names a column for each class, labels
            are probabilities, `float[n, classes]`. None reads the recipe's source.
        run_dir: where the run goes; by default `runs/NAME-OF-THE-RECIPE`.
        overwrite: replace a run that is there. The old one is kept as `RUN.old` until the new one is finished.
        resume: continue the training in `run_dir` from its newest checkpoint, from the beginning where it has none
            yet, or begin it where `recipe` is given and nothing is there. A run that is finished is left as it is: the
            same call may be repeated. Data that was passed must be passed again.
        callbacks: called by Keras after tfsent's own.

    Returns:
        The run.

    Raises:
        ConfigError: the recipe or an override is wrong, or the recipe's backend or devices are not here.
        DataError: the reviews cannot be read, or are not fit to train on.
        RunError: there is a run already, it is not a run, or it cannot be written to.
        TrainingError: the loss is not a number, memory ran out, or nothing was learnt.
        Stopped: Ctrl-C or SIGTERM ended training; `resume=True` continues.

    Example:
        >>> run = tfsent.train("imdb", {"train.epochs": 1}, data=(texts, labels), run_dir="runs/mine")
        >>> run.history[-1].val_accuracy
        0.91
    """
    if resume and run_dir is None:
        raise ConfigError("resume needs run_dir, the run to continue.")
    if recipe is None and not resume:
        raise ConfigError("Name a recipe (`tfsent recipes ls` lists them), or resume a run.")
    from tfsent.training.engine.interrupts import stop_during_startup

    config = None if recipe is None else load_recipe(recipe, overrides, data_in_memory=data is not None)
    path = _run_directory(recipe, run_dir)
    resume = resume and (config is None or path.exists())
    with stop_during_startup() as stop_request:
        own = config or _config_of_unfinished(path)
        parts = _read_memory(data, own)
        backend.use(own.train.backend)
        from tfsent.training import finetune

        if resume:
            finetune.resume(path, config, parts=parts, callbacks=callbacks, stop_request=stop_request)
        else:
            finetune.train(own, path, overwrite=overwrite, parts=parts, callbacks=callbacks, stop_request=stop_request)
    _report(path)
    return Run(path)


def train_seeds(
    recipe: Any,
    seeds: Sequence[int],
    overrides: Any = (),
    *,
    run_dir: str | Path | None = None,
    overwrite: bool = False,
) -> SeedsResult:
    """Train a recipe once with each seed, into `RUN/seed-1`, `RUN/seed-2`, …

    Call it again to continue after an interruption.

    Args:
        recipe: see `train`.
        seeds: two or more different seeds.
        overrides: see `train`.
        run_dir: see `train`. Every other function takes RUN for the run that is best by validation.
        overwrite: see `train`.

    Returns:
        Validation figures of each seed, mean and standard deviation, the best seed. RUN/seeds.json keeps them.

    Raises:
        TrainingError: every seed failed.
        TfsentError: see `train`.
    """
    from tfsent.training.engine.interrupts import stop_during_startup

    config = load_recipe(recipe, overrides)
    path = _run_directory(recipe, run_dir)
    backend.require_one_process("Training with several seeds")
    with stop_during_startup() as stop_request:
        backend.use(config.train.backend)
        from tfsent.training import seeds as trainer

        result = trainer.train_seeds(config, path, seeds, overwrite=overwrite, stop_request=stop_request)
    for seed in result.seeds:
        _report(path / seed.run)
    return result


def find_learning_rate(recipe: Any, overrides: Any = (), *, steps: int = 100, png: str | Path) -> SweepResult:
    """Raise the learning rate from batch to batch and suggest one (L. N. Smith, 2017).

    Args:
        recipe: see `train`.
        overrides: see `train`.
        steps: batches to sweep over, at least 50.
        png: where to draw the losses.

    Returns:
        The rates, the losses in nats, and the suggestion.

    Raises:
        TrainingError: the sweep shows no rate.
        TfsentError: see `train`.
    """
    config = load_recipe(recipe, overrides)
    backend.require_one_process("tfsent lr-find")
    backend.use(config.train.backend)
    from tfsent.training.learning_rate import find_rate

    return find_rate(config, steps, Path(png))


def tune(recipe: Any, overrides: Any = (), *, trials: int, folder: str | Path | None = None) -> TuningResult:
    """Search settings of a recipe by validation, and write the best recipe to FOLDER/best.yaml.

    Args:
        recipe: see `train`.
        overrides: see `train`; a key that is set here is not searched.
        trials: how many trials in all, those of earlier calls included.
        folder: where the trials go; by default `runs/NAME-OF-THE-RECIPE.tune`.

    Returns:
        The trials and the best of them.

    Raises:
        ConfigError: Optuna is not installed (`pip install 'tfsent[tune]'`), or nothing is left to search.
        TrainingError: no trial finished.
        TfsentError: see `train`.
    """
    from tfsent.training.engine.interrupts import stop_during_startup

    config = load_recipe(recipe, overrides)
    fixed = [override.partition("=")[0].strip() for override in as_words(overrides)]
    place = Path(folder) if folder is not None else _run_directory(recipe, None).with_suffix(".tune")
    backend.require_one_process("tfsent tune")
    with stop_during_startup() as stop_request:
        backend.use(config.train.backend)
        from tfsent.training import tuning

        return tuning.tune(config, place, trials, fixed, stop_request=stop_request)


def _report(run: Path) -> None:
    """Write what is known of a model after its training."""
    from tfsent.evaluation.report.renew import renew
    from tfsent.storage.run_directory import has_model

    if not has_model(run):  # of several processes one writes the model, and then the report
        return

    renew(run)


def _run_directory(recipe: Any, run_dir: str | Path | None) -> Path:
    if run_dir is not None:
        return Path(run_dir)
    if not isinstance(recipe, str | Path):
        raise ConfigError("A recipe that is not a name or a path needs run_dir, such as run_dir='runs/mine'.")
    return Path("runs") / Path(recipe).stem


def _config_of_unfinished(run: Path) -> Config:
    from tfsent.storage.run_directory import require_unfinished

    return load_recipe(require_unfinished(run) / "config.yaml")


def _read_memory(data: Any, config: Config) -> Mapping[str, Reviews] | None:
    if data is None:
        return None
    from tfsent.data.memory import read_memory

    return read_memory(data, config.data)
