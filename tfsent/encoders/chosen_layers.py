"""Some layers of an encoder, such as every other one: where a smaller student begins (`#layers=0,2,4` in a URI)."""

from __future__ import annotations

import re

from tfsent.errors import EncoderError
from tfsent.model import bert
from tfsent.recipe.encoder_uri import split_layers


def whole_and_layers(uri: str) -> tuple[str, tuple[int, ...] | None]:
    """Return the URI of the whole checkpoint, and which of its layers are chosen; None: all of them.

    Raises:
        EncoderError: what follows the `#` chooses no layers.
    """
    try:
        return split_layers(uri)
    except ValueError as error:
        raise EncoderError(f"{uri}: {error}.") from error


def take_layers(backbone: bert.BertEncoder, layers: tuple[int, ...], uri: str) -> bert.BertEncoder:
    """Return an encoder of some layers. Its embeddings, pooler and precision are those of the whole.

    Args:
        backbone: the whole.
        layers: counted from 0.
        uri: names the encoder in the error.

    Raises:
        EncoderError: the whole does not have one of the layers.
    """
    last = backbone.num_layers - 1
    if missing := [layer for layer in layers if layer > last]:
        raise EncoderError(
            f"{uri}: expected layers from 0 to {last}, for the checkpoint has {last + 1}. Received: layer {missing[0]}."
        )
    shaped = bert.BertEncoder.from_config({**backbone.get_config(), "num_layers": len(layers)})
    for layer in shaped.layers:
        numbered = re.fullmatch(r"transformer_layer_(\d+)", layer.name)
        name = f"transformer_layer_{layers[int(numbered[1])]}" if numbered else layer.name
        if layer.weights:  # additions have none, and their names are counted anew
            bert.copy_weights(backbone.get_layer(name), layer)
    return shaped
