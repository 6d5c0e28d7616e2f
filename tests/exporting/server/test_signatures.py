"""What a server offers of a model."""

import json

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

import tfsent
from tfsent.inference.keras_run import KerasPredictor

TEXTS = ["great superb lovely film", "bad dull awful plot . it was poor", "a film " * 60, ""]


@pytest.fixture(scope="module")
def folder(exported):
    return exported / "export/serving/1"


@pytest.fixture(scope="module")
def signatures(folder):
    return tf.saved_model.load(str(folder)).signatures


@pytest.fixture(scope="module")
def expected(exported):
    return KerasPredictor(exported).predict_proba(TEXTS)


def kinds(tensors):
    return {name: (tensor.dtype.name, tensor.shape.rank) for name, tensor in tensors.items()}


def test_the_method_names_are_what_a_strict_server_wants(folder):
    saved = SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    methods = {name: s.method_name for name, s in saved.meta_graphs[0].signature_def.items() if name[0] != "_"}
    assert methods == {
        "serving_default": "tensorflow/serving/predict",
        "tokens": "tensorflow/serving/predict",
        "info": "tensorflow/serving/predict",
        "classify": "tensorflow/serving/classify",
    }


def test_texts_have_labels_probabilities_and_logits(signatures, expected):
    serve = signatures["serving_default"]
    assert kinds(serve.structured_input_signature[1]) == {"text": ("string", 1)}
    found = serve(text=tf.constant(TEXTS))
    assert kinds(found) == {
        "label": ("string", 1),
        "probability": ("float32", 1),
        "probabilities": ("float32", 2),
        "logits": ("float32", 2),
    }
    np.testing.assert_allclose(found["probabilities"], expected, atol=1e-5)
    np.testing.assert_allclose(found["probability"], expected.max(axis=1), atol=1e-5)
    np.testing.assert_allclose(tf.nn.softmax(found["logits"]), expected, atol=1e-5)
    assert found["label"].numpy().tolist()[:2] == [b"positive", b"negative"]


def test_tokens_are_answered_like_their_texts(signatures, expected, exported):
    tokenizer = KerasPredictor(exported).tokenizer
    inputs = tokenizer.inputs(tokenizer(tf.constant(TEXTS)).ids)
    found = signatures["tokens"](
        ids=inputs["token_ids"],
        mask=tf.cast(inputs["padding_mask"], tf.int32),
        segment_ids=inputs["segment_ids"],
    )
    np.testing.assert_allclose(found["probabilities"], expected, atol=1e-5)


def test_a_row_of_padding_alone_is_answered_and_harms_no_other(signatures):
    ids, mask = tf.constant([[2, 5, 3], [0, 0, 0]]), tf.constant([[1, 1, 1], [0, 0, 0]])
    found = signatures["tokens"](ids=ids, mask=mask, segment_ids=0 * ids)["probabilities"]
    alone = signatures["tokens"](ids=ids[:1], mask=mask[:1], segment_ids=0 * ids[:1])["probabilities"]
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[:1], alone, atol=1e-6)


def test_classify_takes_examples_and_gives_classes_and_scores_alone(signatures, expected):
    examples = [
        tf.train.Example(
            features=tf.train.Features(
                feature={"text": tf.train.Feature(bytes_list=tf.train.BytesList(value=[text.encode()]))}
            )
        ).SerializeToString()
        for text in TEXTS
    ]
    classify = signatures["classify"]
    assert kinds(classify.structured_input_signature[1]) == {"inputs": ("string", 1)}
    found = classify(inputs=tf.constant(examples))
    assert kinds(found) == {"classes": ("string", 2), "scores": ("float32", 2)}
    assert found["classes"].numpy().tolist() == [[b"negative", b"positive"]] * len(TEXTS)
    np.testing.assert_allclose(found["scores"], expected, atol=1e-5)


def test_info_tells_what_the_model_is(signatures, exported):
    found = {name: value.numpy().tolist() for name, value in signatures["info"](text=tf.constant(["", ""])).items()}
    assert found["labels"] == [[b"negative", b"positive"]] * 2
    assert found["tfsent_version"] == [tfsent.__version__.encode()] * 2
    assert found["run"] == [exported.name.encode()] * 2
    spec = json.loads(found["text_specification"][0])
    assert spec == {**spec, "max_tokens": 32, "lowercase": True, "truncation": "head_tail"}


@pytest.mark.parametrize("name", ["serving_default", "classify", "info"])
def test_no_text_has_no_answer(signatures, name):
    (key,) = signatures[name].structured_input_signature[1]
    found = signatures[name](**{key: tf.constant([], tf.string)})
    assert {tensor.shape[0] for tensor in found.values()} == {0}


def test_the_weights_are_stored_once_for_all_signatures(folder, exported):
    count = KerasPredictor(exported).model.count_params()
    stored = sum(np.prod(shape) for _, shape in tf.train.list_variables(str(folder / "variables" / "variables")))
    saved = SavedModel.FromString((folder / "saved_model.pb").read_bytes()).meta_graphs[0].graph_def
    nodes = [*saved.node, *(node for function in saved.library.function for node in function.node_def)]
    floats = [node.attr["value"].tensor for node in nodes if node.op == "Const" and node.attr["dtype"].type == 1]
    assert stored + sum(tf.make_ndarray(tensor).size for tensor in floats) < 1.1 * count
