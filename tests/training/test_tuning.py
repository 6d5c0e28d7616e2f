"""Tuning: trials are kept, go on after a kill, and the best recipe is ready to train."""

import csv
import json
import os
import signal
import subprocess
import sys

import keras
import pytest
import tensorflow as tf

from tfsent.errors import ConfigError, Interrupted, Preempted, RunError, TrainingError
from tfsent.recipe.loader import load_config
from tfsent.storage import atomic
from tfsent.training import tuning as tuner
from tfsent.training.engine.interrupts import stop_after_step
from tfsent.training.tuning import search_space, tune


@pytest.fixture
def config(tiny_settings):
    return load_config("smoke", tiny_settings)


@pytest.fixture
def scored(monkeypatch):
    """Instead of training: an accuracy that a rate of 1e-4 makes best."""
    seen = []

    def train(config, run, *, report, stop_request):
        seen.append(config)
        distance = abs(config.train.learning_rate / 1e-4 - 1)
        if config.text.truncation == "tail":
            raise TrainingError("The loss became nan.")
        for epoch in range(config.train.epochs):
            report(epoch, max(0.5, 0.95 - 0.1 * distance) + 0.001 * epoch)

    monkeypatch.setattr(tuner, "train", train)
    return seen


def test_trials_are_counted_over_all_calls_and_the_best_is_written(config, scored, tmp_path):
    tune(config, tmp_path, 3)
    result = tune(config, tmp_path, 12)
    assert len(scored) == len(result.trials) == 12
    tried = [entry.settings["train.learning_rate"] for entry in result.trials]
    assert len(set(tried)) == 12  # going on draws new ones
    for settings in (entry.settings for entry in result.trials):
        assert set(settings) == set(search_space(config))
    with (tmp_path / "trials.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert {row["state"] for row in rows} >= {"complete", "failed"}
    assert {row["why"] for row in rows if row["state"] == "failed"} == {"The loss became nan."}
    whole = [float(row["validation_accuracy"]) for row in rows if row["state"] == "complete"]
    assert result.best.score == max(whole)
    best = load_config(tmp_path / "best.yaml")
    assert best.train.learning_rate == result.best.settings["train.learning_rate"]
    assert best.encoder == config.encoder
    assert (tmp_path / "trials.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "best.yaml").read_text().startswith("# The best of 12 trials: validation accuracy ")
    assert json.loads(json.dumps(result.to_dict()))["best"]["score"] == result.best.score


def test_trials_of_another_recipe_are_not_mixed(config, scored, tiny_settings, tmp_path):
    tune(config, tmp_path, 1)
    with pytest.raises(RunError, match="The recipe of .* changed since .*: text.max_tokens was 32 and is 16"):
        tune(load_config("smoke", [*tiny_settings, "text.max_tokens=16"]), tmp_path, 2)


def test_what_is_set_stays_and_is_not_searched(config, scored, tmp_path):
    result = tune(config, tmp_path / "t", 2, ["train.epochs", "text.truncation"])
    assert {trained.train.epochs for trained in scored} == {config.train.epochs}
    assert set(result.best.settings) == set(search_space(config)) - {"train.epochs", "text.truncation"}


def test_a_head_alone_is_tried_at_higher_rates_and_for_longer(tiny_settings, scored, tmp_path):
    tune(load_config("smoke", [*tiny_settings, "train.freeze_encoder=true"]), tmp_path, 6)
    assert all(3e-4 <= trained.train.learning_rate <= 3e-2 for trained in scored)
    assert {trained.train.epochs for trained in scored} <= {5, 10, 20}
    assert {trained.train.batch_tokens for trained in scored} <= {2048, 4096, 8192}


def test_what_is_fixed_stays_fixed_and_not_all_can_be(config, scored, tmp_path):
    tune(config, tmp_path / "t", 1, ["train.epochs"])
    with pytest.raises(RunError, match="and this command .*train.epochs.*. Expected the same keys in --set as before"):
        tune(config, tmp_path / "t", 2)
    with pytest.raises(ConfigError, match="Nothing is left to search: --set fixes all of train.learning_rate, "):
        tune(config, tmp_path / "u", 1, list(search_space(config)))
    assert not (tmp_path / "u").exists()


def test_one_process_at_a_time(config, scored, tmp_path):
    tune(config, tmp_path, 1)
    with atomic.in_use(tmp_path), pytest.raises(RunError, match="Another process is at work in"):
        tune(config, tmp_path, 2)


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_place_that_is_no_folder_of_trials_is_left_alone(config, scored, tmp_path, kind):
    place = tmp_path / "mine"
    if kind == "file":
        place.write_text("precious")
    else:
        (place / "trial").mkdir(parents=True)
        (place / "trial" / "notes.txt").write_text("precious")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ConfigError, match="exists and holds no trials of tfsent. Expected a new --dir"):
        tune(config, place, 2)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_damaged_study_is_refused(config, scored, tmp_path):
    tune(config, tmp_path, 1)
    (tmp_path / "study.db").write_text("garbage\n" * 100)
    with pytest.raises(ConfigError, match="study.db cannot be read .*. Remove .* to start again"):
        tune(config, tmp_path, 2)


def test_trials_of_more_epochs_are_not_ended_for_being_longer(config, tmp_path, monkeypatch):
    """The rate falls over each training's own epochs: after the first of three it is high, and accuracy still low."""

    def train(config, run, *, report, stop_request):
        for epoch in range(config.train.epochs):
            report(epoch, 0.8 + 0.1 * (epoch + 1) / config.train.epochs + 0.01 * config.train.epochs)

    monkeypatch.setattr(tuner, "train", train)
    result = tune(config, tmp_path, 20, ["train.learning_rate", "model.dropout"])
    longest = [entry for entry in result.trials if entry.settings["train.epochs"] == 3]
    assert longest
    assert {entry.state for entry in longest} == {"complete"}
    assert result.best.settings["train.epochs"] == 3


def test_a_device_without_memory_fails_the_trial_and_not_the_command(config, tmp_path, monkeypatch):
    def full(*_, **__):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

    monkeypatch.setattr(keras.Model, "fit", full)
    with pytest.raises(TrainingError, match="None of the 1 trials was completed"):
        tune(config, tmp_path, 1)
    assert "ran out of memory. Lower train.batch_tokens" in (tmp_path / "trials.csv").read_text()


@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, Interrupted), (signal.SIGTERM, Preempted)])
def test_a_signal_as_a_trial_ends_is_not_lost(config, tmp_path, monkeypatch, number, error):
    """Between the last validation and the end of the training nothing is left to stop but what follows."""
    begun = []

    def train(config, run, *, report, stop_request):
        begun.append(config)
        report(0, 0.9)
        with stop_after_step(stop_request):
            os.kill(os.getpid(), number)

    monkeypatch.setattr(tuner, "train", train)
    with pytest.raises(error, match="Give the same command again to continue"):
        tune(config, tmp_path, 3)
    assert len(begun) == 1
    with (tmp_path / "trials.csv").open(newline="") as handle:
        assert [row["state"] for row in csv.DictReader(handle)] == ["complete"]


def test_devices_that_are_not_here_are_told_before_anything_is_made(tiny_settings, tmp_path):
    with pytest.raises(ConfigError, match="train.devices is gpu"):
        tune(load_config("smoke", [*tiny_settings, "train.devices=gpu"]), tmp_path / "t", 1)
    assert not (tmp_path / "t").exists()


def test_when_no_trial_ends_it_says_so(config, monkeypatch, tmp_path):
    def fail(*_, **__):
        raise TrainingError("Nothing is learnt.")

    monkeypatch.setattr(tuner, "train", fail)
    with pytest.raises(TrainingError, match="None of the 2 trials was completed; .*trials.csv says why"):
        tune(config, tmp_path, 2)


def test_without_optuna_its_command_is_named(config, monkeypatch, tmp_path):
    monkeypatch.setattr(tuner.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs Optuna: pip install 'tfsent\[tune\]'"):
        tune(config, tmp_path / "t", 1)


def test_importing_does_nothing():
    code = "import optuna.logging as o; before = o.get_verbosity(); import tfsent.training.tuning; "
    code += "assert o.get_verbosity() == before"
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ)


def test_a_killed_trial_is_tried_again(config, scored, tmp_path, monkeypatch):
    class KilledError(BaseException):
        pass

    def killed(config, run, **options):
        scored.append(config)
        raise KilledError

    with monkeypatch.context() as patch, pytest.raises(KilledError):
        patch.setattr(tuner, "train", killed)
        tune(config, tmp_path, 2)
    result = tune(config, tmp_path, 2)
    assert len(result.trials) == 2
    assert len({trained.model.dropout for trained in scored}) == 2  # the first and the second are the same trial
