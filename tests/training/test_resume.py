"""Training that is killed, damaged, pre-empted and interrupted goes on as if nothing had been."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tfsent.console import say
from tfsent.errors import Preempted, RunError
from tfsent.inference.keras_run import KerasPredictor
from tfsent.recipe.loader import load_config
from tfsent.recipe.schema import TrainConfig
from tfsent.storage import atomic, run_directory
from tfsent.text.batch_plan import BatchPlan
from tfsent.training import finetune as trainer
from tfsent.training.engine import checkpoints, setup
from tfsent.training.engine.callbacks import CheckpointCallback, StoppedError
from tfsent.training.engine.checkpoints import Progress
from tfsent.training.engine.interrupts import StopRequest

# One thread: sums over several come in the order in which the threads finish.
ALONE = {**os.environ, "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}


def settings_of(tiny_settings, *more):
    settings = [*tiny_settings, "train.epochs=3", "train.checkpoint_minutes=0", "train.early_stopping_patience=2"]
    return [word for setting in (*settings, *more) for word in ("--set", setting)]


def run_killed(kind, nth, *words, **environment):
    """A real process, killed; its standard error."""
    command = [sys.executable, str(Path(__file__).parents[1] / "killed.py"), kind, str(nth), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, env={**ALONE, **environment}, check=False)
    assert done.returncode in (-signal.SIGKILL, Preempted.exit_code, 0), done.stderr
    return done


@pytest.fixture(scope="module")
def uninterrupted(tiny_settings, tmp_path_factory):
    """What a training that nobody disturbs gives."""
    run = tmp_path_factory.mktemp("whole") / "run"
    done = run_killed("never", 1, "train", "smoke", *settings_of(tiny_settings), "--run-dir", run)
    assert done.returncode == 0, done.stderr
    assert not (run / "checkpoints").exists()
    return run


def assert_same_weights(run, other):
    ours, theirs = (KerasPredictor(path).model.get_weights() for path in (run, other))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


def assert_same_model(run, other):
    assert_same_weights(run, other)
    assert (run / "history.csv").read_text() == (other / "history.csv").read_text()


def test_killed_again_and_again_gives_the_same_weights_bit_for_bit(tiny_settings, uninterrupted, tmp_path):
    run = tmp_path / "run"
    assert run_killed("step", 3, "train", "smoke", *settings_of(tiny_settings), "--run-dir", run).returncode
    said = ""
    # Killed between steps, inside each write of a checkpoint, before it has its name, while an old one goes, inside the
    # write of the history, and inside that of the model, when all is learnt.
    points = [("step", 5), ("write", 2), ("flush", 3), ("flush", 7), ("rename", 1), ("remove", 2), ("step", 20)]
    points += [("publish:history.csv", 1), ("publish:model", 1)]
    for kind, nth in points:
        assert not (run / "model").exists()
        said += run_killed(kind, nth, "train", "--resume", run).stderr
    assert any(path.name.startswith(".model.") for path in run.iterdir())
    done = run_killed("never", 1, "train", "--resume", run)
    assert done.returncode == 0, done.stderr
    assert "epoch 3/3: loss" in said
    assert ": loss" not in done.stderr  # nothing is left to learn
    assert said.count("Going on from ") == len(points)
    assert_same_model(run, uninterrupted)
    assert {path.name for path in run.iterdir()} == {path.name for path in uninterrupted.iterdir()}


def test_killed_at_any_moment(tiny_settings, uninterrupted, tmp_path):
    run = tmp_path / "run"
    words = [sys.executable, "-m", "tfsent", "train", "smoke", *settings_of(tiny_settings), "--run-dir", str(run)]
    seed = time.time_ns()
    print(f"seed {seed}")  # pytest shows it when the test fails
    rng = np.random.default_rng(seed)
    for longest in (0.2, 1.5, 1.5):  # the first kill comes before training is done
        process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=ALONE)
        while not any((run / "checkpoints").glob("step-*[0-9]")) and process.poll() is None:
            time.sleep(0.02)
        time.sleep(float(rng.uniform(0, longest)))
        process.kill()
        process.communicate()
        if run_directory.is_finished(run):
            break
        words = [sys.executable, "-m", "tfsent", "train", "--resume", str(run)]
    assert "--resume" in words
    if not run_directory.is_finished(run):
        subprocess.run(words, env=ALONE, check=True, capture_output=True)
    assert_same_model(run, uninterrupted)


def test_killed_after_the_best_epoch_its_weights_and_the_patience_are_still_known(tiny_settings, tmp_path):
    """At a rate far too high validation gets worse again."""
    more = ["train.learning_rate=0.3", "train.epochs=6", "train.guards=false", "train.early_stopping_patience=2"]
    words = settings_of(tiny_settings, *more)
    whole, run = tmp_path / "whole", tmp_path / "run"
    done = run_killed("never", 1, "train", "smoke", *words, "--run-dir", whole)
    steps = int(re.search(r"tokens an epoch in (\d+) batches", done.stderr)[1])
    with (whole / "history.csv").open(newline="") as handle:
        history = list(csv.DictReader(handle))
    best = max(range(len(history)), key=lambda i: (float(history[i]["val_accuracy"]), -float(history[i]["val_loss"])))
    assert best == len(history) - 3, "it was to end early"
    run_killed("step", steps * (best + 2) + 5, "train", "smoke", *words, "--run-dir", run)
    newest = max((run / "checkpoints").iterdir())
    assert json.loads((newest / "state.json").read_text())["progress"]["waited"] == 1
    assert run_killed("never", 1, "train", "--resume", run).returncode == 0
    assert_same_model(run, whole)


def test_killed_on_two_mirrored_devices_a_head_alone_goes_on_bit_for_bit(tiny_settings, tmp_path):
    more = ["train.freeze_encoder=true", "train.learning_rate=3e-2", "train.epochs=2", "train.batch_tokens=1024"]
    words = settings_of(tiny_settings, *more)
    done = run_killed("never", 1, "train", "smoke", *words, "--run-dir", tmp_path / "whole", CPUS="2")
    steps = int(re.search(r"tokens an epoch in (\d+) batches", done.stderr)[1])
    assert "2 × cpu" in done.stderr
    words = ["smoke", *words, "--run-dir", tmp_path / "run"]
    assert run_killed("step", steps + 5, "train", *words, CPUS="2").returncode == -signal.SIGKILL
    assert "Going on from" in run_killed("never", 1, "train", "--resume", tmp_path / "run", CPUS="2").stderr
    # An epoch's mean loss is added up on each device for itself, and a checkpoint has the sum: its last bit may differ.
    assert_same_weights(tmp_path / "run", tmp_path / "whole")


@pytest.mark.parametrize("how", ["disk", "sigterm"])
def test_when_all_is_learnt_and_the_model_cannot_be_written_nothing_is_lost(tiny_settings, tmp_path, monkeypatch, how):
    def cannot(run, *_):
        if how == "sigterm":
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        raise RunError("Cannot write model: No space left on device. Nothing was changed.")

    run = tmp_path / "run"
    monkeypatch.setattr(trainer, "save_model", cannot)
    way = f"Go on with: tfsent train --resume {run}"
    message = f"SIGTERM came. {way}" if how == "sigterm" else f"Nothing was changed. What was .* a checkpoint. {way}"
    with pytest.raises((RunError, Preempted), match=message):
        trainer.train(load_config("smoke", [*tiny_settings, "train.epochs=1"]), run)
    monkeypatch.undo()
    monkeypatch.setattr(CheckpointCallback, "on_train_batch_end", lambda *_: pytest.fail("it learnt again"))
    trainer.resume(run)
    assert run_directory.is_finished(run)


def test_killed_in_its_very_first_write_a_run_can_be_replaced(tiny_settings, tmp_path):
    run = tmp_path / "run"
    run_killed("publish:config.yaml", 1, "train", "smoke", *settings_of(tiny_settings), "--run-dir", run)
    assert [path.name[:13] for path in run.iterdir()] == [".config.yaml."]
    trainer.train(load_config("smoke", [*tiny_settings, "train.epochs=1"]), run, overwrite=True)
    assert run_directory.is_finished(run)
    assert not any(path.name.startswith(".config") for path in run.iterdir())
    assert list(tmp_path.iterdir()) == [run]


@pytest.fixture(scope="module")
def ended(tiny_settings, tmp_path_factory):
    """A training that was killed after two checkpoints. Tests copy it."""
    run = tmp_path_factory.mktemp("ended") / "run"
    run_killed("step", 6, "train", "smoke", *settings_of(tiny_settings), "--run-dir", run)
    assert [path.name for path in sorted((run / "checkpoints").iterdir())] == ["step-00000004", "step-00000005"]
    return run


@pytest.fixture
def copy(ended, tmp_path):
    shutil.copytree(ended, tmp_path / "run")
    return tmp_path / "run"


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda c: flip(c / "arrays.safetensors"), "arrays.safetensors is not what was written"),
        (lambda c: flip(c / "state.json"), "state.json is not what was written"),
        (lambda c: (c / "arrays.safetensors").write_bytes(b"short"), "arrays.safetensors is not what was written"),
        (lambda c: (c / "manifest.json").write_text("{"), "a file is missing or unreadable"),
        (lambda c: (c / "state.json").unlink(), "a file is missing or unreadable"),
    ],
)
def test_a_damaged_checkpoint_is_passed_over_and_that_is_said(copy, capsys, monkeypatch, damage, said):
    damage(copy / "checkpoints" / "step-00000005")
    went_on = []
    monkeypatch.setattr(trainer, "_train", lambda config, run, devices, asked, resumed: went_on.append(resumed.step))
    trainer.resume(copy)
    assert went_on == [4]
    assert [path.name for path in (copy / "checkpoints").iterdir()] == ["step-00000004"]
    assert f"Checkpoint step-00000005 is damaged ({said}): looking for an older one." in capsys.readouterr().err


def test_killed_again_after_damage_there_is_still_a_sound_checkpoint(copy, uninterrupted):
    """The damaged one had the place of the next checkpoint, and was newer than the sound one."""
    flip(copy / "checkpoints" / "step-00000005" / "arrays.safetensors")
    run_killed("step", 3, "train", "--resume", copy)
    done = run_killed("never", 1, "train", "--resume", copy)
    assert "Going on from " in done.stderr
    assert "step-00000006." in done.stderr
    assert_same_model(copy, uninterrupted)


def test_what_auto_was_found_to_mean_stays(copy, monkeypatch):
    """On another machine XLA may pay where it did not, and bfloat16 be had: the batches and the bits stay."""
    seen = []
    monkeypatch.setattr(setup, "choose_jit", lambda wanted, *_: True if wanted == "auto" else wanted)

    def look(setup, plan):
        seen.append((setup.jit, setup.config.train.precision, plan.steps))
        raise StoppedError

    monkeypatch.setattr(trainer, "describe", look)
    with pytest.raises(StoppedError):
        trainer.resume(copy)
    state = json.loads((copy / "checkpoints" / "step-00000005" / "state.json").read_text())
    assert state["identity"]["resolved_auto"] == {"jit_compile": False, "precision": "float32"}
    assert state["identity"]["recipe"]["train"]["jit_compile"] == "auto"
    assert seen == [(False, "float32", state["identity"]["plan"]["steps"])]


def test_other_batches_are_refused(copy):
    now = json.loads((copy / "checkpoints" / "step-00000005" / "state.json").read_text())["identity"]
    for other in ({"steps": 1}, {"fingerprint": "that of others"}):
        with pytest.raises(RunError, match="Recipe and data are the same, and the batches made of them are not"):
            checkpoints.require_same_origin({**now, "plan": {**now["plan"], **other}}, now, say)


def test_two_processes_do_not_train_in_one_folder(copy, tiny_settings):
    with atomic.in_use(copy):
        with pytest.raises(RunError, match=f"Another process is at work in {copy}. Wait for its end"):
            trainer.resume(copy)
        with pytest.raises(RunError, match="Another process is at work in"):
            trainer.train(load_config("smoke", tiny_settings), copy, overwrite=True)
    assert len(list((copy / "checkpoints").iterdir())) == 2


def test_only_the_chief_takes_damaged_checkpoints_away(copy, capsys):
    flip(copy / "checkpoints" / "step-00000005" / "state.json")
    assert checkpoints.newest(copy / "checkpoints", say, remove=False).step == 4
    assert len(list((copy / "checkpoints").iterdir())) == 2


def test_checkpoints_that_are_there_make_room_for_those_to_come(copy, monkeypatch):
    there = sum(path.stat().st_size for path in (copy / "checkpoints").rglob("*") if path.is_file())
    arrays = checkpoints.newest(copy / "checkpoints", say).arrays
    model = sum(array.nbytes for name, array in arrays.items() if name.startswith("model/"))
    monkeypatch.setattr(trainer, "SPARE_BYTES", 2 * there)
    monkeypatch.setattr(trainer, "fit", lambda *_: pytest.fail("it trained"))
    monkeypatch.setattr(trainer.shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    with pytest.raises(RunError, match="has 0 MB free, .* Free some, and go on with --resume."):
        trainer.resume(copy)
    monkeypatch.setattr(trainer.shutil, "disk_usage", lambda path: SimpleNamespace(free=9 * model + int(1.5 * there)))
    with pytest.raises(pytest.fail.Exception, match="it trained"):
        trainer.resume(copy)


def test_sigterm_before_the_first_step_ends_it_in_order(tiny_settings, tmp_path, monkeypatch):
    def asked(*_):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(trainer, "set_up", asked)
    with pytest.raises(Preempted, match="SIGTERM came. Nothing was learnt yet"):
        trainer.train(load_config("smoke", tiny_settings), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_second_sigterm_does_not_wait_for_the_step(copy, monkeypatch):
    def twice(*_, **__):
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("tfsent.training.engine.interrupts.SAME_SECONDS", 0)
    monkeypatch.setattr("tfsent.training.engine.callbacks.ProgressCallback.on_train_batch_end", twice)
    with pytest.raises(Preempted, match=f"SIGTERM came. Go on with: tfsent train --resume {copy}"):
        trainer.resume(copy)
    assert not (copy / "model").exists()
    assert len(list((copy / "checkpoints").iterdir())) == 2


def test_without_a_sound_checkpoint_there_is_nothing_to_go_on_from(copy):
    for folder in (copy / "checkpoints").iterdir():
        flip(folder / "state.json")
    with pytest.raises(RunError, match="has no sound checkpoint to go on from. Train again"):
        trainer.resume(copy)


def edit(path, change):
    tree = yaml.safe_load(path.read_text())
    change(tree)
    path.write_text(yaml.safe_dump(tree))


def test_a_recipe_that_changed_is_refused(copy, tiny_settings):
    edit(copy / "config.yaml", lambda tree: tree["train"].update(learning_rate=0.5))
    with pytest.raises(
        RunError, match="The recipe changed since .*: train.learning_rate was 0.01 and is 0.5. Expected"
    ):
        trainer.resume(copy)


def test_a_recipe_given_beside_it_must_be_the_same(copy, tiny_settings, monkeypatch):
    own = settings_of(tiny_settings)[1::2]
    with pytest.raises(RunError, match="The recipe changed since training began, .*: train.epochs was 3 and is 4"):
        trainer.resume(copy, load_config("smoke", [*own, "train.epochs=4"]))
    monkeypatch.setattr(trainer, "_train", lambda *_: False)
    trainer.resume(copy, load_config("smoke", own))


def test_data_and_encoder_that_changed_are_refused(copy, monkeypatch):
    real = setup.load_splits

    def fewer(config, say):
        splits = real(config, say)
        return type(splits)(**{**vars(splits), "train": splits.validation})

    monkeypatch.setattr(setup, "load_splits", fewer)
    with pytest.raises(RunError, match="The data changed since training began, .*: train has .* reviews and had "):
        trainer.resume(copy)
    monkeypatch.undo()
    encoder = setup.load_encoder

    def other(uri, say):
        found = encoder(uri, say)
        found.provenance["files"]["vocab.txt"] = "0" * 64
        return found

    monkeypatch.setattr(setup, "load_encoder", other)
    with pytest.raises(RunError, match="The encoder changed since training began, .*vocab.txt was "):
        trainer.resume(copy)


def test_other_software_is_mentioned_and_no_more(copy, capsys):
    state = copy / "checkpoints" / "step-00000005" / "state.json"
    now = json.loads(state.read_text())["identity"]
    before = {**now, "environment": {**now["environment"], "keras": "3.0"}}
    checkpoints.require_same_origin(before, now, say)
    said = capsys.readouterr().err
    assert "so the last bits may differ: keras was '3.0' and is " in said


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda run: None, "is not a run of tfsent: it has no config.yaml. Expected --resume RUN"),
        (lambda run: (run / "config.yaml").write_text(""), "was ended before its first checkpoint: there is nothing"),
    ],
)
def test_what_cannot_go_on_is_told(tmp_path, make, message):
    make(tmp_path)
    with pytest.raises(RunError, match=message):
        trainer.resume(tmp_path)


def test_a_finished_run_cannot_go_on(tiny_run):
    with pytest.raises(
        RunError, match="is finished: there is nothing to go on from. To train anew: tfsent train .* --overwrite"
    ):
        trainer.resume(tiny_run)


def test_a_run_that_was_ended_is_not_replaced_by_chance(copy, tiny_settings):
    with pytest.raises(RunError, match=f"holds a training that was ended. Go on with: tfsent train --resume {copy}"):
        trainer.train(load_config("smoke", tiny_settings), copy)


def test_a_full_disk_leaves_the_newest_checkpoint(copy, monkeypatch):
    from tfsent.training.engine import checkpoints

    def full(arrays, path):
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "save_file", full)
    with pytest.raises(RunError, match="No space left on device. step-00000005 is there; free some space, and go on"):
        trainer.resume(copy)
    assert [path.name for path in (copy / "checkpoints").iterdir()] == ["step-00000005"]
    monkeypatch.undo()
    trainer.resume(copy)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_a_signal_ends_training_and_it_goes_on_later(tiny_settings, uninterrupted, tmp_path, number, code):
    run = tmp_path / "run"
    words = settings_of(tiny_settings)
    command = [sys.executable, "-m", "tfsent", "train", "smoke", *words, "--run-dir", str(run)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=ALONE)
    while not any((run / "checkpoints").glob("step-*[0-9]")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == code, errors
    assert "Traceback" not in errors
    assert f"tfsent train --resume {run}" in errors
    assert (run / "model").exists() == (number == signal.SIGINT)
    if number == signal.SIGINT:  # what a person may make of it in between
        command = [sys.executable, "-m", "tfsent", "evaluate", str(run)]
        done = subprocess.run(command, env=ALONE, check=True, capture_output=True, text=True)
        assert f"{run} was interrupted; this is its model as it was then. To go on: tfsent train --res" in done.stderr
        (run / "export").mkdir()
    command = [sys.executable, "-m", "tfsent", "train", "--resume", str(run)]
    done = subprocess.run(command, env=ALONE, check=True, capture_output=True, text=True)
    assert_same_model(run, uninterrupted)
    removed = "export, metrics.json, predictions.csv: of the model as it was when interrupted, and removed."
    assert (removed in done.stderr) == (number == signal.SIGINT)
    assert not (run / "export").exists()
    assert not (run / "metrics.json").exists()


def test_a_training_ended_in_its_validation_goes_on_with_it(tiny_settings, uninterrupted, tmp_path):
    """All steps of the epoch are done; only the validation is missing."""
    run = tmp_path / "run"
    done = run_killed("validation", 2, "train", "smoke", *settings_of(tiny_settings), "--run-dir", run)
    assert "SIGTERM came. A checkpoint was written" in done.stderr
    newest = max((run / "checkpoints").iterdir())
    progress = json.loads((newest / "state.json").read_text())["progress"]
    assert (progress["epoch"], progress["history"]) == (0, [])
    assert progress["logs"]["loss"] > 0
    # Killed once more: what was found in the validation is not looked for again.
    said = run_killed("step", 1, "train", "--resume", run).stderr
    assert "epoch 1/3: loss" in said
    newest = max((run / "checkpoints").iterdir())
    assert len(json.loads((newest / "state.json").read_text())["progress"]["history"]) == 1
    done = run_killed("never", 1, "train", "--resume", run)
    assert done.returncode == 0
    assert [f"epoch {epoch}/3: loss" in done.stderr for epoch in (1, 2, 3)] == [False, True, True]
    assert_same_model(run, uninterrupted)


def test_killed_in_a_later_epoch_it_goes_on_from_the_end_of_the_one_before(tiny_settings, uninterrupted, tmp_path):
    """The usual checkpoint: its metrics are those of a validation, and the epoch that comes must not count them in."""
    run = tmp_path / "run"
    words = settings_of(tiny_settings, "train.checkpoint_minutes=60")
    run_killed("step", 50, "train", "smoke", *words, "--run-dir", run)
    assert len(list((run / "checkpoints").iterdir())) == 1
    done = run_killed("never", 1, "train", "--resume", run)
    assert "step-000000" in done.stderr
    assert_same_model(run, uninterrupted)


def test_averages_and_half_done_updates_are_in_the_checkpoint(tiny_settings, tmp_path):
    """Killed between two batches of one update, with a moving average of the weights."""
    more = ["--set", "train.ema_momentum=0.9", "--set", "train.accumulation_steps=3"]
    words = [*settings_of(tiny_settings), *more]
    assert run_killed("never", 1, "train", "smoke", *words, "--run-dir", tmp_path / "whole").returncode == 0
    run = tmp_path / "run"
    run_killed("step", 5, "train", "smoke", *words, "--run-dir", run)
    assert run_killed("never", 1, "train", "--resume", run).returncode == 0
    assert_same_model(run, tmp_path / "whole")


def test_a_signal_that_comes_while_processes_agree_is_not_lost(tmp_path):
    """Seen on a slow machine: what they had agreed on, nothing, overwrote it."""
    plan = BatchPlan(np.array([4]), 64)
    devices = SimpleNamespace(is_chief=False)
    keeper = CheckpointCallback(tmp_path, TrainConfig(), plan, Progress(), StopRequest(), devices=devices)

    def agree(number):
        keeper.asked.by = signal.SIGTERM
        return number

    devices.agree = agree
    keeper.stop_if_asked()
    devices.agree = lambda number: number
    with pytest.raises(StoppedError):
        keeper.stop_if_asked()
