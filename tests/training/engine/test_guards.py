"""A loss that is not a number stops training; a model that learnt nothing is reported."""

import csv

import pytest

from tfsent.errors import TrainingError
from tfsent.evaluation.evaluate import evaluate_run
from tfsent.recipe.loader import load_config
from tfsent.training.engine import callbacks
from tfsent.training.engine.guards import require_finite, warn_if_nothing_was_learnt
from tfsent.training.finetune import train


def test_a_finite_loss_is_let_alone():
    require_finite(1e30, 1)


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops(loss):
    with pytest.raises(TrainingError, match=f"The loss became {loss} at step 7. Usually the learning rate is too high"):
        require_finite(loss, 7)


@pytest.mark.parametrize(
    ("accuracy", "unpredicted", "said"),
    [
        (0.61, 0, ""),
        (0.55, 0, ""),  # worse than the majority, and all classes are predicted: hard, but something is learnt
        (0.60, 1, "Nothing was learnt: the best validation accuracy is 60.00%, and always predicting the majority"),
        (0.90, 2, "The model never predicts 2 of the classes on the validation reviews. Give rare classes more weight"),
    ],
)
def test_the_best_epoch_is_compared_with_the_majority_class(messages, accuracy, unpredicted, said):
    warn_if_nothing_was_learnt({"val_accuracy": accuracy, "val_unpredicted_classes": unpredicted}, 0.6)
    assert messages.text.startswith("WARNING") == bool(said)
    assert said in messages.text


def test_a_constant_model_is_reported(tiny_settings, tmp_path, messages):
    settings = [*tiny_settings, "train.learning_rate=0.9", "train.batch_tokens=64", "train.epochs=2"]
    train(load_config("smoke", settings), tmp_path / "run")
    assert "Nothing was learnt: the best validation accuracy is 50.00%" in messages.text


def test_a_late_fault_keeps_the_best_epoch(tiny_settings, tmp_path, messages, monkeypatch):
    def late(loss, step):
        require_finite(float("nan") if step > 100 else loss, step)

    monkeypatch.setattr(callbacks, "require_finite", late)
    train(load_config("smoke", tiny_settings), tmp_path / "run")
    assert "The loss became nan at step 101. Usually" in messages.text
    assert "Training ends here; the weights of its best epoch are kept." in messages.text
    with (tmp_path / "run" / "history.csv").open(newline="") as handle:
        best = max(float(row["val_accuracy"]) for row in csv.DictReader(handle))
    assert evaluate_run(tmp_path / "run", "validation").accuracy == pytest.approx(best)
