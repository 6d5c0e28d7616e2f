"""Exported files: what is in them, and what happens when one disagrees with the trained model."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tiny import write_electra

import tfsent
from tfsent.data.reviews import load_reviews
from tfsent.encoders.loader import load_encoder
from tfsent.errors import ExportError
from tfsent.exporting import parity, publish
from tfsent.exporting.parity import Budget, ReferenceAnswers
from tfsent.exporting.phone import tflite
from tfsent.exporting.server import savedmodel
from tfsent.inference.keras_run import KerasPredictor
from tfsent.inference.saved_model import SavedModelPredictor
from tfsent.inference.tflite_file import TFLitePredictor
from tfsent.recipe.loader import load_config
from tfsent.training.finetune import train

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
"""Seen to run in TensorFlow 2.12.1 with tensorflow-text 2.12.1 (benchmarks/old_server.py), as servers up to 2.19 have
them. A new op may go in here when that script has run with it."""


def float32_alone(monkeypatch):
    """Where int8 is not what a test is about, its converter need not run."""
    monkeypatch.setattr(publish, "PRECISIONS", ("float32",))
    monkeypatch.setattr(publish, "write_tflite", lambda model, folder: tflite.write_tflite(model, folder, ("float32",)))


@pytest.fixture
def mine(exported, tmp_path):
    return shutil.copytree(exported, tmp_path / "run")


@pytest.fixture
def run(exported):
    return exported


def test_the_report_says_what_was_published(run):
    report = json.loads((run / "verify.json").read_text())
    assert report["published"] == ["export/serving/1", "export/mobile"]
    assert report["reviews"] == 60
    assert [a["artifact"] for a in report["artifacts"]] == ["savedmodel", "float32", "int8"]
    assert all(a["latency_ms"] > 0 and a["megabytes"] > 0 for a in report["artifacts"])


def test_the_signature_is_what_is_documented(run):
    signature = tf.saved_model.load(str(run / "export" / "serving" / "1")).signatures["serving_default"]
    assert signature.structured_input_signature[1]["text"].dtype == tf.string
    assert {k: (v.dtype.name, v.shape.rank) for k, v in signature.structured_outputs.items()} == {
        "probabilities": ("float32", 2),
        "label": ("string", 1),
    }
    found = signature(text=tf.constant(["great superb lovely film"]))
    assert found["label"].numpy().tolist() == [b"positive"]


def test_the_savedmodel_holds_each_variable_once(run):
    stored = sum(
        np.prod(shape) for _, shape in tf.train.list_variables(str(run / "export/serving/1/variables/variables"))
    )
    assert stored < 1.05 * KerasPredictor(run).model.count_params()


def test_the_savedmodel_has_only_ops_of_old_servers(run):
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    saved = SavedModel.FromString((run / "export/serving/1/saved_model.pb").read_bytes())
    graph = saved.meta_graphs[0].graph_def
    ops = {node.op for node in graph.node} | {n.op for f in graph.library.function for n in f.node_def}
    assert ops <= set(SERVED_OPS.split())


def test_windows_are_averaged_alike_in_every_form(run, tmp_path, monkeypatch):
    float32_alone(monkeypatch)
    copy = tmp_path / "run"
    shutil.copytree(run, copy, ignore=shutil.ignore_patterns("export"))
    spec = json.loads((copy / "model" / "text.json").read_text())
    (copy / "model" / "text.json").write_text(json.dumps({**spec, "truncation": "windows", "window_overlap": 0.3}))
    text, short = "the " * 40 + "good great superb " + "film " * 30, "bad film"
    trained = tfsent.load(copy)
    windows = trained.tokenizer(tf.constant([text])).ids.to_list()
    assert len(windows) > 2
    alone = [
        tfsent.load(run).predict_proba([" ".join(trained.tokenizer.vocabulary[i] for i in w[1:-1])]) for w in windows
    ]
    expected = np.concatenate([np.mean(alone, axis=0), tfsent.load(run).predict_proba([short])])
    np.testing.assert_allclose(trained.predict_proba([text, short]), expected, atol=1e-5)
    result = publish.export(copy, load_config(copy / "config.yaml").export)
    assert result.passed, result
    for path in ("serving", "mobile/model-float32.tflite"):
        found = tfsent.load(copy / "export" / path).predict_proba([text, short])
        np.testing.assert_allclose(found, expected, atol=1e-5, err_msg=path)
    _, seconds = tfsent.load(copy / "export" / "mobile" / "model-float32.tflite").timed_proba([text, short])
    assert len(seconds) == 2  # of a text, whatever its windows
    assert min(seconds) > 0


@pytest.mark.parametrize("name", ["model-float32.tflite", "model-int8.tflite"])
def test_a_tflite_file_has_fixed_inputs_and_builtin_ops(run, name):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(run / "export" / "mobile" / name))
    assert {tuple(d["shape"]) for d in interpreter.get_input_details()} == {(1, 32)}
    assert {d["dtype"] for d in interpreter.get_input_details()} == {np.int32}
    ops = {op["op_name"] for op in interpreter._get_ops_details()}
    assert not [op for op in ops if op.startswith("Flex") or op == "CUSTOM"]


def test_a_second_export_is_the_next_version(mine):
    result = publish.export(mine, load_config(mine / "config.yaml").export, ["serving"])
    assert result.published == ("export/serving/2",)
    assert sorted(p.name for p in (mine / "export" / "serving").iterdir()) == ["1", "2"]
    assert isinstance(tfsent.load(mine / "export" / "serving"), SavedModelPredictor)


def test_over_budget_nothing_is_published_and_what_was_there_stays(mine, monkeypatch):
    before = (mine / "export" / "mobile" / "model-int8.tflite").read_bytes()
    honest = TFLitePredictor.timed_proba

    def wrong(self, texts, advance=lambda count: None):
        probabilities, seconds = honest(self, texts, advance)
        return probabilities[:, ::-1], seconds

    monkeypatch.setattr(TFLitePredictor, "timed_proba", wrong)
    result = publish.export(mine, load_config(mine / "config.yaml").export)
    assert not result.passed
    assert result.published == ()
    assert [a.passed for a in result.artifacts] == [True, False, False]
    assert json.loads((mine / "verify.json").read_text()) == result.to_dict()
    assert (mine / "export" / "mobile" / "model-int8.tflite").read_bytes() == before
    assert [p.name for p in (mine / "export" / "serving").iterdir()] == ["1"]
    assert not list(mine.glob(".export*"))


def test_a_savedmodel_with_damaged_variables_does_not_pass(mine):
    data = next((mine / "export/serving/1/variables").glob("variables.data*"))
    raw = bytearray(data.read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    data.write_bytes(raw)
    with pytest.raises(ExportError, match="The SavedModel does not run in a process of its own"):
        savedmodel.verify_savedmodel(mine / "export/serving/1", reference_of(mine), BUDGET)


def test_a_savedmodel_of_another_model_does_not_pass(run):
    honest = reference_of(run)
    other = ReferenceAnswers(honest.reviews, honest.probabilities[::-1])
    parity = savedmodel.verify_savedmodel(run / "export/serving/1", other, BUDGET)
    assert not parity.passed


def reference_of(run):
    reviews = load_reviews(run / "heldout" / "test.jsonl.gz").take(np.arange(8))
    return ReferenceAnswers(reviews, KerasPredictor(run).predict_proba(reviews.texts))


def test_an_op_that_is_not_allowed_fails_as_on_a_server(run, tmp_path):
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
        savedmodel.verify_savedmodel(tmp_path / "custom", reference_of(run), BUDGET)


def test_the_serving_process_has_no_keras_in_it(run, tmp_path):
    (tmp_path / "texts.json").write_text(json.dumps(["good film"]))
    script = Path(parity.__file__).parent / "server" / "isolated_process.py"
    words = [str(run / "export/serving/1"), str(tmp_path / "texts.json"), str(tmp_path / "out.npz")]
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


def test_no_code_beside_a_run_is_run(run, tmp_path, monkeypatch):
    """What somebody puts into a folder to be downloaded."""
    for name in ("tempfile", "tensorflow", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('run!')")
    monkeypatch.chdir(tmp_path)
    assert savedmodel.verify_savedmodel(run / "export/serving/1", reference_of(run), BUDGET).passed
    tflite.write_tflite(KerasPredictor(run), tmp_path / "mobile", ("float32",))


def test_a_failing_converter_is_a_clear_error(run, tmp_path, monkeypatch):
    monkeypatch.setattr(tflite, "_write_fixed_length", lambda predictor, folder: None)
    with pytest.raises(ExportError, match="TensorFlow's converter failed on the float32 file"):
        tflite.write_tflite(KerasPredictor(run), tmp_path / "mobile")


def test_another_family_is_trained_exported_and_agrees(tiny_settings, tmp_path, monkeypatch):
    """ELECTRA small's shape and the tanh GELU: nothing after the encoder may depend on either."""
    float32_alone(monkeypatch)
    electra = write_electra(tmp_path / "electra", hidden_act="gelu_new")
    config = load_config("smoke", [*tiny_settings, f"encoder=path:{electra}", "train.epochs=4"])
    train(config, tmp_path / "run")
    result = publish.export(tmp_path / "run", config.export)
    assert result.passed, result
    again = load_config("smoke", [*tiny_settings, f"encoder=run:{tmp_path / 'run'}", "train.epochs=1"])
    train(again, tmp_path / "on")
    assert load_encoder(f"run:{tmp_path / 'on'}").backbone.embedding_dim == 4
