"""Guards: they stop what explodes, collapses or learns nothing, and nothing else."""

import csv
import json
from dataclasses import asdict

import numpy as np
import pytest

from tfsent.errors import TrainingError
from tfsent.evaluation.metrics import evaluate
from tfsent.recipe.loader import load_config
from tfsent.recipe.schema import TrainConfig
from tfsent.text.batch_plan import BatchPlan
from tfsent.training.engine import guards
from tfsent.training.engine.callbacks import ProgressCallback
from tfsent.training.engine.checkpoints import Progress
from tfsent.training.engine.guards import WINDOW, Guard
from tfsent.training.finetune import train

CHANCE = float(np.log(2))


def guard_of(majority, warmup_steps=10):
    return Guard(CHANCE, majority, warmup_steps, Progress())


def see_all(losses, warmup_steps=10, interrupted_after=()):
    guard = guard_of(0.5, warmup_steps)
    for step, loss in enumerate(losses, 1):
        guard.see(step, loss)
        if step in interrupted_after:
            progress = Progress(**json.loads(json.dumps(asdict(guard.progress))))
            guard = Guard(CHANCE, 0.5, warmup_steps, progress)


def test_training_as_it_should_be_is_let_alone():
    rng = np.random.default_rng(0)
    falling = np.concatenate([np.full(30, CHANCE), np.linspace(CHANCE, 0.1, 500), np.full(500, 0.1)])
    see_all(falling * rng.lognormal(0, 0.4, len(falling)))
    see_all([CHANCE] * (WINDOW + 5))  # too early to say
    see_all([CHANCE] * 400, warmup_steps=400)  # warming up
    see_all([0.97 * CHANCE] * 1000)  # hard, but something is learnt


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        ([0.3, float("nan")], "The loss became nan at step 2. Usually the learning rate is too high"),
        ([float("inf")], "The loss became inf at step 1"),
        (
            [0.4] * 200 + [9.0] * 50,
            "The loss explodes: 0.830 over the 100 batches up to step 205, after 0.400; ",
        ),
        (
            [0.9 * CHANCE] * 110 + [CHANCE] * 300,
            r"Nothing is learnt: the loss is 0.69\d over the 100 batches up to step 21\d",
        ),
    ],
)
def test_what_is_no_use_is_stopped(losses, message):
    with pytest.raises(TrainingError, match=message):
        see_all(losses)
    # At the same step when the training was ended and resumed now and again.
    with pytest.raises(TrainingError, match=message):
        see_all(losses, interrupted_after=range(1, 400, 70))


def test_a_model_that_names_one_class_alone_is_stopped_if_its_loss_says_no_more():
    guard = guard_of(0.6)
    guard.see_epoch(1000, 0.69, 0.99)  # not alone
    guard.see_epoch(1000, 0.4, 1.0)  # its probabilities do tell reviews apart
    guard.see_epoch(50, 0.69, 1.0)  # too early
    guard_of(1.0).see_epoch(1000, 0.69, 1.0)  # there is but one class
    message = "puts all validation reviews into one class, and 40.0% of them belong elsewhere; its loss is 0.690"
    with pytest.raises(TrainingError, match=message):
        guard.see_epoch(1000, 0.69, 1.0)


def test_what_was_too_short_for_a_guard_is_looked_at_when_it_is_done(capsys):
    guard = guard_of(0.6)
    guard.see_end({"val_accuracy": 0.61, "val_loss": 2.0})  # sure of itself, and of use
    guard.see_end({"val_accuracy": 0.6, "val_loss": 0.5})
    assert not capsys.readouterr().err
    guard.see_end({"val_accuracy": 0.4, "val_loss": 2.0})
    said = capsys.readouterr().err
    assert (
        "Careful: Nothing was learnt. The best validation accuracy is 40.00%, at a loss of 2.000; a model that" in said
    )
    with pytest.raises(
        TrainingError,
        match=r"61.00%, at a loss of 35.000; .* has 60.00% and 0.693. .* or there are too few steps \(train.epochs\)",
    ):
        guard.see_end({"val_accuracy": 0.61, "val_loss": 35.0})


def test_a_rate_far_too_high_is_told_and_leaves_no_run(tiny_settings, tmp_path, capsys):
    settings = [*tiny_settings, "train.learning_rate=0.9", "train.batch_tokens=32", "train.checkpoint_minutes=60"]
    with pytest.raises(TrainingError, match=r"(The loss explodes|Nothing is learnt).*train.learning_rate; try a third"):
        train(load_config("smoke", settings), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []
    train(load_config("smoke", [*settings, "train.guards=false", "train.epochs=1"]), tmp_path / "run")
    assert (tmp_path / "run" / "model").is_dir()


def test_what_is_found_hopeless_at_its_end_leaves_no_run_to_go_on_with(tiny_settings, tmp_path, monkeypatch):
    """And no checkpoint, which would end at the same place again; what it was to replace is back."""
    train(load_config("smoke", [*tiny_settings, "train.epochs=1"]), tmp_path / "run")
    model = (tmp_path / "run" / "model" / "model.keras").read_bytes()
    monkeypatch.setattr(guards, "HOPELESS", 0.01)
    with pytest.raises(TrainingError, match="Nothing was learnt.* If this is what you want: train.guards=false"):
        train(load_config("smoke", [*tiny_settings, "train.epochs=1"]), tmp_path / "run", overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert (tmp_path / "run" / "model" / "model.keras").read_bytes() == model


def test_the_guard_is_given_the_loss_of_each_batch_alone_after_a_resume_too(monkeypatch):
    plan, own, seen = BatchPlan(np.full(40, 8), 32, seed=0), np.linspace(0.7, 0.2, 10), []
    monkeypatch.setattr(Guard, "see", lambda self, step, loss: seen.append(loss))
    progress = Progress()
    for step in range(10):
        if step in (0, 6):
            progress = Progress(**json.loads(json.dumps(asdict(progress))))
            watching = ProgressCallback(plan, progress, TrainConfig(), CHANCE, 0.5)
            watching.on_epoch_begin(0)
            watching.close()
        watching.on_train_batch_end(step, {"loss": own[: step + 1].mean(), "accuracy": 0.5})
        progress.step += 1
    assert seen == pytest.approx(own.tolist())


def test_what_goes_wrong_late_keeps_the_best_epoch(tiny_settings, tmp_path, capsys, monkeypatch):
    see = Guard.see

    def late(self, step, loss):
        see(self, step, float("nan") if step > 130 else loss)

    monkeypatch.setattr(Guard, "see", late)
    train(load_config("smoke", [*tiny_settings, "train.early_stopping_patience=6"]), tmp_path / "run")
    said = capsys.readouterr().err
    assert "The loss became nan at step 131. Usually" in said
    assert "Training ends here; the weights of its best epoch are kept." in said
    with (tmp_path / "run" / "history.csv").open(newline="") as handle:
        best = max(float(row["val_accuracy"]) for row in csv.DictReader(handle))
    assert evaluate(tmp_path / "run", "validation")["accuracy"] == pytest.approx(best)
