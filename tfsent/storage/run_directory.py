"""The run directory: what made a model and what came of it, all that later commands need.

RUN/config.yaml          the resolved recipe
    environment.json     versions and machine
    data.json            source, counts, fingerprints
    heldout/*.jsonl.gz   the reviews training never saw, so that evaluate and export need no download
    model/               model.keras, vocab.txt, text.json, labels.txt
    checkpoints/         (while training, and after it was ended: `tfsent train --resume RUN` goes on)
    history.csv, tensorboard/
    seeds.json                        (tfsent train --seeds)
    metrics.json, predictions.csv     (tfsent evaluate; with -validation in their names of that split)
    export/, verify.json              (tfsent export)
"""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

from tfsent.errors import RunError
from tfsent.storage import atomic

logger = logging.getLogger(__name__)

WRITTEN = ("config.yaml", "environment.json", "data.json", "history.csv", "model")
"""What training writes into the folder of a run, each in one step."""


def require_free(path: Path, overwrite: bool) -> None:
    """A run directory may be made at the path.

    Raises:
        RunError: there is one (and `overwrite` is false), or something that is none.
    """
    if path.name in ("", ".."):
        raise RunError(f"{path} is a folder tfsent works in and cannot be a run. Name one of its own with --run-dir.")
    if not path.exists():
        return
    if not overwrite:
        if has_checkpoint(path) and not has_model(path):
            raise RunError(
                f"{path} holds a training that was ended. Go on with: tfsent train --resume {path}; or pass "
                "--overwrite to begin anew."
            )
        raise RunError(f"{path} exists already. Pass --overwrite to replace it, or --run-dir for another place.")
    if not (path / "config.yaml").is_file() and (not path.is_dir() or not all(map(_is_half, path.iterdir()))):
        raise RunError(f"{path} is not a run of tfsent, so --overwrite leaves it alone. Choose another --run-dir.")


@contextlib.contextmanager
def new_run(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """Make a run directory; take it away again, and put back what it replaced, when nothing came of it.

    What it replaces is kept until it is finished: a training that was only interrupted may have learnt next to nothing.

    Raises:
        RunError: it exists (and `overwrite` is false), is not a run (and `overwrite` is true), another process trains
            in it, or it cannot be made.
    """
    require_free(path, overwrite)
    previous = replaced_by(path)
    if path.exists():
        with atomic.in_use(path):
            pass  # nobody trains in what is to be replaced
    try:
        if path.exists() and previous.exists() and not is_finished(path):
            # A replacement that was ended stands before the run it was to replace: that one is kept.
            shutil.rmtree(path)
        elif path.exists():
            shutil.rmtree(previous, ignore_errors=True)
            path.rename(previous)
        path.mkdir(parents=True)
    except OSError as error:
        raise RunError(f"Cannot make the run directory {path}: {error.strerror or error}.") from error
    try:
        with atomic.in_use(path):
            yield path
    finally:
        if is_finished(path):
            shutil.rmtree(previous, ignore_errors=True)
        elif not has_model(path) and not has_checkpoint(path):
            shutil.rmtree(path, ignore_errors=True)
            if previous.exists():
                previous.rename(path)


def require_unfinished(path: Path) -> Path:
    """The path, when it is a run with something to go on from.

    Raises:
        RunError: it is not.
    """
    if path.name.endswith((".seeds", ".tune")):
        raise RunError(f"{path} holds several trainings: give the command that began it again, and it goes on.")
    if not (path / "config.yaml").is_file():
        raise RunError(f"{path} is not a run of tfsent: it has no config.yaml. Expected --resume RUN.")
    if not has_checkpoint(path):
        state = "is finished" if has_model(path) else "was ended before its first checkpoint"
        raise RunError(
            f"{path} {state}: there is nothing to go on from. To train anew: tfsent train RECIPE "
            f"--run-dir {path} --overwrite"
        )
    return path


@contextlib.contextmanager
def unfinished_run(path: Path) -> Iterator[Path]:
    """A run directory to go on in; what it was to replace goes when it is finished.

    Raises:
        RunError: it is no run, has nothing to go on from, or another process trains in it.
    """
    require_unfinished(path)
    try:
        with atomic.in_use(path):
            for half in filter(_is_half, path.iterdir()):
                shutil.rmtree(half)
            yield path
    finally:
        if is_finished(path):
            shutil.rmtree(replaced_by(path), ignore_errors=True)


def _is_half(path: Path) -> bool:
    """Whether a process was killed while it wrote this: `staging` puts what it writes into such a folder at first."""
    return path.is_dir() and path.name.startswith(tuple(f".{name}." for name in WRITTEN))


def replaced_by(path: Path) -> Path:
    """Where the run lies that this one replaces, until it is finished."""
    path = path.absolute()  # the name of `.` is none
    return path.with_name(f".{path.name}.previous")


def mark_finished(path: Path) -> None:
    """There is a model, and nothing is left to go on with.

    The checkpoints lose their name first: killed while they go, the run is finished all the same.
    """
    gone = path / ".checkpoints"
    (path / "checkpoints").rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


def is_finished(path: Path) -> bool:
    """Whether training came to its end."""
    return has_model(path) and not has_checkpoint(path)


def has_checkpoint(path: Path) -> bool:
    """Whether a training that was ended can go on."""
    return any((path / "checkpoints").glob("step-*[0-9]"))


def has_model(path: Path) -> bool:
    """Whether a model lies in the run directory; one whose training was interrupted may be there too."""
    return (path / "model" / "model.keras").is_file()


def forget_reports(path: Path) -> None:
    """Take away what was measured and exported of a model that was interrupted, before another takes its place."""
    if not has_model(path):
        return
    names = ("metrics*.json", "predictions*.csv", "verify.json", "export")
    if found := sorted(file for name in names for file in path.glob(name)):
        logger.info(f"{', '.join(file.name for file in found)}: of the model as it was when interrupted, and removed.")
    for file in found:
        shutil.rmtree(file) if file.is_dir() else file.unlink()


def require_run(path: str | Path) -> Path:
    """The path, when it is a run with a finished model.

    Raises:
        RunError: it is not.
    """
    path = Path(path)
    if not path.exists():
        raise RunError(f"No run at {path}. `tfsent train RECIPE --run-dir {path}` makes one.")
    if not (path / "config.yaml").is_file():
        raise RunError(f"{path} is not a run of tfsent: it has no config.yaml. Expected what `tfsent train` wrote.")
    if not has_model(path):
        way = f"Go on with: tfsent train --resume {path}" if has_checkpoint(path) else "Train again with --overwrite."
        old = replaced_by(path)
        kept = f" The run it was to replace is kept in {old}." if old.exists() else ""
        raise RunError(f"{path} holds no model: its training did not finish. {way}{kept}")
    return path


def warn_if_interrupted(path: Path) -> None:
    """A model that was saved when training was interrupted looks like any other."""
    if has_checkpoint(path):
        logger.info(f"{path} was interrupted; this is its model as it was then. To go on: tfsent train --resume {path}")
