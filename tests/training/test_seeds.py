"""Several seeds: mean, deviation, the best run, and continuing after a kill or a signal."""

import json
import os
import shutil
import signal
import statistics

import pytest
from click.testing import CliRunner

import tfsent
from tfsent.cli import tables
from tfsent.cli.main import main
from tfsent.errors import DataError, Interrupted, Preempted, RunError, TrainingError
from tfsent.recipe.loader import load_config, to_yaml
from tfsent.storage import atomic, run_directory
from tfsent.training import seeds
from tfsent.training.engine.interrupts import stop_after_step
from tfsent.training.seeds import FailedSeed, SeedRun, train_seeds

SCORES = {1: 0.8, 2: 0.9, 3: 0.7}


@pytest.fixture(scope="module")
def trained(tiny_settings, tmp_path_factory):
    """Two real seeds, trained from the command line."""
    run = tmp_path_factory.mktemp("seeds") / "run"
    words = [word for setting in (*tiny_settings, "train.epochs=1") for word in ("--set", setting)]
    done = CliRunner().invoke(main, ["train", "smoke", *words, "--seeds", "1,2", "--run-dir", str(run)])
    assert done.exit_code == 0, done.output
    return run, done


def test_mean_and_deviation_are_printed_and_written(trained):
    run, done = trained
    result = json.loads((run / "seeds.json").read_text())
    scores = [entry["score"] for entry in result["seeds"]]
    assert [(entry["seed"], entry["run"]) for entry in result["seeds"]] == [(1, "seed-1"), (2, "seed-2")]
    assert result["mean"] == pytest.approx(statistics.mean(scores))
    assert result["standard_deviation"] == pytest.approx(statistics.stdev(scores))
    assert result["best_run"] == result["seeds"][scores.index(max(scores))]["run"]
    assert [load_config(run / f"seed-{seed}" / "config.yaml").train.seed for seed in (1, 2)] == [1, 2]
    assert f"mean {result['mean']:.2%}, standard deviation" in done.output
    assert f"The best run by validation is {run / result['best_run']}" in done.output


def test_commands_open_the_best_run(trained):
    run, _ = trained
    best = run / json.loads((run / "seeds.json").read_text())["best_run"]
    done = CliRunner().invoke(main, ["evaluate", str(run)])
    assert done.exit_code == 0, done.output
    assert (best / "metrics.json").is_file()
    texts = ["a superb film", "it was dull"]
    assert tfsent.load(run).predict(texts) == tfsent.load(best).predict(texts)


def test_a_finished_command_trains_nothing_again(trained, tiny_settings, monkeypatch):
    run, _ = trained
    monkeypatch.setattr(seeds, "train", lambda *_, **__: pytest.fail("trained again"))
    before = json.loads((run / "seeds.json").read_text())
    config = load_config("smoke", [*tiny_settings, "train.epochs=1"])
    assert json.loads(json.dumps(train_seeds(config, run, [1, 2]).to_dict())) == before


@pytest.fixture
def calls(monkeypatch):
    """Instead of training: a finished run whose scores are `SCORES`; a list of what was called."""
    called = []

    def finish(config, run):
        called.append(run.name)
        (run / "model").mkdir(parents=True, exist_ok=True)
        (run / "model" / "model.keras").touch()
        (run / "config.yaml").write_text(to_yaml(config))
        score = SCORES[config.train.seed]
        columns = "epoch,loss,accuracy,val_loss,val_accuracy"
        lines = [f"1,.5,.5,0.5,{score}", f"2,.5,.5,0.4,{score}", "3,.5,.5,0.3,0.1"]
        (run / "history.csv").write_text("\n".join([columns, *lines, ""]))

    def train(config, run, *, stop_request):
        assert not run.exists()
        finish(config, run)

    def resume(run, config, *, stop_request):
        assert load_config(run / "config.yaml") == config
        if not run_directory.is_finished(run):
            finish(config, run)

    monkeypatch.setattr(seeds, "train", train)
    monkeypatch.setattr(seeds, "resume", resume)
    monkeypatch.setattr("keras.backend.clear_session", lambda: None)
    return called


@pytest.fixture
def config(tiny_settings):
    return load_config("smoke", tiny_settings)


def test_the_best_epoch_has_the_lowest_loss(config, calls, tmp_path):
    result = train_seeds(config, tmp_path / "run", [1, 2])
    assert result.seeds == (SeedRun(1, "seed-1", 0.8, 2, 3), SeedRun(2, "seed-2", 0.9, 2, 3))
    assert (result.metric, result.best_run) == ("accuracy", "seed-2")
    assert run_directory.require_run(tmp_path / "run") == tmp_path / "run" / "seed-2"


def test_a_lower_loss_is_better(calls, tmp_path):
    finished = [SeedRun(1, "seed-1", 0.4, 1, 1), SeedRun(2, "seed-2", 0.3, 1, 1)]
    assert seeds._summary("loss", finished, []).best_run == "seed-2"
    (tmp_path / "history.csv").write_text("val_loss\n0.5\n0.3\n0.4\n")
    assert seeds._score(1, tmp_path, "loss") == SeedRun(1, tmp_path.name, 0.3, 2, 3)


def test_more_seeds_keep_the_finished_ones(config, calls, tmp_path):
    train_seeds(config, tmp_path / "run", [1, 2])
    assert train_seeds(config, tmp_path / "run", [1, 2, 3]).mean == pytest.approx(0.8)
    assert calls == ["seed-1", "seed-2", "seed-3"]


def test_an_unfinished_seed_is_resumed(config, calls, tmp_path):
    run = tmp_path / "run"
    train_seeds(config, run, [1, 2])
    (run / "seed-1" / "checkpoints" / "step-00000001").mkdir(parents=True)
    shutil.rmtree(run / "seed-2")
    (run / "seed-2").mkdir()  # killed before anything was written into it
    train_seeds(config, run, [1, 2])
    assert calls == ["seed-1", "seed-2", "seed-1", "seed-2"]


def test_a_run_in_the_way_is_refused_or_moved(config, calls, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text(to_yaml(config))
    with pytest.raises(RunError, match="holds a training that was interrupted. Continue with"):
        train_seeds(config, run, [1, 2])
    kept = []
    real = seeds._score
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            seeds, "_score", lambda *a: kept.append((tmp_path / "run.old" / "config.yaml").exists()) or real(*a)
        )
        train_seeds(config, run, [1, 2], overwrite=True)
    assert kept == [True, True]
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_another_recipe_is_refused_or_replaces(config, calls, tiny_settings, tmp_path):
    train_seeds(config, tmp_path / "run", [1, 2])
    other = load_config("smoke", [*tiny_settings, "train.epochs=1"])
    with pytest.raises(RunError, match=r"train.epochs was 6 and is 1.* pass --overwrite to train every seed anew"):
        train_seeds(other, tmp_path / "run", [1, 2])
    train_seeds(other, tmp_path / "run", [1, 2], overwrite=True)
    assert calls == ["seed-1", "seed-2"] * 2


def test_a_failed_seed_is_reported_and_not_counted(config, calls, monkeypatch, messages, capsys, tmp_path):
    real = seeds.train

    def train(config, run, **options):
        if config.train.seed == 1:
            raise TrainingError("The loss became nan.")
        real(config, run, **options)

    monkeypatch.setattr(seeds, "train", train)
    result = train_seeds(config, tmp_path / "run", [1, 2])
    assert result.failed == (FailedSeed(1, "The loss became nan."),)
    assert (result.best_run, result.standard_deviation) == ("seed-2", None)
    assert "Seed 1 failed: The loss became nan." in messages.text
    tables.print_seeds(result, tmp_path / "run")
    printed = capsys.readouterr().out
    assert "Seed 1 failed and is not counted: The loss became nan." in printed
    assert "standard deviation" not in printed


@pytest.mark.parametrize(
    ("error", "message"),
    [(TrainingError("No."), "Training failed with every seed. Seed 1: No."), (DataError("No file."), "No file.")],
)
def test_an_error_before_anything_is_learnt_leaves_nothing(config, monkeypatch, error, message, tmp_path):
    def train(*_, **__):
        raise error

    monkeypatch.setattr(seeds, "train", train)
    with pytest.raises(type(error), match=message):
        train_seeds(config, tmp_path / "run", [1, 2])
    assert not (tmp_path / "run").exists()


def test_the_replaced_run_comes_back_when_every_seed_fails(config, calls, monkeypatch, tmp_path):
    run = tmp_path / "run"
    train_seeds(config, run, [1, 2])
    before = (run / "seeds.json").read_bytes()

    def fail(*_, **__):
        raise TrainingError("No.")

    monkeypatch.setattr(seeds, "train", fail)
    with pytest.raises(TrainingError, match="failed with every seed"):
        train_seeds(config, run, [1, 2], overwrite=True)
    assert (run / "seeds.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert not (run / "replaced.txt").exists()


@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, Interrupted), (signal.SIGTERM, Preempted)])
def test_a_signal_at_the_end_of_a_seed_stops(config, calls, monkeypatch, number, error, tmp_path):
    real = seeds.train

    def train(config, run, *, stop_request):
        real(config, run, stop_request=stop_request)
        with stop_after_step(stop_request):
            os.kill(os.getpid(), number)

    monkeypatch.setattr(seeds, "train", train)
    run = tmp_path / "run"
    with pytest.raises(error, match=r"Give the same command again to continue\."):
        train_seeds(config, run, [1, 2])
    assert calls == ["seed-1"]
    with pytest.raises(RunError, match="several seeds that is not finished"):
        run_directory.require_run(run)
    with pytest.raises(error, match="Give the same command again, without --overwrite, to continue"):
        train_seeds(config, run, [1, 2], overwrite=True)
    assert calls == ["seed-1", "seed-1"]
    monkeypatch.setattr(seeds, "train", real)
    train_seeds(config, run, [1, 2])
    assert calls == ["seed-1", "seed-1", "seed-2"]


def test_one_process_at_a_time(config, calls, tmp_path):
    train_seeds(config, tmp_path / "run", [1, 2])
    for overwrite in (False, True):
        with atomic.in_use(tmp_path / "run"), pytest.raises(RunError, match="Another process"):
            train_seeds(config, tmp_path / "run", [1, 2], overwrite=overwrite)


@pytest.mark.parametrize("words", ["1", "1,1", "1, 1", "1,01", "a,b", "1,-2", "", "1,99999999999"])
def test_malformed_seeds_are_refused(words):
    done = CliRunner().invoke(main, ["train", "smoke", "--seeds", words])
    assert done.exit_code == 1
    assert "--seeds expects two or more different whole numbers, such as 1,2,3. Received:" in done.output


def test_seeds_exclude_resume():
    done = CliRunner().invoke(main, ["train", "--seeds", "1,2", "--resume", "runs/x"])
    assert done.exit_code == 1
    assert "--resume does not go with it" in done.output
