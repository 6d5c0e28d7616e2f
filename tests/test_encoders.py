"""Checkpoints, against BERT written down in NumPy."""

import json
import math

import huggingface_hub
import keras_hub
import numpy as np
import pytest
from conftest import VOCABULARY, write_encoder
from safetensors.numpy import load_file

from tfsent.encoders import BertEncoder, load_encoder
from tfsent.errors import EncoderError


def numpy_bert(folder, token_ids, padding_mask):
    """BERT's forward pass (Devlin et al. 2018; A. Vaswani et al. 2017), from the checkpoint's own tensors."""
    config = json.loads((folder / "config.json").read_text())
    w = {k: v.astype(np.float64) for k, v in load_file(folder / "model.safetensors").items() if v.dtype != np.int64}

    def dense(x, name):
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(x, name):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + config["layer_norm_eps"])
        return x * w[f"{name}.weight"] + w[f"{name}.bias"]

    def heads(x):
        return x.reshape(*x.shape[:2], config["num_attention_heads"], -1).swapaxes(1, 2)

    if config["hidden_act"] == "gelu":
        gelu = np.vectorize(lambda v: 0.5 * v * (1 + math.erf(v / math.sqrt(2))))
    else:
        gelu = np.vectorize(lambda v: 0.5 * v * (1 + math.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3))))
    x = w["embeddings.word_embeddings.weight"][token_ids]
    x = x + w["embeddings.position_embeddings.weight"][: token_ids.shape[1]]
    x = norm(x + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    for i in range(config["num_hidden_layers"]):
        p = f"encoder.layer.{i}"
        q, k, v = (heads(dense(x, f"{p}.attention.self.{n}")) for n in ("query", "key", "value"))
        scores = q @ k.swapaxes(2, 3) / math.sqrt(q.shape[-1]) + np.where(padding_mask, 0, -1e9)[:, None, None]
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        context = (scores / scores.sum(-1, keepdims=True) @ v).swapaxes(1, 2).reshape(x.shape)
        x = norm(x + dense(context, f"{p}.attention.output.dense"), f"{p}.attention.output.LayerNorm")
        hidden = gelu(dense(x, f"{p}.intermediate.dense"))
        x = norm(x + dense(hidden, f"{p}.output.dense"), f"{p}.output.LayerNorm")
    return x, np.tanh(dense(x[:, 0], "pooler.dense"))


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
    assert len(encoder.provenance["weights_sha256"]) == 64


def test_casing_is_the_checkpoints(tmp_path):
    folder = write_encoder(tmp_path / "cased")
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    assert load_encoder(f"path:{folder}").lowercase is False


def test_a_rebuilt_encoder_has_the_weights_and_the_new_dropout(tiny_encoder):
    encoder = load_encoder(f"path:{tiny_encoder}")
    twin = encoder.rebuilt(dropout=0.3, dtype="mixed_bfloat16")
    assert isinstance(twin, BertEncoder)
    assert twin.dropout == 0.3
    assert twin.compute_dtype == "bfloat16"
    for a, b in zip(encoder.backbone.weights, twin.weights, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_a_keras_hub_preset_folder_loads(tmp_path):
    backbone = keras_hub.models.BertBackbone(len(VOCABULARY), 1, 2, 8, 16, max_sequence_length=20)
    tokenizer = keras_hub.models.BertTokenizer(vocabulary=VOCABULARY, lowercase=True)
    backbone.save_to_preset(str(tmp_path / "preset"))
    tokenizer.save_to_preset(str(tmp_path / "preset"))
    encoder = load_encoder(f"path:{tmp_path / 'preset'}")
    inputs = {k: np.ones((2, 6), np.int32) for k in ("token_ids", "segment_ids", "padding_mask")}
    np.testing.assert_allclose(
        encoder.backbone(inputs)["pooled_output"].numpy(), backbone(inputs)["pooled_output"].numpy(), atol=1e-6
    )
    assert encoder.vocabulary == tuple(VOCABULARY)


def spoil(change):
    def apply(folder):
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, **change}))

    return apply


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda f: (f / "config.json").unlink(), "has no config.json. Expected a Hugging Face folder"),
        (lambda f: (f / "config.json").write_text("{"), "config.json is not valid JSON"),
        (lambda f: (f / "model.safetensors").unlink(), "has no model.safetensors, so it has no weights"),
        (lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"), "is a pickle, which can run code"),
        (lambda f: (f / "model.safetensors").write_bytes(b"abc"), "could not be loaded as BERT"),
        (lambda f: (f / "vocab.txt").unlink(), "has no vocab.txt"),
        (lambda f: (f / "vocab.txt").write_text("[PAD]\n"), "the vocabulary has 1 tokens and the encoder's embedding"),
        (spoil({"model_type": "roberta"}), "holds a model of type 'roberta'. Expected 'bert'"),
        (spoil({"hidden_act": "swish"}), "uses the activation 'swish'"),
        (spoil({"position_embedding_type": "relative_key"}), "has 'relative_key' positions"),
        (spoil({"num_hidden_layers": 3}), "could not be loaded as BERT"),
    ],
)
def test_a_folder_that_is_no_encoder_is_refused(tmp_path, break_it, message):
    folder = write_encoder(tmp_path / "bert")
    break_it(folder)
    with pytest.raises(EncoderError, match=message):
        load_encoder(f"path:{folder}")


@pytest.mark.parametrize("uri", ["minilm", "pypi:nothing", "path:", "ftp:x"])
def test_an_unknown_uri_is_refused(uri):
    with pytest.raises(EncoderError, match=f"Unknown encoder '{uri}'. Expected pypi:minilm-l6, path:DIR"):
        load_encoder(uri)


@pytest.mark.parametrize("uri", ["hf:google-bert/bert-base-uncased", "keras:bert_tiny_en_uncased"])
def test_offline_forbids_hubs(monkeypatch, uri):
    monkeypatch.setenv("TFSENT_OFFLINE", "1")
    with pytest.raises(EncoderError, match="TFSENT_OFFLINE forbids fetching"):
        load_encoder(uri)


def test_a_hugging_face_name_is_fetched_and_read_like_a_folder(tiny_encoder, monkeypatch):
    asked = []

    def download(name, allow_patterns):
        asked.extend([name, *allow_patterns])
        return str(tiny_encoder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    encoder = load_encoder("hf:owner/name")
    assert asked[0] == "owner/name"
    assert not [file for file in asked[1:] if file.endswith((".bin", ".pkl", ".py"))]
    assert encoder.vocabulary == tuple(VOCABULARY)
    assert encoder.provenance["uri"] == "hf:owner/name"


@pytest.mark.parametrize("name", ["owner/name", "not a name//"])
def test_a_hub_that_does_not_answer_is_a_clear_error(monkeypatch, name):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(EncoderError, match=f"'hf:{name}' could not be loaded as BERT: "):
        load_encoder(f"hf:{name}")
