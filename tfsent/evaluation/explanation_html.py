"""Explanations → one HTML file without scripts, which needs nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib.resources import files
from string import Template

from tfsent.evaluation.explanation import Explanation
from tfsent.evaluation.explanation_parts import FAINTEST, remarks, stretches, strongest, summary


def page(explanations: Sequence[Explanation]) -> str:
    """Return the HTML of explanations. Texts and names of classes are escaped."""
    source = files("tfsent.evaluation").joinpath("explanation.html").read_text(encoding="utf-8")
    return Template(source).substitute(sections="\n".join(map(_section, explanations)))


def _section(found: Explanation) -> str:
    largest = max((abs(word.score) for word in found.words), default=0.0)
    text = "".join(_marked(part, score, largest) for part, score in stretches(found))
    rows = "".join(
        f"<tr><td>{escape(word)}</td><td>{score:+.3f}</td></tr>"
        for sign in (1, -1)
        for word, score in strongest(found, sign, 10)
    )
    return (
        f'<section>\n<h2>{escape(summary(found))}</h2>\n<p class="text" dir="auto">{text}</p>\n'
        f"<p>{escape(remarks(found))}</p>\n<details><summary>The strongest words</summary>\n<table>"
        f"<thead><tr><th>word</th><th>score</th></tr></thead><tbody>{rows}</tbody></table></details>\n</section>"
    )


def _marked(part: str, score: float | None, largest: float) -> str:
    if score is None:
        return f'<s title="cut">{escape(part)}</s>' if part else ""
    if not largest or abs(score) < FAINTEST * largest:
        return escape(part)
    kind = "for" if score > 0 else "against"
    strength = f"{abs(score) / largest:.2f}"
    return f'<mark class="{kind}" style="--s:{strength}" title="{score:+.3f}">{escape(part)}</mark>'
