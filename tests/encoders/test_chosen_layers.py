"""Some layers of a checkpoint, compared with BERT in NumPy, which is given these layers alone, and with the whole."""

import json

import keras
import numpy as np
import pytest
from numpy_bert import numpy_bert
from safetensors.numpy import load_file, save_file
from tiny import VOCABULARY, write_electra, write_encoder, write_preset

from tfsent.encoders import hubs
from tfsent.encoders.loader import load_encoder
from tfsent.encoders.report import check_encoder
from tfsent.errors import EncoderError
from tfsent.inference.keras_run import KerasPredictor
from tfsent.recipe.loader import load_config


def inputs_of(rows=3, length=12):
    token_ids = np.random.default_rng(1).integers(0, len(VOCABULARY), (rows, length))
    mask = np.arange(length) < np.linspace(2, length, rows).astype(int)[:, None]
    return {"token_ids": token_ids, "segment_ids": np.zeros_like(token_ids), "padding_mask": mask}


def without_other_layers(folder, layers, target):
    """Write the checkpoint again with these layers alone, numbered anew."""
    target.mkdir()
    for path in folder.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    config = json.loads((folder / "config.json").read_text())
    (target / "config.json").write_text(json.dumps({**config, "num_hidden_layers": len(layers)}))
    kept = {}
    for name, array in load_file(folder / "model.safetensors").items():
        parts = name.split(".")
        if parts[:2] == ["encoder", "layer"]:
            if int(parts[2]) not in layers:
                continue
            parts[2] = str(layers.index(int(parts[2])))
        kept[".".join(parts)] = array
    save_file(kept, target / "model.safetensors")
    return target


@pytest.fixture(scope="module")
def deep(tmp_path_factory):
    """A checkpoint of 6 layers with an epsilon and an activation of its own."""
    folder = tmp_path_factory.mktemp("deep") / "c#" / "bert"  # a name with a # that chooses nothing
    return write_encoder(folder, num_hidden_layers=6, layer_norm_eps=1e-3, hidden_act="gelu_new")


@pytest.mark.parametrize("layers", [(0, 2, 4), (5,), (1, 2), (0, 1, 2, 3, 4, 5)])
def test_these_layers_alone_are_computed(deep, tmp_path, layers):
    encoder = load_encoder(f"path:{deep}#layers={','.join(map(str, layers))}")
    assert encoder.backbone.num_layers == len(layers)
    inputs = inputs_of()
    found = encoder.backbone(inputs, training=False)
    alone = without_other_layers(deep, layers, tmp_path / "alone")
    sequence, pooled = numpy_bert(alone, inputs["token_ids"], inputs["padding_mask"])
    real = inputs["padding_mask"][..., None]
    assert np.abs((found["sequence_output"].numpy() - sequence) * real).max() < 5e-5
    assert np.abs(found["pooled_output"].numpy() - pooled).max() < 5e-5


def test_the_layers_of_the_whole_composed_by_hand_are_the_same_bits(deep):
    whole, inputs = load_encoder(f"path:{deep}").backbone, inputs_of()
    embedded = keras.Model(whole.input, whole.get_layer("embeddings_dropout").output)
    hidden = embedded(inputs)
    for layer in (1, 4):
        hidden = whole.get_layer(f"transformer_layer_{layer}")(hidden, padding_mask=inputs["padding_mask"])
    found = load_encoder(f"path:{deep}#layers=1,4").backbone(inputs)
    np.testing.assert_array_equal(found["sequence_output"].numpy(), hidden.numpy())
    np.testing.assert_array_equal(found["pooled_output"].numpy(), whole.pooled_dense(hidden[:, 0, :]).numpy())


def test_all_layers_are_the_whole_to_the_last_bit(deep):
    whole, same = load_encoder(f"path:{deep}"), load_encoder(f"path:{deep}#layers=0,1,2,3,4,5")
    assert {**same.backbone.get_config(), "name": ""} == {**whole.backbone.get_config(), "name": ""}
    for ours, theirs in zip(same.backbone.weights, whole.backbone.weights, strict=True):
        assert ours.path == theirs.path
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    for name, found in same.backbone(inputs_of()).items():
        np.testing.assert_array_equal(found.numpy(), whole.backbone(inputs_of())[name].numpy())


def test_everything_but_the_layers_stays(deep):
    whole, shaped = load_encoder(f"path:{deep}"), load_encoder(f"path:{deep}#layers=3")
    assert (shaped.vocabulary, shaped.lowercase) == (whole.vocabulary, whole.lowercase)
    assert shaped.provenance == {**whole.provenance, "uri": f"path:{deep}#layers=3", "layers": [3]}
    assert "layers" not in whole.provenance
    assert shaped.rebuilt(dropout=0.0, dtype="float32").num_layers == 1


def test_layers_of_other_layouts_are_chosen(tmp_path, tiny_run):
    narrow = write_electra(tmp_path / "electra")
    sizes = {"vocabulary_size": len(VOCABULARY), "hidden_dim": 8, "max_sequence_length": 20}
    write_preset(tmp_path / "preset", "DistilBert", **sizes)
    for uri in (f"path:{narrow}", f"path:{tmp_path / 'preset'}", f"run:{tiny_run}"):
        whole, shaped = load_encoder(uri).backbone, load_encoder(f"{uri}#layers=1").backbone
        for ours, theirs in zip(
            shaped.get_layer("transformer_layer_0").weights, whole.get_layer("transformer_layer_1").weights, strict=True
        ):
            np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
        assert shaped.embedding_dim == whole.embedding_dim


@pytest.mark.parametrize(
    ("end", "message"),
    [
        ("#layers=0,9", "#layers=0,9: expected layers from 0 to 1, for the checkpoint has 2. Received: layer 9."),
        ("#layers=1,1", "#layers=1,1: layer 1 is listed twice; expected each layer once, such as #layers=0,2,4."),
        ("#layers=1,0", "#layers=1,0: expected the layers in the order of the checkpoint, #layers=0,1."),
        ("#layers=", "#layers=: expected numbers of layers after #layers=, counted from 0, such as #layers=0,2,4."),
        ("#layers=one", "expected numbers of layers after #layers=, counted from 0, such as #layers=0,2,4."),
    ],
)
def test_layers_that_cannot_be_had_are_refused(tiny_encoder, end, message):
    with pytest.raises(EncoderError) as caught:
        load_encoder(f"path:{tiny_encoder}{end}")
    assert message in str(caught.value)
    with pytest.raises(EncoderError) as caught:
        check_encoder(f"path:{tiny_encoder}{end}")
    assert message in str(caught.value)


def test_another_end_of_a_hubs_encoder_is_refused():
    for uri in ("pypi:minilm-l6#layer=0", "hf:owner/name#foo"):
        with pytest.raises(EncoderError, match=f"{uri}: expected nothing after # but the layers to"):
            load_encoder(uri)


@pytest.mark.parametrize("scheme", ["path", "run"])
def test_a_folder_that_is_not_there_names_the_way_to_choose_layers(tiny_encoder, scheme):
    with pytest.raises(EncoderError, match="#layer=0 is not there. Expected a folder; layers are chosen with #layers="):
        load_encoder(f"{scheme}:{tiny_encoder}#layer=0")


def test_the_checkpoint_is_recorded_once(tiny_encoder, tmp_path, monkeypatch):
    monkeypatch.setenv("TFSENT_CACHE", str(tmp_path))
    asked = []
    monkeypatch.setitem(hubs._FETCHERS, "hf", lambda name: asked.append(name) or hubs.EncoderFiles(tiny_encoder, "1"))
    assert check_encoder("hf:owner/name#layers=1").recorded == "new"
    report = check_encoder("hf:owner/name#layers=0")
    assert (report.recorded, report.layers, report.uri) == ("same", 1, "hf:owner/name#layers=0")
    assert report.parameters < check_encoder("hf:owner/name").parameters
    assert (asked, [path.name for path in (tmp_path / "encoders").iterdir()]) == (
        ["owner/name"],
        [hubs.record_path("hf:owner/name").name],
    )
    assert load_encoder("hf:owner/name#layers=0").provenance["record"] == str(hubs.record_path("hf:owner/name"))
    assert hubs.cached("hf:owner/name#layers=0")
    assert not hubs.cached("pypi:minilm-l6#layers=0")


def test_layers_that_are_not_there_leave_no_record(tiny_encoder, tmp_path, monkeypatch):
    monkeypatch.setenv("TFSENT_CACHE", str(tmp_path))
    monkeypatch.setitem(hubs._FETCHERS, "hf", lambda name: hubs.EncoderFiles(tiny_encoder, "1"))
    with pytest.raises(EncoderError, match="expected layers from 0 to 1"):
        load_encoder("hf:owner/name#layers=7")
    assert hubs.is_new("hf:owner/name")


def test_layers_are_trained_saved_loaded_and_exported(tiny_settings, tiny_encoder, tmp_path):
    from tfsent.exporting import publish
    from tfsent.training.finetune import train

    own = [f"encoder=path:{tiny_encoder}#layers=1", "train.epochs=4"]
    config = load_config("smoke", [*tiny_settings, *own])
    run = tmp_path / "run"
    train(config, run)
    data = json.loads((run / "data.json").read_text())["encoder"]
    assert (data["uri"], data["layers"]) == (f"path:{tiny_encoder}#layers=1", [1])
    assert publish.export(run, config.export).passed
    model = KerasPredictor(run).model
    trained = load_encoder(f"run:{run}").backbone
    assert trained.num_layers == 1
    inside = next(layer for layer in model.layers if type(layer) is type(trained))
    for ours, theirs in zip(trained.weights, inside.weights, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


def test_features_of_other_layers_are_computed_anew(tiny_settings, tiny_encoder, tmp_path, monkeypatch):
    from tfsent.training.finetune import train

    monkeypatch.setenv("TFSENT_CACHE", str(tmp_path / "cache"))

    def head_on(layers, run):
        own = [f"encoder=path:{tiny_encoder}{layers}", "train.freeze_encoder=true", "train.epochs=1"]
        train(load_config("smoke", [*tiny_settings, *own]), tmp_path / run)

    encoded, predict = [], keras.Model.predict_on_batch
    monkeypatch.setattr(keras.Model, "predict_on_batch", lambda *words: encoded.append(words) or predict(*words))
    for number, layers in enumerate(("", "#layers=0", "#layers=1")):
        encoded.clear()
        head_on(layers, f"run-{number}")
        assert encoded, layers
    encoded.clear()
    head_on("#layers=1", "again")
    assert not encoded
