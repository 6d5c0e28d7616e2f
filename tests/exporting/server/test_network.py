"""The server's network gives what the Keras classifier gives."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfsent.exporting.server.network import Network
from tfsent.model.bert import BertEncoder
from tfsent.model.classifier import build_classifier
from tfsent.recipe.schema import ModelConfig

LENGTHS = (5, 1, 20, 9)


def classifier(tmp_path, pooling, hidden_units=(), **changes):
    """One with random weights, saved and opened again as a run's is."""
    rng = np.random.default_rng(0)
    sizes = {"vocabulary_size": 50, "num_layers": 2, "num_heads": 2, "hidden_dim": 8, "intermediate_dim": 16}
    encoder = BertEncoder(**sizes, max_sequence_length=20, **changes)
    model = build_classifier(encoder, ModelConfig(pooling=pooling, hidden_units=hidden_units), 3)
    for weight in model.weights:
        if "seed" not in weight.path:
            weight.assign(rng.normal(0, 0.5, weight.shape))
    model.save(tmp_path / "model.keras")
    return keras.saving.load_model(tmp_path / "model.keras")


def rows():
    """Padded inputs of Keras, and the same rows as the network takes them."""
    rng = np.random.default_rng(1)
    padding_mask = np.arange(max(LENGTHS)) < np.array(LENGTHS)[:, None]
    token_ids, segment_ids = (rng.integers(0, high, padding_mask.shape).astype("int32") for high in (50, 2))
    padded = {"token_ids": token_ids, "segment_ids": segment_ids, "padding_mask": padding_mask}
    ids = tf.RaggedTensor.from_row_lengths(token_ids[padding_mask], LENGTHS)
    return padded, ids, tf.constant(segment_ids[padding_mask])


@pytest.mark.parametrize("pooling", ["mean", "cls", "pooler"])
@pytest.mark.parametrize(
    ("hidden_units", "changes"),
    [((), {}), ((6, 5), {"embedding_dim": 4, "activation": "gelu_tanh", "layer_norm_epsilon": 0.1})],
)
def test_every_shape_of_model_gives_what_keras_gives(tmp_path, pooling, hidden_units, changes):
    model = classifier(tmp_path, pooling, hidden_units, **changes)
    padded, ids, segment_ids = rows()
    expected = model(padded, training=False).numpy()
    np.testing.assert_allclose(Network(model, "float32")(ids, segment_ids), expected, atol=2e-6)
    np.testing.assert_allclose(Network(model, "bfloat16")(ids, segment_ids), expected, atol=0.1)


def test_a_row_alone_has_the_answer_it_has_in_a_batch(tmp_path):
    network_ = Network(classifier(tmp_path, "mean"), "float32")
    _, ids, _ = rows()
    together = network_(ids).numpy()
    alone = np.concatenate([network_(ids[i : i + 1]).numpy() for i in range(len(LENGTHS))])
    np.testing.assert_allclose(alone, together, atol=1e-6)


def test_no_row_has_no_answer(tmp_path):
    _, ids, _ = rows()
    assert Network(classifier(tmp_path, "mean"), "float32")(ids[:0]).shape == (0, 3)


def test_a_server_holds_the_weights_of_float32_once(tmp_path):
    """A constant is held by every signature of a server; matrices of bfloat16 are worth it."""
    model = classifier(tmp_path, "mean")
    count = sum(math.prod(weight.shape) for weight in model.weights if "pooled" not in weight.path)
    assert sum(math.prod(weight.shape) for weight in Network(model, "float32").variables) == count
    assert 0 < sum(math.prod(weight.shape) for weight in Network(model, "bfloat16").variables) < count


def test_tensorflow_fuses_gelu_into_the_product_before_it(exported):
    """The spelling of GELU is chosen for that. Without oneDNN, TensorFlow fuses nothing."""
    v1 = tf.compat.v1
    with v1.Session(graph=tf.Graph()) as session:
        loaded = v1.saved_model.load(session, ["serve"], str(exported / "export/serving/1"))
        signature = loaded.signature_def["serving_default"]
        ran = v1.RunMetadata()
        options = v1.RunOptions(output_partition_graphs=True)
        fetch, feed = signature.outputs["logits"].name, signature.inputs["text"].name
        session.run(fetch, {feed: [b"good film"]}, options=options, run_metadata=ran)
    ops = [node.op for graph in ran.partition_graphs for node in graph.node]
    if not any("Mkl" in op for op in ops):
        pytest.skip("this TensorFlow does not use oneDNN")
    assert sum("FusedMatMul" in op for op in ops) >= 2 * 4 + 1
    assert "Erf" not in ops
