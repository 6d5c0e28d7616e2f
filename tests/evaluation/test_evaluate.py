"""A run is evaluated on its own reviews, any form of a model on any file."""

import csv
import json
import re
import shutil

import numpy as np
import pandas
import pytest
from click.testing import CliRunner
from tiny import tiny_texts

import tfsent
from tfsent.cli.main import main
from tfsent.errors import ConfigError, DataError, RunError
from tfsent.evaluation.analysis import read_analysis
from tfsent.evaluation.evaluate import evaluate_run, training_texts
from tfsent.inference.predictor import Predictor


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


@pytest.fixture
def run(tiny_run, tmp_path):
    return shutil.copytree(tiny_run, tmp_path / "run")


@pytest.fixture
def table(tmp_path):
    """Labelled reviews as a run's own columns have them."""
    rows = [(text, ("negative", "positive")[label]) for text, label in tiny_texts(60, 5)]
    pandas.DataFrame(rows, columns=["text", "label"]).to_csv(tmp_path / "new.csv", index=False)
    return tmp_path / "new.csv"


def test_the_best_of_several_seeds_is_evaluated(tiny_run, tmp_path):
    best = shutil.copytree(tiny_run, tmp_path / "run" / "seed-2")
    (tmp_path / "run" / "seeds.json").write_text('{"best_run": "seed-2"}')
    assert evaluate_run(tmp_path / "run").to_dict() == json.loads((best / "metrics.json").read_text())


def test_a_run_keeps_its_metrics_and_predictions(run):
    result = evaluate_run(run)
    assert json.loads((run / "metrics.json").read_text()) == result.to_dict()
    assert (result.reviews, result.split, result.origin) == (100, "test", "official IMDb test split")
    assert b"\r" not in (run / "predictions.csv").read_bytes()
    rows = rows_of(run / "predictions.csv")
    assert np.mean([row["true_label"] == row["predicted_label"] for row in rows]) == result.accuracy
    assert all(abs(float(row["p_negative"]) + float(row["p_positive"]) - 1) < 1e-5 for row in rows)
    assert evaluate_run(run, "validation").reviews == 40
    assert json.loads((run / "metrics.json").read_text()) == result.to_dict()


def test_the_tiny_model_has_learnt(run):
    assert evaluate_run(run).accuracy > 0.9


def test_an_exported_file_is_evaluated_on_its_runs_reviews(exported, tmp_path):
    run = shutil.copytree(exported, tmp_path / "run")
    of_run = tfsent.evaluate(run)
    before = (run / "metrics.json").read_bytes()
    for form in ("export/mobile/model.tflite", "export/serving"):
        found = tfsent.evaluate(run / form, output=tmp_path / "out.csv")
        assert (found.split, found.fingerprint) == ("test", of_run.fingerprint)
        assert found.accuracy == pytest.approx(of_run.accuracy, abs=0.02)
        assert len(rows_of(tmp_path / "out.csv")) == 100
    assert tfsent.evaluate(run / "export/mobile/model.tflite", "validation").reviews == 40
    assert (run / "metrics.json").read_bytes() == before
    with pytest.raises(ConfigError, match="A run keeps its own predictions"):
        tfsent.evaluate(run, output=tmp_path / "out.csv")


def test_a_file_that_lies_alone_has_no_reviews(exported, tmp_path):
    shutil.copytree(exported / "export" / "mobile", tmp_path / "alone")
    with pytest.raises(ConfigError, match=r"model.tflite does not lie in its run, .* Name yours with --data FILE"):
        tfsent.evaluate(tmp_path / "alone" / "model.tflite")
    run = shutil.copytree(exported, tmp_path / "run")
    (run / "export" / "mobile" / "labels.txt").write_text("positive\nnegative\n")
    with pytest.raises(ConfigError, match="model.tflite answers positive, negative, and its run"):
        tfsent.evaluate(run / "export" / "mobile" / "model.tflite")


def test_a_run_is_evaluated_on_a_file(run, table):
    found = tfsent.evaluate(run, data=table, output=table.with_name("out.csv"))
    assert (found.reviews, found.split, found.origin) == (60, "", f"reviews in {table}")
    assert found.accuracy > 0.9
    rows = rows_of(table.with_name("out.csv"))
    assert [row["text"] for row in rows] == [row["text"] for row in rows_of(table)]
    assert np.mean([row["true_label"] == row["predicted_label"] for row in rows]) == found.accuracy
    assert not (run / "metrics.json").exists() or json.loads((run / "metrics.json").read_text())["reviews"] == 100
    again = tfsent.evaluate(run, data=table, output=table.with_name("out.csv"))  # its own file is replaced
    assert again == found


def test_reviews_in_memory_give_the_same_metrics(run, table):
    frame = pandas.read_csv(table)
    from_file = tfsent.evaluate(run, data=table)
    for data in (frame, (frame["text"], frame["label"])):
        found = tfsent.evaluate(run, data=data)
        assert (found.accuracy, found.fingerprint) == (from_file.accuracy, from_file.fingerprint)


def test_columns_are_those_of_the_run_or_named(run, table):
    frame = pandas.read_csv(table).rename(columns={"text": "body", "label": "stars"})
    frame.to_csv(table, index=False, sep=";")
    with pytest.raises(DataError, match="no column 'text' and no column 'label'"):
        tfsent.evaluate(run, data=table)
    assert tfsent.evaluate(run, data=table, overrides={"data.text": "body", "data.label": "stars"}).reviews == 60
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(
        config.replace("  text: text\n", "  text: body\n").replace(": label\n", ": stars\n")
    )
    assert tfsent.evaluate(run, data=table).reviews == 60


def test_unknown_labels_are_counted_and_named(run, table, messages):
    with table.open("a") as handle:
        handle.write("so so,neutral\nso so,mixed\nmeh,neutral\n")
    found = tfsent.evaluate(run, data=table)
    assert (found.reviews, found.unknown_labels) == (60, {"neutral": 2, "mixed": 1})
    assert "3 rows have labels that the model does not know and are left out: 'neutral', 'mixed'" in messages.text
    table.write_text("text,label\na,good\nb,bad\n")
    with pytest.raises(
        DataError, match="no label that the model knows, but 'good', 'bad'. Its labels are 'negative', 'po"
    ):
        tfsent.evaluate(run, data=table)


def test_a_class_without_reviews_is_named(run, table):
    lines = [line for line in table.read_text().splitlines(keepends=True) if not line.endswith("positive\n")]
    table.write_text("".join(lines))
    found = tfsent.evaluate(run, data=table)
    assert found.without_reviews == ("positive",)
    assert (found.roc_auc, found.classes["positive"].support) == (None, 0)


def test_a_file_of_something_else_is_not_replaced(run, table):
    mine = table.with_name("mine.csv")
    mine.write_text("precious")
    with pytest.raises(RunError, match="mine.csv exists, and is no file of predictions. Name another with --output"):
        tfsent.evaluate(run, data=table, output=mine)
    with pytest.raises(RunError, match="is a folder. Expected a file for the predictions"):
        tfsent.evaluate(run, data=table, output=table.parent)
    assert mine.read_text() == "precious"


def test_only_keys_of_data_can_be_set(run, table):
    with pytest.raises(ConfigError, match="only keys below data. can still be set. Received: 'text.max_tokens=4'"):
        tfsent.evaluate(run, data=table, overrides=["text.max_tokens=4"])
    with pytest.raises(ConfigError, match="overrides say how data of your own is read. Pass data, too"):
        tfsent.evaluate(run, overrides=["data.text=body"])


def test_unknown_words_are_reported(run, table, messages):
    pandas.DataFrame({"text": ["🎉 🥰", "🎉"], "label": ["negative", "positive"]}).to_csv(table, index=False)
    found = tfsent.evaluate(run, data=table)
    assert (found.unknown_tokens, found.unknown_texts) == (1.0, 1.0)
    assert "Reviews: 100.0% of the tokens are [UNK]" in messages.text


def test_every_form_of_a_model_can_be_evaluated(table, monkeypatch):
    """Whatever `tfsent.load` gives is asked through one interface."""

    class Stub(Predictor):
        label_names = ("negative", "positive")

        def predict_proba(self, texts, advance=len):
            return np.tile(np.array([[0.25, 0.75]], np.float32), (len(texts), 1))

    monkeypatch.setattr("tfsent.api.answers.load", lambda path: Stub())
    found = tfsent.evaluate("model.tflite", data=table)
    assert (found.accuracy, found.never_predicted, found.unknown_tokens) == (0.5, ("negative",), None)


def test_the_training_reviews_are_read_again_where_they_are_at_hand(run, messages):
    texts = training_texts(run)
    assert texts is not None
    assert len(texts) == 280
    assert "occur in train" not in messages.text
    data = json.loads((run / "data.json").read_text())
    data["splits"]["train"]["fingerprint"] = "of other reviews"
    (run / "data.json").write_text(json.dumps(data))
    assert training_texts(run) is None
    recipe = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(re.sub(r"dir: .*", "dir: /nowhere", recipe))
    assert training_texts(run) is None


def test_a_run_keeps_its_analysis_and_its_report(run):
    found = evaluate_run(run)
    assert read_analysis(run / "analysis.json") == found.analysis
    assert found.analysis.fingerprint == found.fingerprint
    assert "analysis" not in json.loads((run / "metrics.json").read_text())
    assert f"{found.accuracy:.1%}" in (run / "report.html").read_text(encoding="utf-8")
    assert "text-classification" in (run / "README.md").read_text(encoding="utf-8")


def test_the_command_slices_by_a_column_and_lists_label_errors(run, table, tmp_path):
    pytest.importorskip("cleanlab")
    frame = pandas.read_csv(table)
    frame["country"] = ["here", "there"] * 30
    wrong = [3, 8, 21, 30, 44]
    frame.loc[wrong, "label"] = frame.loc[wrong, "label"].map({"negative": "positive", "positive": "negative"})
    frame.to_csv(table, index=False)
    words = ["evaluate", str(run), "--data", str(table), "--by", "country", "--label-errors", str(tmp_path / "e.csv")]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    assert re.search(r"country: here +30", done.output)
    assert f"Likely label errors first: {tmp_path / 'e.csv'}" in done.output
    first = rows_of(tmp_path / "e.csv")[: len(wrong)]
    assert {row["text"] for row in first} == set(frame.loc[wrong, "text"])
    refused = CliRunner().invoke(main, ["evaluate", str(run), "--by", "country"])
    assert (refused.exit_code, "are about a file of yours" in refused.output) == (1, True)
