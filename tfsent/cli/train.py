"""The command `tfsent train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tfsent.cli.inputs import resolve_config, set_option
from tfsent.errors import ConfigError

if TYPE_CHECKING:
    from tfsent.recipe.schema import Config
    from tfsent.training.engine.interrupts import StopRequest


@click.command(short_help="Fine-tune by a recipe, or go on with --resume.")
@click.argument("recipe", required=False)
@set_option
@click.option(
    "--run-dir", type=click.Path(path_type=Path), help="Where to put the run.  [default: runs/NAME-OF-THE-RECIPE]"
)
@click.option(
    "--overwrite", is_flag=True, help="Replace a run that is there; it is kept until the new one is finished."
)
@click.option("--resume", type=click.Path(path_type=Path), metavar="RUN", help="Go on with a training that was ended.")
@click.option(
    "--seeds", metavar="1,2,3", help="Train once with each seed; say mean and spread, keep the best by validation."
)
def train(
    recipe: str | None,
    overrides: tuple[str, ...],
    run_dir: Path | None,
    overwrite: bool,
    resume: Path | None,
    seeds: str | None,
) -> None:
    """Fine-tune by RECIPE: the name of one (`tfsent recipes ls`), or a path to a YAML file.

    Writes a run directory with everything the other commands need. Ctrl-C ends training after the step at hand and
    saves what was learnt; a second Ctrl-C quits at once. SIGTERM writes a checkpoint and exits with 75. However a
    training ended, --resume goes on from its newest checkpoint (train.checkpoint_minutes): on a CPU with one thread
    (TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1) the weights are bit for bit those of an uninterrupted training.

    \b
      tfsent train quickstart
      tfsent train imdb --set data.dir=~/tensorflow_datasets --set text.max_tokens=256 --run-dir runs/short
      tfsent train --resume runs/short
      tfsent train quickstart --seeds 1,2,3      the others lie in runs/quickstart.seeds
    """
    if recipe is None and resume is None:
        raise ConfigError("Name a recipe (`tfsent recipes ls` lists them), or pass --resume RUN.")
    if resume is not None:
        _require_alone(run_dir is not None or overwrite, seeds is not None, recipe is None and bool(overrides))
    if seeds is not None and any(override.partition("=")[0].strip() == "train.seed" for override in overrides):
        raise ConfigError("--seeds says which seeds: --set train.seed does not go with it.")
    numbers = _seeds(seeds) if seeds is not None else []
    config = resolve_config(recipe, overrides) if recipe is not None else None
    run = resume or run_dir or Path("runs") / Path(recipe or "").stem
    from tfsent.training.engine.interrupts import stop_during_startup

    with stop_during_startup() as asked:
        if config is None or resume is not None:
            _resume(run, config, asked)
        elif numbers:
            _train_seeds(config, run, numbers, overwrite, asked)
            return
        else:
            _train(config, run, overwrite, asked)
    click.echo(f"The model is in {run}. Next: tfsent evaluate {run}")


def _require_alone(place: bool, seeds: bool, settings: bool) -> None:
    """What does not go with --resume."""
    if place:
        raise ConfigError("--resume goes on in the run itself: --run-dir and --overwrite do not go with it.")
    if seeds:
        raise ConfigError(
            "--seeds goes on by itself when the same command is given again: --resume does not go with it."
        )
    if settings:
        raise ConfigError("--resume goes on by the recipe training began with: --set does not go with it.")


def _train(config: Config, run: Path, overwrite: bool, asked: StopRequest) -> None:
    from tfsent import backend

    backend.use(config.train.backend)
    from tfsent.training import finetune as trainer

    trainer.train(config, run, overwrite=overwrite, asked=asked)


def _resume(run: Path, config: Config | None, asked: StopRequest) -> None:
    from tfsent import backend
    from tfsent.recipe.loader import load_config
    from tfsent.storage.run_directory import require_unfinished

    backend.use(load_config(require_unfinished(run) / "config.yaml").train.backend)
    from tfsent.training import finetune as trainer

    trainer.resume(run, config, asked=asked)


def _train_seeds(config: Config, run: Path, seeds: list[int], overwrite: bool, asked: StopRequest) -> None:
    from tfsent import backend

    backend.require_one_process("--seeds")
    backend.use(config.train.backend)
    from tfsent.cli import tables
    from tfsent.training.seeds import train_seeds

    tables.print_seeds(train_seeds(config, run, seeds, overwrite=overwrite, asked=asked), run)


def _seeds(words: str) -> list[int]:
    """`1,2,3` → numbers.

    Raises:
        ConfigError: they are not at least two whole numbers, all different.
    """
    parts = words.split(",")
    numbers = [int(part) for part in parts if part.strip().isdecimal()]
    if len(numbers) < max(len(parts), 2) or len(set(numbers)) < len(numbers) or max(numbers) >= 2**32:
        raise ConfigError(f"--seeds expects two or more different whole numbers, such as 1,2,3. Received: {words!r}.")
    return numbers


COMMANDS = (train,)
