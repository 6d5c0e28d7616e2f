"""`tfsent runs ls` on the command line."""

import json
import subprocess
import sys

import pytest
from command_line import call

from tfsent.cli.runs import print_runs
from tfsent.storage.run_list import RunFigures


def figures(name="quickstart", **others):
    about = {"encoder": "hf:google-bert/bert-base-uncased", "max_tokens": 128, "training_reviews": 22500, "epochs": 3}
    return RunFigures(name, "finished", "2026-11-26T01:02:03+00:00", **{**about, **others})


def test_a_line_for_each_run(capsys):
    measured = {"test_accuracy": 0.8675, "test_interval": (0.8519, 0.8817), "calibration_error": 0.0319}
    ships = {"exported": {"serving": True, "mobile": False}, "validation_accuracy": 0.892}
    print_runs([figures(**measured, **ships), figures("other", encoder=None, damaged=["config.yaml", "data.json"])])
    printed = capsys.readouterr().out
    for word in ("quickstart", "bert-base-uncased,", "22,500", "89.20%", "86.75%", "(85.2–88.2)", "3.19%"):
        assert word in printed
    for word in ("ships", "NO", "finished", "damaged", "2026-11-26"):
        assert word in printed
    assert "other is damaged: config.yaml\nother is damaged: data.json\n" in printed


def test_a_table_and_json_of_a_real_run(tiny_run):
    assert tiny_run.name in call("runs", "ls", tiny_run.parent)
    rows = json.loads(call("runs", "ls", tiny_run.parent, "--json"))
    assert [row["state"] for row in rows if row["run"] == tiny_run.name] == ["finished"]


def test_nothing_to_list(tmp_path):
    assert "There is no run below" in call("runs", "ls", tmp_path)
    assert json.loads(call("runs", "ls", tmp_path, "--json")) == []
    assert "There is no folder" in call("runs", "ls", tmp_path / "nowhere", code=1)


@pytest.mark.parametrize("words", [["ls", "."]])
def test_tensorflow_is_not_loaded(words):
    code = (
        "import sys; from click.testing import CliRunner; from tfsent.cli.runs import runs; "
        f"r = CliRunner().invoke(runs, {words}); assert r.exit_code == 0, r.output; "
        "print([n for n in ('numpy', 'tensorflow', 'keras', 'scipy') if n in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
