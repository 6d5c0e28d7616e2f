"""Which epoch is kept, and when it is enough."""

from types import SimpleNamespace

import numpy as np
import pytest

from tfsent.recipe.schema import TrainConfig
from tfsent.text.batch_plan import BatchPlan
from tfsent.training.engine.callbacks import CheckpointCallback
from tfsent.training.engine.checkpoints import Progress
from tfsent.training.engine.interrupts import StopRequest

DEVICES = SimpleNamespace(is_chief=False, agree=lambda number: number)


@pytest.fixture
def keeper(tmp_path):
    plan = BatchPlan(np.array([4]), 64, epochs=5)
    keeper = CheckpointCallback(
        tmp_path, TrainConfig(early_stopping_patience=2), plan, Progress(), StopRequest(), devices=DEVICES
    )
    keeper._model = SimpleNamespace(weights=[], optimizer=SimpleNamespace(use_ema=False))
    return keeper


def end_epochs(keeper, *found):
    for accuracy, loss in found:
        keeper.on_epoch_end(keeper.progress.epoch, {"val_accuracy": accuracy, "val_loss": loss})


def test_of_two_epochs_as_accurate_the_one_with_the_lower_loss_is_kept(keeper):
    end_epochs(keeper, (0.8, 0.5), (0.8, 0.4), (0.8, 0.45))
    assert keeper.best_epoch == {"epoch": 2, "val_accuracy": 0.8, "val_loss": 0.4}
    assert not keeper.is_done()
    end_epochs(keeper, (0.79, 0.1))
    assert keeper.is_done()
    assert keeper.verdict() == (
        "Validation got no better for 2 epochs (train.early_stopping_patience), so training ends after epoch 4. The "
        "weights of epoch 2 of 5 are kept."
    )


def test_a_training_that_runs_to_its_end_says_no_more_than_what_is_kept(keeper):
    end_epochs(keeper, (0.7, 0.5), (0.8, 0.5), (0.9, 0.5), (0.8, 0.4), (0.8, 0.4))
    assert keeper.is_done()
    assert keeper.verdict() == "The weights of epoch 3 of 5 are kept."
