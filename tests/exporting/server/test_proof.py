"""The proof of a SavedModel passes an honest one, and names what is wrong with another."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from tfsent.data.reviews import load_reviews
from tfsent.exporting.parity import Budget, ReferenceAnswers
from tfsent.exporting.server import proof
from tfsent.exporting.server.c_api import ask
from tfsent.exporting.server.savedmodel import write_savedmodel
from tfsent.exporting.server.warmup import FILE
from tfsent.inference.keras_run import KerasPredictor

BUDGET = Budget(max_difference=1e-4)


@pytest.fixture(scope="module")
def predictor(exported):
    return KerasPredictor(exported)


@pytest.fixture(scope="module")
def reference(exported, predictor):
    reviews = load_reviews(exported / "heldout" / "test.jsonl.gz").take(np.arange(9))
    return ReferenceAnswers(reviews, predictor.predict_proba(reviews.texts))


@pytest.fixture
def folder(exported, tmp_path):
    return shutil.copytree(exported / "export/serving/1", tmp_path / "1")


@pytest.fixture
def change(monkeypatch):
    """Change the answers to some calls: a function of the call and its answer."""

    def install(function):
        def changed(folder, calls):
            return [function(call, answer) for call, answer in zip(calls, ask(folder, calls), strict=True)]

        monkeypatch.setattr(proof, "ask", changed)

    return install


def with_outputs(answer, **outputs):
    return dataclasses.replace(answer, outputs={**answer.outputs, **outputs})


def test_an_honest_savedmodel_passes(predictor, folder, reference):
    parity = proof.verify_savedmodel(predictor, folder, reference, BUDGET)
    assert parity.faults == ()
    assert parity.max_difference < 1e-5
    assert parity.latency_ms > 0


def test_one_of_bfloat16_passes(predictor, reference, tmp_path):
    write_savedmodel(predictor, tmp_path / "narrow", "bfloat16")
    parity = proof.verify_savedmodel(predictor, tmp_path / "narrow", reference, Budget(), precision="bfloat16")
    assert parity.faults == ()
    assert 0 < parity.max_difference < 0.1


def test_one_that_reads_windows_passes(exported, tmp_path):
    run = shutil.copytree(exported, tmp_path / "run")
    spec = json.loads((run / "model" / "text.json").read_text())
    (run / "model" / "text.json").write_text(json.dumps({**spec, "truncation": "windows"}))
    predictor = KerasPredictor(run)
    reviews = load_reviews(run / "heldout" / "test.jsonl.gz")
    windows = predictor.tokenizer(tf.constant(list(reviews.texts))).owner
    assert len(windows) > len(reviews)  # some texts are several
    write_savedmodel(predictor, tmp_path / "served")
    reference = ReferenceAnswers(reviews, predictor.predict_proba(reviews.texts))
    assert proof.verify_savedmodel(predictor, tmp_path / "served", reference, BUDGET).faults == ()


def test_another_model_does_not_pass(predictor, folder, reference):
    other = ReferenceAnswers(reference.reviews, 1 - reference.probabilities)
    assert "a probability differs by" in proof.verify_savedmodel(predictor, folder, other, BUDGET).faults[0]


def test_an_answer_that_depends_on_the_batch_does_not_pass(predictor, folder, reference, change):
    def alone_differs(call, answer):
        if call.signature != "serving_default" or len(call.inputs["text"]) != 1:
            return answer
        return with_outputs(answer, probabilities=answer.outputs["probabilities"] + np.float32(2e-5))

    change(alone_differs)
    faults = proof.verify_savedmodel(predictor, folder, reference, BUDGET).faults
    assert "alone: 1 texts have other answers than in batches of 32" in faults


def test_each_signature_is_asked(predictor, folder, reference, change):
    def wrong(call, answer):
        if call.signature in ("tokens", "classify"):
            key = "scores" if call.signature == "classify" else "probabilities"
            return with_outputs(answer, **{key: answer.outputs[key][:, ::-1]})
        if call.signature == "info":
            return with_outputs(answer, labels=answer.outputs["labels"][:, ::-1])
        return answer

    change(wrong)
    faults = proof.verify_savedmodel(predictor, folder, reference, BUDGET).faults
    assert "tokens: 7 texts have other answers than in batches of 32" in faults
    assert "a gRPC Classify request: 7 texts have other answers than in batches of 32" in faults
    assert "info names the classes [['positive', 'negative']], and the run ['negative', 'positive']" in faults


def test_an_odd_text_that_is_answered_otherwise_is_named(predictor, folder, reference, change):
    def wrong(call, answer):
        odd = [i for i, text in enumerate(call.inputs.get("text", ())) if b"\xff\xfe" in text]
        if not odd:
            return answer
        probabilities = answer.outputs["probabilities"].copy()
        probabilities[odd] = [0.5, 0.5]
        return with_outputs(answer, probabilities=probabilities)

    change(wrong)
    faults = proof.verify_savedmodel(predictor, folder, reference, BUDGET).faults
    assert [fault for fault in faults if r"the text b'\xff\xfe not UTF-8'" in fault]


def test_a_batch_that_is_not_answered_is_a_fault_and_not_a_number(predictor, folder, reference, change):
    change(lambda call, answer: dataclasses.replace(answer, outputs={}, error="no memory\nat all"))
    faults = proof.verify_savedmodel(predictor, folder, reference, BUDGET).faults
    assert "batches: no memory" in faults
    assert "it gave a probability that is not a number" in faults


def test_a_warm_up_record_that_fails_does_not_pass(predictor, folder, reference):
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    record = PredictionLog()
    request = record.predict_log.request
    request.model_spec.signature_name = "tokens"
    for name in ("ids", "mask", "segment_ids"):
        request.inputs[name].CopyFrom(tf.make_tensor_proto(np.full([1, 1], 10**6, np.int32)))
    with tf.io.TFRecordWriter(str(folder / "assets.extra" / FILE)) as writer:
        writer.write(record.SerializeToString())
    faults = proof.verify_savedmodel(predictor, folder, reference, BUDGET).faults
    assert [fault for fault in faults if fault.startswith("warm-up record 1: ") and "is not in [0," in fault]


def test_an_op_that_the_oldest_server_lacks_does_not_pass(predictor, folder, reference, monkeypatch):
    monkeypatch.setattr(proof, "foreign_ops", lambda folder, server: [f"op New (node a) came with {server[:2]}99"])
    faults = proof.verify_savedmodel(predictor, folder, reference, BUDGET, server="2.15").faults
    assert faults == ("op New (node a) came with 2.99; export.serving.min_server is 2.15",)


def test_a_path_of_this_machine_in_a_file_does_not_pass(predictor, folder, reference):
    (folder / "assets.extra" / "notes.txt").write_text(f"trained in {folder.parent}")
    faults = proof.verify_savedmodel(predictor, folder, reference, BUDGET).faults
    assert faults == ("assets.extra/notes.txt names a path of this machine",)


def test_labels_that_are_swapped_in_the_graph_do_not_pass(predictor, folder, reference):
    path = folder / "saved_model.pb"
    saved = SavedModel.FromString(path.read_bytes())
    graph = saved.meta_graphs[0].graph_def
    for node in [*graph.node, *(n for f in graph.library.function for n in f.node_def)]:
        strings = node.attr["value"].tensor.string_val if node.op == "Const" else []
        if list(strings) == [b"negative", b"positive"]:
            strings[:] = [b"positive", b"negative"]
    path.write_bytes(saved.SerializeToString())
    faults = proof.verify_savedmodel(predictor, folder, reference, BUDGET).faults
    assert [fault for fault in faults if fault.startswith("info names the classes")]
