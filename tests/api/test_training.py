"""`tfsent.train` as a Python user calls it."""

import keras
import pytest
from tiny import tiny_texts

import tfsent
from tfsent.errors import ConfigError, DataError, RunError

ROWS = tiny_texts(120, 1)
TEXTS = [text for text, _ in ROWS]
LABELS = [("bad", "good")[label] for _, label in ROWS]


class Epochs(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.seen = []

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append((epoch, sorted(logs)))


@pytest.fixture(scope="module")
def run(tiny_recipe, tmp_path_factory):
    callback = Epochs()
    place = tmp_path_factory.mktemp("api") / "run"
    trained = tfsent.train(tiny_recipe, {"train.epochs": 2}, data=(TEXTS, LABELS), run_dir=place, callbacks=[callback])
    return trained, callback


def test_lists_are_trained_on(run):
    trained, _ = run
    assert trained.config.data.source == "memory"
    assert trained.load().label_names == ("bad", "good")
    assert trained.evaluate().reviews == 12
    assert trained.evaluate("validation").reviews == 11


def test_history_has_an_entry_an_epoch(run):
    history = run[0].history
    assert [epoch.epoch for epoch in history] == [1, 2]
    assert history[1].loss < history[0].loss


def test_callbacks_are_called_after_ours(run):
    epochs = run[1].seen
    assert [epoch for epoch, _ in epochs] == [0, 1]
    assert {"accuracy", "loss", "val_accuracy", "val_loss"} <= set(epochs[0][1])


def test_a_finished_run_is_left_as_it_is(run, messages):
    before = (run[0].path / "model" / "model.keras").read_bytes()
    again = tfsent.train(run_dir=run[0].path, data=(TEXTS, LABELS), resume=True)
    assert again.path == run[0].path
    assert "is finished" in messages.text
    assert (run[0].path / "model" / "model.keras").read_bytes() == before


def test_resume_with_a_recipe_begins_a_run(tiny_recipe, tmp_path):
    trained = tfsent.train(tiny_recipe, ["train.epochs=1"], data=(TEXTS, LABELS), run_dir=tmp_path / "new", resume=True)
    assert len(trained.history) == 1


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        ({}, ConfigError, "Name a recipe"),
        ({"resume": True}, ConfigError, "resume needs run_dir"),
        ({"recipe": {"train": {"epochs": 1}}}, ConfigError, "needs run_dir, such as run_dir='runs/mine'"),
        ({"recipe": "imdb", "overrides": "train.epochs=1"}, ConfigError, "a dict or a list"),
        ({"recipe": "imdb", "overrides": {"train.epoch": 1}}, ConfigError, "Did you mean 'epochs'"),
        ({"recipe": "imdb", "data": (["a"], ["b", "c"])}, DataError, "1 texts and 2 labels"),
        ({"run_dir": "nowhere", "resume": True}, RunError, "nowhere is not a run"),
    ],
)
def test_wrong_calls_say_what_to_do(words, error, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        tfsent.train(**words)


def test_a_recipe_may_be_a_dict(tiny_settings):
    config = tfsent.load_recipe({"train": {"epochs": 3}}, tiny_settings)
    assert config.train.epochs == 6  # an override wins
    assert tfsent.load_recipe(config, {"train.epochs": 4}).train.epochs == 4
