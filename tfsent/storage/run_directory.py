"""The run directory: what made a model and what came of it, all that later commands need.

RUN/config.yaml          the resolved recipe
    environment.json     versions and machine
    data.json            source, counts, fingerprints
    heldout/*.jsonl.gz   the reviews training never saw, so that evaluate and export need no download
    model/               model.keras, vocab.txt, text.json, labels.txt, decision.json, piece_counts.npy, manifest.json
    checkpoints/         (while training, and after it was interrupted)
    history.csv, tensorboard/
    metrics.json, predictions.csv, analysis.json
                         (tfsent evaluate; with -validation in their names for that split)
    export/, verify.json (tfsent export)
    report.html, README.md            the report and the model card, written by all of these

RUN/seed-N/…             a run for each seed (tfsent train --seeds)
    seeds.json           their figures, and which one is best

RUN.old                  the run that a training with --overwrite replaces, until the new one is finished
    replaced.txt         marks it: a RUN.old without this file is the user's, and is never deleted
"""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

from tfsent.errors import RunError, Stopped
from tfsent.storage import atomic, bundle

logger = logging.getLogger(__name__)

RUN_FORMAT = 2
"""Written into environment.json. A run of another format cannot be opened."""
WRITTEN = ("config.yaml", "environment.json", "data.json", "history.csv", "model")
"""What training writes into a run, each in one step."""
REPLACED = "replaced.txt"


def require_free(path: Path, overwrite: bool) -> None:
    """Check that a run may be made at a path.

    Raises:
        RunError: there is a run and `overwrite` is false, or something that is not a run.
    """
    if path.name in ("", ".."):
        raise RunError(f"{path} is a folder tfsent works in and cannot be a run. Name one of its own with --run-dir.")
    if not path.exists():
        return
    if not overwrite:
        if is_run(path) and not is_finished(path) and not holds_seeds(path):
            raise RunError(
                f"{path} holds a training that was interrupted. Continue with: tfsent train --resume {path}; or pass "
                "--overwrite to begin anew."
            )
        raise RunError(f"{path} exists already. Pass --overwrite to replace it, or --run-dir for another place.")
    if not is_run(path) and (not path.is_dir() or not all(map(_is_half, path.iterdir()))):
        raise RunError(f"{path} is not a run of tfsent, so --overwrite does not touch it. Choose another --run-dir.")


@contextlib.contextmanager
def new_run(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """Make a run directory for the body to train in.

    A run that is replaced is kept as `RUN.old` until the new one is finished. When the body raises an error before it
    wrote a checkpoint or a model, the new directory is removed and the old one put back. When a signal stopped the
    body, the new directory is kept, so that `--resume` finds its recipe.

    Args:
        path: of the run.
        overwrite: replace a run that is there.

    Raises:
        RunError: see `require_free`; another process trains there; or the directory cannot be made.
    """
    require_free(path, overwrite)
    set_aside(path)
    try:
        path.mkdir(parents=True)
    except OSError as error:
        raise RunError(f"Cannot make the run directory {path}: {error.strerror or error}.") from error
    try:
        with atomic.in_use(path):
            yield path
    except (Stopped, KeyboardInterrupt):
        raise
    except BaseException:
        if not has_model(path) and not has_checkpoint(path):
            put_back(path)
        raise
    if is_finished(path):
        remove_old(path)


def set_aside(path: Path) -> None:
    """Rename a run to `RUN.old`.

    An unfinished run that was itself to replace `RUN.old` is removed instead.

    Raises:
        RunError: another process trains in it, it cannot be renamed, or the user has a `RUN.old`.
    """
    old = old_run(path)
    if not path.exists():
        return
    if old.exists() and not _is_replaced(old):
        raise RunError(
            f"--overwrite would move {path} to {old}, which exists and was not put there by tfsent. Rename {old}, or "
            "choose another --run-dir."
        )
    with atomic.in_use(path):
        pass  # nobody trains in what is to be replaced
    try:
        if old.exists() and not is_finished(path):
            shutil.rmtree(path)
        else:
            remove_old(path)
            (path / REPLACED).write_text(f"Removed when the run that replaces it, {path.name}, is finished.\n")
            path.rename(old)
    except OSError as error:
        raise RunError(f"Cannot replace the run {path}: {error.strerror or error}.") from error


def put_back(path: Path) -> None:
    """Remove a run that came to nothing, and put back the run that it was to replace."""
    shutil.rmtree(path, ignore_errors=True)
    old = old_run(path)
    if _is_replaced(old):
        old.rename(path)
        (path / REPLACED).unlink(missing_ok=True)


def old_run(path: Path) -> Path:
    """Return the place of the run that a run replaces."""
    path = path.absolute()  # `.` has no name
    return path.with_name(f"{path.name}.old")


def remove_old(path: Path) -> None:
    """Remove the run that a finished run replaced."""
    old = old_run(path)
    if not _is_replaced(old):
        return
    for child in old.iterdir():
        if child.name != REPLACED:  # last: when the process is killed here, the rest is still known to be tfsent's
            shutil.rmtree(child, ignore_errors=True) if child.is_dir() else child.unlink(missing_ok=True)
    shutil.rmtree(old, ignore_errors=True)


def _is_replaced(old: Path) -> bool:
    """Return whether tfsent set this run aside, and did not find it there. Nobody misses an empty folder."""
    return (old / REPLACED).is_file() or (old.is_dir() and not any(old.iterdir()))


def require_unfinished(path: Path) -> Path:
    """Return the path when it is a run that `--resume` can take.

    Raises:
        RunError: it is not a run, it holds several trainings, or an earlier version of tfsent made it.
    """
    if holds_seeds(path) or (path / "recipe.yaml").is_file():
        raise RunError(f"{path} holds several trainings: give the command that began it again, and it continues.")
    if not (path / "config.yaml").is_file():
        raise RunError(f"{path} is not a run of tfsent: it has no config.yaml. Expected --resume RUN.")
    _require_format(path)
    return path


@contextlib.contextmanager
def unfinished_run(path: Path) -> Iterator[Path]:
    """Keep a run to this process while the body trains in it.

    Raises:
        RunError: see `require_unfinished`; or another process trains in it.
    """
    require_unfinished(path)
    with atomic.in_use(path):
        for half in filter(_is_half, path.iterdir()):
            shutil.rmtree(half)
        yield path
    if is_finished(path):
        remove_old(path)


def run_of(path: Path) -> Path | None:
    """Return the run that a model belongs to: the path itself, the best of its seeds, or a folder above.

    Args:
        path: a run, a bundle of one, a SavedModel or a file.

    Returns:
        The run; None where the model does not lie in one with held-out reviews.
    """
    path = bundle.inside(path)
    for folder in (path, *path.resolve().parents):
        run = require_run(folder) if holds_seeds(folder) else folder
        if (run / "config.yaml").is_file() and (run / "heldout" / "test.jsonl.gz").is_file():
            return run
    return None


def is_run(path: Path) -> bool:
    """Return whether a path is a run directory, finished or not, or one of several seeds."""
    return (path / "config.yaml").is_file() or holds_seeds(path)


def holds_seeds(path: Path) -> bool:
    """Return whether a directory holds a run for each of several seeds."""
    return (path / "seeds.json").is_file()


def _is_half(path: Path) -> bool:
    """Return whether a killed process left this. `atomic` writes into such a folder before it renames."""
    return path.is_dir() and path.name.startswith(tuple(f".{name}." for name in WRITTEN))


def mark_finished(path: Path) -> None:
    """Delete the checkpoints. They are renamed first, so a process killed meanwhile leaves a finished run."""
    gone = path / ".checkpoints"
    (path / "checkpoints").rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


def is_finished(path: Path) -> bool:
    """Return whether training was completed."""
    return has_model(path) and not has_checkpoint(path)


def has_checkpoint(path: Path) -> bool:
    """Return whether there is a checkpoint, valid or not."""
    return any((path / "checkpoints").glob("step-*[0-9]"))


def has_model(path: Path) -> bool:
    """Return whether there is a model. An interrupted training also saves one."""
    return (path / "model" / "model.keras").is_file()


def forget_reports(path: Path) -> None:
    """Delete what was measured and exported of an interrupted model, before another one takes its place."""
    if not has_model(path):
        return
    forget_figures(path)
    names = ("verify.json", "export")
    if found := sorted(file for name in names for file in path.glob(name)):
        logger.info(f"Removing {', '.join(file.name for file in found)}: they describe the interrupted model.")
    for file in found:
        shutil.rmtree(file) if file.is_dir() else file.unlink()


def forget_figures(path: Path) -> None:
    """Delete what was measured of a model that is about to change."""
    names = ("metrics*.json", "predictions*.csv", "analysis*.json")
    for file in [file for name in names for file in path.glob(name)]:
        file.unlink()


def require_run(path: str | Path) -> Path:
    """Return the directory of a finished model: the path itself, or the best of its seeds.

    Raises:
        RunError: there is none.
    """
    path = Path(path)
    if not path.exists():
        raise RunError(f"No run at {path}. `tfsent train RECIPE --run-dir {path}` makes one.")
    if holds_seeds(path):
        return require_run(_best_seed(path))
    if not (path / "config.yaml").is_file():
        raise RunError(f"{path} is not a run of tfsent: it has no config.yaml. Expected what `tfsent train` wrote.")
    _require_format(path)
    if not has_model(path):
        old = old_run(path)
        kept = f" The run it replaces is kept in {old}." if old.exists() else ""
        raise RunError(
            f"{path} holds no model: its training is not finished. Continue with: tfsent train --resume {path}{kept}"
        )
    return path


def _best_seed(path: Path) -> Path:
    try:
        return path / json.loads((path / "seeds.json").read_text(encoding="utf-8"))["best_run"]  # None until the end
    except (OSError, ValueError, KeyError, TypeError):
        raise RunError(
            f"{path} holds a training with several seeds that is not finished. Give the same command again to "
            f"continue, or name one of its runs, such as {path}/seed-1."
        ) from None


def _require_format(path: Path) -> None:
    """Refuse a run of another format. A run that was killed early may have no environment.json yet."""
    try:
        found = json.loads((path / "environment.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise RunError(f"{path / 'environment.json'} cannot be read: {error}.") from error
    if found.get("run_format") != RUN_FORMAT:
        raise RunError(
            f"{path} was made by tfsent {found.get('tfsent')}, and this version cannot open it. Train again, or "
            "install that version."
        )


def warn_if_interrupted(path: Path) -> None:
    """Warn that a model comes from an interrupted training. Nothing else tells it from a finished one."""
    if has_checkpoint(path):
        logger.warning(
            f"{path} was interrupted; this is its model as it was then. To continue: tfsent train --resume {path}"
        )
