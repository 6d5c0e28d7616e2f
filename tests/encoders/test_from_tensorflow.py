"""Google's checkpoints and TF-Hub's SavedModels, written by hand, compared with BERT in NumPy.

benchmarks/encoder_parity.py compares the real exporters of tf-models-official.
"""

import json

import numpy as np
import pytest
import tensorflow as tf
from numpy_bert import numpy_bert
from safetensors.numpy import load_file
from tiny import VOCABULARY, write_encoder

from tfsent.encoders.loader import load_encoder
from tfsent.errors import EncoderError

GOOGLE = {
    "embeddings.word_embeddings.weight": "embeddings/word_embeddings",
    "embeddings.position_embeddings.weight": "embeddings/position_embeddings",
    "embeddings.token_type_embeddings.weight": "embeddings/token_type_embeddings",
    "embeddings.LayerNorm": "embeddings/LayerNorm",
    "pooler.dense": "pooler/dense",
    "attention.self.": "attention/self/",
    "attention.output.": "attention/output/",
    "intermediate.dense": "intermediate/dense",
    "output.dense": "output/dense",
}
TODAY = {
    "embeddings/word_embeddings": "word_embeddings/embeddings",
    "embeddings/position_embeddings": "position_embedding/embeddings",
    "embeddings/token_type_embeddings": "type_embeddings/embeddings",
    "embeddings/LayerNorm": "embeddings/layer_norm",
    "encoder/": "transformer/",
    "attention/self/": "self_attention/",
    "attention/output/dense": "self_attention/attention_output",
    "attention/output/LayerNorm": "self_attention_layer_norm",
    "intermediate/dense": "intermediate",
    "output/dense": "output",
    "output/LayerNorm": "output_layer_norm",
    "pooler/dense": "pooler_transform",
}
OF_2020 = {**TODAY, "attention/output/dense": "self_attention_output"}
FIRST = {
    **OF_2020,
    "embeddings/position_embeddings": "embedding_postprocessor/position_embeddings",
    "embeddings/token_type_embeddings": "embedding_postprocessor/type_embeddings",
    "embeddings/LayerNorm": "embedding_postprocessor/layer_norm",
    "encoder/": "encoder/",
}
"""Google's names → those of the exporters, as in the converters of tf-models-official."""


def google_arrays(folder):
    """Return the tensors of a Hugging Face folder under Google's names, with kernels transposed."""
    arrays = {}
    for name, array in load_file(folder / "model.safetensors").items():
        norm = "LayerNorm" in name
        array = array.T if name.endswith("weight") and not norm and "embeddings" not in name else array
        name = name.replace("encoder.layer.", "encoder/layer_")
        for ours, theirs in GOOGLE.items():
            name = name.replace(ours, theirs)
        name = name.replace(".weight", "/gamma" if norm else "/kernel").replace(".bias", "/beta" if norm else "/bias")
        arrays[name.replace(".", "/")] = np.ascontiguousarray(array)
    return arrays


def save_by_name(prefix, arrays):
    """Write a checkpoint as TensorFlow 1 did: arrays by name, without an object graph."""
    names = sorted(arrays)
    tf.raw_ops.SaveV2(
        prefix=str(prefix), tensor_names=names, shape_and_slices=[""] * len(names), tensors=[arrays[n] for n in names]
    )


def write_google(folder, source, **changes):
    folder.mkdir()
    heads = {"cls/predictions/output_bias": np.ones(3, np.float32), "global_step": np.int64(9)}
    heads["bert/pooler/dense/bias/adam_m"] = np.ones(8, np.float32)
    arrays = {f"bert/{name}": array for name, array in google_arrays(source).items()}
    save_by_name(folder / "bert_model.ckpt", arrays | heads)
    config = {"num_attention_heads": 2, "hidden_act": "gelu", **changes}
    (folder / "bert_config.json").write_text(json.dumps(config))
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    return folder


class Hub(tf.Module):
    """A BERT as on TF-Hub: named variables, a vocabulary, a flag, and a graph of plain operations."""

    def __init__(self, arrays, vocabulary, *, exact, epsilon, lowercase=True, extra=None):
        super().__init__()
        self.weights = {name: tf.Variable(array, name=name) for name, array in arrays.items()}
        self.extra = [tf.Variable(value, name=name) for name, value in (extra or {}).items()]
        self.vocab_file = tf.saved_model.Asset(str(vocabulary))
        if lowercase is not None:
            self.do_lower_case = tf.Variable(lowercase, trainable=False)
        self.exact, self.epsilon = exact, epsilon

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32, name="input_word_ids")])
    def __call__(self, ids):
        """Run only the operations by which the reader tells activation, epsilon and heads."""
        x = tf.gather(next(v for k, v in self.weights.items() if "word_embeddings" in k), ids)
        mean, variance = tf.nn.moments(x, -1, keepdims=True)
        with tf.name_scope("layer_norm"):
            x = tf.nn.batch_normalization(x, mean, variance, 0.0, 1.0, self.epsilon)
        with tf.name_scope("self_attention"):
            x = tf.multiply(x, 4**-0.5)
            with tf.name_scope("dropout"):
                x = tf.multiply(x, 0.5**0.5)
        return tf.nn.gelu(x, approximate=not self.exact)


def write_hub(folder, source, names, *, prefix="", apart=True, exact=False, epsilon=1e-12, **more):
    arrays = {}
    for name, array in google_arrays(source).items():
        for google, theirs in names.items():
            name = name.replace(google, theirs)
        if apart and "/self_attention" in name and name.endswith(("query/kernel", "key/kernel", "value/kernel")):
            array = array.reshape(8, 2, 4)
        elif apart and "/self_attention/" in name and name.endswith(("query/bias", "key/bias", "value/bias")):
            array = array.reshape(2, 4)
        elif apart and name.endswith(("attention_output/kernel", "self_attention_output/kernel")):
            array = array.reshape(2, 4, 8)
        arrays[prefix + name] = array
    vocabulary = source / "vocab.txt"
    tf.saved_model.save(Hub(arrays, vocabulary, exact=exact, epsilon=epsilon, **more), str(folder))
    return folder


@pytest.fixture(params=["gelu", "gelu_new"])
def source(request, tmp_path):
    return write_encoder(tmp_path / "source", hidden_act=request.param)


def difference(folder, source):
    token_ids = np.random.default_rng(1).integers(0, len(VOCABULARY), (2, 7))
    mask = np.arange(7) < np.array([[7], [3]])
    inputs = {"token_ids": token_ids, "segment_ids": np.zeros_like(token_ids), "padding_mask": mask}
    found = load_encoder(f"path:{folder}").backbone(inputs)
    sequence, pooled = numpy_bert(source, token_ids, mask)
    return max(
        np.abs((found["sequence_output"].numpy() - sequence) * mask[..., None]).max(),
        np.abs(found["pooled_output"].numpy() - pooled).max(),
    )


@pytest.mark.parametrize(
    ("names", "settings"),
    [
        (TODAY, {}),
        (TODAY, {"extra": {"cls/predictions/transform/dense/kernel": np.ones(3, np.float32)}}),
        (OF_2020, {}),
        (FIRST, {"prefix": "bert_model/", "apart": False}),
        (FIRST, {"prefix": "keras_layer/bert_model/"}),
    ],
)
def test_savedmodel_matches_numpy(tmp_path, source, names, settings):
    exact = json.loads((source / "config.json").read_text())["hidden_act"] == "gelu"
    folder = write_hub(tmp_path / "hub", source, names, exact=exact, **settings)
    assert difference(folder, source) < 2e-5
    encoder = load_encoder(f"tfhub:{folder}")
    assert (encoder.vocabulary, encoder.lowercase) == (tuple(VOCABULARY), True)
    assert encoder.backbone.num_heads == 2
    assert set(encoder.provenance["files"]) >= {"saved_model.pb", "assets/vocab.txt", "variables/variables.index"}


def test_epsilon_is_read_from_the_graph(tmp_path):
    source = write_encoder(tmp_path / "source", hidden_act="gelu_new", layer_norm_eps=1e-3)
    assert difference(write_hub(tmp_path / "hub", source, TODAY, epsilon=1e-3), source) < 2e-5


def test_casing_is_read_from_the_savedmodel(tmp_path):
    source = write_encoder(tmp_path / "source")
    assert load_encoder(f"path:{write_hub(tmp_path / 'a', source, TODAY, lowercase=False)}").lowercase is False
    assert load_encoder(f"path:{write_hub(tmp_path / 'b', source, TODAY, lowercase=None)}").lowercase is True


def test_google_checkpoint_uses_tanh_gelu(tmp_path):
    """google-research/bert computes `gelu` with tanh."""
    source = write_encoder(tmp_path / "source", hidden_act="gelu_new")
    folder = write_google(tmp_path / "google", source)
    assert difference(folder, source) < 2e-5
    assert load_encoder(f"path:{folder}").provenance["format"] == "google-bert"


def damage(name, content):
    return lambda folder: (folder / name).write_bytes(content)


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (damage("saved_model.pb", b"\xff\xff nothing"), "saved_model.pb is not a SavedModel: "),
        (damage("variables/variables.index", b"nothing"), "variables could not be read as a checkpoint: "),
        (damage("variables/variables.data-00000-of-00001", b"short"), "variables could not be read as a checkpoint: "),
        (lambda f: (f / "assets" / "vocab.txt").unlink(), "names 1 vocabulary files, of which 0 exist"),
        (damage("assets/vocab.txt", b"[PAD]\n[UNK]\n"), "the vocabulary has 2 tokens, and the encoder's token table"),
    ],
)
def test_damaged_savedmodel_is_refused(tmp_path, break_it, message):
    folder = write_hub(tmp_path / "hub", write_encoder(tmp_path / "source"), TODAY)
    break_it(folder)
    with pytest.raises(EncoderError, match=message):
        load_encoder(f"path:{folder}")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"extra": {"adapter/kernel": np.ones(3, np.float32)}}, "without a place: adapter/kernel. Nothing was loaded"),
        ({"lowercase": True, "cased": True}, "asks for lower case, but its vocabulary has capitals"),
    ],
)
def test_unknown_variables_and_wrong_casing_are_named(tmp_path, settings, message):
    cased = settings.pop("cased", False)
    source = write_encoder(tmp_path / "source", [*VOCABULARY[:-1], "Film"] if cased else VOCABULARY)
    folder = write_hub(tmp_path / "hub", source, TODAY, **settings)
    with pytest.raises(EncoderError, match=message):
        load_encoder(f"path:{folder}")


def test_graph_without_the_settings_is_refused(tmp_path, monkeypatch):
    source = write_encoder(tmp_path / "source")
    monkeypatch.setattr(tf.nn, "gelu", lambda x, approximate: tf.nn.relu(x))
    folder = write_hub(tmp_path / "relu", source, TODAY)
    with pytest.raises(EncoderError, match="its graph has no GELU. Expected one kind"):
        load_encoder(f"path:{folder}")
    monkeypatch.undo()
    monkeypatch.setattr(tf.nn, "batch_normalization", lambda x, *rest: x)
    with pytest.raises(EncoderError, match="its graph has 0 different epsilons of layer norms"):
        load_encoder(f"path:{write_hub(tmp_path / 'no-norm', source, TODAY)}")
    monkeypatch.undo()
    monkeypatch.setattr(tf, "multiply", lambda x, y: x)
    with pytest.raises(EncoderError, match="neither its variables nor its graph tell the number of attention heads"):
        load_encoder(f"path:{write_hub(tmp_path / 'no-heads', source, FIRST, prefix='bert_model/', apart=False)}")


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (
            lambda f: (f / "bert_model.ckpt.index").unlink(),
            "holds 0 checkpoints. Expected one, such as bert_model.ckpt",
        ),
        (
            lambda f: (f / "vocab.txt").unlink(),
            "has no vocab.txt. Expected the WordPiece vocabulary of bert_model.ckpt",
        ),
        (damage("bert_model.ckpt.index", b"nothing"), "bert_model.ckpt could not be read as a checkpoint: "),
        (
            damage("bert_model.ckpt.data-00000-of-00001", b"short"),
            "bert_model.ckpt could not be read as a checkpoint: ",
        ),
        (damage("bert_config.json", b'{"num_attention_heads": 2, "hidden_act": "relu"}'), "activation 'relu'"),
        (damage("bert_config.json", b"{}"), "does not give the number of attention heads. .* Received: None"),
    ],
)
def test_damaged_google_folder_is_refused(tmp_path, break_it, message):
    folder = write_google(tmp_path / "google", write_encoder(tmp_path / "source"))
    break_it(folder)
    with pytest.raises(EncoderError, match=message):
        load_encoder(f"path:{folder}")
