"""The head alone: what it learns on kept features is what the whole classifier then says."""

import keras
import numpy as np
import pytest

from tfsent.encoders.loader import load_encoder
from tfsent.inference.keras_run import KerasPredictor
from tfsent.recipe.loader import load_config
from tfsent.recipe.schema import TrainConfig
from tfsent.training.engine import head_only
from tfsent.training.engine import setup as setup_module
from tfsent.training.engine.devices import find_devices
from tfsent.training.finetune import train

HEAD = ["train.freeze_encoder=true", "train.learning_rate=3e-2", "train.epochs=20", "model.hidden_units=[6]"]
HEAD += ["train.early_stopping_patience=20"]


def test_the_head_learns_and_the_encoder_stays_as_it_was(tiny_settings, tmp_path, monkeypatch):
    config = load_config("smoke", [*tiny_settings, *HEAD])
    train(config, tmp_path / "run")
    model = KerasPredictor(tmp_path / "run").model
    encoder = load_encoder(config.encoder).backbone
    backbone = next(layer for layer in model.layers if type(layer) is type(encoder))
    for ours, theirs in zip(backbone.weights, encoder.weights, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    best = max(float(line.split(",")[4]) for line in (tmp_path / "run" / "history.csv").read_text().splitlines()[1:])
    assert best > 0.7
    from tfsent.evaluation.metrics import evaluate

    assert evaluate(tmp_path / "run", "validation")["accuracy"] == pytest.approx(best)
    monkeypatch.setattr(keras.Model, "predict_on_batch", lambda *_: pytest.fail("encoded again"))
    train(config, tmp_path / "again")
    with pytest.raises(pytest.fail.Exception, match="encoded again"):  # those of another precision are others
        train(load_config("smoke", [*tiny_settings, *HEAD, "train.precision=mixed_bfloat16"]), tmp_path / "third")


def test_features_are_what_the_whole_classifier_computes(tiny_settings):
    config = load_config("smoke", [*tiny_settings, *HEAD])
    setup = setup_module.set_up(config, find_devices(TrainConfig()))
    model, plan = setup.model(), setup.plan()
    head, feed, validation = head_only.freeze(setup, model, plan, lambda: (0, 0))
    for make, make_tokens in zip(validation.batches(), setup.validation_feed().batches(), strict=True):
        (features, labels), (inputs, expected) = make(), make_tokens()
        np.testing.assert_array_equal(labels, expected)
        np.testing.assert_allclose(head(features), model(inputs), atol=1e-5)
    assert len(feed.batches()) == plan.steps
