"""Encoders worth knowing, for `tfsent encoders ls` and configs/README.md. Any other URI of `hubs.py` works as well.

Parameters are those of the encoder without heads. Accuracies are quoted with their source.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from tfsent.recipe.encoder_uri import without_layers


@dataclass(frozen=True)
class Entry:
    """An encoder."""

    uri: str
    name: str
    shape: tuple[int, int]
    """Layers, hidden size."""
    parameters: int
    good_for: str
    accuracy: str = ""
    """On IMDb's test split, with its source."""
    cased: bool = False
    languages: str = "English"
    licence: str = "Apache-2.0"

    @property
    def megabytes(self) -> int:
        """The size of the download, estimated: four bytes a parameter."""
        return round(self.parameters * 4 / 1e6)

    def to_dict(self) -> dict[str, Any]:
        """Return the entry ready for JSON."""
        return {**asdict(self), "megabytes": self.megabytes}


ENTRIES = (
    Entry(
        "pypi:minilm-l6",
        "MiniLM-L6, all-MiniLM-L6-v2",
        (6, 384),
        22_713_216,
        "the default: needs only a Python package index; server and phone",
        "93.1% at 512 tokens, 92.6% at 256 (tfsent)",
    ),
    Entry(
        "hf:sentence-transformers/all-MiniLM-L12-v2",
        "MiniLM-L12, all-MiniLM-L12-v2",
        (12, 384),
        33_360_000,
        "twice the layers and the time of MiniLM-L6",
        "92.3% (a public model card of MiniLM-L12)",
    ),
    Entry(
        "hf:microsoft/xtremedistil-l6-h384-uncased@refs/pr/1",
        "XtremeDistil, 6 layers of 384",
        (6, 384),
        22_713_216,
        "the shape of MiniLM-L6, by another way of distilling; model.safetensors is in pull request 1 alone",
        licence="MIT",
    ),
    Entry(
        "hf:microsoft/xtremedistil-l6-h256-uncased@refs/pr/1",
        "XtremeDistil, 6 layers of 256",
        (6, 256),
        12_750_080,
        "56% of MiniLM-L6; tfsent has not seen whether pull request 1 holds the model.safetensors it announces",
        licence="MIT",
    ),
    Entry(
        "keras:bert_tiny_en_uncased",
        "BERT tiny",
        (2, 128),
        4_385_920,
        "the smallest phones and the first try of a pipeline",
        "88% at 512 tokens (keras.io)",
    ),
    Entry(
        "tfhub:tensorflow/small_bert/bert_en_uncased_L-4_H-512_A-8/1",
        "small BERT L-4 H-512",
        (4, 512),
        28_763_648,
        "the encoder of the TensorFlow tutorial: recipe imdb-hub-small-bert",
        "85.5% at 128 tokens (the tutorial)",
    ),
    Entry(
        "keras:bert_small_en_uncased",
        "small BERT L-4 H-512",
        (4, 512),
        28_763_648,
        "the same encoder as a KerasHub preset from Kaggle",
    ),
    Entry(
        "keras:electra_small_discriminator_uncased_en",
        "ELECTRA small",
        (12, 256),
        13_548_800,
        "a small download, 60% of MiniLM-L6, with twice the layers",
    ),
    Entry(
        "hf:distilbert/distilbert-base-uncased",
        "DistilBERT",
        (6, 768),
        66_362_880,
        "most of BERT-base at half its time: recipe imdb-distilbert",
        "92.8% (Sanh et al. 2019)",
    ),
    Entry(
        "hf:google-bert/bert-base-uncased",
        "BERT base",
        (12, 768),
        109_482_240,
        "the reference on a server with a GPU: recipe imdb-bert-base",
        "94.6% at 512 tokens (Sun et al. 2019)",
    ),
    Entry(
        "hf:google-bert/bert-base-cased",
        "BERT base, cased",
        (12, 768),
        108_310_272,
        "texts whose capitals carry meaning",
        cased=True,
    ),
    Entry(
        "keras:electra_base_discriminator_uncased_en",
        "ELECTRA base",
        (12, 768),
        109_482_240,
        "the size of BERT base, ahead of it on GLUE (Clark et al. 2020)",
    ),
    Entry(
        "keras:bert_large_en_uncased",
        "BERT large",
        (24, 1024),
        335_141_888,
        "the highest accuracy; needs a GPU with 16 GB or more",
    ),
    Entry(
        "keras:distil_bert_base_multi",
        "DistilBERT multilingual",
        (6, 768),
        134_734_080,
        "many languages with fewer layers",
        cased=True,
        languages="104 languages",
    ),
    Entry(
        "hf:google-bert/bert-base-multilingual-cased",
        "BERT base multilingual",
        (12, 768),
        177_853_440,
        "many languages",
        cased=True,
        languages="104 languages",
    ),
)


def find(uri: str) -> Entry | None:
    """Return the entry of a URI, None where there is none. Some layers of a checkpoint have the entry of the whole."""
    whole = without_layers(uri)
    return next((entry for entry in ENTRIES if whole in (entry.uri, entry.uri.partition("@")[0])), None)
