"""Which servers can run a SavedModel."""

import tensorflow as tf
import tensorflow_text as tf_text

from tfsent.exporting.server import allowed_ops
from tfsent.exporting.server.allowed_ops import foreign_ops


def saved(folder, function):
    module = tf.Module()
    module.f = tf.function(function, input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    tf.saved_model.save(module, str(folder), signatures=module.f)
    return folder


def test_an_export_runs_on_every_server_from_2_12(exported):
    assert foreign_ops(exported / "export/serving/1", "2.12") == []


def test_an_op_that_no_server_has_is_named_with_its_node(tmp_path, monkeypatch):
    """KerasHub's packer emits RoundRobinTrim, which came with tensorflow-text 2.13, and so with server 2.20."""

    def trim(text):
        rows = tf.strings.split(text)
        return {"y": tf_text.RoundRobinTrimmer(3).trim([rows])[0].to_tensor()}

    folder = saved(tmp_path / "new", trim)
    assert foreign_ops(folder, "2.20") == []
    (fault,) = foreign_ops(folder, "2.19")
    assert fault.startswith("op TFText>RoundRobinTrim (node ")
    assert fault.endswith("came with 2.20")


def test_an_op_in_a_branch_of_a_condition_is_found(tmp_path, monkeypatch):
    def branch(text):
        size = tf.size(text)
        return {"y": tf.cond(size > 3, lambda: tf.strings.lower(text), lambda: text)}

    folder = saved(tmp_path / "branch", branch)
    releases, ops, attributes = allowed_ops._served()
    without = {name: release for name, release in ops.items() if name != "StringLower"}
    monkeypatch.setattr(allowed_ops, "_served", lambda: (releases, without, attributes))
    (fault,) = foreign_ops(folder, "2.20")
    assert "op StringLower" in fault
    assert fault.endswith("came with no release up to 2.20")


def test_an_attribute_that_came_later_is_found(exported, monkeypatch):
    releases, ops, _ = allowed_ops._served()
    monkeypatch.setattr(allowed_ops, "_served", lambda: (releases, ops, {"MatMul": {"transpose_a": "2.16"}}))
    folder = exported / "export/serving/1"
    faults = foreign_ops(folder, "2.15")
    assert foreign_ops(folder, "2.16") == []
    assert all("attribute transpose_a of op MatMul" in fault and fault.endswith("2.16") for fault in faults)


def test_the_lists_are_those_of_the_libraries():
    """Each release only adds; and what is known of some ops."""
    releases, ops, attributes = allowed_ops._served()
    assert releases == [f"2.{minor}" for minor in range(12, 21)]
    assert ops["MatMul"] == ops["FastWordpieceTokenizeWithOffsets"] == ops["UnicodeDecode"] == "2.12"
    assert ops["DisableCopyOnRead"] == "2.12"
    assert attributes["GatherNd"] == {"bad_indices_policy": "2.17"}
    assert attributes["VarHandleOp"] == {"debug_name": "2.15"}


def test_this_tensorflow_has_every_op_of_the_lists():
    from tensorflow.python.framework import op_def_registry

    _, ops, _ = allowed_ops._served()
    some = ["MatMul", "StaticRegexReplace", "RaggedTensorToTensor", "ParseExampleV2", "SegmentMean"]
    assert all(op_def_registry.get(name) is not None and name in ops for name in some)
