"""The table of encoders, compared with KerasHub's presets and with configs/README.md."""

import sys
from pathlib import Path

import keras_hub
import pytest

from tfsent.encoders import catalogue
from tfsent.recipe.loader import load_config, recipes
from tfsent.recipe.schema import is_encoder

CONFIGS = Path(__file__).parents[2] / "configs"
sys.path.insert(0, str(Path(__file__).parents[2] / "docs"))
import build_tables  # noqa: E402


def test_entries_are_encoders_and_unique():
    uris = [entry.uri for entry in catalogue.ENTRIES]
    assert all(map(is_encoder, uris))
    assert len(set(uris)) == len(uris)


@pytest.mark.parametrize("entry", [e for e in catalogue.ENTRIES if e.uri.startswith("keras:")], ids=lambda e: e.uri)
def test_presets_match_keras_hub(entry):
    families = keras_hub.models.BertBackbone, keras_hub.models.DistilBertBackbone, keras_hub.models.ElectraBackbone
    presets = {name: about["metadata"] for family in families for name, about in family.presets.items()}
    assert presets[entry.uri.removeprefix("keras:")]["params"] == entry.parameters


@pytest.mark.parametrize("entry", catalogue.ENTRIES, ids=lambda e: e.uri)
def test_parameters_follow_from_the_shape(entry):
    """Count the weights of BERT; what is left must be a known vocabulary."""
    layers, h = entry.shape
    narrow = "electra_small" in entry.uri
    width = 128 if narrow else h
    inner = 4 * h
    layer = 4 * (h * h + h) + 2 * h * inner + inner + h + 4 * h
    # Segments, the norm, and pooler; DistilBERT has neither segments nor pooler.
    pooled = "distilbert" not in entry.uri and "distil_bert" not in entry.uri
    rest = 512 * width + 2 * width + (2 * width + h * h + h if pooled else 0)
    rest += width * h + h if narrow else 0
    vocabulary, left = divmod(entry.parameters - layers * layer - rest, width)
    assert left == 0
    assert vocabulary in ((28996, 119547) if entry.cased else (30522,))


def test_page_is_made_from_the_table():
    page = (CONFIGS / "README.md").read_text(encoding="utf-8")
    assert build_tables.encoders() in page, "make docs"


def test_recipes_and_table_name_the_same_encoders():
    known = recipes()
    for name in ("imdb-hub-small-bert", "imdb-bert-base", "imdb-minilm", "imdb-distilbert"):
        assert catalogue.find(load_config(name).encoder), name
    assert not [e for e in catalogue.ENTRIES if "recipe " in e.good_for and e.good_for.split("recipe ")[1] not in known]


def test_an_entry_is_found_with_layers_chosen_and_without_its_revision():
    minilm = catalogue.find("pypi:minilm-l6")
    assert catalogue.find("pypi:minilm-l6#layers=0,2,4") is minilm
    with_revision = catalogue.find("hf:microsoft/xtremedistil-l6-h384-uncased@refs/pr/1")
    assert catalogue.find("hf:microsoft/xtremedistil-l6-h384-uncased") is with_revision
    assert catalogue.find("hf:microsoft/xtremedistil-l6-h384-uncased@main") is None
    assert catalogue.find("path:pypi:minilm-l6") is None
