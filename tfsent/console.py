"""What a person sees: messages and progress bars on standard error, tables on standard output."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import click

WIDTH = 100
"""Columns of a table where there is no terminal."""
LINE_SECONDS = 30
"""Where standard error is not a terminal, a progress bar prints a line this often."""


class _Lines(logging.Handler):
    """Writes messages to standard error as bare lines."""

    def emit(self, record: logging.LogRecord) -> None:
        click.echo(record.getMessage(), err=True)


def show_messages() -> None:
    """Print tfsent's log messages from level INFO up on standard error. The command line calls this once."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # PYTHONIOENCODING=ascii must not end a command
    logger = logging.getLogger("tfsent")
    if not any(isinstance(handler, _Lines) for handler in logger.handlers):
        logger.addHandler(_Lines())
    logger.setLevel(logging.INFO)
    logger.propagate = False  # absl, which TensorFlow loads, gives the root logger a handler of its own


def progress_bar(description: str, total: int, done: int = 0) -> Any:
    """Return a `tqdm` bar on standard error, for use as a context manager: `update(n)`, `set_postfix_str(text)`.

    On a terminal the bar disappears when it is closed. Elsewhere it is a plain line every `LINE_SECONDS`.

    Args:
        description: what is counted, in a word or two.
        total: how many there will be.
        done: how many of them were done before.
    """
    from tqdm import tqdm

    terminal = sys.stderr.isatty()
    return tqdm(
        desc=description,
        total=total,
        initial=done,
        leave=False,
        file=sys.stderr if terminal else _LineFile(),
        mininterval=0.1 if terminal else LINE_SECONDS,
        miniters=None if terminal else 1,
        delay=0 if terminal else LINE_SECONDS,
        bar_format=None if terminal else "{desc} {n_fmt}/{total_fmt} · {remaining} left{postfix}",
        dynamic_ncols=terminal,
    )


class _LineFile:
    """Turns tqdm's carriage returns into lines, for a log file."""

    def write(self, text: str) -> None:
        if line := text.strip("\r\n "):
            print(line, file=sys.stderr, flush=True)

    def flush(self) -> None:
        sys.stderr.flush()


def print_table(title: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table for people: the first column left, the others right. Without a terminal it is 100 columns wide."""
    try:
        from rich.box import SIMPLE_HEAD
        from rich.cells import cell_len
        from rich.console import Console
        from rich.table import Table
    except ModuleNotFoundError:  # on an edge device
        for row in (header, *rows):
            print("  ".join(map(str, row)))
        return
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
    console = Console(width=None if sys.stdout.isatty() else WIDTH, markup=False, emoji=False, highlight=False)
    with console.capture() as drawn:
        console.print(table, crop=False)  # or the last columns would be missing
    print("\n".join(line.rstrip() for line in drawn.get().splitlines()))
