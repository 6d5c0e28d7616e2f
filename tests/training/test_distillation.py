"""Distillation: from a run, from several, from a table; texts without labels; interrupted and resumed."""

import csv
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from tiny import tiny_texts, write_encoder

import tfsent
from tfsent.cli.main import main
from tfsent.data.reviews import Reviews
from tfsent.data.splits import load_splits
from tfsent.errors import ArtifactError, ConfigError, DataError, RunError
from tfsent.inference.keras_run import KerasPredictor
from tfsent.model.loss import soften
from tfsent.recipe.loader import load_config
from tfsent.recipe.schema import TrainConfig
from tfsent.training import finetune
from tfsent.training.engine import checkpoints
from tfsent.training.engine import setup as setups
from tfsent.training.engine.devices import find_devices
from tfsent.training.engine.examples import find_examples
from tfsent.training.engine.interrupts import StopRequest
from tfsent.training.engine.setup import set_up

KILLED = Path(__file__).parents[1] / "killed.py"
LABELS = ("negative", "positive")
ALONE = {**os.environ, "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}


@pytest.fixture(scope="module")
def words(tiny_settings, tmp_path_factory):
    """Settings of a student; its random encoder learns slowly from hidden states, so few epochs do."""
    return [*tiny_settings, "train.epochs=2", "train.checkpoint_minutes=0"]


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """Texts without labels; one is empty, one is there twice."""
    path = tmp_path_factory.mktemp("texts") / "more.jsonl"
    rows = [{"text": text} for text, _ in tiny_texts(60, 7)]
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"text": " "}, rows[0]]))
    return path


def config_of(words, *more):
    return load_config("smoke", [*words, *more])


def set_up_with(words, *more):
    return set_up(config_of(words, *more), find_devices(TrainConfig()))


def table_of(path, texts, probabilities, names=("negative", "positive")):
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["text", *names])
        writer.writerows((text, *row) for text, row in zip(texts, probabilities, strict=True))
    return path


def test_targets_are_the_labels_and_what_the_teacher_says(words, tiny_run, texts):
    found = set_up_with(words, f"distil.teacher={tiny_run}", f"distil.unlabelled={texts}", "distil.temperature=3")
    examples, train = found.examples, found.splits.train
    assert (len(train), examples.unlabelled, len(examples.reviews)) == (280, 60, 340)
    assert examples.targets.shape == (340, 2, 2)
    np.testing.assert_array_equal(examples.targets[:280, 0], np.eye(2)[train.labels])
    assert not examples.targets[280:, 0].any()
    expected = soften(KerasPredictor(tiny_run).predict_proba(list(examples.reviews.texts)), 3.0)
    np.testing.assert_allclose(examples.targets[:, 1], expected, atol=1e-5)
    assert list(examples.reviews.texts[:280]) == list(train.texts)
    (inputs, targets, *_), *_ = (make() for make in found.train_loader(lambda: (0, 0)).batches())
    rows, _ = found.plan.epoch(0)[0]
    np.testing.assert_array_equal(targets, examples.targets[found.tokens.owner[rows]])
    assert len(inputs["token_ids"]) == len(rows)


def test_a_student_learns_from_texts_without_a_single_right_label(words, tiny_run, texts, tmp_path):
    """Its labels are noise: what it knows, it knows from the teacher."""
    rng = np.random.default_rng(0)
    rows = [(text, "positive" if rng.integers(2) else "negative") for text, _ in tiny_texts(320, 1)]
    noise = tmp_path / "noise.csv"
    with noise.open("w", newline="") as handle:
        csv.writer(handle).writerows([("text", "label"), *rows])
    held_out = tmp_path / "validation.csv", tmp_path / "test.csv"
    for seed, path in enumerate(held_out, 2):
        with path.open("w", newline="") as handle:
            named = [(text, ("negative", "positive")[label]) for text, label in tiny_texts(100, seed)]
            csv.writer(handle).writerows([("text", "label"), *named])
    own = [word for word in words if not word.startswith(("data.", "train.epochs"))]
    own += ["train.epochs=6", f"data.train={noise}", f"data.validation={held_out[0]}", f"data.test={held_out[1]}"]
    own += ["data.validation_examples=null", "data.train_examples=null", "data.test_examples=null"]
    own += ["distil.label_weight=0", "distil.teacher_weight=1"]
    run = tfsent.distil("smoke", own, teacher=tiny_run, unlabelled=texts, run_dir=tmp_path / "student")
    assert run.evaluate().accuracy > 0.9
    origin = json.loads((run.path / "data.json").read_text())["distil"]
    assert origin["teachers"][0]["path"] == str(tiny_run)
    assert origin["unlabelled"]["reviews"] == 60
    card = (run.path / "README.md").read_text()
    assert (
        f"It also learnt from what {tiny_run.name} said of its training reviews and of 60 texts without labels." in card
    )
    assert "Distilled from <code>tiny</code>, also on 60 texts" in (run.path / "report.html").read_text()
    assert "The loss of training has the teacher's part" in (run.path / "report.html").read_text()


def test_a_table_of_another_program_is_a_teacher_and_several_are_averaged(words, tiny_run, tmp_path):
    train = load_splits(config_of(words).data).train
    table = table_of(tmp_path / "table.csv", train.texts, [(0.9, 0.1)] * len(train))
    found = set_up_with(words, f"distil.teacher={table}", "distil.temperature=1")
    np.testing.assert_allclose(found.examples.targets[:, 1], [[0.9, 0.1]] * len(train), atol=1e-6)
    both = set_up_with(words, f"distil.teacher=[{tiny_run}, {table}]", "distil.temperature=1")
    theirs = KerasPredictor(tiny_run).predict_proba(list(train.texts))
    np.testing.assert_allclose(both.examples.targets[:, 1], (theirs + np.array([0.9, 0.1])) / 2, atol=1e-5)


def test_a_table_may_lack_labelled_reviews_and_no_text_without_a_label(words, texts, tmp_path, messages):
    train = load_splits(config_of(words).data).train
    table = table_of(tmp_path / "some.csv", train.texts[:100], [(0.9, 0.1)] * 100)
    found = set_up_with(words, f"distil.teacher={table}")
    assert (
        "No teacher has probabilities for 180 of the 280 training reviews: only their labels are learnt from them."
        in messages.text
    )
    assert not found.examples.targets[100:, 1].any()
    set_up_with(words, f"distil.teacher={table}", "distil.label_weight=0")
    assert "nothing is (distil.label_weight is 0) learnt from them." in messages.text
    with pytest.raises(DataError) as error:
        set_up_with(words, f"distil.teacher={table}", f"distil.unlabelled={texts}")
    assert "The table has no probabilities for 60 of the 60 texts without labels, such as" in str(error.value)
    assert "Expected a row for each, with exactly the same text." in str(error.value)
    none = table_of(tmp_path / "none.csv", ["something else"], [(0.9, 0.1)])
    with pytest.raises(DataError, match="no probabilities for 280 of the 280 training reviews, such as"):
        set_up_with(words, f"distil.teacher={none}")


def test_no_text_of_validation_or_test_is_learnt_from(words, tiny_run, tmp_path, messages):
    splits = load_splits(config_of(words).data)
    path = tmp_path / "leak.jsonl"
    leak = [splits.validation.texts[0], splits.test.texts[3].upper(), "a good film nobody has seen"]
    leak.append(splits.train.texts[5])
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in leak))
    found = set_up_with(words, f"distil.teacher={tiny_run}", f"distil.unlabelled={path}")
    assert list(found.examples.reviews.texts[280:]) == ["a good film nobody has seen"]
    assert "Texts without labels: 2 are in validation or test, and are left out." in messages.text
    assert "Texts without labels: 1 are training reviews, and are left out." in messages.text


def test_texts_in_memory_are_labelled_too(words, tiny_run, texts, tmp_path):
    rows = tiny_texts(120, 1)
    labelled = [text for text, _ in rows], [("negative", "positive")[label] for _, label in rows]
    own = [word for word in words if not word.startswith("data.")]
    own += ["data.train_examples=null", "data.validation_examples=20", "data.test_examples=20"]
    data = {"train": labelled, "unlabelled": [text for text, _ in tiny_texts(10, 9)]}
    run = tfsent.distil("smoke", [*own, "train.epochs=1"], teacher=tiny_run, data=data, run_dir=tmp_path / "run")
    assert json.loads((run.path / "data.json").read_text())["distil"]["unlabelled"]["reviews"] == 10
    both = set_up_with([*words, f"distil.teacher={tiny_run}", f"distil.unlabelled={texts}"])
    given = Reviews(("a text of the program",), np.array([-1], np.int32), LABELS, "memory")
    both = find_examples(both.config, both.splits, {"unlabelled": given})
    assert both.unlabelled == 61
    with pytest.raises(DataError, match="expected a list of texts. Received: str. Files go to unlabelled="):
        tfsent.distil("smoke", own, teacher=tiny_run, data={**data, "unlabelled": "file.txt"}, run_dir=tmp_path / "no")


def test_texts_without_a_teacher_are_refused_before_anything_is_read(words, texts, monkeypatch, tmp_path):
    monkeypatch.setattr(setups, "load_splits", lambda *_: pytest.fail("the data was read"))
    with pytest.raises(ArtifactError, match="distil.teacher: there is nothing at .*, or a table"):
        set_up_with(words, f"distil.teacher={tmp_path / 'nothing'}")
    with pytest.raises(ConfigError, match="There are texts without labels, and no teacher to label them. Name one: "):
        set_up_with(words, f"distil.unlabelled={texts}")
    for none in ((), None):
        with pytest.raises(ConfigError, match="Distillation needs a teacher"):
            tfsent.distil("smoke", words, teacher=none)
    with pytest.raises(ConfigError, match="teacher= takes a path or a Run, or a list of these. Received: dict."):
        tfsent.distil("smoke", words, teacher={"path": "x"})
    with pytest.raises(ConfigError, match="distil.layers is for hidden states, and distil.hidden_weight is 0"):
        config_of(words, "distil.layers=[0, 1]")


def test_soft_labels_need_no_teacher(words, tmp_path):
    rows = tiny_texts(200, 1)
    table = table_of(tmp_path / "soft.csv", [t for t, _ in rows], [(0.1, 0.9) if y else (0.8, 0.2) for _, y in rows])
    own = [word for word in words if not word.startswith("data.")]
    own += [f"data.train={table}", "data.label=[negative, positive]", "data.train_examples=null"]
    own += ["data.validation_examples=40", "data.test_examples=40"]
    found = set_up_with(own)
    assert found.examples.targets.shape == (120, 2)
    assert set(np.unique(found.examples.targets[:, 0]).tolist()) == {np.float32(0.1), np.float32(0.8)}
    run = tfsent.train("smoke", [*own, "train.epochs=6"], run_dir=tmp_path / "run")
    assert run.history[-1].val_accuracy > 0.8
    sure = KerasPredictor(run.path).predict_proba(list(found.splits.test.texts)).max()
    assert sure < 0.97  # it learnt how sure it may be


def test_kill_9_changes_no_bit(words, tiny_run, texts, tmp_path):
    own = ["distil.hidden_weight=0.1", "model.pooling=cls"]
    settings = [word for setting in [*words, *own] for word in ("--set", setting)]
    command = ["distil", "smoke", "--teacher", tiny_run, "--unlabelled", texts, *settings, "--run-dir"]
    for place, steps in (("whole", 0), ("killed", 7)):
        done = subprocess.run(
            [sys.executable, str(KILLED), str(steps), *map(str, command), str(tmp_path / place)],
            capture_output=True,
            text=True,
            env=ALONE,
            check=False,
        )
        assert done.returncode == (-9 if steps else 0), done.stderr
    finetune.resume(tmp_path / "killed")
    ours, theirs = (KerasPredictor(tmp_path / place).model.get_weights() for place in ("killed", "whole"))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (tmp_path / "killed" / "history.csv").read_text() == (tmp_path / "whole" / "history.csv").read_text()


def test_a_run_that_was_stopped_while_the_teacher_answered_resumes(words, tiny_run, tmp_path, monkeypatch):
    stop = StopRequest()

    def ask(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(setups, "find_examples", ask)
        finetune.train(config_of(words, f"distil.teacher={tiny_run}"), tmp_path / "run", stop_request=stop)
    finetune.resume(tmp_path / "run")
    assert KerasPredictor(tmp_path / "run").label_names == ("negative", "positive")


def test_another_teacher_does_not_resume_a_training(words, tiny_run, tmp_path):
    class CrashError(Exception):
        pass

    class Crash(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise CrashError

    teacher = shutil.copytree(tiny_run, tmp_path / "teacher")
    config = config_of(words, f"distil.teacher={teacher}")
    with pytest.raises(CrashError):
        finetune.train(config, tmp_path / "run", callbacks=[Crash()])
    (teacher / "model" / "decision.json").write_text('{"temperature": 2.0, "threshold": null, "aim": null}')
    with pytest.raises(RunError, match="The teaching changed since .*: the teacher .* says something else. Expected"):
        finetune.resume(tmp_path / "run")


def test_a_teacher_that_was_split_otherwise_is_warned_of(words, tiny_run, messages):
    set_up_with(words, f"distil.teacher={tiny_run}")
    assert "learnt from the same source" not in messages.text
    set_up_with(words, f"distil.teacher={tiny_run}", "data.seed=5")
    assert f"The teacher {tiny_run} learnt from the same source with another validation split" in messages.text


def test_other_texts_do_not_resume_a_training(words, tiny_run, texts, tmp_path):
    path = shutil.copy(texts, tmp_path / "texts.jsonl")
    old, new = (
        {"distil": set_up_with(words, f"distil.teacher={tiny_run}", f"distil.unlabelled={path}").examples.describe()}
        for path in (path, _one_more(path))
    )
    with pytest.raises(RunError, match="the texts without labels are 61 and were 60. Expected the same again"):
        checkpoints._require_same_teaching(old["distil"], new["distil"])


def _one_more(path):
    longer = path.with_name("longer.jsonl")
    longer.write_text(path.read_text() + '{"text": "one more film"}\n')
    return longer


def test_a_teacher_is_not_replaced_by_its_student(words, tiny_run, tmp_path):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    for teacher in (run, run / "model", f"{run}/../run"):
        with pytest.raises(
            RunError, match="is the teacher, and --overwrite would replace it. Choose another --run-dir"
        ):
            tfsent.distil("smoke", words, teacher=teacher, run_dir=run, overwrite=True)
    assert (run / "model" / "model.keras").exists()


def test_the_head_alone_learns_from_a_teacher(words, tiny_run, tmp_path):
    own = ["train.freeze_encoder=true", "train.learning_rate=3e-2"]
    run = tmp_path / "run"
    finetune.train(config_of(words, *own, f"distil.teacher={tiny_run}"), run)
    assert (run / "model" / "model.keras").exists()
    with pytest.raises(ConfigError, match="trains the head alone, so distil.hidden_weight has no hidden states"):
        config_of(words, *own, f"distil.teacher={tiny_run}", "distil.hidden_weight=1")


def test_a_student_of_some_layers_imitates_those_of_its_teacher(words, tiny_encoder, tiny_run, tmp_path, messages):
    own = [f"encoder=path:{tiny_encoder}#layers=1", "distil.hidden_weight=1"]
    run = tfsent.distil("smoke", [*words, *own], teacher=[tiny_run, tiny_run], run_dir=tmp_path / "run")
    assert "Layers of the student imitate layers of the teacher: 0 ← 1." in messages.text
    assert KerasPredictor(run.path).model.count_params() < KerasPredictor(tiny_run).model.count_params()
    assert run.export().passed


def test_hidden_states_need_a_run_with_the_same_tokens(words, exported, tiny_run, tmp_path):
    phone = next((exported / "export").rglob("*.tflite"))
    with pytest.raises(
        ConfigError, match=rf"and {phone} is not a run. Name a run first, or set distil.hidden_weight=0"
    ):
        set_up_with(words, f"distil.teacher={phone}", "distil.hidden_weight=1")
    from tiny import VOCABULARY

    other = write_encoder(tmp_path / "other", [*VOCABULARY, "extra"])
    with pytest.raises(ConfigError, match="has another vocabulary. Set distil.hidden_weight=0"):
        set_up_with(words, f"encoder=path:{other}", f"distil.teacher={tiny_run}", "distil.hidden_weight=1")
    longer = write_encoder(tmp_path / "longer", max_position_embeddings=80)
    with pytest.raises(ConfigError, match="text.max_tokens is 60, and the teacher .* has 40 positions"):
        set_up_with(
            words,
            f"encoder=path:{longer}",
            "text.max_tokens=60",
            f"distil.teacher={tiny_run}",
            "distil.hidden_weight=1",
        )
    with pytest.raises(ConfigError, match=r"distil.layers is \[0, 7\]. Expected a layer of the teacher, from 0 to 1"):
        set_up_with(words, f"distil.teacher={tiny_run}", "distil.hidden_weight=1", "distil.layers=[0, 7]")


def test_windows_learn_what_the_teacher_says_of_the_review(words, tiny_run):
    found = set_up_with(words, "text.truncation=windows", "text.max_tokens=12", f"distil.teacher={tiny_run}")
    assert len(found.tokens) > len(found.examples.reviews)
    rows, _ = found.plan.epoch(0)[0]
    targets = found.train_loader(lambda: (0, 0)).batches()[0]()[1]
    np.testing.assert_array_equal(targets, found.examples.targets[found.tokens.owner[rows]])


def test_rows_of_padding_have_no_target(words, tiny_run):
    found = set_up_with(words, f"distil.teacher={tiny_run}")
    padded = replace(found, plan=type(found.plan)(found.tokens.lengths, 256, seed=0, shapes=_three_devices(found)))
    for make in padded.train_loader(lambda: (0, 0)).batches():
        _, targets, weights = make()
        assert len(targets) % 3 == 0
        assert not targets[weights == 0].any()


def _three_devices(found):
    return replace(found.plan.shapes, rows_multiple=3)


def test_the_command_says_what_it_needs_and_takes_seeds(words, tiny_run, tmp_path):
    settings = [word for setting in [*words, "train.epochs=1"] for word in ("--set", setting)]
    refused = CliRunner().invoke(main, ["distil", "smoke", *settings])
    assert refused.exit_code == 2
    assert "Missing option '--teacher'" in refused.output
    missing = CliRunner().invoke(main, ["distil", "smoke", "--teacher", str(tmp_path / "no"), *settings])
    assert missing.exit_code == 1
    assert "distil.teacher: there is nothing at" in missing.output
    assert "Traceback" not in missing.output
    place = ["--run-dir", str(tmp_path / "seeds"), "--seeds", "1,2"]
    done = CliRunner().invoke(main, ["distil", "smoke", "--teacher", str(tiny_run), *settings, *place])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "seeds" / "seed-2" / "model" / "model.keras").exists()
