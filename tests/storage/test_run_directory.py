"""A failed run leaves what was there."""

import json

import pytest

from tfsent.errors import Preempted, RunError
from tfsent.storage import environment, run_directory


def fill(run, content="{}"):
    (run / "model").mkdir(parents=True)
    (run / "model" / "model.keras").write_text(content)
    (run / "config.yaml").write_text(content)


def test_a_run_that_made_no_model_is_removed(tmp_path):
    run = tmp_path / "run"
    with pytest.raises(ValueError), run_directory.new_run(run, overwrite=False):
        (run / "config.yaml").write_text("x")
        raise ValueError
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_not_replaced_unasked(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    with pytest.raises(RunError, match="exists already. Pass --overwrite"), run_directory.new_run(run, overwrite=False):
        pass


def test_overwriting_keeps_the_old_run_until_the_end(tmp_path):
    run = tmp_path / "run"
    with run_directory.new_run(run, overwrite=False):
        fill(run, "old")
    with pytest.raises(ValueError), run_directory.new_run(run, overwrite=True):
        assert not (run / "model").exists()
        raise ValueError
    assert (run / "model" / "model.keras").read_text() == "old"
    with run_directory.new_run(run, overwrite=True):
        fill(run, "new")
    assert (run / "model" / "model.keras").read_text() == "new"
    assert list(tmp_path.iterdir()) == [run]


def test_an_interrupted_replacement_keeps_the_old_run(tmp_path):
    """Ctrl-C saves the model as it is then, which after ten steps is worth nothing."""
    run = tmp_path / "run"
    with run_directory.new_run(run, overwrite=False):
        fill(run, "old")
    for _ in range(2):
        with run_directory.new_run(run, overwrite=True):
            fill(run, "half")
            (run / "checkpoints" / "step-00000010").mkdir(parents=True)
        assert (run_directory.old_run(run) / "model" / "model.keras").read_text() == "old"
    with run_directory.unfinished_run(run):
        pass  # interrupted again
    assert run_directory.old_run(run).exists()
    with run_directory.unfinished_run(run):
        run_directory.mark_finished(run)
    assert (run / "model" / "model.keras").read_text() == "half"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert sorted(path.name for path in run.iterdir()) == ["config.yaml", "model"]


@pytest.fixture
def own_copy(tmp_path):
    """A folder that a user called RUN.old: no training made it, so none may delete it."""
    (tmp_path / "run.old").mkdir()
    (tmp_path / "run.old" / "notes.txt").write_text("years of work")
    yield tmp_path / "run.old" / "notes.txt"
    assert (tmp_path / "run.old" / "notes.txt").read_text() == "years of work"


def test_a_users_own_old_folder_survives_training(own_copy, tmp_path):
    with run_directory.new_run(tmp_path / "run", overwrite=False) as run:
        fill(run)
    with run_directory.unfinished_run(run):
        pass


@pytest.mark.parametrize("finished", [True, False])
def test_overwrite_refuses_to_take_a_users_old_folder(own_copy, tmp_path, finished):
    fill(run := tmp_path / "run")
    if not finished:
        (run / "checkpoints" / "step-00000010").mkdir(parents=True)
    with pytest.raises(RunError, match=r"run.old, which exists and was not put there by tfsent. Rename .*run.old, or"):
        with run_directory.new_run(run, overwrite=True):
            pass
    assert (run / "model" / "model.keras").exists()


def test_a_run_moved_away_by_hand_is_not_deleted(tmp_path):
    """Also after a training that replaced it failed, and put it back."""
    run = tmp_path / "run"
    fill(run, "mine")
    with pytest.raises(ValueError), run_directory.new_run(run, overwrite=True):
        raise ValueError
    run.rename(tmp_path / "run.old")
    with run_directory.new_run(run, overwrite=False):
        fill(run, "new")
    assert (tmp_path / "run.old" / "model" / "model.keras").read_text() == "mine"


def test_a_run_killed_while_it_replaced_another_gives_it_back(tmp_path):
    """Killed after the old run was moved away, and before the new one was there."""
    run = tmp_path / "run"
    fill(run, "old")
    run_directory.set_aside(run)
    with pytest.raises(ValueError), run_directory.new_run(run, overwrite=False):
        raise ValueError
    assert (run / "model" / "model.keras").read_text() == "old"
    assert sorted(path.name for path in run.iterdir()) == ["config.yaml", "model"]


def test_a_killed_model_is_removed_when_training_resumes(tmp_path):
    (tmp_path / "config.yaml").write_text("")
    (tmp_path / "checkpoints" / "step-00000010").mkdir(parents=True)
    (tmp_path / ".model.k1x2" / "model").mkdir(parents=True)
    with run_directory.unfinished_run(tmp_path):
        assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoints", "config.yaml"]


def test_overwrite_deletes_only_runs(tmp_path):
    precious = tmp_path / "thesis"
    precious.mkdir()
    (precious / "chapter.txt").write_text("years of work")
    with pytest.raises(RunError, match="is not a run of tfsent, so --overwrite does not touch it"):
        with run_directory.new_run(precious, overwrite=True):
            pass
    assert (precious / "chapter.txt").exists()


def test_a_run_that_cannot_be_made_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="Cannot make the run directory .*Not a directory"):
        with run_directory.new_run(tmp_path / "file" / "run", overwrite=False):
            pass


def test_what_is_not_a_finished_run_is_refused(tmp_path):
    with pytest.raises(RunError, match="No run at .*nowhere. `tfsent train RECIPE --run-dir"):
        run_directory.require_run(tmp_path / "nowhere")
    with pytest.raises(RunError, match="is not a run of tfsent: it has no config.yaml"):
        run_directory.require_run(tmp_path)
    (tmp_path / "config.yaml").write_text("")
    with pytest.raises(
        RunError, match="holds no model: its training is not finished. Continue with: tfsent train --resume"
    ):
        run_directory.require_run(tmp_path)


@pytest.mark.parametrize("error", [Preempted("SIGTERM came."), KeyboardInterrupt()])
def test_a_run_that_a_signal_stopped_keeps_its_recipe(tmp_path, error):
    run = tmp_path / "run"
    with pytest.raises(type(error)), run_directory.new_run(run, overwrite=False):
        (run / "config.yaml").write_text("x")
        raise error
    assert run_directory.require_unfinished(run) == run
    with pytest.raises(RunError, match="holds a training that was interrupted. Continue with: tfsent train --resume"):
        run_directory.require_free(run, overwrite=False)


def test_a_run_of_an_earlier_version_is_refused_in_a_sentence(tmp_path):
    fill(tmp_path)
    (tmp_path / "environment.json").write_text('{"tfsent": "0.1.0"}')
    for use in (run_directory.require_run, run_directory.require_unfinished):
        with pytest.raises(RunError, match="was made by tfsent 0.1.0, and this version cannot open it. Train again"):
            use(tmp_path)


def test_several_seeds_stand_for_their_best_run(tmp_path):
    (best := tmp_path / "seed-2").mkdir()
    fill(best)
    (tmp_path / "seeds.json").write_text('{"best_run": null}')
    with pytest.raises(RunError, match="several seeds that is not finished. Give the same command again"):
        run_directory.require_run(tmp_path)
    (tmp_path / "seeds.json").write_text('{"best_run": "seed-2"}')
    assert run_directory.require_run(tmp_path) == best
    with pytest.raises(RunError, match="holds several trainings: give the command that began it again"):
        run_directory.require_unfinished(tmp_path)


def test_the_environment_names_versions():
    found = environment.environment()
    assert {"tfsent", "python", "tensorflow", "keras", "platform"} <= found.keys()
    json.dumps(found)
