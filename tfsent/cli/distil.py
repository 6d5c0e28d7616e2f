"""The command `tfsent distil`."""

from __future__ import annotations

from pathlib import Path

import click

from tfsent.api import distilling
from tfsent.cli.inputs import set_option
from tfsent.cli.train import parse_seeds


@click.command(short_help="Train a student on what a teacher says.")
@click.argument("recipe")
@click.option(
    "--teacher",
    "teachers",
    multiple=True,
    required=True,
    metavar="MODEL|TABLE",
    help="A run, bundle, SavedModel or .tflite file; or a table of probabilities. Several are averaged.",
)
@click.option(
    "--unlabelled",
    multiple=True,
    metavar="FILES",
    help="Texts without labels, which the teacher labels: tables, .txt files with a text a line, folders of .txt "
    "files, globs of these; or split:NAME of the recipe's source, or a part of it, 'split:NAME[:30000]'.",
)
@set_option
@click.option(
    "--run-dir", type=click.Path(path_type=Path), help="Where to put the run.  [default: runs/NAME-OF-THE-RECIPE]"
)
@click.option(
    "--overwrite", is_flag=True, help="Replace an existing run. It is kept as RUN.old until the new one is finished."
)
@click.option("--seeds", metavar="1,2,3", help="Train once with each seed, as `tfsent train --seeds`.")
def distil(
    recipe: str,
    teachers: tuple[str, ...],
    unlabelled: tuple[str, ...],
    overrides: tuple[str, ...],
    run_dir: Path | None,
    overwrite: bool,
    seeds: str | None,
) -> None:
    """Train the student of RECIPE on its labelled reviews and on a teacher's probabilities.

    A table is CSV, JSON lines or Parquet with a column of texts (data.text) and a column of probabilities for each
    class: any program can be the teacher. The teacher is asked once; its answers are cached. Temperature and weights
    are in section distil of the recipe (`tfsent config keys`). The run is like any other: if training is interrupted,
    `tfsent train --resume RUN` continues, and with --seeds the same command given again.

    \b
      tfsent distil imdb-tiny --teacher runs/imdb/seed-1 --teacher runs/imdb/seed-2 --unlabelled split:unsupervised
      tfsent distil imdb --teacher probabilities.parquet --unlabelled "texts/*.jsonl" --run-dir runs/student
      tfsent distil imdb --teacher runs/imdb --set "encoder=run:runs/imdb#layers=1,3,5" --run-dir runs/smaller
    """
    if seeds is not None:
        from tfsent.cli import tables

        numbers = parse_seeds(seeds, overrides)
        result = distilling.distil_seeds(
            recipe,
            numbers,
            overrides,
            teacher=teachers,
            unlabelled=unlabelled,
            run_dir=run_dir,
            overwrite=overwrite,
        )
        tables.print_seeds(result, run_dir or Path("runs") / Path(recipe).stem)
        return
    run = distilling.distil(
        recipe, overrides, teacher=teachers, unlabelled=unlabelled, run_dir=run_dir, overwrite=overwrite
    )
    click.echo(f"The student is in {run.path}. Report: {run.path / 'report.html'}. Next: tfsent evaluate {run.path}")


COMMANDS = (distil,)
