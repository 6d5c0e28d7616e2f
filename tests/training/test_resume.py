"""A training that was stopped, killed or damaged resumes as if it had never been interrupted."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from tfsent.errors import Interrupted, Preempted, RunError
from tfsent.inference.keras_run import KerasPredictor
from tfsent.recipe.loader import load_config, to_yaml
from tfsent.storage import atomic, run_directory
from tfsent.training import finetune
from tfsent.training.engine import checkpoints, setup
from tfsent.training.engine.callbacks import CheckpointCallback, StoppedError
from tfsent.training.engine.interrupts import StopRequest

EPOCHS = 2


class CrashError(Exception):
    """Ends a training in the middle, and nothing is tidied up."""


class CrashAfter(keras.callbacks.Callback):
    """Crashes after so many training steps, or batches of a validation."""

    def __init__(self, steps=None, validation_batches=None):
        super().__init__()
        self.steps, self.validation_batches = steps, validation_batches

    def on_train_batch_end(self, batch, logs=None):
        if self.steps is not None:
            self.steps -= 1
            if self.steps == 0:
                raise CrashError

    def on_test_batch_end(self, batch, logs=None):
        if self.validation_batches is not None:
            self.validation_batches -= 1
            if self.validation_batches == 0:
                raise CrashError


class TerminateInValidation(keras.callbacks.Callback):
    def on_test_batch_begin(self, batch, logs=None):
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture(scope="module")
def config(tiny_settings):
    return load_config("smoke", [*tiny_settings, f"train.epochs={EPOCHS}", "train.checkpoint_minutes=0"])


def crash(config, run, **when):
    with pytest.raises(CrashError):
        finetune.train(config, run, callbacks=[CrashAfter(**when)])


def crash_again(run, **when):
    with pytest.raises(CrashError):
        finetune.resume(run, callbacks=[CrashAfter(**when)])


@pytest.fixture(scope="module")
def uninterrupted(config, tmp_path_factory):
    run = tmp_path_factory.mktemp("whole") / "run"
    finetune.train(config, run)
    assert not (run / "checkpoints").exists()
    return run


@pytest.fixture(scope="module")
def steps(config, tmp_path_factory):
    """Steps of an epoch."""
    run = tmp_path_factory.mktemp("steps") / "run"
    crash(config, run, steps=1)
    return state_of(run)["identity"]["plan"]["steps"]


@pytest.fixture(scope="module")
def crashed(config, tmp_path_factory):
    """A training that crashed after two checkpoints. Tests copy it."""
    run = tmp_path_factory.mktemp("crashed") / "run"
    crash(config, run, steps=5)
    assert [path.name for path in sorted((run / "checkpoints").iterdir())] == ["step-00000004", "step-00000005"]
    return run


@pytest.fixture
def copy(crashed, tmp_path):
    return shutil.copytree(crashed, tmp_path / "run")


def state_of(run):
    return json.loads((max((run / "checkpoints").iterdir()) / "state.json").read_text())


def assert_same_weights(run, other):
    ours, theirs = (KerasPredictor(path).model.get_weights() for path in (run, other))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


def assert_same_model(run, other):
    assert_same_weights(run, other)
    assert (run / "history.csv").read_text() == (other / "history.csv").read_text()


def test_crashes_anywhere_change_no_bit(config, uninterrupted, steps, tmp_path):
    """In the middle of an epoch, after its last step, in its validation, and in the next epoch."""
    run = tmp_path / "run"
    crash(config, run, steps=3)
    crash_again(run, steps=steps - 3)
    with pytest.raises(Preempted):
        finetune.resume(run, callbacks=[TerminateInValidation()])
    assert state_of(run)["epoch_logs"]["loss"] > 0  # all steps are done, and the validation is missing
    crash_again(run, steps=4)
    crash_again(run, validation_batches=2)
    finetune.resume(run)
    assert_same_model(run, uninterrupted)
    assert {path.name for path in run.iterdir()} == {path.name for path in uninterrupted.iterdir()}


def test_the_checkpoint_after_an_epoch_resumes_exactly(tiny_settings, uninterrupted, steps, tmp_path):
    """Its metrics are those of a validation, and the next epoch must not count them."""
    rare = load_config("smoke", [*tiny_settings, f"train.epochs={EPOCHS}", "train.checkpoint_minutes=60"])
    crash(rare, tmp_path / "run", steps=steps + 5)
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == [f"step-{steps + 1:08d}"]
    finetune.resume(tmp_path / "run")
    assert_same_model(tmp_path / "run", uninterrupted)


def test_best_weights_and_patience_survive_a_crash(tiny_settings, steps, tmp_path):
    """At a rate far too high, validation gets worse again."""
    words = ["train.learning_rate=0.3", "train.epochs=6", "train.checkpoint_minutes=0"]
    config = load_config("smoke", [*tiny_settings, *words])
    finetune.train(config, tmp_path / "whole")
    with (tmp_path / "whole" / "history.csv").open(newline="") as handle:
        history = list(csv.DictReader(handle))
    best = max(range(len(history)), key=lambda i: (float(history[i]["val_accuracy"]), -float(history[i]["val_loss"])))
    assert best == len(history) - 3, "it was to stop early"
    crash(config, tmp_path / "run", steps=steps * (best + 2) + 5)
    assert state_of(tmp_path / "run")["best"]["waited"] == 1
    finetune.resume(tmp_path / "run")
    assert_same_model(tmp_path / "run", tmp_path / "whole")


def test_half_an_accumulated_update_is_in_the_checkpoint(tiny_settings, tmp_path):
    words = ["train.accumulation_steps=3", "train.epochs=1", "train.checkpoint_minutes=0"]
    config = load_config("smoke", [*tiny_settings, *words])
    finetune.train(config, tmp_path / "whole")
    crash(config, tmp_path / "run", steps=5)
    finetune.resume(tmp_path / "run")
    assert_same_model(tmp_path / "run", tmp_path / "whole")


# Real processes, really killed.

ALONE = {**os.environ, "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
KILLED = Path(__file__).parents[1] / "killed.py"


def settings_of(tiny_settings, *more):
    settings = [*tiny_settings, f"train.epochs={EPOCHS}", "train.checkpoint_minutes=0", *more]
    return [word for setting in settings for word in ("--set", setting)]


def run_killed(steps, *words, **environment):
    command = [sys.executable, str(KILLED), str(steps), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, env={**ALONE, **environment}, check=False)
    assert done.returncode in (-signal.SIGKILL, 0), done.stderr
    return done


def started(words):
    """A process that has written a checkpoint."""
    run = Path(words[-1])
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=ALONE)
    while not any((run / "checkpoints").glob("step-*[0-9]")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    return process


def test_kill_9_at_a_random_moment_changes_no_bit(tiny_settings, uninterrupted, tmp_path):
    run = tmp_path / "run"
    words = [sys.executable, "-m", "tfsent", "train", "smoke", *settings_of(tiny_settings), "--run-dir", str(run)]
    process = started(words)
    process.kill()  # wherever it is: the moment is another one in every run
    process.communicate()
    words = [sys.executable, "-m", "tfsent", "train", "--resume", str(run)]
    done = subprocess.run(words, env=ALONE, check=True, capture_output=True, text=True)
    assert "Resuming from" in done.stderr
    assert_same_model(run, uninterrupted)


def test_kill_9_on_two_mirrored_devices_changes_no_bit(tiny_settings, tmp_path):
    """The head alone: of the whole model the graph of each replica takes minutes to trace."""
    more = ["train.freeze_encoder=true", "train.learning_rate=3e-2", "train.epochs=2", "train.batch_tokens=1024"]
    words = ["train", "smoke", *settings_of(tiny_settings, *more), "--run-dir"]
    assert "2 × cpu" in run_killed(0, *words, tmp_path / "whole", CPUS="2").stderr
    assert run_killed(12, *words, tmp_path / "run", CPUS="2").returncode == -signal.SIGKILL
    assert "Resuming from" in run_killed(0, "train", "--resume", tmp_path / "run", CPUS="2").stderr
    # Each device adds up an epoch's loss by itself, and a checkpoint has the sum: its last bit may differ.
    assert_same_weights(tmp_path / "run", tmp_path / "whole")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_a_signal_stops_training_and_it_resumes(tiny_settings, uninterrupted, tmp_path, number, code):
    run = tmp_path / "run"
    words = settings_of(tiny_settings)
    process = started([sys.executable, "-m", "tfsent", "train", "smoke", *words, "--run-dir", str(run)])
    process.send_signal(number)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == code, errors
    assert "Traceback" not in errors
    assert f"To continue: tfsent train --resume {run}" in errors
    assert (run / "model").exists() == (number == signal.SIGINT)
    (run / "metrics.json").touch()  # what a person may have made of an interrupted model
    finetune.resume(run)
    assert_same_model(run, uninterrupted)
    assert (run / "metrics.json").exists() == (number == signal.SIGTERM)


# What may go wrong.


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
def test_a_damaged_checkpoint_is_skipped(copy, messages, monkeypatch, damage, said):
    damage(copy / "checkpoints" / "step-00000005")
    resumed = []
    monkeypatch.setattr(finetune, "_train", lambda *words: resumed.append(words[4].step))
    finetune.resume(copy)
    assert resumed == [4]
    assert [path.name for path in (copy / "checkpoints").iterdir()] == ["step-00000004"]
    assert f"Checkpoint step-00000005 is damaged ({said}): looking for an older one." in messages.text


def test_only_the_chief_deletes_damaged_checkpoints(copy):
    flip(copy / "checkpoints" / "step-00000005" / "state.json")
    assert checkpoints.newest(copy / "checkpoints", remove=False).step == 4
    assert len(list((copy / "checkpoints").iterdir())) == 2


def test_without_a_valid_checkpoint_resuming_is_refused(copy):
    for folder in (copy / "checkpoints").iterdir():
        flip(folder / "state.json")
    with pytest.raises(RunError, match="has no valid checkpoint. Train again: tfsent train RECIPE"):
        finetune.resume(copy)


def test_what_auto_was_resolved_to_stays(copy, monkeypatch):
    """Another machine may have XLA or bfloat16: batches and bits stay."""
    seen = []
    monkeypatch.setattr(setup, "choose_jit", lambda wanted, *_: True if wanted == "auto" else wanted)

    def look(made):
        seen.append((made.jit, made.precision, made.plan.steps))
        raise StoppedError

    monkeypatch.setattr(finetune, "log_summary", look)
    with pytest.raises(StoppedError):
        finetune.resume(copy)
    identity = state_of(copy)["identity"]
    assert identity["resolved_auto"] == {"jit_compile": False, "precision": "float32"}
    assert identity["recipe"]["train"]["jit_compile"] == "auto"
    assert seen == [(False, "float32", identity["plan"]["steps"])]


def test_other_batches_are_refused(copy):
    now = state_of(copy)["identity"]
    for other in ({"steps": 1}, {"fingerprint": "another"}):
        with pytest.raises(RunError, match="Recipe and data are the same, and the batches made of them are not"):
            checkpoints.require_same_origin({**now, "plan": {**now["plan"], **other}}, now)


def test_a_changed_recipe_is_refused(copy, config):
    changed = load_config(copy / "config.yaml", ["train.learning_rate=0.5"])
    (copy / "config.yaml").write_text(to_yaml(changed))
    with pytest.raises(
        RunError, match="The recipe changed since .*: train.learning_rate was 0.01 and is 0.5. Expected"
    ):
        finetune.resume(copy)


def test_a_recipe_beside_resume_must_be_the_same(copy, config, tiny_settings, monkeypatch):
    with pytest.raises(RunError, match="The recipe changed since training began, .*: train.epochs was 2 and is 4"):
        finetune.resume(copy, load_config(copy / "config.yaml", ["train.epochs=4"]))
    monkeypatch.setattr(finetune, "_train", lambda *_: None)
    finetune.resume(copy, config)


def test_changed_data_and_encoder_are_refused(copy, monkeypatch):
    load_splits, load_encoder = setup.load_splits, setup.load_encoder

    def fewer(config, parts):
        splits = load_splits(config, parts)
        return type(splits)(**{**vars(splits), "train": splits.validation})

    def other(uri):
        encoder = load_encoder(uri)
        encoder.provenance["files"]["vocab.txt"] = "0" * 64
        return encoder

    monkeypatch.setattr(setup, "load_splits", fewer)
    with pytest.raises(RunError, match="The data changed since training began, .*: train has .* reviews and had "):
        finetune.resume(copy)
    monkeypatch.undo()
    monkeypatch.setattr(setup, "load_encoder", other)
    with pytest.raises(RunError, match="The encoder changed since training began, .*vocab.txt was "):
        finetune.resume(copy)


def test_other_software_is_only_reported(copy, messages):
    now = state_of(copy)["identity"]
    before = {**now, "environment": {**now["environment"], "keras": "3.0"}}
    checkpoints.require_same_origin(before, now)
    assert "so the last bits may differ: keras was '3.0' and is " in messages.text


def test_two_processes_do_not_train_in_one_run(copy, config):
    with atomic.in_use(copy):
        with pytest.raises(RunError, match=f"Another process is at work in {copy}. Wait for its end"):
            finetune.resume(copy)
        with pytest.raises(RunError, match="Another process is at work in"):
            finetune.train(config, copy, overwrite=True)
    assert len(list((copy / "checkpoints").iterdir())) == 2


def test_old_checkpoints_make_room_for_new_ones(copy, monkeypatch):
    there = sum(path.stat().st_size for path in (copy / "checkpoints").rglob("*") if path.is_file())
    arrays = checkpoints.newest(copy / "checkpoints").arrays
    model = sum(array.nbytes for name, array in arrays.items() if name.startswith("model/"))
    monkeypatch.setattr(finetune, "SPARE_BYTES", 2 * there)
    monkeypatch.setattr(finetune, "fit", lambda *_, **__: pytest.fail("it trained"))
    monkeypatch.setattr(finetune.shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    with pytest.raises(RunError, match="has 0 MB free, .* Free some, then --resume."):
        finetune.resume(copy)
    monkeypatch.setattr(finetune.shutil, "disk_usage", lambda path: SimpleNamespace(free=9 * model + int(1.5 * there)))
    with pytest.raises(pytest.fail.Exception, match="it trained"):
        finetune.resume(copy)


def test_a_full_disk_leaves_the_newest_checkpoint(copy, monkeypatch):
    def full(arrays, path):
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "save_file", full)
    with pytest.raises(
        RunError, match="No space left on device. step-00000005 is there; free some space, then --resume"
    ):
        finetune.resume(copy)
    assert [path.name for path in (copy / "checkpoints").iterdir()] == ["step-00000005"]


@pytest.mark.parametrize("how", ["disk", "sigterm"])
def test_a_model_that_cannot_be_written_loses_nothing(tiny_settings, tmp_path, monkeypatch, how):
    def cannot(*_):
        if how == "sigterm":
            os.kill(os.getpid(), signal.SIGTERM)
        raise RunError("Cannot write model: No space left on device. Nothing was changed.")

    run = tmp_path / "run"
    monkeypatch.setattr(finetune, "save_model", cannot)
    hint = f"To continue: tfsent train --resume {run}"
    message = f"SIGTERM came. {hint}" if how == "sigterm" else f"Training is complete, .* checkpoint is kept. {hint}"
    with pytest.raises((RunError, Preempted), match=message):
        finetune.train(load_config("smoke", [*tiny_settings, "train.epochs=1"]), run)
    monkeypatch.undo()
    monkeypatch.setattr(CheckpointCallback, "on_train_batch_end", lambda *_: pytest.fail("it trained again"))
    finetune.resume(run)
    assert run_directory.is_finished(run)


def test_sigterm_before_the_first_step_keeps_the_recipe(config, tmp_path, monkeypatch):
    """A scheduler repeats `tfsent train --resume RUN` until it exits with 0."""
    run = tmp_path / "run"
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(finetune, "log_summary", lambda _: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Preempted, match=f"SIGTERM came. To continue: tfsent train --resume {run}"):
        finetune.train(config, run)
    assert signal.getsignal(signal.SIGTERM) is before
    assert not run_directory.has_checkpoint(run)
    begun = []
    monkeypatch.setattr(finetune, "_train", lambda *words: begun.append(words[4]))
    finetune.resume(run)
    assert begun == [None]


def test_a_repeated_sigterm_keeps_the_checkpoint(copy):
    """`timeout` sends it to a process and to its group."""

    class Twice(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Preempted, match="SIGTERM came. A checkpoint was written"):
        finetune.resume(copy, callbacks=[Twice()])
    assert max((copy / "checkpoints").iterdir()).name == "step-00000006"


def test_a_signal_while_processes_agree_is_not_lost(config, tmp_path):
    stop_request = StopRequest()
    plan = SimpleNamespace(steps=1, epochs=1)
    devices = SimpleNamespace(is_chief=False)
    callback = CheckpointCallback(tmp_path, config.train, plan, devices, stop_request, {})

    def agree(number):
        stop_request.signal = signal.SIGTERM
        return number

    devices.agree = agree
    callback.stop_if_asked()
    devices.agree = lambda number: number
    with pytest.raises(StoppedError):
        callback.stop_if_asked()


def test_ctrl_c_saves_the_model_as_it_is(config, tmp_path):
    class Press(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            os.kill(os.getpid(), signal.SIGINT)

    run = tmp_path / "run"
    with pytest.raises(Interrupted, match=f"{run} holds the model as it was then. To continue: tfsent train --resume"):
        finetune.train(config, run, callbacks=[Press()])
    assert run_directory.has_model(run)
    assert run_directory.has_checkpoint(run)


def test_a_finished_run_is_left_as_it_is(tiny_run, messages, monkeypatch):
    monkeypatch.setattr(finetune, "_train", lambda *_: pytest.fail("it trained"))
    finetune.resume(tiny_run)
    assert f"{tiny_run} is finished." in messages.text


def test_what_is_not_a_run_is_refused(tmp_path):
    with pytest.raises(RunError, match="is not a run of tfsent: it has no config.yaml. Expected --resume RUN"):
        finetune.resume(tmp_path)


def test_an_interrupted_run_is_not_replaced_by_chance(copy, config):
    with pytest.raises(RunError, match=f"was interrupted. Continue with: tfsent train --resume {copy}"):
        finetune.train(config, copy)
