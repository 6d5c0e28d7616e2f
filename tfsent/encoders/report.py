"""What an encoder is, where it came from, and whether its files are those that were recorded."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from tfsent.encoders import hubs
from tfsent.encoders.chosen_layers import whole_and_layers
from tfsent.encoders.loader import load_encoder
from tfsent.model.bert import has_pooler


@dataclass(frozen=True)
class EncoderReport:
    """What `tfsent encoders check` shows."""

    uri: str
    format: str
    folder: str
    revision: str | None
    parameters: int
    layers: int
    hidden_size: int
    heads: int
    positions: int
    vocabulary: int
    casing: Literal["cased", "uncased"]
    activation: str
    layer_norm_epsilon: float
    pooler: bool
    files: dict[str, str]
    """SHA-256 by name."""
    recorded: Literal["same", "new", "own"]
    """Whether the files were compared with a record, are recorded from now on, or are a folder of your own."""

    def to_dict(self) -> dict[str, Any]:
        """Return the report ready for JSON."""
        return asdict(self)


def check_encoder(uri: str) -> EncoderReport:
    """Open an encoder and compare its files with what was recorded.

    Args:
        uri: see the table in `hubs.py`.

    Raises:
        EncoderError: a file is not what was recorded; and what `load_encoder` raises.
    """
    whole, _ = whole_and_layers(uri)
    recorded: Literal["same", "new", "own"] = "own" if hubs.is_own(whole) else "new" if hubs.is_new(whole) else "same"
    encoder = load_encoder(uri)
    backbone, about = encoder.backbone, encoder.provenance
    return EncoderReport(
        uri=uri,
        format=about["format"],
        folder=about["folder"],
        revision=about["revision"],
        parameters=backbone.count_params(),
        layers=backbone.num_layers,
        hidden_size=backbone.hidden_dim,
        heads=backbone.num_heads,
        positions=backbone.max_sequence_length,
        vocabulary=len(encoder.vocabulary),
        casing="uncased" if encoder.lowercase else "cased",
        activation=backbone.activation,
        layer_norm_epsilon=backbone.layer_norm_epsilon,
        pooler=has_pooler(backbone),
        files=about["files"],
        recorded=recorded,
    )
