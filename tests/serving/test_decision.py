"""The label follows the decision that was stored with the model, in every protocol and form."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from served import ROOT, until

import tfsent
from tfsent.errors import ArtifactError
from tfsent.model.decision import Decision, read_decision, write_decision
from tfsent.serving.litert import LiteRTEngine
from tfsent.serving.saved_model import SavedModelEngine
from tfsent.storage.atomic import publish
from tfsent.storage.manifest import sha256

TEXTS = ["good great film", "good plot", "a film", "", "bad film", "good bad film", "awful bad plot"]


def below(probabilities):
    """A threshold that is exceeded by all of some texts, of which the model finds one class more probable or the other.

    It changes labels, and no rounding does: the tiny model is nearly certain of each text.
    """
    assert set(probabilities.argmax(axis=1)) == {0, 1}
    return float(probabilities[:, 1].min()) / 2


def decide(folder, decision):
    """Store a decision beside a .tflite file, or none, as a model of an earlier version; manifest.json says so."""
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"].pop("decision.json", None)
    (folder / "decision.json").unlink(missing_ok=True)
    if decision is not None:
        write_decision(folder, decision)
        facts = {"sha256": sha256(folder / "decision.json"), "bytes": (folder / "decision.json").stat().st_size}
        manifest["files"]["decision.json"] = facts
    lines = [json.loads(line) for line in (folder / "golden.jsonl").read_text(encoding="utf-8").splitlines()]
    names = (folder / "labels.txt").read_text(encoding="utf-8").splitlines()
    for line in lines:
        line.pop("label", None)
        if decision is not None:
            line["label"] = names[int(decision.choose(np.array([line["probabilities"]], np.float32))[0])]
    (folder / "golden.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.fixture
def model(mobile, tmp_path):
    return shutil.copytree(mobile, tmp_path / "export" / "mobile")


def labels_everywhere(served):
    """The labels of TEXTS by each way to ask. All must be alike."""
    rows = served.predict(*TEXTS).json["predictions"]
    for row in rows:
        assert row["probability"] == row["probabilities"][("negative", "positive").index(row["label"])]
    by_row = [row["label"] for row in rows]
    inputs = {"inputs": {"text": TEXTS}}
    assert served.ask("/v1/models/sentiment:predict", inputs).json["outputs"]["label"] == by_row
    page = [served.ask("/page/answer", {"instances": [text]}).json["label"] for text in TEXTS]
    assert page == by_row
    assert asked_over_grpc(served) == by_row
    return by_row


def asked_over_grpc(served):
    client = ROOT / "export" / "serving" / "client.py"
    command = [sys.executable, str(client), "--url", f"grpc://{served.grpc}", *TEXTS]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line)["label"] for line in done.stdout.splitlines()]


def test_a_tflite_file_answers_by_its_threshold(start, model):
    probabilities = tfsent.load(model / "model.tflite").predict_proba(TEXTS)
    decision = Decision(1.31, below(probabilities), "f1")
    decide(model, decision)
    found = labels_everywhere(start(model, grpc_port=0))
    assert found == [one.label for one in tfsent.load(model / "model.tflite").predict(TEXTS)]
    assert found == [("negative", "positive")[i] for i in decision.choose(probabilities)]
    assert found != [("negative", "positive")[i] for i in probabilities.argmax(axis=1)]


def test_a_file_of_an_earlier_version_answers_the_most_probable_class(start, model):
    probabilities = tfsent.load(model / "model.tflite").predict_proba(TEXTS)
    decide(model, None)
    assert labels_everywhere(start(model, grpc_port=0)) == [
        ("negative", "positive")[i] for i in probabilities.argmax(1)
    ]


def test_a_new_threshold_is_a_new_version(start, model):
    decide(model, Decision())
    served = start(model, watch_seconds=0.05)
    assert served.predict(TEXTS[0]).json["predictions"][0]["label"] == "positive"
    staged = shutil.copytree(model, model.parent / "staged")
    decide(staged, Decision(threshold=1.0, aim="precision>=0.9"))
    publish(staged, model)
    until(lambda: served.metric("tfsent_model_version") == 2, "the new version")
    assert served.predict(TEXTS[0]).json["predictions"][0]["label"] == "negative"


def changed_by_hand(folder):
    write_decision(folder, Decision(threshold=0.9, aim="f1"))


def left_out(folder):
    (folder / "decision.json").unlink()


def slipped_in(folder):
    decide(folder, None)
    changed_by_hand(folder)


def of_another_model(folder):
    golden = (folder / "golden.jsonl").read_bytes()
    decide(folder, Decision(threshold=1.0, aim="precision>=0.9"))
    (folder / "golden.jsonl").write_bytes(golden)  # whose first texts are positive


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (changed_by_hand, "decision.json is not what manifest.json says. Copy the whole folder of the export."),
        (left_out, "No such file or directory"),
        (slipped_in, "manifest.json is damaged: 'decision.json'"),
        (of_another_model, "a text of golden.jsonl has the label 'negative' instead of 'positive'"),
    ],
)
def test_a_decision_that_is_not_the_model_s_is_refused(model, damage, message):
    decide(model, Decision())
    damage(model)
    with pytest.raises((ArtifactError, OSError), match=message):
        LiteRTEngine(model / "model.tflite", 1)


# -- a SavedModel -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def versions(tiny_run, tmp_path_factory):
    """A SavedModel whose graph has a threshold, exported from a run that has it."""
    from tfsent.exporting.publish import export
    from tfsent.recipe.loader import load_config

    run = shutil.copytree(tiny_run, tmp_path_factory.mktemp("decided") / "run")
    threshold = below(tfsent.load(run).predict_proba(TEXTS))
    write_decision(run / "model", Decision(threshold=threshold, aim="f1"))
    report = export(run, load_config(run / "config.yaml").export, ["serving"])
    assert report.passed, report
    return run / "export" / "serving"


def test_a_saved_model_answers_by_its_threshold(start, versions):
    decision = read_decision(versions / "1" / "assets.extra")
    assert decision.threshold is not None
    found = labels_everywhere(start(versions, grpc_port=0, batch=4))
    assert found == in_the_graph(versions / "1")
    probabilities = tfsent.load(versions).predict_proba(TEXTS)
    assert found == [("negative", "positive")[i] for i in decision.choose(probabilities)]
    assert found != [("negative", "positive")[i] for i in probabilities.argmax(axis=1)]


def in_the_graph(folder):
    """The labels that TensorFlow Serving answers."""
    import tensorflow as tf
    import tensorflow_text  # noqa: F401 - registers the ops of the graph

    loaded = tf.saved_model.load(str(folder))
    return [label.decode() for label in loaded.signatures["serving_default"](text=tf.constant(TEXTS))["label"].numpy()]


def test_a_graph_that_decides_otherwise_than_its_file_is_refused(exported, tmp_path):
    folder = shutil.copytree(exported / "export" / "serving" / "1", tmp_path / "1")
    label = SavedModelEngine(folder, 8).worker()(["A text."]).columns()["label"][0]
    write_decision(folder / "assets.extra", Decision(threshold=0.0 if label == "negative" else 1.0, aim="f1"))
    with pytest.raises(ArtifactError, match="by its graph two texts are .*, and by decision.json "):
        SavedModelEngine(folder, 8)


def test_a_saved_model_of_an_earlier_version_answers_as_its_graph_does(exported, tmp_path):
    folder = shutil.copytree(exported / "export" / "serving" / "1", tmp_path / "1")
    (folder / "assets.extra" / "decision.json").unlink(missing_ok=True)
    assert SavedModelEngine(folder, 8).worker()(TEXTS).columns()["label"] == in_the_graph(folder)
