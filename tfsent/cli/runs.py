"""The command on all runs: `tfsent runs ls`."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tfsent.console import print_table

if TYPE_CHECKING:
    from tfsent.storage.run_list import RunFigures


@click.group()
def runs() -> None:
    """The runs that `tfsent train` made."""


@runs.command("ls", short_help="List runs with their figures, the best first.")
@click.argument("folder", metavar="[DIR]", default="runs", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def runs_ls(folder: Path, as_json: bool) -> None:
    """List all runs below DIR (default: runs) with their figures, the best first.

    They are sorted by test accuracy, then by validation accuracy. Choose by validation: whoever chooses by test has no
    unseen reviews left to report on. Figures of different test reviews cannot be compared; `tfsent compare` compares
    two models on the same ones.

    \b
      tfsent runs ls
      tfsent runs ls experiments --json
    """
    from tfsent.storage.run_list import list_runs

    found = list_runs(folder)
    if as_json:
        click.echo(json.dumps([one.to_dict() for one in found], indent=2))
    elif found:
        print_runs(found)
    else:
        click.echo(f"There is no run below {folder}. `tfsent train quickstart` makes a first one.")


def print_runs(found: Sequence[RunFigures]) -> None:
    """Print a line for each run, and what is damaged."""
    header = ("run", "encoder, tokens", "reviews", "epochs", "best val.", "test (95%)", "calibr. error")
    print_table("", (*header, "server", "phone", "state, date"), [_row(one) for one in found])
    if any(one.exported for one in found):
        click.echo("server, phone: whether what `tfsent export` made for serving and mobile may ship.")
    for one in found:
        for name in one.damaged:
            click.echo(f"{one.run} is damaged: {name}")


def _row(one: RunFigures) -> tuple[str, ...]:
    return (
        one.run,
        _encoder(one),
        _count(one.training_reviews),
        _count(one.epochs),
        _percent(one.validation_accuracy),
        _test(one),
        _percent(one.calibration_error),
        *(_ships(one.exported.get(target)) for target in ("serving", "mobile")),
        f"{'damaged' if one.damaged else one.state} {one.date[:10]}",
    )


def _encoder(one: RunFigures) -> str:
    if one.encoder is None:
        return "–"
    name = re.sub(r"@[^#]*", "", one.encoder) if one.encoder.startswith("hf:") else one.encoder
    return f"{name.rpartition('/')[2].rpartition(':')[2]}, {_count(one.max_tokens)}"


def _ships(passed: bool | None) -> str:
    return "–" if passed is None else "ships" if passed else "NO"


def _test(one: RunFigures) -> str:
    if one.test_accuracy is None or one.test_interval is None:
        return "–"
    low, high = one.test_interval
    return f"{one.test_accuracy:.2%} ({100 * low:.1f}–{100 * high:.1f})"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.2%}"


def _count(number: int | None) -> str:
    return "–" if number is None else f"{number:,}"


COMMANDS = (runs,)
