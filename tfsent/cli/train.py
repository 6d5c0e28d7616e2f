"""The command `tfsent train`."""

from __future__ import annotations

from pathlib import Path

import click

from tfsent.api import training
from tfsent.cli.inputs import set_option
from tfsent.errors import ConfigError


@click.command(short_help="Fine-tune by a recipe, or resume with --resume.")
@click.argument("recipe", required=False)
@set_option
@click.option(
    "--run-dir", type=click.Path(path_type=Path), help="Where to put the run.  [default: runs/NAME-OF-THE-RECIPE]"
)
@click.option(
    "--overwrite", is_flag=True, help="Replace an existing run. It is kept as RUN.old until the new one is finished."
)
@click.option("--resume", type=click.Path(path_type=Path), metavar="RUN", help="Continue the training in RUN.")
@click.option(
    "--seeds", metavar="1,2,3", help="Train once with each seed; print mean and spread, keep the best by validation."
)
def train(
    recipe: str | None,
    overrides: tuple[str, ...],
    run_dir: Path | None,
    overwrite: bool,
    resume: Path | None,
    seeds: str | None,
) -> None:
    """Fine-tune by RECIPE: the name of a recipe (`tfsent recipes ls`), or a path to a YAML file.

    Writes a run directory with everything the other commands need. Ctrl-C finishes the current step and saves the
    model as it is; a second Ctrl-C quits at once. SIGTERM writes a checkpoint and exits with 75. `--resume RUN`
    continues from the newest checkpoint, or from the beginning where there is none, and exits with 0 once the run is
    finished: a scheduler may repeat it. On a CPU with one thread (TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1)
    the weights are bit for bit those of an uninterrupted training.

    \b
      tfsent train quickstart
      tfsent train imdb --set data.dir=~/tensorflow_datasets --set text.max_tokens=256 --run-dir runs/short
      tfsent train --resume runs/short
      tfsent train quickstart --seeds 1,2,3      one run each: runs/quickstart/seed-1, seed-2, seed-3
    """
    if recipe is None and resume is None:
        raise ConfigError("Name a recipe (`tfsent recipes ls` lists them), or pass --resume RUN.")
    if resume is not None:
        _require_resume_alone(run_dir is not None or overwrite, seeds is not None, recipe is None and bool(overrides))
    if seeds is not None:
        _train_seeds(recipe or "", parse_seeds(seeds, overrides), overrides, run_dir, overwrite)
        return
    run = training.train(recipe, overrides, run_dir=resume or run_dir, overwrite=overwrite, resume=resume is not None)
    click.echo(f"The model is in {run.path}. Report: {run.path / 'report.html'}. Next: tfsent evaluate {run.path}")


def _train_seeds(
    recipe: str, seeds: list[int], overrides: tuple[str, ...], run_dir: Path | None, overwrite: bool
) -> None:
    from tfsent.cli import tables

    result = training.train_seeds(recipe, seeds, overrides, run_dir=run_dir, overwrite=overwrite)
    tables.print_seeds(result, run_dir or Path("runs") / Path(recipe).stem)


def _require_resume_alone(place: bool, seeds: bool, settings: bool) -> None:
    """Refuse options that do not go with --resume."""
    if place:
        raise ConfigError("--resume continues in the run itself: --run-dir and --overwrite do not go with it.")
    if seeds:
        raise ConfigError(
            "--seeds continues by itself when the same command is given again: --resume does not go with it."
        )
    if settings:
        raise ConfigError("--resume uses the recipe of the run: --set does not go with it.")


def parse_seeds(words: str, overrides: tuple[str, ...]) -> list[int]:
    """Parse `1,2,3`.

    Raises:
        ConfigError: they are not at least two different whole numbers, or --set names a seed of its own.
    """
    if any(override.partition("=")[0].strip() == "train.seed" for override in overrides):
        raise ConfigError("--seeds names the seeds: --set train.seed does not go with it.")
    parts = words.split(",")
    numbers = [int(part) for part in parts if part.strip().isdecimal()]
    if len(numbers) < max(len(parts), 2) or len(set(numbers)) < len(numbers) or max(numbers) >= 2**32:
        raise ConfigError(f"--seeds expects two or more different whole numbers, such as 1,2,3. Received: {words!r}.")
    return numbers


COMMANDS = (train,)
