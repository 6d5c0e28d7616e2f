"""The run directory: what made a model and what came of it, all that later commands need.

    RUN/config.yaml          the resolved recipe
        environment.json     versions and machine
        data.json            source, counts, fingerprints
        heldout/*.jsonl.gz   the reviews training never saw, so that evaluate and export need no download
        model/               model.keras, vocab.txt, text.json, labels.txt
        checkpoints/         (while training, and after it was ended: `tfsent train --resume RUN` goes on)
        history.csv, tensorboard/
        metrics.json, predictions.csv     (tfsent evaluate)
        export/, verify.json              (tfsent export)

Files are written beside their target and renamed: a reader never sees half of one.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.metadata
import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tfsent import __version__
from tfsent.errors import ArtifactError, RunError

DAY_SECONDS = 86_400


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Give a path beside `target` to write a file or a folder to, and rename it into place at the end.

    When the body raises, nothing is left behind and what was at `target` before is untouched.

    Raises:
        RunError: the place cannot be written to (permissions, a full disk).
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as folder:
            staged = Path(folder) / target.name
            yield staged
            publish(staged, target)
    except OSError as error:
        raise RunError(f"Cannot write {target}: {error.strerror or error}. Nothing was changed.") from error


def clear_old(folder: Path, pattern: str) -> None:
    """Take away what killed processes were writing; what is younger than a day may still be written."""
    for half in folder.glob(pattern):
        with contextlib.suppress(FileNotFoundError):  # another process has just given it its name
            if time.time() - half.stat().st_mtime > DAY_SECONDS:
                shutil.rmtree(half, ignore_errors=True)


def publish(staged: Path, target: Path) -> None:
    """Rename a finished file or folder into place, over what was there. Both must be on one file system."""
    for file in [staged] if staged.is_file() else [p for p in staged.rglob("*") if p.is_file()]:
        with file.open("rb") as handle:
            os.fsync(handle.fileno())
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir():
        # A folder cannot be renamed over a full one: the old one steps aside first.
        old = staged.with_name(f"{staged.name}.old")
        target.rename(old)
        staged.rename(target)
        shutil.rmtree(old)
    else:
        staged.rename(target)


def write_text(target: Path, text: str) -> None:
    """Write a small text file in one step."""
    with replacing(target) as staged:
        staged.write_text(text, encoding="utf-8")


def write_json(target: Path, value: Any) -> None:
    """Write JSON in one step, readable for people too."""
    write_text(target, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_labels(folder: Path, label_names: Sequence[str]) -> None:
    """Write `labels.txt` into a folder: the classes, one a line, in the order of the model's outputs."""
    (folder / "labels.txt").write_text("\n".join(label_names) + "\n", encoding="utf-8")


def read_labels(folder: Path) -> tuple[str, ...]:
    """Read what `write_labels` wrote.

    Raises:
        ArtifactError: the file is missing.
    """
    try:
        return tuple((folder / "labels.txt").read_text(encoding="utf-8").removesuffix("\n").split("\n"))
    except OSError as error:
        raise ArtifactError(
            f"{folder} has no labels.txt. Expected what `tfsent export` wrote: the file and its companions together."
        ) from error


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
    if not (path / "config.yaml").is_file() and (not path.is_dir() or any(path.iterdir())):
        raise RunError(f"{path} is not a run of tfsent, so --overwrite leaves it alone. Choose another --run-dir.")


@contextlib.contextmanager
def in_use(folder: Path) -> Iterator[None]:
    """Keep a folder to this process; the lock goes with the process, however that ends, and leaves nothing behind.

    Raises:
        RunError: another process has it.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise RunError(
            f"Another process is at work in {folder}. Wait for its end, or end it; or choose another place."
        ) from None
    except OSError:  # a file system without locks for folders, as some networks have
        pass
    try:
        yield
    finally:
        os.close(descriptor)


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
        with in_use(path):
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
        with in_use(path):
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
        with in_use(path):
            for half in path.glob(".model.*"):  # killed while the model was written
                shutil.rmtree(half)
            yield path
    finally:
        if is_finished(path):
            shutil.rmtree(replaced_by(path), ignore_errors=True)


def replaced_by(path: Path) -> Path:
    """Where the run lies that this one replaces, until it is finished."""
    path = path.absolute()  # the name of `.` is none
    return path.with_name(f".{path.name}.previous")


def finish(path: Path) -> None:
    """There is a model, and nothing is left to go on with.

    The checkpoints lose their name first: killed while they go, the run is finished all the same.
    """
    gone = path / ".checkpoints"
    with contextlib.suppress(FileNotFoundError):  # a short training writes none
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


def forget_reports(path: Path, say: Callable[[str], None]) -> None:
    """Take away what was measured and exported of a model that was interrupted, before another takes its place."""
    if not has_model(path):
        return
    names = ("metrics*.json", "predictions*.csv", "verify.json", "export")
    if found := sorted(file for name in names for file in path.glob(name)):
        say(f"{', '.join(file.name for file in found)}: of the model as it was when interrupted, and removed.")
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
        raise RunError(f"{path} holds no model: its training did not finish. {way}")
    return path


def say_if_interrupted(path: Path, say: Callable[[str], None]) -> None:
    """A model that was saved when training was interrupted looks like any other."""
    if has_checkpoint(path):
        say(f"{path} was interrupted; this is its model as it was then. To go on: tfsent train --resume {path}")


def environment() -> dict[str, Any]:
    """Versions and machine, for `environment.json`."""
    packages = ("tensorflow", "tensorflow-text", "keras", "keras-hub", "jax", "ai-edge-litert", "numpy")
    return {
        "tfsent": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        **{name: version_of(name) for name in packages},
    }


def version_of(package: str) -> str | None:
    """The installed version of a distribution, None where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
