"""What an export publishes, and that all exported forms agree with the trained model."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from tiny import write_electra

import tfsent
from tfsent.cli.main import main
from tfsent.data.reviews import load_reviews
from tfsent.encoders.loader import load_encoder
from tfsent.exporting import publish
from tfsent.exporting.parity import compare
from tfsent.exporting.phone import files
from tfsent.exporting.phone.convert import convert
from tfsent.exporting.server import files as server_files
from tfsent.exporting.server.savedmodel import write_savedmodel
from tfsent.inference.keras_run import KerasPredictor
from tfsent.inference.saved_model import SavedModelPredictor
from tfsent.inference.tflite_file import TFLitePredictor
from tfsent.recipe.loader import load_config
from tfsent.text.spec import write_labels
from tfsent.training.finetune import train


@pytest.fixture
def mine(exported, tmp_path):
    return shutil.copytree(exported, tmp_path / "run")


@pytest.fixture
def made(exported, monkeypatch):
    """Exports take files made before; a SavedModel passes without its process. For tests of what is published."""

    def pass_savedmodel(predictor, folder, reference, budget, **_):
        return compare("savedmodel", folder, (reference.probabilities, [0.001]), reference, budget)

    def convert(predictor, folder, kinds, signatures, kept):
        shutil.copy(exported / "export/mobile/model.tflite", folder / "float32.tflite")
        return ["float32"]

    made = exported / "export" / "serving" / "1"
    monkeypatch.setattr(server_files, "write_savedmodel", lambda _, target, precision: shutil.copytree(made, target))
    monkeypatch.setattr(files, "convert", convert)
    monkeypatch.setattr(server_files, "verify_savedmodel", pass_savedmodel)


def write_two_forms(run):
    """Write a SavedModel and a float32 file where an export publishes them; return their paths."""
    predictor = KerasPredictor(run)
    (run / "export").mkdir()
    write_savedmodel(predictor, run / "export" / "serving")
    mobile = run / "export" / "mobile"
    mobile.mkdir()
    predictor.tokenizer.save(mobile)
    write_labels(mobile, predictor.label_names)
    convert(predictor, mobile, ["float32"], {"serving_default": predictor.tokenizer.spec.max_tokens})
    return run / "export" / "serving", mobile / "float32.tflite"


def test_the_report_says_what_was_published(exported):
    report = json.loads((exported / "verify.json").read_text())
    assert report["published"] == ["export/serving/1", "export/mobile"]
    assert report["reviews"] == 60
    assert [a["artifact"] for a in report["artifacts"]] == ["savedmodel", "float32", "mediapipe"]
    assert all(a["latency_ms"] > 0 and a["megabytes"] > 0 for a in report["artifacts"])


def test_a_second_export_is_the_next_version(mine, made):
    result = publish.export(mine, load_config(mine / "config.yaml").export, ["serving"])
    assert result.published == ("export/serving/2",)
    assert sorted(p.name for p in (mine / "export" / "serving").iterdir()) == ["1", "2"]
    assert isinstance(tfsent.load(mine / "export" / "serving"), SavedModelPredictor)


def test_old_versions_go_with_keep(mine, made):
    done = CliRunner().invoke(main, ["export", str(mine), "--to", "serving", "--keep", "1"])
    assert done.exit_code == 0, done.output
    assert [p.name for p in (mine / "export" / "serving").iterdir()] == ["2"]


def test_over_budget_nothing_is_published_and_what_was_there_stays(mine, made, monkeypatch):
    before = (mine / "export" / "mobile" / "model.tflite").read_bytes()
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
    assert (mine / "export" / "mobile" / "model.tflite").read_bytes() == before
    assert [p.name for p in (mine / "export" / "serving").iterdir()] == ["1"]
    assert not list(mine.glob(".export*"))


def test_the_best_of_several_seeds_is_exported(tiny_run, made, tmp_path):
    best = shutil.copytree(tiny_run, tmp_path / "run" / "seed-2")
    (tmp_path / "run" / "seeds.json").write_text('{"best_run": "seed-2"}')
    assert publish.export(tmp_path / "run", load_config(best / "config.yaml").export, ["mobile"]).passed
    assert (best / "export" / "mobile" / "model.tflite").is_file()
    done = CliRunner().invoke(main, ["export", str(tmp_path / "run"), "--to", "mobile"])
    assert f"Published: {best / 'export' / 'mobile'}" in done.output


def test_windows_are_averaged_alike_in_every_form(tiny_run, tmp_path):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    spec = json.loads((run / "model" / "text.json").read_text())
    (run / "model" / "text.json").write_text(json.dumps({**spec, "truncation": "windows", "window_overlap": 0.3}))
    text, short = "the " * 40 + "good great superb " + "film " * 30, "bad film"
    trained, head = tfsent.load(run), tfsent.load(tiny_run)
    windows = trained.tokenizer(tf.constant([text])).ids.to_list()
    assert len(windows) > 2
    alone = [head.predict_proba([" ".join(trained.tokenizer.vocabulary[i] for i in w[1:-1])]) for w in windows]
    expected = np.concatenate([np.mean(alone, axis=0), head.predict_proba([short])])
    np.testing.assert_allclose(trained.predict_proba([text, short]), expected, atol=1e-5)
    server, phone = map(tfsent.load, write_two_forms(run))
    np.testing.assert_allclose(server.predict_proba([text, short]), expected, atol=1e-5)
    found, seconds = phone.timed_proba([text, short])
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert len(seconds) == 2  # one for each text, however many windows it has
    assert min(seconds) > 0


def test_another_family_is_trained_exported_and_agrees(tiny_settings, tmp_path):
    """ELECTRA small's shape and the tanh GELU: nothing after the encoder may depend on either."""
    electra = write_electra(tmp_path / "electra", hidden_act="gelu_new")
    config = load_config("smoke", [*tiny_settings, f"encoder=path:{electra}", "train.epochs=1"])
    train(config, tmp_path / "run")
    texts = load_reviews(tmp_path / "run" / "heldout" / "test.jsonl.gz").texts
    expected = tfsent.load(tmp_path / "run").predict_proba(texts)
    for path in write_two_forms(tmp_path / "run"):
        np.testing.assert_allclose(tfsent.load(path).predict_proba(texts), expected, atol=1e-5)
    again = load_config("smoke", [*tiny_settings, f"encoder=run:{tmp_path / 'run'}", "train.epochs=1"])
    train(again, tmp_path / "on")
    assert load_encoder(f"run:{tmp_path / 'on'}").backbone.embedding_dim == 4
