"""Which epoch is kept, when training ends, and that the order of callbacks does not matter."""

import json
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from tfsent.recipe.loader import load_config
from tfsent.recipe.schema import TrainConfig
from tfsent.text.batch_plan import BatchPlan
from tfsent.training.engine import loop
from tfsent.training.engine.callbacks import BestEpoch, CheckpointCallback, Position, ProgressCallback
from tfsent.training.engine.interrupts import StopRequest
from tfsent.training.finetune import train

DEVICES = SimpleNamespace(is_chief=False, agree=lambda number: number)
PLAN = BatchPlan(np.full(40, 8), 32, seed=0, epochs=5)


def checkpointing(tmp_path, **settings):
    config = TrainConfig(early_stopping_patience=2, **settings)
    callback = CheckpointCallback(tmp_path, config, PLAN, DEVICES, StopRequest(), {})
    callback._model = SimpleNamespace(weights=[], layers=[])
    return callback


def end_epochs(callback, metric, *found):
    for value, loss in found:
        callback.on_epoch_end(callback.position.epoch, {f"val_{metric}": value, "val_loss": loss})


def test_equal_accuracies_are_decided_by_the_loss(tmp_path):
    callback = checkpointing(tmp_path)
    end_epochs(callback, "accuracy", (0.8, 0.5), (0.8, 0.4), (0.8, 0.45))
    assert callback.best.logs == {"epoch": 2, "val_accuracy": 0.8, "val_loss": 0.4}
    assert not callback.is_done()
    end_epochs(callback, "accuracy", (0.79, 0.1))
    assert callback.is_done()
    assert callback.summary() == (
        "Validation accuracy did not improve for 2 epochs (train.early_stopping_patience): training ends after epoch "
        "4. Keeping the weights of epoch 2 of 5 (validation accuracy 80.00%)."
    )


def test_a_complete_training_reports_only_what_it_keeps(tmp_path):
    callback = checkpointing(tmp_path)
    end_epochs(callback, "accuracy", (0.7, 0.5), (0.8, 0.5), (0.9, 0.5), (0.8, 0.4), (0.8, 0.4))
    assert callback.is_done()
    assert callback.summary() == "Keeping the weights of epoch 3 of 5 (validation accuracy 90.00%)."


@pytest.mark.parametrize(
    ("settings", "metric", "best"),
    [
        ({"select_by": "accuracy"}, "accuracy", 1),
        ({"select_by": "balanced_accuracy"}, "balanced_accuracy", 2),
        ({"select_by": "macro_f1"}, "macro_f1", 3),
        ({"select_by": "loss"}, "loss", 4),
        ({}, "accuracy", 1),
        ({"class_weight": "balanced"}, "balanced_accuracy", 2),
        ({"class_weight": "balanced", "select_by": "accuracy"}, "accuracy", 1),
    ],
)
def test_the_best_epoch_is_chosen_by_the_recipes_metric(settings, metric, best):
    found = BestEpoch(TrainConfig(**settings).selection_metric)
    assert found.metric == metric
    for epoch in range(4):
        values = {name: 0.5 + 0.1 * (epoch == place) for place, name in enumerate(("accuracy", "balanced_accuracy"))}
        values |= {"macro_f1": 0.5 + 0.1 * (epoch == 2), "loss": 0.5 - 0.1 * (epoch == 3)}
        found.add(epoch, {f"val_{name}": value for name, value in values.items()})
    assert found.logs["epoch"] == best


def test_state_survives_json():
    found = BestEpoch("accuracy")
    for epoch, accuracy in enumerate((0.5, 0.7, 0.6)):
        found.add(epoch, {"val_accuracy": accuracy, "val_loss": 0.5})
    again = BestEpoch("accuracy")
    again.load_state_dict(json.loads(json.dumps(found.state_dict())), [np.ones(2)])
    assert again.logs == found.logs
    assert (again.waited, len(again.weights)) == (1, 1)


def test_progress_counts_its_own_steps(monkeypatch):
    """After a resume, and whether or not another callback has moved the position already."""
    position = Position(0, 4)
    progress = ProgressCallback(PLAN, position, "accuracy")
    progress.on_epoch_begin(0)
    for step in range(4, PLAN.steps):
        position.step += 1
        progress.on_train_batch_end(step - 4, {"loss": 0.5, "accuracy": 0.5})
    assert progress.step == PLAN.steps
    assert progress.bar.n == PLAN.steps
    progress.close()


def test_callbacks_may_come_in_any_order(tiny_settings, tmp_path, monkeypatch, messages):
    config = load_config("smoke", [*tiny_settings, "train.epochs=1"])
    train(config, tmp_path / "a")
    fit = keras.Model.fit

    def reversed_fit(self, *words, callbacks, **options):
        return fit(self, *words, callbacks=callbacks[::-1], **options)

    monkeypatch.setattr(loop.keras.Model, "fit", reversed_fit)
    train(config, tmp_path / "b")
    assert (tmp_path / "a" / "history.csv").read_text() == (tmp_path / "b" / "history.csv").read_text()
    lines = [record.message.rpartition(" (")[0] for record in messages.records if "epoch 1/1: loss" in record.message]
    assert lines[0] == lines[1]


def test_the_epoch_line_shows_the_selection_metric(messages):
    progress = ProgressCallback(PLAN, Position(), "macro_f1")
    progress.on_epoch_begin(1)
    progress.close()
    logs = {"loss": 0.5, "accuracy": 0.75, "val_loss": 0.25, "val_accuracy": 0.8, "val_macro_f1": 0.7}
    progress.on_epoch_end(1, logs)
    assert (
        "epoch 2/5: loss 0.5000, accuracy 75.00%, validation loss 0.2500, validation accuracy 80.00%, validation macro "
        "f1 70.00% (0 s)"
    ) in messages.text
