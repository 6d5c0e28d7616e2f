"""Fine-tuning: what a run leaves, and what is left when it goes wrong."""

import csv
import json
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfsent.data import memory
from tfsent.errors import ConfigError, DataError, EncoderError, RunError, TrainingError
from tfsent.evaluation.evaluate import evaluate_run
from tfsent.inference.keras_run import KerasPredictor
from tfsent.model import loss
from tfsent.recipe.loader import load_config
from tfsent.storage.manifest import fault
from tfsent.training import finetune as trainer
from tfsent.training.engine import setup as training_setup
from tfsent.training.finetune import train


def test_a_run_directory_is_complete(tiny_run):
    found = {str(p.relative_to(tiny_run)) for p in tiny_run.rglob("*") if p.is_file()}
    expected = {"config.yaml", "environment.json", "data.json", "history.csv", "heldout/test.jsonl.gz"}
    expected |= {f"model/{name}" for name in ("model.keras", "vocab.txt", "text.json", "labels.txt")}
    assert expected <= found
    assert any(name.startswith("tensorboard/validation/events") for name in found)
    data = json.loads((tiny_run / "data.json").read_text())
    assert data["splits"]["train"]["reviews"] == 280
    assert len(data["encoder"]["files"]["model.safetensors"]) == 64


def test_history_has_a_row_an_epoch_and_the_best_epoch_is_what_was_kept(tiny_run):
    with (tiny_run / "history.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert 1 <= len(rows) <= 6
    best = max(float(row["val_accuracy"]) for row in rows)
    assert evaluate_run(tiny_run, "validation").accuracy == pytest.approx(best)


def test_the_same_seed_trains_the_same_model(tiny_settings, tmp_path):
    config = load_config("smoke", [*tiny_settings, "train.epochs=1"])
    weights = []
    for name in ("a", "b"):
        train(config, tmp_path / name)
        weights.append(KerasPredictor(tmp_path / name).model.get_weights())
    for a, b in zip(*weights, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_early_stopping_ends_training_and_keeps_the_best(tiny_settings, tmp_path, monkeypatch):
    """A learning rate of next to nothing never improves after the first epoch."""
    config = load_config("smoke", [*tiny_settings, "train.epochs=6", "train.learning_rate=1e-12"])
    train(config, tmp_path / "run")
    with (tmp_path / "run" / "history.csv").open(newline="") as handle:
        assert len(list(csv.DictReader(handle))) == 3


def test_mixed_precision_trains_and_saves_float32(tiny_settings, tmp_path):
    train(load_config("smoke", [*tiny_settings, "train.epochs=1", "train.precision=mixed_bfloat16"]), tmp_path / "run")
    model = KerasPredictor(tmp_path / "run").model
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}


def test_a_loss_that_is_no_number_stops_training_and_leaves_nothing(tiny_settings, tmp_path, monkeypatch):
    def broken(self, y_true, y_pred):
        return keras.ops.mean(y_pred, axis=-1) * float("nan")

    monkeypatch.setattr(loss.ClassifierLoss, "call", broken)
    with pytest.raises(TrainingError, match="The loss became nan at step 1. Usually the learning rate is too high"):
        train(load_config("smoke", tiny_settings), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("setting", "error", "message"),
    [
        ("text.max_tokens=64", ConfigError, "text.max_tokens is 64, and the encoder has 40 positions"),
        ("train.batch_tokens=16", DataError, "train.batch_tokens is 16, and one review takes 32 tokens"),
        ("data.dir=/nowhere", DataError, "has no imdb_reviews folder"),
        ("encoder=path:/nowhere", EncoderError, "has no config.json"),
    ],
)
def test_what_cannot_be_trained_leaves_no_run(tiny_settings, tmp_path, setting, error, message):
    with pytest.raises(error, match=message):
        train(load_config("smoke", [*tiny_settings, setting]), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_run_in_the_way_is_refused_before_any_work(tiny_settings, tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    monkeypatch.setattr(training_setup, "load_splits", lambda *_: pytest.fail("work was done"))
    with pytest.raises(RunError, match="exists already"):
        train(load_config("smoke", tiny_settings), tmp_path / "run")


def test_a_disk_too_small_is_told_before_training(tiny_settings, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer.shutil, "disk_usage", lambda path: SimpleNamespace(free=1_000_000))
    monkeypatch.setattr(trainer, "fit", lambda *_, **__: pytest.fail("it trained"))
    with pytest.raises(RunError, match="has 1 MB free, and the run needs about 20 MB. Free some"):
        train(load_config("smoke", tiny_settings), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("reason", "error", "message"),
    [
        ("events.out; No space left on device", RunError, "The disk of .* is full"),
        ("OOM when allocating tensor", TrainingError, "ran out of memory. Lower train.batch_tokens .now 256"),
    ],
)
def test_a_full_disk_and_a_full_device_are_told_apart(tiny_settings, tmp_path, monkeypatch, reason, error, message):
    """TensorFlow gives both the same exception; the first was seen on a tmpfs of 24 kB."""

    def full(*_, **__):
        raise tf.errors.ResourceExhaustedError(None, None, reason)

    monkeypatch.setattr(keras.Model, "fit", full)
    with pytest.raises(error, match=message):
        train(load_config("smoke", tiny_settings), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_replacement_puts_the_old_run_back(tiny_settings, tmp_path):
    old = tmp_path / "run"
    (old / "model").mkdir(parents=True)
    for name in ("config.yaml", "model/model.keras"):
        (old / name).write_text("old")
    with pytest.raises(EncoderError):
        train(load_config("smoke", [*tiny_settings, "encoder=path:/nowhere"]), old, overwrite=True)
    assert (old / "model" / "model.keras").read_text() == "old"
    assert list(tmp_path.iterdir()) == [old]


def test_a_weight_of_a_class_moves_what_is_predicted(tmp_path, tiny_encoder):
    """Texts that say nothing: all there is to learn is how much each class counts."""
    path = tmp_path / "a.csv"
    rows = [f"the film {i},{'rare' if i % 5 == 0 else 'common'}" for i in range(200)]
    path.write_text("\n".join(["text,label", *rows]))
    settings = [f"encoder=path:{tiny_encoder}", "data.source=csv", f"data.train={path}", "text.max_tokens=8"]
    settings += ["data.test_examples=null", "data.validation_examples=0.2", "train.batch_tokens=256"]
    settings += ["train.epochs=8", "train.early_stopping_patience=8", "train.learning_rate=1e-2"]
    share = {}
    for name, weight in {"plain": "null", "rare": "{rare: 40, common: 1}"}.items():
        train(
            load_config("smoke", [*settings, "data.train_examples=null", f"train.class_weight={weight}"]),
            tmp_path / name,
        )
        share[name] = KerasPredictor(tmp_path / name).predict_proba(["the film"])[0]
    assert share["plain"].argmax() == 0
    assert share["rare"].argmax() == 1


def test_a_calibrated_run_has_its_temperature_in_the_weights(tiny_settings, tmp_path, messages):
    plain = load_config("smoke", [*tiny_settings, "train.epochs=1"])
    decided = load_config("smoke", [*tiny_settings, "train.epochs=1", "train.calibrate=true", "train.threshold=f1"])
    train(plain, tmp_path / "plain")
    train(decided, tmp_path / "decided")
    before, after = KerasPredictor(tmp_path / "plain"), KerasPredictor(tmp_path / "decided")
    temperature = after.decision.temperature
    assert temperature != 1
    assert after.decision.aim == "f1"
    texts = ["good film", "bad film", "a film"]
    expected, found = (np.concatenate(one.predict_logits(texts)) for one in (before, after))
    np.testing.assert_allclose(found * temperature, expected, atol=1e-4)
    calibrated, raw = after.predict_proba_before(texts)
    np.testing.assert_allclose(raw, before.predict_proba(texts), atol=1e-5)
    np.testing.assert_array_equal(calibrated, after.predict_proba(texts))
    assert "Calibrated: temperature" in messages.text
    assert "Threshold 0." in messages.text
    assert fault(tmp_path / "decided" / "model", ["model.keras", "decision.json"]) is None


def test_a_threshold_for_several_classes_is_refused_before_training(tiny_settings, tmp_path):
    texts, labels = ["good", "bad", "so so"] * 40, ["a", "b", "c"] * 40
    config = load_config("smoke", [*tiny_settings, "train.threshold=f1"])
    parts = {"train": memory.read_memory((texts, labels), config.data)["train"]}
    with pytest.raises(ConfigError, match="train.threshold is 'f1', and the data has 3 classes"):
        train(config, tmp_path / "run", parts=parts)
    assert not (tmp_path / "run").exists()
