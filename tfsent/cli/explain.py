"""The command that shows which words made a model answer as it did."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from tfsent.evaluation.explanation import Explanation

TOP_WORDS = 8
"""Rows of the table of the strongest words."""


@click.command(short_help="Show which words made a run answer as it did.")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("texts", nargs=-1, required=True, metavar="TEXT...")
@click.option("--label", metavar="CLASS", help="The class to be explained.  [default: the predicted one]")
@click.option("--html", type=click.Path(path_type=Path), metavar="FILE", help="Write a page for a browser, too.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def explain(model: Path, texts: tuple[str, ...], label: str | None, html: Path | None, as_json: bool) -> None:
    """Show which words of each TEXT made MODEL, a run, answer as it did (integrated gradients).

    Blue words speak for the class, orange ones against it; underlined ones are the strongest. The scores of all words
    add up to how far the text moves the log odds of the class. docs/explaining.md says what they do not mean. A text
    that begins with a dash comes after `--`.

    \b
      tfsent explain runs/quickstart "Not bad at all."
      tfsent explain runs/quickstart "Not bad at all." --label negative --html why.html
    """
    from tfsent.api import explaining
    from tfsent.console import progress_bar

    with progress_bar("explaining", len(texts)) as bar:
        found = explaining.explain(model, texts, label=label, advance=bar.update)
    if html is not None:
        from tfsent.evaluation.explanation_html import page
        from tfsent.storage import atomic

        atomic.write_text(html, page(found))
    if as_json:
        for one in found:
            click.echo(json.dumps(one.to_dict()))
        return
    for one in found:
        print_explanation(one)
    if html is not None:
        click.echo(f"Page: {html}")


def print_explanation(found: Explanation) -> None:
    """Print a text with its words in colour where there is a terminal, and the strongest words everywhere."""
    from rich.console import Console
    from rich.text import Text

    from tfsent.console import WIDTH, print_table
    from tfsent.evaluation import explanation_parts as parts

    largest = max((abs(word.score) for word in found.words), default=0.0)
    text = Text()
    for part, score in parts.stretches(found):
        text.append(part, _style(score, largest))
    click.echo(parts.summary(found))
    click.echo()
    Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False).print(text)
    click.echo()
    both = itertools.zip_longest(*(parts.strongest(found, sign, TOP_WORDS) for sign in (1, -1)), fillvalue=("", 0.0))
    rows = [(left, f"{a:+.2f}" if left else "", right, f"{b:+.2f}" if right else "") for (left, a), (right, b) in both]
    print_table("", (f"for {found.label}", "score", "against", "score"), rows)
    click.echo(parts.remarks(found))
    click.echo()


def _style(score: float | None, largest: float) -> str:
    """Return rich's style of a word: of three strengths, so that 16 colours are enough."""
    from tfsent.evaluation.explanation_parts import FAINTEST

    if score is None:
        return "dim strike"
    if not largest or abs(score) < FAINTEST * largest:
        return ""
    colour = "dodger_blue1" if score > 0 else "dark_orange"
    return f"bold underline {colour}" if abs(score) > largest / 2 else colour


COMMANDS = (explain,)
