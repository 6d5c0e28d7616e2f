"""Exported files, each through its own runtime, and what happens when one disagrees.

One module for predictors, savedmodel, tflite, verify and bundle: they share an export that takes half a minute.
"""

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
from tfsent.cli.tables import print_parity
from tfsent.data.reviews import Reviews, load_reviews
from tfsent.encoders.loader import load_encoder
from tfsent.errors import ArtifactError, ExportError, RunError
from tfsent.exporting import parity, publish
from tfsent.exporting.parity import ReferenceAnswers, compare, report
from tfsent.exporting.server import savedmodel
from tfsent.inference.keras_run import KerasPredictor
from tfsent.inference.saved_model import SavedModelPredictor
from tfsent.inference.tflite_file import TFLitePredictor
from tfsent.recipe.loader import load_config
from tfsent.recipe.schema import BudgetConfig
from tfsent.training.finetune import train

TEXTS = [
    "good great film",
    "",
    "Bad, awful <br />PLOT!",
    "the " * 90 + "góod",
    "\x00good\x00 film",
    "日本good",
    "good\ud800 film \u061d",
    "\u202egood\u200f \u2067film",
    "good 👩\u200d👩\u200d👧 film",
    "x" * 5000 + " bad plot",
    "good film " * 60_000,
]
"""Among them every text nobody planned for that a string can hold; bytes are tried in test_text.py."""

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


@pytest.fixture(scope="module")
def run(tiny_run, tmp_path_factory):
    """A copy of the tiny run with everything exported, by the default budget for all but int8."""
    copy = tmp_path_factory.mktemp("exported") / "run"
    shutil.copytree(tiny_run, copy)
    result = publish.export(copy, load_config(copy / "config.yaml").export)
    assert result["passed"], result
    return copy


@pytest.fixture
def mine(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    return tmp_path / "run"


def test_all_forms_give_the_trained_models_answer(run):
    expected = tfsent.load(run).predict_proba(TEXTS)
    for path, tolerance in [
        ("serving", 1e-5),
        ("mobile/model-float32.tflite", 1e-5),
        ("mobile/model-int8.tflite", 0.1),
    ]:
        predictor = tfsent.load(run / "export" / path)
        assert predictor.label_names == ("negative", "positive")
        found = predictor.predict_proba(TEXTS)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=tolerance, err_msg=path)


@pytest.mark.parametrize("path", ["", "export/serving", "export/serving/1", "export/mobile/model-int8.tflite"])
def test_predict_gives_label_probability_and_all_probabilities(run, path):
    good, bad = tfsent.load(run / path).predict(
        ["great superb lovely good fine film", "awful dull poor bad worse film"]
    )
    assert (good.label, bad.label) == ("positive", "negative")
    assert good.probability == max(good.probabilities.values()) > 0.5
    assert sum(good.probabilities.values()) == pytest.approx(1, abs=1e-5)
    assert good.text.startswith("great")


def test_order_is_kept_and_no_text_is_no_answer(run):
    texts = [f"film {'good ' * i}" for i in (9, 1, 30, 3)]
    for path in ("", "export/serving", "export/mobile/model-float32.tflite"):
        predictor = tfsent.load(run / path)
        together = predictor.predict_proba(texts)
        alone = np.concatenate([predictor.predict_proba([text]) for text in texts])
        np.testing.assert_allclose(together, alone, atol=1e-5)
        assert predictor.predict_proba([]).shape == (0, 2)


class Shuffled:
    """As a shuffled pandas Series: iterated by place, indexed by label."""

    def __init__(self, texts):
        self.texts, self.labels = texts, list(range(len(texts)))[::-1]

    def __iter__(self):
        return iter(self.texts)

    def __len__(self):
        return len(self.texts)

    def __getitem__(self, index):
        return self.texts[index] if isinstance(index, slice) else self.texts[self.labels.index(index)]


@pytest.mark.parametrize("path", ["", "export/serving", "export/mobile/model-float32.tflite"])
def test_a_column_of_a_shuffled_table_is_answered_row_by_row(run, path):
    texts = ["great superb lovely good", "awful dull poor bad worse film", "good film"]
    predictor = tfsent.load(run / path)
    expected = predictor.predict(texts)
    assert predictor.predict(Shuffled(texts)) == expected
    assert predictor.predict(text for text in texts) == expected


def test_one_string_is_not_a_list_of_letters(run):
    with pytest.raises(TypeError, match="put it in a list"):
        tfsent.load(run).predict("good")
    with pytest.raises(TypeError, match="Received in it: None"):
        tfsent.load(run).predict(["good", None])


def test_the_report_says_what_was_published(run):
    report = json.loads((run / "verify.json").read_text())
    assert report["published"] == ["export/serving/1", "export/mobile"]
    assert report["reviews"] == 60
    assert [a["artifact"] for a in report["artifacts"]] == ["savedmodel", "float32", "int8"]
    assert all(a["latency_ms"] > 0 and a["megabytes"] > 0 for a in report["artifacts"])


def test_the_signature_is_what_the_docstring_says(run):
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


def test_the_savedmodel_has_no_op_that_an_old_server_lacks(run):
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    saved = SavedModel.FromString((run / "export/serving/1/saved_model.pb").read_bytes())
    graph = saved.meta_graphs[0].graph_def
    ops = {node.op for node in graph.node} | {n.op for f in graph.library.function for n in f.node_def}
    assert ops <= set(SERVED_OPS.split())


def test_windows_are_averaged_alike_in_every_form(run, tmp_path):
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
    assert result["passed"], result
    for path in ("serving", "mobile/model-float32.tflite"):
        found = tfsent.load(copy / "export" / path).predict_proba([text, short])
        np.testing.assert_allclose(found, expected, atol=1e-5, err_msg=path)
    phone = tfsent.load(copy / "export" / "mobile" / "model-float32.tflite")
    phone.predict_proba([text, short])
    assert len(phone.latencies) == 2  # of a text, whatever its windows
    assert phone.latencies[0] > phone.latencies[1]


@pytest.mark.parametrize("name", ["model-float32.tflite", "model-int8.tflite"])
def test_a_tflite_file_has_fixed_int32_inputs_and_builtin_ops_only(run, name):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(run / "export" / "mobile" / name))
    assert {tuple(d["shape"]) for d in interpreter.get_input_details()} == {(1, 32)}
    assert {d["dtype"] for d in interpreter.get_input_details()} == {np.int32}
    ops = {op["op_name"] for op in interpreter._get_ops_details()}
    assert not [op for op in ops if op.startswith("Flex") or op == "CUSTOM"]


def test_a_second_export_is_the_next_version(mine):
    result = publish.export(mine, load_config(mine / "config.yaml").export, ["serving"])
    assert result["published"] == ["export/serving/2"]
    assert sorted(p.name for p in (mine / "export" / "serving").iterdir()) == ["1", "2"]
    assert isinstance(tfsent.load(mine / "export" / "serving"), SavedModelPredictor)


def test_over_budget_nothing_is_published_and_what_was_there_stays(mine, monkeypatch):
    before = (mine / "export" / "mobile" / "model-int8.tflite").read_bytes()
    honest = TFLitePredictor.probabilities

    def wrong(self, texts, advance=lambda count: None):
        return honest(self, texts, advance)[:, ::-1]

    monkeypatch.setattr(TFLitePredictor, "probabilities", wrong)
    result = publish.export(mine, load_config(mine / "config.yaml").export)
    assert not result["passed"]
    assert result["published"] == []
    assert [a["passed"] for a in result["artifacts"]] == [True, False, False]
    assert json.loads((mine / "verify.json").read_text()) == result
    assert (mine / "export" / "mobile" / "model-int8.tflite").read_bytes() == before
    assert [p.name for p in (mine / "export" / "serving").iterdir()] == ["1"]
    assert not list(mine.glob(".export*"))


def test_a_savedmodel_with_damaged_variables_does_not_pass(mine):
    data = next((mine / "export/serving/1/variables").glob("variables.data*"))
    raw = bytearray(data.read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    data.write_bytes(raw)
    with pytest.raises(ExportError, match="The SavedModel does not run in a process of its own"):
        savedmodel.verify_savedmodel(mine / "export/serving/1", reference_of(mine), BudgetConfig())


def test_a_savedmodel_of_another_model_does_not_pass(run):
    honest = reference_of(run)
    other = ReferenceAnswers(honest.reviews, honest.probabilities[::-1])
    parity = savedmodel.verify_savedmodel(run / "export/serving/1", other, BudgetConfig())
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
        savedmodel.verify_savedmodel(tmp_path / "custom", reference_of(run), BudgetConfig())


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
    assert savedmodel.verify_savedmodel(run / "export/serving/1", reference_of(run), BudgetConfig()).passed
    from tfsent.exporting.phone import tflite

    tflite.write_tflite(KerasPredictor(run), tmp_path / "mobile")


def test_a_failing_converter_is_a_clear_error(run, tmp_path, monkeypatch):
    from tfsent.exporting.phone import tflite

    monkeypatch.setattr(tflite, "_write_fixed_length", lambda predictor, folder: None)
    with pytest.raises(ExportError, match="TensorFlow's converter failed on the float32 file"):
        tflite.write_tflite(KerasPredictor(run), tmp_path / "mobile")


REVIEWS = Reviews(("a", "b", "c", "d"), np.array([1, 1, 0, 0]), ("n", "p"), "made up")
TRAINED = np.array([[0.1, 0.9], [0.4, 0.6], [0.8, 0.2], [0.55, 0.45]], np.float32)


@pytest.mark.parametrize(
    ("artifact", "change", "faults"),
    [
        ("savedmodel", 0.00009, []),
        ("savedmodel", 0.0002, ["a probability differs by 0.0002, budget 0.0001"]),
        ("float32", 0.0002, ["a probability differs by 0.0002, budget 0.0001"]),
        ("int8", 0.04, []),
        ("int8", 0.06, ["25.00% of labels flip, budget 1.00%", "accuracy drops by 25.00%, budget 0.50%"]),
        ("int8", np.nan, ["it gave a probability that is not a number"]),
        ("savedmodel", np.nan, ["it gave a probability that is not a number"]),
    ],
)
def test_budgets_are_held(tmp_path, capsys, artifact, change, faults):
    (tmp_path / "file").write_bytes(b"x" * 1500)
    probabilities = TRAINED + np.array([[0, 0], [0, 0], [0, 0], [-change, change]], np.float32)
    parity = compare(
        artifact,
        tmp_path / "file",
        probabilities,
        [0.001, 0.003, 0.002],
        ReferenceAnswers(REVIEWS, TRAINED),
        BudgetConfig(),
    )
    assert parity.passed is (not faults)
    for fault in faults:
        assert any(fault in found for found in parity.faults), parity.faults
    written = json.loads(json.dumps(report([parity], ReferenceAnswers(REVIEWS, TRAINED)), allow_nan=False))[
        "artifacts"
    ][0]
    assert (written["max_difference"] is None) is bool(np.isnan(change))
    print_parity(report([parity], ReferenceAnswers(REVIEWS, TRAINED)))
    assert ("–" in capsys.readouterr().out) is bool(np.isnan(change))
    assert parity.megabytes == 0.0015
    assert parity.latency_ms == pytest.approx(2)


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "path", "error", "message"),
    [
        (lambda r: (r / "model/model.keras").write_bytes(b"PK"), "", ArtifactError, "cannot be read: it is damaged"),
        (lambda r: flip(r / "model/model.keras"), "", ArtifactError, "model.keras cannot be read: Bad CRC-32"),
        (lambda r: (r / "model/labels.txt").unlink(), "", ArtifactError, "has no labels.txt"),
        (lambda r: (r / "model/vocab.txt").unlink(), "", ArtifactError, "Cannot read the text specification"),
        (lambda r: (r / "model/model.keras").unlink(), "", RunError, "holds no model"),
        (
            lambda r: (r / "export/mobile/vocab.txt").unlink(),
            "export/mobile/model-int8.tflite",
            ArtifactError,
            "Cannot read the text specification",
        ),
        (
            lambda r: (r / "export/mobile/model-int8.tflite").write_bytes(b"TFL3" * 9),
            "export/mobile/model-int8.tflite",
            ArtifactError,
            "cannot be opened as a .tflite file of tfsent",
        ),
        (
            lambda r: (r / "export/serving/1/saved_model.pb").write_bytes(b"nonsense"),
            "export/serving",
            ArtifactError,
            "cannot be loaded as a SavedModel of tfsent",
        ),
        (lambda r: None, "heldout", ArtifactError, "cannot be opened: it is a folder. Expected a run directory"),
        (lambda r: None, "config.yaml", ArtifactError, "cannot be opened: it is a file"),
        (lambda r: None, "nowhere", ArtifactError, "There is nothing at .*nowhere. Expected a run directory"),
        (lambda r: None, "export", ArtifactError, r"export holds several models. Name one, in .*serving or .*mobile\."),
        (lambda r: None, "export/mobile", ArtifactError, "holds several models. Name one: .*model-int8.tflite"),
    ],
)
def test_what_cannot_be_opened_is_told(mine, spoil, path, error, message):
    spoil(mine)
    with pytest.raises(error, match=message):
        tfsent.load(mine / path)


def test_an_encoder_of_another_family_is_trained_exported_and_agrees(tiny_settings, tmp_path):
    """ELECTRA small's shape and the tanh GELU: nothing after the encoder may depend on either."""
    electra = write_electra(tmp_path / "electra", hidden_act="gelu_new")
    config = load_config("smoke", [*tiny_settings, f"encoder=path:{electra}", "train.epochs=4"])
    train(config, tmp_path / "run")
    result = publish.export(tmp_path / "run", config.export)
    assert result["passed"], result
    again = load_config("smoke", [*tiny_settings, f"encoder=run:{tmp_path / 'run'}", "train.epochs=1"])
    train(again, tmp_path / "on")
    assert load_encoder(f"run:{tmp_path / 'on'}").backbone.embedding_dim == 4
