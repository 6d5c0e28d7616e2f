"""The sweep: made-up curves whose answer is known, and a tiny model."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from tfsent.cli.main import main
from tfsent.errors import TrainingError
from tfsent.recipe.loader import load_config
from tfsent.training.learning_rate import HIGHEST, LAG, LOWEST, find_rate, smooth, suggest

RATES = LOWEST * (HIGHEST / LOWEST) ** (np.arange(100) / 99)


def test_smoothing_starts_without_a_pull():
    assert smooth([3.0] * 10) == pytest.approx([3.0] * 10)


def test_the_suggestion_is_where_the_loss_falls_fastest_the_lag_taken_off():
    losses = 0.7 - 0.4 / (1 + np.exp(-(np.arange(100) - 60) / 3)) + 3 * (np.arange(100) > 85)
    assert suggest(RATES, losses) == pytest.approx(RATES[60 - LAG], rel=0.06)
    found = suggest(RATES, smooth(losses.tolist()))
    assert RATES[55] < found < RATES[66]


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        (np.full(100, 0.7), "The loss never fell between the rates 1e-06 and 1e-02. Check the labels"),
        (np.linspace(0.7, 3, 100), "The loss never fell"),
        (np.r_[np.linspace(0.7, 0.3, 12), np.full(60, 0.29)], "falls fastest at the very start of the sweep"),
        (
            np.linspace(0.7, 0.1, 12),
            "The loss diverged after 12 batches, too few to see where it falls. Sweep over more",
        ),
    ],
)
def test_a_sweep_that_shows_nothing_says_so(losses, message):
    with pytest.raises(TrainingError, match=message):
        suggest(RATES[: len(losses)], losses)


def test_a_tiny_model_is_swept_from_the_command_line(tiny_settings, tmp_path):
    settings = [*tiny_settings, "train.batch_tokens=96", "model.encoder_dropout=0.0"]
    words = [word for setting in settings for word in ("--set", setting)]
    png = tmp_path / "sweep.png"
    done = CliRunner().invoke(main, ["lr-find", "smoke", *words, "--steps", "200", "--png", str(png), "--json"])
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert LOWEST < result["suggestion"] < HIGHEST
    steps = np.diff(np.log(result["rates"]))
    assert steps == pytest.approx([np.log(HIGHEST / LOWEST) / 199] * len(steps))
    assert len(result["rates"]) == len(result["losses"]) == len(result["smoothed"]) <= 200
    assert png.read_bytes().startswith(b"\x89PNG")


def test_with_a_frozen_encoder_the_head_alone_is_swept(tiny_settings, monkeypatch, tmp_path):
    settings = [*tiny_settings, "train.batch_tokens=96", "train.freeze_encoder=true", "train.epochs=8"]
    swept = []
    monkeypatch.setattr("keras.Model.train_on_batch", lambda self, *_, **__: swept.append(self) or {"loss": 1.0})
    png = tmp_path / "sweep.png"
    with pytest.raises(TrainingError, match=rf"The loss never fell.* The sweep is drawn in {png}\.$"):
        find_rate(load_config("smoke", settings), 60, png)
    assert png.read_bytes().startswith(b"\x89PNG")
    assert [model.name for model in swept] == ["head"] * 60
    schedule = swept[0].optimizer._learning_rate
    assert [float(schedule(step)) for step in (0, 59)] == pytest.approx([LOWEST, HIGHEST], rel=1e-4)


def test_a_loss_that_is_no_number_from_the_start_is_told(tiny_settings, monkeypatch, tmp_path):
    monkeypatch.setattr("keras.Model.train_on_batch", lambda *_, **__: {"loss": float("nan")})
    with pytest.raises(TrainingError, match="The loss diverged after 0 batches"):
        find_rate(load_config("smoke", [*tiny_settings, "train.batch_tokens=96"]), 60, tmp_path / "sweep.png")


def test_too_few_batches_are_told_before_the_sweep(tiny_settings, tmp_path):
    with pytest.raises(TrainingError, match="only 31 batches; a sweep needs 50 at least"):
        find_rate(load_config("smoke", [*tiny_settings, "train.epochs=1"]), 60, tmp_path / "sweep.png")


def test_a_folder_that_cannot_be_is_told_before_the_sweep(tmp_path):
    (tmp_path / "file").touch()
    done = CliRunner().invoke(main, ["lr-find", "smoke", "--png", str(tmp_path / "file" / "sweep.png")])
    assert done.exit_code == 1
    assert done.stderr == f"Error: --png: no folder can be made at {tmp_path / 'file'}: File exists.\n"


@pytest.mark.parametrize("name", ["sweep.pdf", "folder.png"])
def test_what_cannot_be_drawn_into_is_told_before_the_sweep(name, tmp_path):
    (tmp_path / "folder.png").mkdir()
    done = CliRunner().invoke(main, ["lr-find", "smoke", "--png", str(tmp_path / name)])
    assert done.exit_code == 1
    assert done.stderr == f"Error: --png expects the name of a .png file. Received: {tmp_path / name}.\n"
