"""Several seeds: mean, spread, the best one kept, and going on after a kill."""

import json
import os
import shutil
import signal
import statistics

import pytest
from click.testing import CliRunner

from tfsent.cli import tables
from tfsent.cli.main import main
from tfsent.errors import Interrupted, Preempted, RunError, TrainingError
from tfsent.recipe.loader import load_config
from tfsent.storage import atomic
from tfsent.training import seeds
from tfsent.training.engine.interrupts import stop_after_step
from tfsent.training.seeds import train_seeds


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


def test_more_seeds_take_the_best_one_along(tiny_settings, trained, tmp_path, monkeypatch):
    """RUN is the best of 1 and 2 and no longer lies in RUN.seeds: it is finished all the same."""
    folder, _ = trained
    for name in ("run", "run.seeds"):
        shutil.copytree(folder / name, tmp_path / name)
    config = load_config("smoke", [*tiny_settings, "train.epochs=1"])
    began = []
    monkeypatch.setattr(seeds, "train", lambda config, run, **_: began.append(run.name) or fail())

    def fail():
        raise TrainingError("The loss became nan.")

    result = train_seeds(config, tmp_path / "run", [1, 2, 3], overwrite=True)
    assert began == ["3"]
    before = json.loads((folder / "run" / "seeds.json").read_text())
    assert result == {**before, "failed": [{"seed": 3, "why": "The loss became nan."}]}
    best = result["best"]
    assert load_config(tmp_path / "run" / "config.yaml").train.seed == best
    assert [path.name for path in (tmp_path / "run.seeds").iterdir()] == [str(3 - best)]


def test_a_seed_that_goes_wrong_is_told_and_the_others_count(again, monkeypatch, capsys):
    config, run = again

    def wrong(*_, **__):
        raise TrainingError("Nothing is learnt.")

    monkeypatch.setattr(seeds, "train", wrong)
    with pytest.raises(TrainingError, match="Training went wrong with every seed; with 8: Nothing is learnt."):
        train_seeds(config, run, [8, 9])
    result = train_seeds(config, run, [8, 1])
    assert result["best"] == 1
    assert result["standard_deviation"] is None
    assert "Seed 8 failed: Nothing is learnt." in capsys.readouterr().err
    tables.print_seeds(result, run)
    said = capsys.readouterr().out
    assert "Seed 8 failed and is not counted: Nothing is learnt." in said
    assert "standard deviation" not in said


@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, Interrupted), (signal.SIGTERM, Preempted)])
def test_a_signal_as_a_seed_ends_is_not_lost(again, monkeypatch, number, error):
    config, run = again
    real = seeds._train_one

    def ended(config, run, overwrite, asked):
        real(config, run, overwrite, asked)
        with stop_after_step(asked):
            os.kill(os.getpid(), number)

    monkeypatch.setattr(seeds, "_train_one", ended)
    with pytest.raises(error, match="The same command goes on"):
        train_seeds(config, run, [1, 2])
    assert not run.exists()


def test_one_process_at_a_time(again):
    config, run = again
    with atomic.in_use(run.parent / "run.seeds"), pytest.raises(RunError, match="Another process is at work in"):
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
