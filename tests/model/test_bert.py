"""Arrays by canonical name → an encoder, all of them or none."""

import numpy as np
import pytest
from tiny import tiny_weights

from tfsent.encoders.from_huggingface import from_torch
from tfsent.errors import ConfigError, EncoderError
from tfsent.model import bert

SIZES = {"vocab_size": 30, "hidden_size": 8, "intermediate_size": 16, "max_position_embeddings": 20}
SIZES |= {"num_hidden_layers": 2, "type_vocab_size": 2}


@pytest.fixture
def arrays():
    return dict(from_torch(tiny_weights(SIZES), "bert"))


def build(arrays, heads=2):
    return bert.build(arrays, num_heads=heads, activation="gelu_exact", epsilon=1e-12, where="HERE")


def test_every_variable_is_set(arrays):
    encoder = build(arrays)
    values = {variable.path: variable.numpy() for variable in encoder.weights}
    np.testing.assert_array_equal(values["token_embedding/embeddings"], arrays["embeddings/word_embeddings"])
    query = values["transformer_layer_1/self_attention_layer/query/kernel"]
    np.testing.assert_array_equal(query.reshape(8, 8), arrays["encoder/layer_1/attention/self/query/kernel"])
    assert len(values) == len(arrays)


def test_heads_may_be_apart_or_in_one(arrays):
    apart = dict(arrays)
    for name, array in arrays.items():
        if "/attention/self/" in name:
            apart[name] = array.reshape(*array.shape[:-1], 2, 4)
        elif "/attention/output/dense/kernel" in name:
            apart[name] = array.reshape(2, 4, 8)
    for ours, theirs in zip(build(arrays).weights, build(apart).weights, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder/layer_1/output/dense/bias": None}, "without a value: transformer_layer_1/feedforward_output_dense/"),
        ({"pooler/dense/bias": None}, "HERE does not fit a BERT encoder. without a value: pooled_dense/bias. Nothing"),
        ({"encoder/layer_0/adapter/kernel": np.zeros(3)}, "without a place: encoder/layer_0/adapter/kernel. Nothing"),
        ({"stranger": np.zeros(3)}, "without a place: stranger. Nothing was loaded"),
        ({"pooler/dense/kernel": np.zeros((8, 4))}, r"pooler/dense/kernel is \[8, 4\] where \[8, 8\] is needed"),
        # As many numbers, in another order: a kernel that was not transposed.
        (
            {"encoder/layer_0/intermediate/dense/kernel": np.zeros((16, 8))},
            r"encoder/layer_0/intermediate/dense/kernel is \[16, 8\] where \[8, 16\] is needed",
        ),
        ({"embeddings/word_embeddings": None}, "HERE holds no BERT: it has no variable for embeddings/word_embeddings"),
    ],
)
def test_what_does_not_fit_is_named(arrays, change, message):
    arrays = {name: array for name, array in {**arrays, **change}.items() if array is not None}
    with pytest.raises(EncoderError, match=message):
        build(arrays)


def test_a_layer_that_is_missing_is_named(arrays):
    arrays = {name.replace("layer_1/", "layer_7/"): array for name, array in arrays.items()}
    with pytest.raises(EncoderError, match="without a value: transformer_layer_1/.*without a place: encoder/layer_7/"):
        build(arrays)


def test_a_pooler_is_there_or_not(arrays):
    from tfsent.model.classifier import build_classifier
    from tfsent.recipe.schema import ModelConfig

    assert bert.has_pooler(build(arrays))
    without = build({name: array for name, array in arrays.items() if "pooler" not in name})
    assert not bert.has_pooler(without)
    build_classifier(without, ModelConfig(pooling="cls"), 2)
    with pytest.raises(ConfigError, match="model.pooling is pooler, and this encoder has none"):
        build_classifier(without, ModelConfig(pooling="pooler"), 2)


def test_segments_may_be_absent(arrays):
    encoder = build({name: array for name, array in arrays.items() if "token_type" not in name})
    assert not encoder.get_layer("segment_embedding").embeddings.numpy().any()


def test_its_config_keeps_precision_and_trainable():
    sizes = {"vocabulary_size": 30, "num_layers": 1, "num_heads": 2, "hidden_dim": 8, "intermediate_dim": 16}
    encoder = bert.BertEncoder(**sizes, dtype="mixed_bfloat16", trainable=False)
    twin = bert.BertEncoder.from_config(encoder.get_config())
    assert twin.compute_dtype == twin.get_layer("transformer_layer_0").compute_dtype == "bfloat16"
    assert not twin.trainable
