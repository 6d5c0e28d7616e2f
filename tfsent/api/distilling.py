"""Distillation: a student learns from a teacher."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfsent.api import training
from tfsent.api.inputs import as_words
from tfsent.api.models import Run
from tfsent.errors import ConfigError

if TYPE_CHECKING:
    import keras

    from tfsent.training.seeds import SeedsResult

Paths = str | Path | Run | Sequence[str | Path | Run]


def distil(
    recipe: Any,
    overrides: Any = (),
    *,
    teacher: Paths,
    unlabelled: Paths = (),
    data: Any = None,
    run_dir: str | Path | None = None,
    overwrite: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Run:
    """Fine-tune a student on labels and on what a teacher says (G. Hinton et al. 2015).

    Args:
        recipe: of the student, see `train`. Section `distil` has temperature and weights.
        overrides: see `train`.
        teacher: the path of a model that `load` opens: a run, a bundle, a SavedModel, a `.tflite` file; or a table of
            probabilities (CSV, JSON lines, Parquet) with the column of the texts and one for each class. Of several,
            the probabilities are averaged.
        unlabelled: files of texts without labels, which the teacher labels; or `split:NAME`, a split of the recipe's
            source such as `split:unsupervised`, or a part of one, `split:unsupervised[:30000]`. Those that are in
            train, validation or test are left out.
        data: see `train`; the dict may also have `unlabelled`, a list of texts.
        run_dir: see `train`. `train(run_dir=…, resume=True)` continues.
        overwrite: see `train`.
        callbacks: see `train`.

    Returns:
        The student.

    Raises:
        ConfigError: no teacher, or one that has other classes.
        DataError: a table has faulty rows, or lacks a text.
        TfsentError: see `train`.

    Example:
        >>> run = tfsent.distil("imdb-tiny", teacher="runs/imdb", unlabelled="split:unsupervised")
    """
    more = with_teacher(overrides, teacher, unlabelled)
    return training.train(recipe, more, data=data, run_dir=run_dir, overwrite=overwrite, callbacks=callbacks)


def distil_seeds(
    recipe: Any,
    seeds: Sequence[int],
    overrides: Any = (),
    *,
    teacher: Paths,
    unlabelled: Paths = (),
    run_dir: str | Path | None = None,
    overwrite: bool = False,
) -> SeedsResult:
    """Distil once with each seed; see `distil` and `train_seeds`."""
    more = with_teacher(overrides, teacher, unlabelled)
    return training.train_seeds(recipe, seeds, more, run_dir=run_dir, overwrite=overwrite)


def with_teacher(overrides: Any, teacher: Paths, unlabelled: Paths) -> list[str]:
    """Return overrides that name a teacher, and texts for it to label.

    Raises:
        ConfigError: there is no teacher, or it is not a path.
    """
    teachers, texts = _listed(teacher or (), "teacher"), _listed(unlabelled or (), "unlabelled")
    if not teachers:
        raise ConfigError("Distillation needs a teacher: a run, a SavedModel, a .tflite file or a table.")
    own = {"distil.teacher": teachers, **({"distil.unlabelled": texts} if texts else {})}
    return [*as_words(overrides), *as_words(own)]


def _listed(paths: Any, name: str) -> list[str]:
    several = [paths] if isinstance(paths, str | Path | Run) else paths
    if not isinstance(several, list | tuple) or not all(isinstance(path, str | Path | Run) for path in several):
        raise ConfigError(f"{name}= takes a path or a Run, or a list of these. Received: {type(paths).__name__}.")
    return [str(path.path if isinstance(path, Run) else path) for path in several]
