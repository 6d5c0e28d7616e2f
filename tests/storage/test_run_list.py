"""Runs of every state below a folder; a damaged file spoils its own line only."""

import csv
import json
import os
import subprocess
import sys

import pytest

from tfsent.errors import RunError
from tfsent.storage.run_list import list_runs

HISTORY = [
    {"epoch": 1, "val_accuracy": 0.8, "val_loss": 0.5, "val_macro_f1": 0.7},
    {"epoch": 2, "val_accuracy": 0.9, "val_loss": 0.4, "val_macro_f1": 0.6},
    {"epoch": 3, "val_accuracy": 0.9, "val_loss": 0.3, "val_macro_f1": 0.5},
]


def write_run(path, *, test=None, history=HISTORY, model=True, checkpoint=False, select_by="null", verify=None):
    path.mkdir(parents=True)
    train = f"train:\n  select_by: {select_by}\n  class_weight: null\n"
    (path / "config.yaml").write_text(f"encoder: hf:google-bert/bert-base\ntext:\n  max_tokens: 128\n{train}")
    (path / "data.json").write_text(json.dumps({"splits": {"train": {"reviews": 6000}}}))
    if history:
        with (path / "history.csv").open("w", newline="") as handle:
            writer = csv.DictWriter(handle, history[0])
            writer.writeheader()
            writer.writerows(history)
    if model:
        (path / "model").mkdir()
        (path / "model" / "model.keras").write_bytes(b"")
    if checkpoint:
        (path / "checkpoints" / "step-10").mkdir(parents=True)
    if test is not None:
        found = {"accuracy": test, "accuracy_interval": [test - 0.01, test + 0.01], "reviews": 500}
        (path / "metrics.json").write_text(json.dumps({**found, "calibration_error": 0.03}))
    if verify is not None:
        artifacts, published = verify
        rows = [{"artifact": name, "passed": passed, "not_chosen": spare} for name, passed, spare in artifacts]
        (path / "verify.json").write_text(json.dumps({"artifacts": rows, "published": published}))
        for place in published:
            (path / place).mkdir(parents=True)
    return path


def test_the_figures_of_a_run(tmp_path):
    files = [("savedmodel", True, "slower"), ("savedmodel-bfloat16", True, None), ("int8", True, None)]
    write_run(tmp_path / "a", test=0.87, verify=(files, ["export/serving/1", "export/mobile"]))
    (found,) = list_runs(tmp_path)
    assert (found.run, found.state, found.damaged) == ("a", "finished", [])
    assert (found.encoder, found.max_tokens, found.training_reviews) == ("hf:google-bert/bert-base", 128, 6000)
    assert (found.epochs, found.validation_accuracy) == (3, 0.9)
    assert (found.test_accuracy, found.test_interval, found.test_reviews) == (0.87, (0.86, 0.88), 500)
    assert (found.calibration_error, found.exported) == (0.03, {"serving": True, "mobile": True})
    assert found.date[:4].isdecimal() and json.dumps(found.to_dict())


@pytest.mark.parametrize(("select_by", "accuracy"), [("null", 0.9), ("loss", 0.9), ("macro_f1", 0.8)])
def test_the_best_epoch_is_that_of_the_recipe(tmp_path, select_by, accuracy):
    write_run(tmp_path / "a", select_by=select_by)
    assert list_runs(tmp_path)[0].validation_accuracy == accuracy


def test_the_best_come_first(tmp_path):
    write_run(tmp_path / "measured", test=0.8)
    write_run(tmp_path / "better", test=0.85)
    write_run(tmp_path / "not-measured")
    write_run(tmp_path / "worse-validation", history=HISTORY[:1])
    write_run(tmp_path / "deep" / "down", history=None, model=False)
    found = list_runs(tmp_path)
    assert [one.run for one in found] == ["better", "measured", "not-measured", "worse-validation", "deep/down"]


def test_states(tmp_path):
    write_run(tmp_path / "finished")
    write_run(tmp_path / "interrupted", checkpoint=True)
    write_run(tmp_path / "unfinished", model=False, checkpoint=True, history=None)
    assert {one.run: one.state for one in list_runs(tmp_path)} == {
        name: name for name in ("finished", "interrupted", "unfinished")
    }


@pytest.mark.parametrize(
    ("files", "published", "expected"),
    [
        ([("savedmodel", True, None), ("int8", False, None)], [], {"serving": False, "mobile": False}),
        ([("int8", True, None)], ["export/mobile"], {"mobile": True}),
        ([("int8", False, "spare"), ("float32", True, None)], ["export/mobile"], {"mobile": True}),
    ],
)
def test_what_ships(tmp_path, files, published, expected):
    write_run(tmp_path / "a", verify=(files, published))
    assert list_runs(tmp_path)[0].exported == expected


def test_an_earlier_export_counts_and_a_removed_one_does_not(tmp_path):
    run = write_run(tmp_path / "a", verify=([("int8", True, None)], ["export/mobile"]))
    (run / "export" / "serving" / "1").mkdir(parents=True)
    assert list_runs(tmp_path)[0].exported == {"serving": True, "mobile": True}
    (run / "export" / "mobile").rmdir()
    assert list_runs(tmp_path)[0].exported == {"serving": True, "mobile": False}


def test_seeds_are_listed_and_runs_that_are_replaced_are_not(tmp_path):
    write_run(tmp_path / "many" / "seed-1")
    write_run(tmp_path / "many" / "seed-2", test=0.9)
    (tmp_path / "many" / "seeds.json").write_text("{}")
    write_run(tmp_path / "a.old")
    (tmp_path / "a.old" / "replaced.txt").write_text("")
    write_run(tmp_path / ".hidden")
    write_run(tmp_path / "many" / "seed-1" / "checkpoints" / "within")
    assert [one.run for one in list_runs(tmp_path)] == ["many/seed-2", "many/seed-1"]
    assert [one.run for one in list_runs(tmp_path / "many" / "seed-2")] == ["seed-2"]


@pytest.mark.parametrize("name", ["config.yaml", "data.json", "history.csv", "metrics.json", "verify.json"])
@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'{"accuracy": "x", "splits": 3}', b"\xff\xfe\x00", b"a,b\n1\n"]
)
def test_a_damaged_file_spoils_its_own_line_only(tmp_path, name, content):
    write_run(tmp_path / "good", test=0.8)
    write_run(tmp_path / "bad", test=0.9, verify=([("int8", True, None)], ["export/mobile"]))
    (tmp_path / "bad" / name).write_bytes(content)
    found = {one.run: one for one in list_runs(tmp_path)}
    assert found["bad"].damaged == [name]
    assert (found["good"].damaged, found["good"].test_accuracy) == ([], 0.8)
    assert json.dumps(found["bad"].to_dict())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_damaged(tmp_path):
    (write_run(tmp_path / "a", test=0.8) / "metrics.json").chmod(0)
    assert list_runs(tmp_path)[0].damaged == ["metrics.json"]


def test_no_folder_and_no_run(tmp_path):
    with pytest.raises(RunError, match="There is no folder .*nowhere. Expected one with runs in it"):
        list_runs(tmp_path / "nowhere")
    assert list_runs(tmp_path) == []


def test_a_real_run_is_read(tiny_run):
    found = next(one for one in list_runs(tiny_run.parent) if one.run == tiny_run.name)
    assert (found.state, found.damaged, found.max_tokens, found.epochs) == ("finished", [], 32, 6)
    assert 0.5 < found.validation_accuracy <= 1


def test_nothing_heavy_is_loaded():
    heavy = "numpy", "tensorflow", "keras", "scipy", "pydantic"
    code = f"import sys, tfsent.storage.run_list; print([n for n in {heavy} if n in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
