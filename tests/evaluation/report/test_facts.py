"""What the files of a run say, also when they are missing, damaged or of something else."""

import hashlib

import numpy as np
import pytest

from tfsent.evaluation.report.facts import read_facts
from tfsent.training.engine.callbacks import BestEpoch

JSON = ("environment.json", "data.json", "metrics.json", "metrics-validation.json", "analysis.json", "verify.json")


def test_after_training(runs):
    facts = read_facts(runs(settings=["text.max_tokens=128"]))
    assert (facts.name, facts.metric, facts.best.number) == ("made-up", "accuracy", 2)
    assert facts.classes == ("negative", "positive")
    assert facts.split("test").fingerprint == "f" * 64
    assert (facts.metrics, facts.analysis, facts.exports, facts.faults) == (None, None, None, {})
    assert facts.environment == {"run_format": "2", "tfsent": "0.2.0", "python": "3.11.7"}


def test_the_smallest_loss_chooses_the_epoch(runs):
    run = runs(settings=["train.select_by=loss"])
    runs.write(run, "history.csv", "epoch,val_loss,val_accuracy\n1,0.4,0.9\n2,nan,0.99\n3,0.3,0.8\n")
    assert read_facts(run).best.number == 3


def test_of_equal_epochs_the_one_with_the_smaller_loss_is_kept(runs):
    run = runs()
    runs.write(run, "history.csv", "epoch,val_loss,val_accuracy\n1,0.4,0.9\n2,0.3,0.9\n3,0.3,0.9\n")
    assert read_facts(run).best.number == 2


@pytest.mark.parametrize("metric", ["accuracy", "loss", "macro_f1"])
def test_the_epoch_is_the_one_that_training_keeps(runs, metric):
    rng = np.random.default_rng(0)
    for trial in range(20):
        run, best = runs(f"{trial}", settings=[f"train.select_by={metric}"]), BestEpoch(metric=metric)
        values = rng.integers(1, 4, size=(6, 3)) / 4  # many are equal
        rows = [dict(zip(("val_loss", "val_accuracy", "val_macro_f1"), row, strict=True)) for row in values.tolist()]
        kept = [epoch for epoch, row in enumerate(rows) if best.add(epoch, row)]
        lines = [
            ",".join(["epoch", *rows[0]]),
            *(f"{i},{','.join(map(str, r.values()))}" for i, r in enumerate(rows, 1)),
        ]
        runs.write(run, "history.csv", "\n".join(lines) + "\n")
        assert read_facts(run).best.number == kept[-1] + 1


@pytest.mark.parametrize("name", JSON)
@pytest.mark.parametrize("damage", ["", "{", "[]", "null", "\ud83d", '{"splits": 3, "classes": [], "artifacts": {}}'])
def test_a_damaged_file_is_said_to_be(runs, name, damage):
    run = runs(evaluated=True, exported=True)
    (run / name).write_bytes(damage.encode("utf-8", "surrogatepass"))
    facts = read_facts(run)
    if "splits" not in damage:
        assert facts.faults[name] == f"{name} cannot be read."


def test_a_deeply_nested_file_is_said_to_be_damaged(runs):
    run = runs()
    runs.write(run, "metrics.json", "[" * 100_000)
    assert read_facts(run).faults == {"metrics.json": "metrics.json cannot be read."}


def test_a_recipe_of_another_version_is_shown_without_its_folders(runs):
    run = runs()
    runs.write(run, "config.yaml", "encoder: path:/home/somebody/bert\nnew_key: 1\n")
    facts = read_facts(run)
    assert facts.config is None
    assert facts.config_text == "encoder: path:…/bert\nnew_key: 1\n"
    assert facts.faults == {"config.yaml": "config.yaml cannot be read by this version of tfsent."}


def test_figures_of_other_reviews_are_said_to_be(runs):
    run = runs(evaluated=True)
    runs.change(run, "metrics.json", fingerprint="0" * 64)
    facts = read_facts(run)
    assert facts.faults == {
        "metrics.json": "metrics.json is of other reviews than this run's test reviews.",
        "analysis.json": "analysis.json is of other reviews than metrics.json.",
    }
    assert facts.analysis is None


def test_figures_of_another_threshold_are_said_to_be(runs):
    run = runs(evaluated=True)
    runs.write(run, "model/decision.json", {"temperature": 1.0, "threshold": 0.7, "aim": "f1"})
    assert read_facts(run).faults == {"metrics.json": "metrics.json is of another threshold than the model has now."}


def test_figures_that_are_no_numbers_are_left_out(runs):
    run = runs(evaluated=True)
    runs.change(run, "metrics.json", roc_auc=None, brier=float("nan"), log_loss="x", macro_f1_interval=[0.1, None])
    found = read_facts(run).metrics.figures
    assert {"roc_auc", "brier", "log_loss"} & found.keys() == set()
    assert (found["macro_f1"].low, found["macro_f1"].high) == (None, None)


def test_a_confusion_matrix_that_does_not_fit_is_left_out(runs):
    run = runs(evaluated=True)
    runs.change(run, "metrics.json", confusion_matrix=[[1, 2, 3], [4, 5, 6]])
    assert read_facts(run).metrics.confusion == ()


def test_a_seed_is_named_with_its_run(runs):
    run = runs("three/seed-2")
    runs.write(run.parent, "seeds.json", {"best_run": "seed-2"})
    assert read_facts(run).name == "three/seed-2"


def test_files_that_were_exported_from_another_model_are_known(runs):
    run = runs(exported=True)
    digest = hashlib.sha256(b"weights").hexdigest()
    for place in ("export/mobile/manifest.json", "export/serving/1/assets.extra/manifest.json"):
        runs.write(run, place, {"model": {"model.keras": digest}})
    assert read_facts(run).exports.of_other_model == ()
    runs.write(run, "export/mobile/manifest.json", {"model": {"model.keras": "0" * 64}})
    assert read_facts(run).exports.of_other_model == ("export/mobile",)
    runs.write(run, "export/mobile/manifest.json", {"model": {"model.keras": digest, "decision.json": digest}})
    assert read_facts(run).exports.of_other_model == ("export/mobile",)
    runs.write(run, "export/mobile/manifest.json", "damaged")
    assert read_facts(run).exports.of_other_model == ()


def test_a_folder_that_is_gone_is_known(runs):
    run = runs(exported=True)
    (run / "export" / "mobile").rmdir()
    assert read_facts(run).exports.gone == ("export/mobile",)
    runs.change(run, "verify.json", published=["x" * 300, "\0"])
    assert read_facts(run).exports.gone == ("x" * 300, "\0")


def test_parities_are_read_as_they_are_written(runs):
    exports = read_facts(runs(exported=True)).exports
    assert [(one.name, one.target, one.state, one.reason) for one in exports.files] == [
        ("savedmodel", "server", "ships", ""),
        ("float32", "phone", "spare", "int8 is smaller"),
        ("int8", "phone", "ships", ""),
        ("int4", "phone", "over budget", "3.00% of labels flip"),
    ]
    assert exports.files[2].change == pytest.approx(-0.01)
