"""`tfsent bench` on every form of a model: what is measured, not how fast it is."""

import json
import shutil

import pytest
from command_line import call

import tfsent
from tfsent.errors import ArtifactError
from tfsent.inference import bench


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(bench, "REPEATS", 3)


@pytest.mark.parametrize(
    ("path", "threads"),
    [("", {None}), ("export/serving", {None}), ("export/mobile/model.tflite", {1, 2})],
)
def test_every_form_is_measured(exported, path, threads, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    found = tfsent.bench(exported / path, reviews=10)
    assert {one.tokens for one in found.latencies} == {8, 32}
    assert {one.threads for one in found.latencies} == threads
    assert all(0 < one.p50_ms <= one.p99_ms for one in found.latencies)
    assert (found.reviews, found.reviews_per_second > 0) == (10, True)
    assert found.start_seconds > 0 and found.start_megabytes > 20


def test_a_file_that_lies_alone_has_no_reviews(exported, tmp_path, capsys):
    shutil.copytree(exported / "export/mobile", tmp_path / "mobile")
    [found] = json.loads(call("bench", tmp_path / "mobile" / "model.tflite", "--json"))
    assert (found["reviews"], found["reviews_per_second"]) == (0, None)
    printed = call("bench", tmp_path / "mobile" / "model.tflite")
    assert "median ms" in printed and "first answer after s" in printed


def test_a_model_that_answers_in_no_process_is_told(exported, monkeypatch):
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(ArtifactError, match="does not answer in a process of its own: it said nothing"):
        tfsent.bench(exported / "export/mobile/model.tflite", reviews=0)
