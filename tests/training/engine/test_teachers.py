"""What teachers say: averaged, in the student's order of classes, asked once."""

import csv

import numpy as np
import pytest
from stub_predictor import Stub

import tfsent
from tfsent.errors import ArtifactError, ConfigError, DataError
from tfsent.inference.keras_run import KerasPredictor
from tfsent.recipe.schema import DataConfig
from tfsent.storage import downloads
from tfsent.training.engine import teachers
from tfsent.training.engine.teachers import ask_all, require_all

TEXTS = [f"{'long ' * (i % 23)}text {i}" for i in range(50)]
LABELS = ("negative", "positive")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TFSENT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(teachers, "CHUNK", 8)


@pytest.fixture
def stub(monkeypatch):
    """A file that is opened as a stub; it counts how often, and what it is asked."""
    opened = []

    def open_stub(path):
        opened.append(Stub())
        return opened[-1]

    monkeypatch.setattr(teachers, "opener_of", lambda path: open_stub)
    return opened


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "teacher.tflite"
    path.write_bytes(b"a model")
    return path


def of_stub():
    return Stub().predict_proba(TEXTS, lambda count: None)


def write_table(path, texts, rows, header=("text", *LABELS)):
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(header)
        writer.writerows((text, *row) for text, row in zip(texts, rows, strict=True))
    return path


def test_a_model_is_asked_once_and_the_cache_answers_then(stub, model):
    first = ask_all([str(model)], TEXTS, LABELS, DataConfig())
    np.testing.assert_array_equal(first.probabilities, of_stub())
    assert (len(stub), stub[0].asked) == (1, 50)
    again = ask_all([str(model)], TEXTS, LABELS, DataConfig())
    np.testing.assert_array_equal(again.probabilities, first.probabilities)
    assert len(stub) == 1
    assert again.teachers == first.teachers == ({"path": str(model), **first.teachers[0]},)
    ask_all([str(model)], [*TEXTS, "one more"], LABELS, DataConfig())
    assert stub[1].asked == 3  # the chunk that changed
    model.write_bytes(b"another model")
    assert ask_all([str(model)], TEXTS, LABELS, DataConfig()).teachers != first.teachers
    assert stub[2].asked == 50


def test_when_the_process_ends_the_chunk_at_hand_is_lost(monkeypatch, model, stub, messages):
    class Ends(Stub):
        def predict_proba(self, texts, advance):
            if self.asked >= 24:
                raise KeyboardInterrupt
            return super().predict_proba(texts, advance)

    with monkeypatch.context() as patch:
        patch.setattr(teachers, "opener_of", lambda path: lambda path: Ends())
        with pytest.raises(KeyboardInterrupt):
            ask_all([str(model)], TEXTS, LABELS, DataConfig())
    found = ask_all([str(model)], TEXTS, LABELS, DataConfig())
    assert f"Asking {model} about 26 texts; 24 answers are in the cache." in messages.text
    assert stub[0].asked == 50 - 24
    np.testing.assert_array_equal(found.probabilities, of_stub())


def test_a_damaged_answer_is_asked_again(stub, model, messages):
    first = ask_all([str(model)], TEXTS, LABELS, DataConfig())
    path = next((downloads.cache_dir() / "kept").rglob("answers.npy"))
    path.write_bytes(path.read_bytes()[:-3])
    np.testing.assert_array_equal(ask_all([str(model)], TEXTS, LABELS, DataConfig()).probabilities, first.probabilities)
    assert "is damaged" in messages.text
    assert stub[1].asked in (8, 2)


def test_columns_follow_the_classes_of_the_student(stub, model):
    there = ask_all([str(model)], TEXTS, LABELS, DataConfig()).probabilities
    np.testing.assert_array_equal(
        ask_all([str(model)], TEXTS, LABELS[::-1], DataConfig()).probabilities, there[:, ::-1]
    )
    with pytest.raises(ConfigError) as error:
        ask_all([str(model)], TEXTS, ("bad", "good"), DataConfig())
    assert str(error.value) == (
        f"The teacher {model} has the classes 'negative', 'positive', and the student's reviews have 'bad', 'good'. "
        "Expected the same names: rename the labels of the reviews, or choose another teacher."
    )


def test_several_teachers_are_averaged_and_a_table_may_lack_texts(stub, model, tmp_path):
    table = write_table(tmp_path / "table.csv", TEXTS[:20], [(0.25, 0.75)] * 20)
    theirs = of_stub()
    found = ask_all([str(model), str(table)], TEXTS, LABELS, DataConfig())
    np.testing.assert_allclose(found.probabilities[:20], (theirs[:20] + np.array([0.25, 0.75])) / 2, atol=1e-6)
    np.testing.assert_allclose(found.probabilities[20:], theirs[20:], atol=1e-6)
    assert [teacher["kind"] for teacher in found.teachers] == ["model", "table"]
    alone = ask_all([str(table)], TEXTS, LABELS, DataConfig()).probabilities
    np.testing.assert_allclose(alone[:20], [[0.25, 0.75]] * 20)
    assert np.isnan(alone[20:]).all()


def test_a_run_answers_as_it_predicts_in_every_form(exported, tmp_path):
    texts = ["a good film .", "the plot was awful", "superb " * 40]
    expected = KerasPredictor(exported).predict_proba(texts)
    bundle = tfsent.bundle(exported, tmp_path / "mine.tfsent.zip").path
    for path in (
        exported,
        bundle,
        exported / "export" / "serving" / "1",
        next((exported / "export").rglob("*.tflite")),
    ):
        found = ask_all([str(path)], texts, LABELS, DataConfig())
        np.testing.assert_allclose(found.probabilities, expected, atol=1e-4)
    moved = ask_all([str(exported)], texts, LABELS, DataConfig()).teachers[0]["sha256"]
    assert moved == ask_all([str(exported) + "/"], texts, LABELS, DataConfig()).teachers[0]["sha256"]


def test_what_is_no_teacher_is_said_at_once(tmp_path):
    with pytest.raises(
        ArtifactError, match="distil.teacher: there is nothing at .* Expected a run, a bundle, .* or a table"
    ):
        require_all([str(tmp_path / "nothing")])
    with pytest.raises(DataError, match="has no column"):
        ask_all([str(write_table(tmp_path / "t.csv", TEXTS, [(1,)] * 50, ("text", "x")))], TEXTS, LABELS, DataConfig())
