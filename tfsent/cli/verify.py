"""The command `tfsent verify`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tfsent.api import verifying
from tfsent.console import print_table
from tfsent.errors import BudgetError

if TYPE_CHECKING:
    from tfsent.exporting.verification import Verification


@click.command(short_help="Prove that exported files are what the model says, and may ship.")
@click.argument("run", metavar="RUN|BUNDLE", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def verify(run: Path, as_json: bool) -> None:
    """Verify RUN, or a BUNDLE, and every file that was exported from it: of SavedModels the newest version.

    Each file goes through its own runtime on held-out reviews and on golden.jsonl, and is held to the budgets that it
    was exported with. Its hashes, operators, labels, vocabulary, truncation and decision are compared with those of the
    model as it is: what was exported before the model changed does not pass.

    Exit code 1 where a check fails, or where nothing is exported.

    \b
      tfsent verify runs/quickstart
      tfsent verify quickstart.tfsent.zip
    """
    try:
        found = verifying.verify(run)
    except BudgetError as error:
        _print(error.report, as_json)
        raise
    _print(found, as_json)


def _print(found: Verification, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(found.to_dict(), indent=2))
        return
    click.echo(f"{found.reviews:,} held-out reviews and {found.golden:,} golden texts")
    rows = [(check.artifact, check.name, "ok" if check.passed else "FAILED") for check in found.checks]
    print_table("", ("artifact", "check", "result"), rows)
    if found.files:
        click.echo()
        print_table(
            "Against the trained model",
            ("file", "flipped", "accuracy", "change", "ms a review"),
            [
                (
                    one.artifact,
                    f"{one.flips:.2%}",
                    f"{one.accuracy:.2%}",
                    f"{0.0 - one.accuracy_drop * 100:+.2f} pt",
                    f"{one.latency_ms:.1f}",
                )
                for one in found.files
            ],
        )
    if found.passed:
        click.echo("All checks passed: it may ship.")


COMMANDS = (verify,)
