"""What a person sees: progress on standard error, tables on standard output."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

QUIET_SECONDS = 30
"""Where standard error is no terminal, progress is a plain line this often."""


def say(line: str) -> None:
    """One line of progress."""
    print(line, file=sys.stderr, flush=True)


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Keep from the user what C++ libraries write to the file descriptor of standard error, whatever the log level.

    When the body raises, it is shown after all.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as noise:
        os.dup2(noise.fileno(), 2)
        try:
            yield
        except Exception:
            noise.seek(0)
            os.write(kept, noise.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def load_keras(backend: str) -> None:
    """Import Keras on a backend, without TensorFlow's start-up noise, which `TF_CPP_MIN_LOG_LEVEL=0` brings back."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # What a user's environment or ~/.keras/keras.json says is of other programs.
    os.environ["KERAS_BACKEND"] = backend
    with quiet_stderr() if os.environ["TF_CPP_MIN_LOG_LEVEL"] == "3" else contextlib.nullcontext():
        import keras  # noqa: F401
        import keras_hub  # noqa: F401

        if backend == "tensorflow":
            import tensorflow_text  # noqa: F401


def load_tensorflow() -> None:
    """Import TensorFlow, and Keras on it: everything but training needs them."""
    load_keras("tensorflow")


def print_table(title: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table for people: the first column left, the others right."""
    # Without vertical lines, eight columns fit into the 80 of a plain terminal without breaking a word.
    table = Table(
        title=title or None,
        title_justify="left",
        header_style="bold",
        box=SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    lines = [[str(cell) for cell in row] for row in rows]
    for i, name in enumerate(header):
        # Texts fold where there is no room, between words; where that is not enough the terminal wraps whole lines.
        words = (word for cell in (name, *(line[i] for line in lines)) for word in cell.split())
        widest = min(max(map(cell_len, words), default=1), 30)
        table.add_column(name, justify="right" if i else "left", overflow="fold", min_width=widest)
    for line in lines:
        table.add_row(*line)
    # What stands in a cell is a reader's text, and no markup.
    console = Console(width=None if sys.stdout.isatty() else 160, markup=False, emoji=False, highlight=False)
    with console.capture() as drawn:
        console.print(table, crop=False)  # or the last columns would be missing
    print("\n".join(line.rstrip() for line in drawn.get().splitlines()))


class Meter:
    """A progress bar on a terminal, a line now and then elsewhere. A context manager.

    Args:
        what: what is counted, in a word or two.
        total: how many there will be.
        done: how many of them were done before.
    """

    def __init__(self, what: str, total: int, done: int = 0):
        self.what, self.total, self.done = what, total, done
        self.console = Console(stderr=True)
        columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,}/{task.total:,}")
        note = TextColumn("{task.fields[note]}")
        self.bar = Progress(*columns, note, TimeRemainingColumn(), console=self.console, transient=True)
        self.task = self.bar.add_task(what, total=total, completed=done, note="")
        self.last = time.monotonic()
        self.first: tuple[float, int] | None = None

    def __enter__(self) -> Meter:
        if self.console.is_terminal:
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.console.is_terminal:
            self.bar.stop()

    def advance(self, count: int, note: str = "") -> None:
        """Count some more as done."""
        self.done += count
        if self.console.is_terminal:
            self.bar.update(self.task, advance=count, note=note)
            return
        now = time.monotonic()
        if self.first is None:  # what comes first takes longer: graphs are traced
            self.first = now, self.done
        elif now - self.last >= QUIET_SECONDS and self.first[1] < self.done < self.total:
            self.last = now
            since, before = self.first
            left = (now - since) * (self.total - self.done) / (self.done - before)
            parts = [
                f"{self.what} {self.done:,}/{self.total:,}",
                note,
                f"{left:.0f} s left" if left < 90 else f"{left / 60:.0f} min left",
            ]
            say(" · ".join(part for part in parts if part))
