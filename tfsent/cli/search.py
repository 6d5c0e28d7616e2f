"""Commands that look for settings: lr-find, tune."""

from __future__ import annotations

import json
from pathlib import Path

import click

from tfsent.api import training
from tfsent.cli.inputs import json_option, set_option
from tfsent.errors import ConfigError


@click.command("lr-find", short_help="Sweep the learning rate and suggest one.")
@click.argument("recipe")
@set_option
@click.option("--steps", type=click.IntRange(50), default=100, show_default=True, help="Batches to sweep over.")
@click.option("--png", type=click.Path(path_type=Path), help="Where to draw it.  [default: lr-find-RECIPE.png]")
@json_option
def lr_find(recipe: str, overrides: tuple[str, ...], steps: int, png: Path | None, as_json: bool) -> None:
    """Train RECIPE on a few batches while the learning rate rises, and suggest the rate where the loss falls fastest.

    The rate rises from 1e-6 to 1e-2, on one device, over at most as many batches as the recipe trains on. The sweep
    takes a minute or two where a training takes an hour. Its suggestion is a starting point; `tfsent tune` searches
    around it.

    \b
      tfsent lr-find quickstart
      tfsent train quickstart --set train.learning_rate=1e-4
    """
    png = png or Path(f"lr-find-{Path(recipe).stem}.png")
    if png.suffix.lower() != ".png" or png.is_dir():
        raise ConfigError(f"--png expects the name of a .png file. Received: {png}.")
    try:
        png.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--png: no folder can be made at {png.parent}: {error.strerror}.") from error
    result = training.find_learning_rate(recipe, overrides, steps=steps, png=png)
    from tfsent.cli import tables

    if as_json:
        click.echo(json.dumps(result.to_dict(), indent=2))
    else:
        tables.print_sweep(result, " ".join([recipe, *(f"--set {override}" for override in overrides)]), png)


@click.command(short_help="Search better settings of a recipe, trial by trial.")
@click.argument("recipe")
@set_option
@click.option("--trials", type=click.IntRange(1), required=True, help="How many in all, earlier trials included.")
@click.option(
    "--dir", "folder", type=click.Path(path_type=Path), help="Where the trials go.  [default: runs/RECIPE.tune]"
)
@json_option
def tune(recipe: str, overrides: tuple[str, ...], trials: int, folder: Path | None, as_json: bool) -> None:
    """Train RECIPE with other settings, trial by trial, and write the best settings as a recipe.

    The search covers the learning rate (1e-5 to 4e-4), the batch (2,048 to 8,192 tokens), epochs (1 to 3), dropout
    before the head (0 to 0.3) and truncation; with train.freeze_encoder rates from 3e-4 to 3e-2 and 5 to 20 epochs.
    Keys that --set names stay fixed. The validation metric train.select_by decides; the test reviews are not used.
    Trials that fall behind are stopped early, and models are not kept. The same command continues an earlier search.

    \b
      tfsent tune quickstart --trials 20
      tfsent train runs/quickstart.tune/best.yaml --run-dir runs/tuned
    """
    folder = folder or Path("runs") / f"{Path(recipe).stem}.tune"
    result = training.tune(recipe, overrides, trials=trials, folder=folder)
    from tfsent.cli import tables

    if as_json:
        click.echo(json.dumps(result.to_dict(), indent=2))
    else:
        tables.print_trials(result, folder)


COMMANDS = (lr_find, tune)
