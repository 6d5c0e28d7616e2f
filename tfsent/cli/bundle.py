"""The command that makes one file of a run."""

from __future__ import annotations

import json
from pathlib import Path

import click

from tfsent.api import bundling


@click.command(short_help="Make one file of an exported run, to hand on.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, metavar="FILE", help="NAME.tfsent.zip, to write."
)
@click.option("--overwrite", is_flag=True, help="Replace FILE.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def bundle(run: Path, output: Path, overwrite: bool, as_json: bool) -> None:
    """Make one file of RUN, which was exported: the model, the newest exported files, the held-out reviews that they
    were proved on, figures, licences and a bill of materials (CycloneDX).

    `predict`, `evaluate`, `serve` and `bench` take FILE in place of a run. They check every byte of it by its manifest
    first, and unpack it into the cache. The same run in the same environment gives the same bytes.

    The held-out reviews and the golden texts in FILE are texts of your data. Give FILE to people who may read them.

    \b
      tfsent bundle runs/quickstart -o quickstart.tfsent.zip
      tfsent predict quickstart.tfsent.zip "Loved every minute."
      tfsent serve quickstart.tfsent.zip
    """
    result = bundling.bundle(run, output, overwrite)
    if as_json:
        click.echo(json.dumps(result.to_dict(), indent=2))
        return
    click.echo(f"{result.path}: {result.bytes / 1e6:,.1f} MB, {result.files} files, SHA-256 {result.sha256}")
    if result.unknown_licences:
        whose = " and of the ".join(result.unknown_licences)
        click.echo(
            f"The licence of the {whose} is not known. To state it: write {run}/LICENSES.md, and bundle again.",
            err=True,
        )


COMMANDS = (bundle,)
