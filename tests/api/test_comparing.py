"""`tfsent.compare`: any two forms, on the same reviews, by the same classes."""

import csv
import json
import shutil

import numpy as np
import pandas
import pytest
from tiny import tiny_texts

from tfsent.api.comparing import compare
from tfsent.data.reviews import Reviews, load_reviews, save_reviews
from tfsent.errors import ArtifactError, ConfigError, DataError, RunError
from tfsent.inference.predictor import Predictor
from tfsent.model.decision import Decision


class Stub(Predictor):
    """Knows praise by its words, and is as sure as it is told."""

    def __init__(self, names=("negative", "positive"), sure=0.9, decision=None):
        self.label_names = names
        self.sure = sure
        self.decision = decision or Decision()

    def predict_proba(self, texts, advance=None):
        good = np.array([any(word in text for word in ("good", "great", "superb", "lovely", "fine")) for text in texts])
        positive = np.where(good, self.sure, 1 - self.sure).astype(np.float32)
        columns = {"positive": positive, "negative": 1 - positive}
        return np.stack([columns[name] for name in self.label_names], axis=1)


@pytest.fixture
def stubs(monkeypatch):
    """Models by their path."""
    found = {}
    monkeypatch.setattr("tfsent.api.comparing.load", lambda path: found[str(path)])
    return found


@pytest.fixture
def table(tmp_path):
    rows = [(text, ("negative", "positive")[label]) for text, label in tiny_texts(80, 5)]
    pandas.DataFrame(rows, columns=["text", "label"]).to_csv(tmp_path / "new.csv", index=False)
    return tmp_path / "new.csv"


def run_with(folder, reviews):
    """What looks like a run to whoever wants its held-out reviews."""
    (folder / "heldout").mkdir(parents=True)
    (folder / "config.yaml").write_text("")
    for split in ("test", "validation"):
        save_reviews(reviews, folder / "heldout" / f"{split}.jsonl.gz")
    return folder


def reviews_of(names=("negative", "positive"), count=60):
    texts, labels = zip(*tiny_texts(count, 5), strict=True)
    codes = np.array([names.index(("negative", "positive")[label]) for label in labels], np.int32)
    return Reviews(texts, codes, names, "tiny reviews")


def test_a_run_and_its_exported_files(exported, tmp_path):
    run = shutil.copytree(exported, tmp_path / "run")
    reviews = load_reviews(run / "heldout" / "test.jsonl.gz")
    for form in ("export/mobile/model.tflite", "export/serving"):
        found = compare(run, run / form, output=tmp_path / "flips.csv")
        assert (found.a, found.b) == (str(run), str(run / form))
        assert (found.reviews, found.split, found.fingerprint) == (100, "test", reviews.fingerprint)
        assert found.accuracy.difference == pytest.approx(0, abs=0.02)
        with (tmp_path / "flips.csv").open(newline="") as handle:
            assert len(list(csv.DictReader(handle))) == len(found.flips)
    assert compare(run, run / "export/mobile/model.tflite", "validation").reviews == 40


def test_two_runs_with_the_same_held_out_reviews(stubs, tmp_path):
    a, b = (run_with(tmp_path / name, reviews_of()) for name in "ab")
    stubs[str(a)], stubs[str(b)] = Stub(), Stub(sure=0.4)
    found = compare(a, b)
    assert (found.accuracy.a, found.accuracy.b, found.lost, found.gained) == (1, 0, 60, 0)
    assert found.verdict.startswith("A is better than B, by 100.00 points")


def test_classes_may_stand_in_another_order(stubs, tmp_path):
    a = run_with(tmp_path / "a", reviews_of())
    b = run_with(tmp_path / "b", reviews_of(("positive", "negative")))
    stubs[str(a)], stubs[str(b)] = Stub(), Stub(("positive", "negative"), sure=0.8)
    found = compare(a, b)
    assert (found.accuracy.a, found.accuracy.b, found.flips) == (1, 1, ())
    assert found.log_loss.a == pytest.approx(-np.log(0.9))
    assert found.log_loss.b == pytest.approx(-np.log(0.8))
    assert compare(b, a).log_loss.a == pytest.approx(-np.log(0.8))


def test_each_answers_by_its_own_threshold(stubs, table):
    stubs["a"] = Stub()
    stubs["b"] = Stub(decision=Decision(threshold=0.95))
    found = compare("a", "b", data=table)
    assert (found.accuracy.a, found.accuracy.b, found.lost) == (1, 0.5, 40)
    assert found.log_loss.difference == 0
    assert all(flip.label_b == "negative" for flip in found.flips)


def test_data_of_yours(stubs, table, tmp_path):
    stubs["a"], stubs["b"] = Stub(), Stub(sure=0.3)
    from_file = compare("a", "b", data=table)
    assert (from_file.reviews, from_file.split, from_file.origin) == (80, "", f"reviews in {table}")
    frame = pandas.read_csv(table)
    assert compare("a", "b", data=frame).fingerprint == from_file.fingerprint
    frame.rename(columns={"text": "body"}).to_csv(table, index=False)
    assert compare("a", "b", data=table, overrides={"data.text": "body"}).fingerprint == from_file.fingerprint
    with pytest.raises(DataError, match="no column 'text'"):
        compare("a", "b", data=table)


def test_other_held_out_reviews_are_refused(stubs, tmp_path):
    a, b = run_with(tmp_path / "a", reviews_of()), run_with(tmp_path / "b", reviews_of(count=58))
    stubs[str(a)], stubs[str(b)] = Stub(), Stub()
    with pytest.raises(ConfigError, match="The test reviews of .*a and .*b differ .*with --data FILE"):
        compare(a, b)
    stubs["alone.tflite"] = Stub()
    with pytest.raises(ConfigError, match="alone.tflite does not lie in its run, .* Name yours with --data FILE"):
        compare(a, "alone.tflite")


def test_other_classes_are_refused(stubs, table, tmp_path):
    stubs["a"], stubs["b"] = Stub(), Stub(("negative", "positive", "neutral"))
    with pytest.raises(
        ConfigError, match="a answers negative, positive, and b negative, positive, neutral. Expected two models of the"
    ):
        compare("a", "b", data=table)
    a = run_with(tmp_path / "a", Reviews(("x", "y"), np.array([0, 1], np.int32), ("no", "yes"), ""))
    stubs[str(a)] = Stub()
    with pytest.raises(ConfigError, match="answers negative, positive, and its run .* no, yes. Export the run again"):
        compare(a, a)


def test_what_is_wrong_is_said_before_a_model_is_opened(tmp_path):
    (tmp_path / "mine.csv").write_text("precious")
    with pytest.raises(RunError, match="is no file of flips"):
        compare("a", "b", output=tmp_path / "mine.csv")
    with pytest.raises(ConfigError, match="overrides say how data of your own is read. Pass data, too"):
        compare("a", "b", overrides=["data.text=body"])
    with pytest.raises(ArtifactError, match="There is nothing at a"):
        compare("a", "b")


def test_the_result_is_json(stubs, table):
    stubs["a"], stubs["b"] = Stub(), Stub(sure=0.3)
    tree = json.loads(json.dumps(compare("a", "b", data=table).to_dict(), allow_nan=False))
    assert (tree["a"], tree["b"], len(tree["flips"])) == ("a", "b", 80)
