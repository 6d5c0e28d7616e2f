"""A SavedModel: what is in it, and how it is proved in a process of its own."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from tfsent.data.reviews import load_reviews
from tfsent.errors import ExportError
from tfsent.exporting.parity import Budget, ReferenceAnswers
from tfsent.exporting.server import savedmodel
from tfsent.inference.keras_run import KerasPredictor

BUDGET = Budget(max_difference=1e-4)
SERVED_OPS = """
    AddV2 All ArgMax Assert AssignVariableOp BatchMatMulV2 BiasAdd BitwiseAnd BroadcastTo Cast ConcatV2 Const
    Cumsum DisableCopyOnRead Einsum Equal Erfc ExpandDims FastWordpieceTokenizeWithOffsets Fill GatherNd
    GatherV2 Greater GreaterEqual Identity If Less LogicalNot MatMul Maximum Mean MergeV2Checkpoints Mul Neg
    NoOp Pack Placeholder Prod RaggedGather RaggedRange RaggedTensorToTensor Range ReadVariableOp RealDiv
    Reshape RestoreV2 RightShift Rsqrt SaveV2 SegmentMean Select SelectV2 Shape ShardedFilename Slice Softmax
    SquaredDifference Squeeze StatefulPartitionedCall StaticRegexFullMatch StaticRegexReplace StopGradient
    StridedSlice StringJoin StringLower Sub Substr Sum Tanh TensorScatterUpdate Transpose UnicodeDecode
    UnicodeEncode VarHandleOp Where ZerosLike
"""
"""Seen to run in TensorFlow 2.12.1 with tensorflow-text 2.12.1 (benchmarks/old_server.py), which servers up to 2.19 are
built with. Add an op after that script has run with it."""


@pytest.fixture(scope="module")
def reference(exported):
    reviews = load_reviews(exported / "heldout" / "test.jsonl.gz").take(np.arange(8))
    return ReferenceAnswers(reviews, KerasPredictor(exported).predict_proba(reviews.texts))


@pytest.fixture(scope="module")
def proof(exported, reference, tmp_path_factory):
    """The proof of a SavedModel, started in a folder with modules that must not be run: its parity and its process."""
    folder = tmp_path_factory.mktemp("downloaded")
    for name in ("tempfile", "tensorflow", "numpy"):
        (folder / f"{name}.py").write_text("raise SystemExit('run!')")
    seen = SimpleNamespace()

    def run(command, **settings):
        seen.command, seen.settings = command, settings
        seen.done = run_process(command, **settings)
        seen.answers = Path(command[-1]).read_bytes()
        return seen.done

    run_process = subprocess.run
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(subprocess, "run", run)
        seen.parity = savedmodel.verify_savedmodel(exported / "export/serving/1", reference, BUDGET)
    return seen


def test_the_signature_is_what_is_documented(exported):
    signature = tf.saved_model.load(str(exported / "export/serving/1")).signatures["serving_default"]
    assert signature.structured_input_signature[1]["text"].dtype == tf.string
    assert {k: (v.dtype.name, v.shape.rank) for k, v in signature.structured_outputs.items()} == {
        "probabilities": ("float32", 2),
        "label": ("string", 1),
    }
    found = signature(text=tf.constant(["great superb lovely film"]))
    assert found["label"].numpy().tolist() == [b"positive"]


def test_the_savedmodel_holds_each_variable_once(exported):
    variables = tf.train.list_variables(str(exported / "export/serving/1/variables/variables"))
    stored = sum(np.prod(shape) for _, shape in variables)
    assert stored < 1.05 * KerasPredictor(exported).model.count_params()


def test_the_savedmodel_has_only_ops_of_old_servers(exported):
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    saved = SavedModel.FromString((exported / "export/serving/1/saved_model.pb").read_bytes())
    graph = saved.meta_graphs[0].graph_def
    ops = {node.op for node in graph.node} | {n.op for f in graph.library.function for n in f.node_def}
    assert ops <= set(SERVED_OPS.split())


def test_no_code_beside_a_run_is_run(proof):
    """Somebody may put modules into a folder that others download."""
    assert proof.parity.passed
    assert proof.command[:2] == [sys.executable, "-P"]
    assert Path(proof.command[2]).is_absolute()
    assert proof.settings["env"]["TF_CPP_MIN_LOG_LEVEL"] == "3"
    assert proof.settings["cwd"] == str(Path(proof.command[-1]).parent)


def test_a_savedmodel_of_another_model_does_not_pass(exported, reference, proof, monkeypatch):
    def replay(command, **settings):
        Path(command[-1]).write_bytes(proof.answers)
        return proof.done

    monkeypatch.setattr(subprocess, "run", replay)
    folder = exported / "export/serving/1"
    assert savedmodel.verify_savedmodel(folder, reference, BUDGET).passed
    other = ReferenceAnswers(reference.reviews, reference.probabilities[::-1])
    assert not savedmodel.verify_savedmodel(folder, other, BUDGET).passed


def test_a_savedmodel_with_damaged_variables_does_not_pass(exported, reference, tmp_path):
    folder = shutil.copytree(exported / "export/serving/1", tmp_path / "damaged")
    data = next((folder / "variables").glob("variables.data*"))
    raw = bytearray(data.read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    data.write_bytes(raw)
    with pytest.raises(ExportError, match="The SavedModel does not run in a process of its own"):
        savedmodel.verify_savedmodel(folder, reference, BUDGET)


def test_an_op_that_is_not_allowed_fails_as_on_a_server(reference, tmp_path):
    import tensorflow_text as tf_text

    module = tf.Module()
    module.f = tf.function(
        lambda text: {
            "probabilities": tf.cast(tf_text.WhitespaceTokenizer().tokenize(text).to_tensor() == "x", "float32")
        },
        input_signature=[tf.TensorSpec([None], tf.string, name="text")],
    )
    tf.saved_model.save(module, str(tmp_path / "custom"), signatures=module.f)
    with pytest.raises(ExportError, match=r"process of its own \(exit code 1\): .*(not registered|TFText)"):
        savedmodel.verify_savedmodel(tmp_path / "custom", reference, BUDGET)


def test_the_serving_process_has_no_keras_in_it(exported, tmp_path):
    (tmp_path / "texts.json").write_text(json.dumps(["good film"]))
    script = Path(savedmodel.__file__).with_name("isolated_process.py")
    words = [str(exported / "export/serving/1"), str(tmp_path / "texts.json"), str(tmp_path / "out.npz")]
    code = f"""
import runpy, sys
space = runpy.run_path({str(script)!r})
space["main"](*{words!r})
barred = ("keras", "tf_keras", "keras_hub", "tensorflow_text", "tfsent")
loaded = [n for n in sys.modules if n.split(".")[0] in barred and sys.modules[n] is not None]
sys.exit(repr(loaded) if loaded else 0)
"""
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]
    assert np.load(tmp_path / "out.npz")["probabilities"].shape == (1, 2)
