"""Commands that look for settings: lr-find, tune."""

from __future__ import annotations

import json
from pathlib import Path

import click

from tfsent.cli.inputs import resolve_config, set_option
from tfsent.errors import ConfigError


@click.command("lr-find", short_help="Sweep the learning rate and suggest one.")
@click.argument("recipe")
@set_option
@click.option("--steps", type=click.IntRange(50), default=100, show_default=True, help="Batches to sweep over.")
@click.option("--png", type=click.Path(path_type=Path), help="Where to draw it.  [default: lr-find-RECIPE.png]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def lr_find(recipe: str, overrides: tuple[str, ...], steps: int, png: Path | None, as_json: bool) -> None:
    """Train RECIPE on a few batches while the learning rate rises, and suggest the one at which the loss falls fastest.

    From 1e-6 to 1e-2, on one device, over at most as many batches as the recipe trains on. Takes a minute or two where
    a training takes an hour. It is where to begin, and not the best rate there is: `tfsent tune` looks for that.

    \b
      tfsent lr-find quickstart
      tfsent train quickstart --set train.learning_rate=1e-4
    """
    config = resolve_config(recipe, overrides)
    png = png or Path(f"lr-find-{Path(recipe).stem}.png")
    if png.suffix.lower() != ".png" or png.is_dir():
        raise ConfigError(f"--png expects the name of a .png file. Received: {png}.")
    try:
        png.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--png: no folder can be made at {png.parent}: {error.strerror}.") from error
    from tfsent import backend

    backend.require_one_process("tfsent lr-find")
    backend.use(config.train.backend)
    from tfsent.cli import tables
    from tfsent.training import learning_rate as finder

    result = finder.find_rate(config, steps, png)
    if as_json:
        click.echo(json.dumps(result, indent=2))
    else:
        tables.print_sweep(result, " ".join([recipe, *(f"--set {override}" for override in overrides)]), png)


@click.command(short_help="Look for better settings of a recipe, trial by trial.")
@click.argument("recipe")
@set_option
@click.option("--trials", type=click.IntRange(1), required=True, help="How many in all, those done before included.")
@click.option(
    "--dir", "folder", type=click.Path(path_type=Path), help="Where the trials go.  [default: runs/RECIPE.tune]"
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def tune(recipe: str, overrides: tuple[str, ...], trials: int, folder: Path | None, as_json: bool) -> None:
    """Train RECIPE with other settings, trial by trial, and write the best ones out as a recipe.

    Learning rate (1e-5 to 4e-4), batch (2,048 to 8,192 tokens), epochs (1 to 3), dropout before the head (0 to 0.3) and
    truncation are chosen by validation accuracy; with train.freeze_encoder rates from 3e-4 to 3e-2 and 5 to 20 epochs.
    What --set names stays as it is. The test reviews are not looked at. Trials that fall behind are ended early, models
    are not kept, and the same command goes on where the last one ended.

    \b
      tfsent tune quickstart --trials 20
      tfsent train runs/quickstart.tune/best.yaml --run-dir runs/tuned
    """
    config = resolve_config(recipe, overrides)
    from tfsent import backend
    from tfsent.training.engine.interrupts import stop_during_startup

    backend.require_one_process("tfsent tune")
    fixed = [override.partition("=")[0].strip() for override in overrides]
    folder = folder or Path("runs") / f"{Path(recipe).stem}.tune"
    with stop_during_startup() as asked:
        backend.use(config.train.backend)
        from tfsent.cli import tables
        from tfsent.training import tuning as tuner

        result = tuner.tune(config, folder, trials, fixed, asked=asked)
    if as_json:
        click.echo(json.dumps(result, indent=2))
    else:
        tables.print_trials(result, folder)


COMMANDS = (lr_find, tune)
