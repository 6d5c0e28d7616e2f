"""The head alone: what it learns on kept features is what the whole classifier then says."""

import csv

import keras
import numpy as np
import pytest

from tfsent.encoders.loader import load_encoder
from tfsent.inference.keras_run import KerasPredictor
from tfsent.recipe.loader import load_config
from tfsent.recipe.schema import TrainConfig
from tfsent.training.engine import head_only
from tfsent.training.engine.devices import find_devices
from tfsent.training.engine.setup import set_up
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
    with (tmp_path / "run" / "history.csv").open(newline="") as handle:
        best = max(float(row["val_accuracy"]) for row in csv.DictReader(handle))
    assert best > 0.7
    from tfsent.evaluation.evaluate import evaluate_run

    assert evaluate_run(tmp_path / "run", "validation").accuracy == pytest.approx(best)
    monkeypatch.setattr(keras.Model, "predict_on_batch", lambda *_: pytest.fail("encoded again"))
    train(config, tmp_path / "again")
    with pytest.raises(pytest.fail.Exception, match="encoded again"):  # another precision has other features
        train(load_config("smoke", [*tiny_settings, *HEAD, "train.precision=mixed_bfloat16"]), tmp_path / "third")
    monkeypatch.setattr(head_only, "version_of", lambda package: "another")
    with pytest.raises(pytest.fail.Exception, match="encoded again"):  # other code may have others, too
        train(config, tmp_path / "fourth")


def test_features_are_what_the_whole_classifier_computes(tiny_settings):
    config = load_config("smoke", [*tiny_settings, *HEAD])
    setup = set_up(config, find_devices(TrainConfig()))
    model = setup.build_model()
    head, loader, validation = head_only.head_part(setup, model, lambda: (0, 0))
    for make, make_tokens in zip(validation.batches(), setup.validation_loader().batches(), strict=True):
        (features, labels), (inputs, expected) = make(), make_tokens()
        np.testing.assert_array_equal(labels, expected)
        np.testing.assert_allclose(head(features), model(inputs), atol=1e-5)
    assert len(loader.batches()) == setup.plan.steps
