"""Beam's answers are those of the plain command, row by row; what it left is continued; its faults are one message."""

import importlib.util
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import call
from data_files import csv_bytes, write
from stub_predictor import Stub, read
from tiny import tiny_texts

from tfsent.errors import ConfigError, RunError
from tfsent.inference import opening, shard_files, shards
from tfsent.recipe.schema import DataConfig

apache_beam = pytest.importorskip("apache_beam")

from tfsent.inference import beam  # noqa: E402

SCRIPT = Path(__file__).parents[1] / "killed_beam.py"
LOCAL = ("--runner", "direct", "--beam-option", "--direct_running_mode=multi_processing")
TWO = (*LOCAL, "--beam-option", "--direct_num_workers=2")


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def plain(sources, folder, form=None, model_id="m"):
    config = DataConfig(train=str(sources[0]))
    return shards.predict_files(Stub(), sources, folder, config, model_id=model_id, form=form)


def with_beam(sources, folder, form=None):
    options = beam.pipeline_options("direct", [])
    config = DataConfig(train=str(sources[0]))
    with shards.opened(sources, folder, config, model_id="m", form=form, overwrite=False) as job:
        return beam.run(Path("stub"), job, "direct", options)


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """Three files of 5, 1 and 3 rows; shards of two rows; a model that costs nothing."""
    monkeypatch.setattr(shard_files, "SHARD", 2)
    monkeypatch.setattr(opening, "load", lambda path: Stub())
    rows = [{"text": "x" * (11 * n), "id": n, "label": "mine"} | ({"odd": [n]} if n % 2 else {}) for n in range(9)]
    return [
        write(tmp_path / f"r-{i}.jsonl", "".join(json.dumps(row) + "\n" for row in rows[start:stop]).encode())
        for i, (start, stop) in enumerate(((0, 5), (5, 6), (6, 9)))
    ]


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_beam_writes_the_same_files(sources, tmp_path, form):
    result = with_beam(sources, tmp_path / "beam", form)
    assert (result.files, result.shards, result.rows, result.without_text, result.continued_at) == (3, 6, 9, 1, 0)
    plain(sources, tmp_path / "plain", form)
    assert contents(tmp_path / "beam") == contents(tmp_path / "plain")


def test_many_inputs_are_read_by_several_pipelines(sources, tmp_path, monkeypatch):
    monkeypatch.setitem(beam.PIPELINE_ROWS, "direct", 6)
    with_beam(sources, tmp_path / "beam")
    plain(sources, tmp_path / "plain")
    assert contents(tmp_path / "beam") == contents(tmp_path / "plain")


@pytest.mark.parametrize(
    ("model", "workers"), [("", LOCAL[:2]), ("export/serving", TWO), ("export/mobile/model.tflite", TWO)]
)
def test_every_form_of_a_model_answers_each_row_once(exported, tmp_path, model, workers):
    rows = [(text, i) for i, (text, _) in enumerate(tiny_texts(40, 7))]
    for i in range(4):
        write(tmp_path / f"{i}.csv", csv_bytes(rows[10 * i : 10 * i + 10], ("text", "id")))
    words = ("predict", exported / model, "--data", tmp_path / "?.csv", "--output")
    found = json.loads(call(*words, tmp_path / "beam", "--json", *workers))
    assert (found["rows"], found["files"], found["shards"]) == (40, 4, 4)
    call(*words, tmp_path / "plain")
    for i in range(4):
        ours, theirs = (read(tmp_path / folder / f"{i}-00000.csv") for folder in ("plain", "beam"))
        assert [int(row["id"]) for row in theirs] == list(range(10 * i, 10 * i + 10))
        for one, other in zip(ours, theirs, strict=True):
            assert list(one) == list(other)
            assert (one["text"], one["id"], one["label"]) == (other["text"], other["id"], other["label"])
            # Another batch has another padding: the last bit may differ, and with it the sixth digit.
            assert float(one["p_positive"]) == pytest.approx(float(other["p_positive"]), abs=2e-6)


@pytest.mark.parametrize("goes_on", [with_beam, plain])
def test_what_a_killed_command_left_is_continued(sources, tmp_path, goes_on):
    command = [sys.executable, SCRIPT, "5", tmp_path, tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    held = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert not held["complete"]
    kept = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("r-*.jsonl")}
    assert len(kept) == 4
    result = goes_on(sources, tmp_path / "out")
    assert 0 < result.continued_at < result.rows
    assert all((tmp_path / "out" / name).stat().st_mtime_ns == when for name, when in kept.items())
    plain(sources, tmp_path / "whole")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_what_fails_in_a_worker_is_one_message(exported, tmp_path):
    broken = tmp_path / "mobile"
    broken.mkdir()
    for path in (exported / "export" / "mobile").iterdir():
        write(broken / path.name, path.read_bytes()[:2000] if path.name == "model.tflite" else path.read_bytes())
    write(tmp_path / "a.csv", b"text\na\n")
    words = ("predict", broken / "model.tflite", "--data", tmp_path / "a.csv", "--output", tmp_path / "out")
    for mode in (LOCAL, ("--runner", "direct")):
        said = call(*words, *mode, code=1)
        assert "Apache Beam's direct runner failed: " in said
        assert "model.tflite cannot be opened as a .tflite file of tfsent" in said
        assert said.rstrip().endswith("What was finished is kept: the same command continues.")
        assert len(said) < 600


@pytest.mark.parametrize(
    ("runner", "words", "message"),
    [
        ("direct", ["--nonsense=3"], "--beam-option --nonsense: Apache Beam has no such option."),
        ("direct", ["--direct_num_workers=x"], "--beam-option: argument --direct_num_workers: invalid int value: 'x'."),
        ("direct", ["direct_num_workers=2"], "takes one such as '--direct_num_workers=2'. Received 'direct_num_w"),
        ("direct", ["--runner=x"], "--beam-option is not for the runner. Name it with --runner."),
        ("flink", [], "--runner flink needs --beam-option '--flink_master=HOST:8081', or --job_endpoint."),
        ("spark", [], "--runner spark needs --beam-option '--spark_master_url=spark://HOST:7077', or --job_endpoint."),
        ("dataflow", ["--project=x"], "--runner dataflow needs --beam-option '--region=REGION'."),
    ],
)
def test_options_that_a_runner_cannot_use_are_told(runner, words, message):
    with pytest.raises(ConfigError) as error:
        beam.pipeline_options(runner, words)
    assert message in str(error.value)


def test_a_cluster_that_does_not_answer_is_told(sources, tmp_path):
    words = ["--job_endpoint=localhost:9", "--job_server_timeout=1"]
    options = beam.pipeline_options("flink", words)
    config = DataConfig(train=str(sources[0]))
    with shards.opened(sources, tmp_path / "out", config, model_id="m", form=None, overwrite=False) as job:
        with pytest.raises(RunError, match="flink runner failed: the job endpoint did not answer. What was finished"):
            beam.run(Path("stub"), job, "flink", options)
    plain(sources, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["complete"]


def test_where_beam_is_not_installed_its_installation_is_told(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        ConfigError, match=r"needs Apache Beam, which is not installed here: pip install 'tfsent\[beam\]'"
    ):
        beam.pipeline_options("direct", [])
