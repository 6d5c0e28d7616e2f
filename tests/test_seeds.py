"""Several seeds: mean, spread, the best one kept, and going on after a kill."""

import json
import statistics

import pytest
from click.testing import CliRunner

from tfsent import seeds
from tfsent.cli import main
from tfsent.config import load_config
from tfsent.errors import RunError
from tfsent.seeds import train_seeds


@pytest.fixture(scope="module")
def trained(tiny_settings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("seeds")
    words = [word for setting in (*tiny_settings, "train.epochs=1") for word in ("--set", setting)]
    done = CliRunner().invoke(main, ["train", "smoke", *words, "--seeds", "1,2", "--run-dir", str(folder / "run")])
    assert done.exit_code == 0, done.output
    return folder, done


def test_mean_and_spread_are_said_and_the_best_is_kept(trained):
    folder, done = trained
    result = json.loads((folder / "run" / "seeds.json").read_text())
    accuracies = [entry["validation_accuracy"] for entry in result["seeds"]]
    assert [entry["seed"] for entry in result["seeds"]] == [1, 2]
    assert result["mean"] == pytest.approx(statistics.mean(accuracies))
    assert result["standard_deviation"] == pytest.approx(statistics.stdev(accuracies))
    best = load_config(folder / "run" / "config.yaml").train.seed
    assert best == result["best"] == result["seeds"][accuracies.index(max(accuracies))]["seed"]
    assert [path.name for path in (folder / "run.seeds").iterdir()] == [str(3 - best)]
    assert f"mean {result['mean']:.2%}, standard deviation" in done.output
    assert f"Seed {best} is the best by validation and is now {folder / 'run'}" in done.output


def test_what_is_finished_is_not_trained_again(tiny_settings, trained, tmp_path, monkeypatch):
    monkeypatch.setattr(seeds, "train", lambda *_: pytest.fail("trained again"))
    config = load_config("smoke", [*tiny_settings, "train.epochs=1"])
    folder, _ = trained
    other = next((folder / "run.seeds").iterdir())
    (tmp_path / "run.seeds").mkdir()
    (tmp_path / "run.seeds" / other.name).symlink_to(other)
    best = load_config(folder / "run" / "config.yaml").train.seed
    (tmp_path / "run.seeds" / str(best)).symlink_to(folder / "run")
    with pytest.raises(RunError, match="is of another recipe. Pass --overwrite to replace it"):
        train_seeds(load_config("smoke", tiny_settings), tmp_path / "run", [1, 2])
    with pytest.raises(RunError, match="exists already"):
        train_seeds(config, folder / "run", [1, 2])


@pytest.mark.parametrize("words", ["1", "1,1", "a,b", "1,-2", "", "1,99999999999"])
def test_seeds_that_are_none_are_refused(words):
    done = CliRunner().invoke(main, ["train", "smoke", "--seeds", words])
    assert done.exit_code == 1
    assert "--seeds expects two or more different whole numbers, such as 1,2,3. Received:" in done.output


def test_seeds_and_resume_do_not_go_together():
    done = CliRunner().invoke(main, ["train", "--seeds", "1,2", "--resume", "runs/x"])
    assert done.exit_code == 1
    assert "--resume does not go with it" in done.output
