"""What may follow the URI of an encoder."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfsent.recipe.encoder_uri import split_layers, without_layers


@pytest.mark.parametrize(
    ("uri", "whole", "layers"),
    [
        ("pypi:minilm-l6", "pypi:minilm-l6", None),
        ("pypi:minilm-l6#layers=0,2,4", "pypi:minilm-l6", (0, 2, 4)),
        ("hf:owner/name@refs/pr/1#layers=11", "hf:owner/name@refs/pr/1", (11,)),
        ("path:/data/c#/bert", "path:/data/c#/bert", None),
        ("path:/data/c#", "path:/data/c#", None),
        ("path:/data/c#/bert#layers=0,1", "path:/data/c#/bert", (0, 1)),
        ("run:runs/#1#layers=0", "run:runs/#1", (0,)),
        ("path:/data/layers=0", "path:/data/layers=0", None),
    ],
)
def test_a_uri_is_split(uri, whole, layers):
    assert split_layers(uri) == (whole, layers)
    assert without_layers(uri) == whole


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        *(
            (f"pypi:minilm-l6#layers={words}", "expected numbers of layers after #layers=, counted from 0, such as")
            for words in ("", "first", "0,,2", "0, 2", "-1", "0-3", "00", "٣", "0\n", "9999", "0#layers=1", "0/bert")
        ),
        ("path:/data/a#layers=0/bert", "expected numbers of layers after #layers=, counted from 0, such as #layers=0"),
        ("path:/data/a#layers=0,2,0", "layer 0 is listed twice; expected each layer once, such as #layers=0,2,4"),
        ("path:/data/a#layers=4,2,0", "expected the layers in the order of the checkpoint, #layers=0,2,4"),
        *(
            (uri, "expected nothing after # but the layers to take, such as #layers=0,2,4")
            for uri in (
                "pypi:minilm-l6#layer=0",
                "hf:o/n#foo",
                "hf:o/n#foo#layers=0",
                "tfhub:https://x/y#",
                "keras:a#b",
            )
        ),
    ],
)
def test_what_chooses_no_layers_is_refused(uri, message):
    with pytest.raises(ValueError, match=message):
        split_layers(uri)


@given(st.sets(st.integers(0, 999), min_size=1, max_size=30), st.text(min_size=1, max_size=20))
def test_any_layers_of_any_folder_are_read_back(layers, folder):
    whole, chosen = f"path:{folder.replace('#layers=', '')}", sorted(layers)
    assert split_layers(f"{whole}#layers={','.join(map(str, chosen))}") == (whole, tuple(chosen))


@given(st.text(max_size=40))
def test_no_text_but_numbers_is_taken(text):
    try:
        whole, layers = split_layers(f"pypi:minilm-l6#{text}")
    except ValueError:
        return
    assert whole == "pypi:minilm-l6"
    assert text == f"layers={','.join(map(str, layers))}"
