"""Any number of tables become shards: together the single table's answers, whatever is cut, killed or changed."""

import hashlib
import itertools
import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pyarrow
import pyarrow.dataset
import pyarrow.parquet
import pytest
from data_files import csv_bytes, write
from hypothesis import given, settings
from hypothesis import strategies as st
from stub_predictor import Interrupted, Stopping, Stub, read

from tfsent.errors import ConfigError, DataError, RunError
from tfsent.inference import bulk, shard_files, shards
from tfsent.recipe.schema import DataConfig
from tfsent.storage import atomic

SCRIPT = Path(__file__).parents[1] / "kill_shards.py"


def predict(sources, folder, predictor=None, *, form=None, overwrite=False, model_id="m", **settings):
    config = DataConfig(train=str(sources[0]), **settings)
    return shards.predict_files(
        predictor or Stub(), sources, folder, config, model_id=model_id, form=form, overwrite=overwrite
    )


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def manifest(folder):
    return json.loads((folder / "manifest.json").read_text())


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def rows_of(folder):
    return [row for one in manifest(folder)["shards"] for row in read(folder / one["file"])]


@pytest.fixture
def three(tmp_path, monkeypatch):
    """Three files of 5, 1 and 3 rows; shards of two rows."""
    monkeypatch.setattr(shard_files, "SHARD", 2)
    parts = ((0, 5), (5, 6), (6, 9))
    return [
        write(tmp_path / f"r-{i}.jsonl", lines({"text": "x" * (11 * n + 1), "id": n} for n in range(*part)))
        for i, part in enumerate(parts)
    ]


def test_shards_and_their_manifest(three, tmp_path):
    result = predict(three, tmp_path / "out")
    assert (result.files, result.shards, result.rows, result.without_text, result.continued_at) == (3, 6, 9, 0, 0)
    held = manifest(tmp_path / "out")
    names = ["r-0-00000", "r-0-00001", "r-0-00002", "r-1-00000", "r-2-00000", "r-2-00001"]
    assert [one["file"] for one in held["shards"]] == [f"{name}.jsonl" for name in names]
    assert [one["rows"] for one in held["shards"]] == [2, 2, 1, 1, 2, 1]
    assert (held["complete"], held["rows"], held["without_text"]) == (True, 9, 0)
    assert [Path(one[0]) for one in held["job"]["files"]] == three
    for one in held["shards"]:
        raw = (tmp_path / "out" / one["file"]).read_bytes()
        assert (len(raw), hashlib.sha256(raw).hexdigest()) == (one["bytes"], one["sha256"])
    assert [row["id"] for row in rows_of(tmp_path / "out")] == list(range(9))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        [*(f"{name}.jsonl" for name in names), "manifest.json"]
    )


texts = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=9), min_size=1, max_size=12)


@given(texts, st.sets(st.integers(1, 11)), st.integers(1, 5), st.sampled_from(["jsonl", "csv", "parquet"]), st.data())
@settings(deadline=None, max_examples=30)
def test_any_cut_and_any_stop_give_the_answers_to_one_table(tmp_path_factory, texts, cuts, size, form, data):
    folder = tmp_path_factory.mktemp("cut")
    rows = [{"text": text, "id": i} | ({"odd": i} if i % 2 else {}) for i, text in enumerate(texts)]
    edges = [0, *sorted(cut for cut in cuts if cut < len(rows)), len(rows)]
    sources = [
        write(folder / str(i) / "part.jsonl", lines(rows[start:stop]))
        for i, (start, stop) in enumerate(itertools.pairwise(edges))
    ]
    whole = write(folder / "whole.jsonl", lines(rows))
    bulk.predict_file(Stub(), whole, folder / f"one.{form}", DataConfig(train=str(whole)), model_id="m")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shard_files, "SHARD", size)
        predict(sources, folder / "whole", form=form)
        stop = data.draw(st.integers(0, len(rows)))
        for _ in range(data.draw(st.integers(0, 2))):
            try:
                predict(sources, folder / "out", Stopping(stop), form=form)
            except Interrupted:
                assert not manifest(folder / "out")["complete"]
        predict(sources, folder / "out", form=form)
    assert rows_of(folder / "out") == read(folder / f"one.{form}")
    assert contents(folder / "out") == contents(folder / "whole")


def test_the_same_command_goes_on(three, tmp_path, messages):
    with pytest.raises(Interrupted):
        predict(three, tmp_path / "out", Stopping())
    (tmp_path / "out" / "r-0-00001.jsonl").write_text("{}")  # whatever cut it short
    predictor = Stub()
    result = predict(three, tmp_path / "out", predictor)
    assert (result.continued_at, predictor.asked) == (2, 7)
    assert "Continuing after 2 rows." in messages.text
    predict(three, tmp_path / "whole")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_what_is_finished_is_not_done_again(three, tmp_path, messages):
    before = predict(three, tmp_path / "out")
    predictor = Stub()
    result = predict(three, tmp_path / "out", predictor)
    assert (result.rows, result.shards, result.continued_at, predictor.asked) == (9, before.shards, 9, 0)
    assert "holds all answers already" in messages.text
    assert predict(three, tmp_path / "out", predictor, overwrite=True).continued_at == 0
    assert predictor.asked == 9


def test_overwrite_in_the_command_does_not_keep_it_from_going_on(three, tmp_path):
    with pytest.raises(Interrupted):
        predict(three, tmp_path / "out", Stopping(), overwrite=True)
    assert predict(three, tmp_path / "out", overwrite=True).continued_at == 4


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_id": "other"}, "the model differ"),
        ({"form": "csv"}, "the --format differ"),
        ({"text": "body"}, "the columns or settings differ"),
        ("file", "the input files differ"),
    ],
)
def test_another_job_is_refused_and_begins_anew_when_told(three, tmp_path, change, message, finished):
    for path in three:
        write(path, path.read_bytes().replace(b'"id"', b'"body": "x", "id"'))
    try:
        predict(three, tmp_path / "out", Stub() if finished else Stopping())
    except Interrupted:
        assert not finished
    (tmp_path / "out" / "mine.txt").write_text("precious")
    before = contents(tmp_path / "out")
    if change == "file":
        three, change = three[:2], {}
    with pytest.raises(
        RunError, match=f"out is of another job: {message}. Give the same command to continue that one,"
    ):
        predict(three, tmp_path / "out", **change)
    assert contents(tmp_path / "out") == before
    predict(three, tmp_path / "out", overwrite=True, **change)
    names = {one["file"] for one in manifest(tmp_path / "out")["shards"]}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*names, "manifest.json", "mine.txt"}


def test_a_damaged_shard_of_a_finished_job_is_told(three, tmp_path):
    predict(three, tmp_path / "out")
    (tmp_path / "out" / "r-1-00000.jsonl").write_text("{}")
    with pytest.raises(RunError, match="r-1-00000.jsonl is not what was written. Pass --overwrite to begin anew"):
        predict(three, tmp_path / "out")


def test_a_folder_of_something_else_is_left_alone(three, tmp_path):
    write(tmp_path / "out" / "mine.txt", b"precious")
    for overwrite in (False, True):
        with pytest.raises(RunError, match="out exists, and is not of `tfsent predict`. Empty it, or name another"):
            predict(three, tmp_path / "out", overwrite=overwrite)
    write(tmp_path / "out" / "manifest.json", b'{"mine": 1}')
    with pytest.raises(RunError, match="is not of `tfsent predict`"):
        predict(three, tmp_path / "out", overwrite=True)
    with pytest.raises(ConfigError, match="mine.txt is a file. Expected a folder for the answers to several files"):
        predict(three, tmp_path / "out" / "mine.txt")
    assert (tmp_path / "out" / "mine.txt").read_bytes() == b"precious"


def test_a_second_process_is_refused(three, tmp_path):
    (tmp_path / "out").mkdir()
    with atomic.in_use(tmp_path / "out"), pytest.raises(RunError, match="Another process is at work in .*out"):
        predict(three, tmp_path / "out")


def test_faults_of_all_files_are_found_before_anything_is_classified(three, tmp_path):
    write(three[0], b'{"text": 3}\n{"text": "a"}\n')
    write(three[2], b'{"text": "a"}\nnot json\n')
    predictor = Stub()
    with pytest.raises(DataError, match=r"(?s)2 faulty rows:.*r-0.jsonl, line 1: .*r-2.jsonl, line 2: not JSON"):
        predict(three, tmp_path / "out", predictor)
    write(three[2], b'[{"body": "a"}]')
    with pytest.raises(DataError, match="r-2.jsonl has no key 'text'"):
        predict(three, tmp_path / "out", predictor)
    write(three[2], b"text\n")
    with pytest.raises(DataError, match="r-0.jsonl, line 1|r-2.jsonl has no rows"):
        predict(three, tmp_path / "out", predictor)
    assert predictor.asked == 0
    assert not (tmp_path / "out").exists()


class Meddling(Stub):
    """Changes an input while it is read."""

    def __init__(self, path, content):
        self.path, self.content = path, content

    def predict_proba(self, texts, advance=len):
        write(self.path, self.content)
        return super().predict_proba(texts, advance)


@pytest.mark.parametrize("content", [lines({"text": "y", "id": n} for n in range(9)), b'{"text": "y"}\n'])
def test_a_file_that_changes_meanwhile_is_told(three, tmp_path, content):
    with pytest.raises(DataError, match="r-2.jsonl was changed while it was read. Start anew, with --overwrite,"):
        predict(three, tmp_path / "out", Meddling(three[2], content))
    assert not manifest(tmp_path / "out")["complete"]


def test_every_csv_has_the_columns_of_all_files(tmp_path):
    sources = [
        write(tmp_path / "a.csv", csv_bytes([("one", "label")], ("text", "x"))),
        write(tmp_path / "b.csv", csv_bytes([("", "two", "3")], ("label", "text", "y"))),
    ]
    assert predict(sources, tmp_path / "out").rows == 2
    heads = [(tmp_path / "out" / name).read_text().splitlines()[0] for name in ("a-00000.csv", "b-00000.csv")]
    assert set(heads) == {"text,x,label,y,predicted_label,probability,p_negative,p_positive"}


def test_types_of_parquet_survive_and_are_the_same_in_every_shard(tmp_path, monkeypatch):
    monkeypatch.setattr(shard_files, "SHARD", 3)
    table = pyarrow.table(
        {
            "text": pyarrow.array([f"text {i}" for i in range(10)]),
            "when": pyarrow.array([1, 2, None, *range(4, 11)], pyarrow.timestamp("ns", "UTC")),
            "small": pyarrow.array(range(10), pyarrow.int8()),
            "late": pyarrow.array([*[None] * 8, "a", "b"]).dictionary_encode(),
        }
    )
    pyarrow.parquet.write_table(table.slice(0, 7), tmp_path / "a.parquet", row_group_size=2)
    pyarrow.parquet.write_table(table.slice(7), tmp_path / "b.parquet")
    predict([tmp_path / "a.parquet", tmp_path / "b.parquet"], tmp_path / "out")
    found = pyarrow.dataset.dataset(tmp_path / "out", format="parquet", exclude_invalid_files=True).to_table()
    assert found.select(table.column_names).cast(table.schema).equals(table)
    assert found.schema.field("when").type == table.schema.field("when").type
    schemas = [pyarrow.parquet.read_schema(path) for path in (tmp_path / "out").glob("*.parquet")]
    assert len(schemas) == 4 and all(schema.equals(schemas[0]) for schema in schemas)


def test_json_that_fits_no_table_is_told_before_anything_is_classified(tmp_path):
    write(tmp_path / "a.jsonl", b'{"text": "a", "x": 1}\n')
    write(tmp_path / "b.jsonl", b'{"text": "b", "x": "y"}\n')
    predictor = Stub()
    with pytest.raises(DataError, match="do not fit into one Parquet table: .* Write .jsonl in its place"):
        predict([tmp_path / "a.jsonl", tmp_path / "b.jsonl"], tmp_path / "out", predictor, form="parquet")
    assert predictor.asked == 0


def test_files_that_are_called_alike_have_shards_of_their_own(tmp_path):
    names = ("x/a.csv.gz", "y/A.csv", "z/a.2.csv", "_hidden.csv", ".csv", "é" * 100 + ".csv")
    (tmp_path / "gz").mkdir()
    sources = [write(tmp_path / name.replace(".gz", ""), csv_bytes([(name,)], ("text",))) for name in names]
    predict(sources, tmp_path / "out", form="jsonl")
    found = [one["file"] for one in manifest(tmp_path / "out")["shards"]]
    alike = ["a", "A.2", "a.2.2", "hidden", "rows", "é" * 48]
    assert found == [f"{name}-00000.jsonl" for name in alike]
    assert [row["text"] for row in rows_of(tmp_path / "out")] == list(names)


def test_memory_does_not_grow_with_the_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(shard_files, "SHARD", 100)
    peaks = []
    for rows in (400, 400, 4000):  # the first warms up
        source = write(tmp_path / f"{rows}.jsonl", lines({"text": f"{i} " * 100} for i in range(rows)))
        tracemalloc.start()
        predict([source], tmp_path / f"out-{rows}-{len(peaks)}")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < 1.5 * peaks[1]


@pytest.mark.parametrize("scenario", ["begun", "anew"])
def test_killed_anywhere_it_goes_on(scenario):
    memory = {"TMPDIR": "/dev/shm"} if os.access("/dev/shm", os.W_OK) else {}  # where flushing costs nothing
    done = subprocess.run(
        [sys.executable, SCRIPT, scenario], capture_output=True, text=True, check=False, env={**os.environ, **memory}
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["events"] > 20
    assert not found["tensorflow"]
