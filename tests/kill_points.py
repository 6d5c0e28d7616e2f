"""Kills a writer of files at every point: `python kill_points.py SCENARIO`.

The action runs in a forked child. An audit hook counts the child's file-system events (open for writing, mkdir, rename,
rmdir, remove) and kills it, as by `kill -9`, at the first, then at the second, and so on, until the action completes.
After each kill the check must hold, and the action must succeed when it is repeated. No scenario loads TensorFlow.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

EVENTS = ("os.mkdir", "os.rename", "os.rmdir", "os.remove", "shutil.rmtree")
Step = Callable[[Path], None]


def at_every_event(prepare: Step, action: Step, check: Step) -> int:
    """Kill `action` at each of its events; return how many there were. Each step is given a folder of its own."""
    for nth in range(1, 1000):
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            prepare(folder)
            killed = _run_killed(action, folder, nth)
            check(folder)
            action(folder)
            check(folder)
            if not killed:
                return nth - 1
    raise AssertionError("the action never ends")


def _run_killed(action: Step, folder: Path, nth: int) -> bool:
    if child := os.fork():
        status = os.waitpid(child, 0)[1]
        assert status in (0, signal.SIGKILL), f"the action failed with {status} at event {nth}"
        return status == signal.SIGKILL
    left = nth

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if writes or event in EVENTS:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    action(folder)
    os._exit(0)


def checkpoints() -> int:
    """The third checkpoint of a training: there is always a valid one, the second or the third."""
    from tfsent.training.engine import checkpoints as module

    def arrays(step: int) -> dict[str, np.ndarray]:
        return {"model/0000": np.full(1000, step, np.float32)}

    def prepare(folder: Path) -> None:
        for step in (1, 2):
            module.save(folder / "checkpoints", step, arrays(step), {"step": step})

    def check(folder: Path) -> None:
        found = module.newest(folder / "checkpoints")
        assert found.step in (2, 3)
        assert found.state == {"step": found.step}
        np.testing.assert_array_equal(found.arrays["model/0000"], found.step)

    return at_every_event(prepare, lambda f: module.save(f / "checkpoints", 3, arrays(3), {"step": 3}), check)


def text_file() -> int:
    """A file that is replaced is the old or the new one."""
    from tfsent.storage import atomic

    def check(folder: Path) -> None:
        assert (folder / "file").read_text() in ("old", "new")

    return at_every_event(
        lambda f: atomic.write_text(f / "file", "old"), lambda f: atomic.write_text(f / "file", "new"), check
    )


def new_folder() -> int:
    """A folder is there as a whole or not at all."""
    from tfsent.storage import atomic

    def action(folder: Path) -> None:
        with atomic.replacing(folder / "made") as staged:
            staged.mkdir()
            for name in ("a", "b"):
                (staged / name).write_text(name)

    def check(folder: Path) -> None:
        if (folder / "made").exists():
            assert sorted(path.name for path in (folder / "made").iterdir()) == ["a", "b"]

    return at_every_event(lambda f: None, action, check)


def replaced_folder() -> int:
    """A folder that is replaced is the old one, the new one, or for one event not there. It is never a mixture."""
    from tfsent.storage import atomic

    def write(folder: Path, text: str) -> None:
        with atomic.replacing(folder / "made") as staged:
            staged.mkdir()
            for name in ("a", "b"):
                (staged / name).write_text(text)

    absent = []

    def check(folder: Path) -> None:
        if not (folder / "made").exists():
            absent.append(folder)  # no system call that Python knows exchanges two folders
            return
        assert {(folder / "made" / name).read_text() for name in ("a", "b")} in ({"old"}, {"new"})

    events = at_every_event(lambda f: write(f, "old"), lambda f: write(f, "new"), check)
    assert len(absent) <= 1
    return events


def cached_folder() -> int:
    """What the cache gives is whole."""
    from tfsent.storage import cache

    def action(folder: Path) -> None:
        os.environ["TFSENT_CACHE"] = str(folder)
        cache.put("key", 10, lambda target: (target / "file").write_text("kept") and None)

    def check(folder: Path) -> None:
        os.environ["TFSENT_CACHE"] = str(folder)
        found = cache.get("key")
        assert found is None or (found / "file").read_text() == "kept"

    return at_every_event(lambda f: None, action, check)


def reviews() -> int:
    """Held-out reviews are those that were there, or the new ones."""
    from tfsent.data.reviews import Reviews, load_reviews, save_reviews

    def make(text: str) -> Reviews:
        return Reviews((text,) * 50, np.arange(50, dtype=np.int32) % 2, ("no", "yes"), "made up")

    def check(folder: Path) -> None:
        assert set(load_reviews(folder / "reviews.jsonl.gz").texts) in ({"old"}, {"new"})

    return at_every_event(
        lambda f: save_reviews(make("old"), f / "reviews.jsonl.gz"),
        lambda f: save_reviews(make("new"), f / "reviews.jsonl.gz"),
        check,
    )


def _write_run(run: Path, name: str) -> None:
    from tfsent.storage import atomic, run_directory

    atomic.write_text(run / "config.yaml", name)
    atomic.write_json(run / "environment.json", {"run_format": run_directory.RUN_FORMAT})
    (run / "checkpoints" / "step-00000001").mkdir(parents=True)
    with atomic.replacing(run / "model") as staged:
        staged.mkdir()
        (staged / "model.keras").write_text(name)
    run_directory.mark_finished(run)


def overwritten_run() -> int:
    """A finished run is there at every moment: the old one or the new one."""
    from tfsent.storage import run_directory

    def prepare(folder: Path) -> None:
        with run_directory.new_run(folder / "run", overwrite=False) as run:
            _write_run(run, "old")

    def action(folder: Path) -> None:
        with run_directory.new_run(folder / "run", overwrite=True) as run:
            _write_run(run, "new")

    def check(folder: Path) -> None:
        found = [run for run in (folder / "run", folder / "run.old") if run_directory.is_finished(run)]
        names = {(run / "model" / "model.keras").read_text() for run in found}
        assert names and names <= {"old", "new"}
        assert all((run / "config.yaml").read_text() == (run / "model" / "model.keras").read_text() for run in found)

    return at_every_event(prepare, action, check)


SCENARIOS = (checkpoints, text_file, new_folder, replaced_folder, cached_folder, reviews, overwritten_run)

if __name__ == "__main__":
    chosen = next(scenario for scenario in SCENARIOS if scenario.__name__ == sys.argv[1])
    print(json.dumps({"events": chosen(), "tensorflow": "tensorflow" in sys.modules}))
