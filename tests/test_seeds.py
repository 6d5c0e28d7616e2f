"""Several seeds: mean, spread, the best one kept, and going on after a kill."""

import json
import shutil
import statistics

import pytest
from click.testing import CliRunner

from tfsent import runs, seeds
from tfsent.cli import main
from tfsent.config import load_config
from tfsent.errors import Preempted, RunError
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


@pytest.fixture
def again(tiny_settings, trained, tmp_path):
    """The recipe, and a place where both seeds are finished and none was chosen yet."""
    folder, _ = trained
    best = load_config(folder / "run" / "config.yaml").train.seed
    shutil.copytree(folder / "run.seeds", tmp_path / "run.seeds")
    shutil.copytree(folder / "run", tmp_path / "run.seeds" / str(best))
    return load_config("smoke", [*tiny_settings, "train.epochs=1"]), tmp_path / "run"


def untrained(config, run, **_):
    pytest.fail(f"trained {run.name} again")


def test_what_is_finished_is_not_trained_again(tiny_settings, again, trained, monkeypatch):
    monkeypatch.setattr(seeds, "train", untrained)
    config, run = again
    with pytest.raises(RunError, match="is of another recipe. Pass --overwrite to replace it"):
        train_seeds(load_config("smoke", tiny_settings), run, [1, 2])
    found = train_seeds(config, run, [1, 2])
    assert found == json.loads((trained[0] / "run" / "seeds.json").read_text())
    with pytest.raises(RunError, match="exists already"):
        train_seeds(config, run, [1, 2])


def test_a_seed_killed_before_its_first_checkpoint_is_begun_anew(again, monkeypatch):
    config, run = again
    for path in (run.parent / "run.seeds" / "2").iterdir():
        if path.name != "config.yaml":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    monkeypatch.setattr(seeds, "train", untrained)
    with pytest.raises(pytest.fail.Exception, match="trained 2 again"):
        train_seeds(config, run, [1, 2])
    monkeypatch.undo()
    assert [entry["seed"] for entry in train_seeds(config, run, [1, 2])["seeds"]] == [1, 2]


def test_a_run_made_meanwhile_is_not_replaced(again, monkeypatch):
    config, run = again
    real = seeds._summary

    def slow(found):
        run.mkdir()
        return real(found)

    monkeypatch.setattr(seeds, "_summary", slow)
    with pytest.raises(RunError, match="exists already. Pass --overwrite"):
        train_seeds(config, run, [1, 2])
    assert len(list((run.parent / "run.seeds").iterdir())) == 2


def test_one_process_at_a_time(again):
    config, run = again
    with runs.in_use(run.parent / "run.seeds"), pytest.raises(RunError, match="Another process is at work in"):
        train_seeds(config, run, [1, 2])


def test_sigterm_says_how_to_go_on(again, monkeypatch):
    config, run = again

    def ended(*_, **__):
        raise Preempted("SIGTERM came; nothing was learnt yet")

    monkeypatch.setattr(seeds, "train", ended)
    with pytest.raises(Preempted, match="SIGTERM came. The same command goes on."):
        train_seeds(config, run, [1, 3])


@pytest.mark.parametrize("words", ["1", "1,1", "1, 1", "1,01", "a,b", "1,-2", "", "1,99999999999"])
def test_seeds_that_are_none_are_refused(words):
    done = CliRunner().invoke(main, ["train", "smoke", "--seeds", words])
    assert done.exit_code == 1
    assert "--seeds expects two or more different whole numbers, such as 1,2,3. Received:" in done.output


def test_seeds_and_resume_do_not_go_together():
    done = CliRunner().invoke(main, ["train", "--seeds", "1,2", "--resume", "runs/x"])
    assert done.exit_code == 1
    assert "--resume does not go with it" in done.output
