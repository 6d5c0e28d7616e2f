"""Tables of any size are classified: every column stays, in every format; the next command continues a killed one."""

import gzip
import json
import multiprocessing
import os
import signal
import time

import pandas
import pyarrow
import pyarrow.parquet
import pytest
from data_files import csv_bytes, write
from hypothesis import given, settings
from hypothesis import strategies as st
from stub_predictor import Interrupted, Stopping, Stub, read

from tfsent.errors import ConfigError, DataError, RunError
from tfsent.inference import bulk
from tfsent.inference.bulk import added_names, predict_lines
from tfsent.recipe.schema import DataConfig

TEXTS = ["short", "a text of\nseveral, lines " * 5, 'tab\tand "quotes" and 🎉', "carriage\rreturn", "", "  "]


def expected(text):
    if not text.strip():
        return None, None
    positive = min(len(text), 100) / 100
    return ("positive" if positive > 0.5 else "negative"), pytest.approx(max(positive, 1 - positive), abs=1e-5)


def predict(source, output, predictor=None, *, overwrite=False, model_id="m", **settings):
    config = DataConfig(train=str(source), **settings)
    return bulk.predict_file(predictor or Stub(), source, output, config, model_id=model_id, overwrite=overwrite)


ROWS = [{"id": i, "text": text, "label": "mine", "note": None if i % 2 else "ü"} for i, text in enumerate(TEXTS)]
SOURCES = {
    "a.csv": csv_bytes([(r["id"], r["text"], r["label"], r["note"]) for r in ROWS], ("id", "text", "label", "note")),
    "a.tsv.gz": gzip.compress(
        csv_bytes(
            [(r["id"], r["text"], r["label"], r["note"]) for r in ROWS], ("id", "text", "label", "note"), delimiter="\t"
        )
    ),
    "a.jsonl": "".join(json.dumps(row) + "\n" for row in ROWS).encode(),
    "a.json": json.dumps(ROWS).encode(),
    "a.parquet": None,
}


@pytest.fixture(params=SOURCES)
def source(request, tmp_path):
    path = tmp_path / request.param
    if SOURCES[request.param] is None:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
        return path
    return write(path, SOURCES[request.param])


@pytest.mark.parametrize("ending", ["csv", "tsv", "csv.gz", "jsonl", "jsonl.gz", "parquet"])
@pytest.mark.parametrize("chunk", [2, 4096])
def test_all_columns_stay_and_answers_are_added(source, ending, chunk, monkeypatch):
    monkeypatch.setattr(bulk, "CHUNK", chunk)
    output = source.with_name(f"out.{ending}")
    result = predict(source, output)
    assert (result.rows, result.without_text, result.continued_at) == (6, 2, 0)
    rows = read(output)
    assert list(rows[0]) == [
        "id",
        "text",
        "label",
        "note",
        "predicted_label",
        "probability",
        "p_negative",
        "p_positive",
    ]
    for before, after in zip(ROWS, rows, strict=True):
        assert int(after["id"]) == before["id"]
        assert (after["text"] or "", after["label"], after["note"] or None) == (before["text"], "mine", before["note"])
        label, probability = expected(before["text"])
        assert (after["predicted_label"] or None) == label
        assert (float(after["probability"]) if after["probability"] not in ("", None) else None) == probability
    assert sorted(path.name for path in source.parent.iterdir()) == sorted([source.name, output.name])


def test_types_of_parquet_survive(tmp_path):
    table = pyarrow.table(
        {
            "text": pyarrow.array(TEXTS).dictionary_encode(),
            "when": pyarrow.array([1, 2, None, 4, 5, 6], pyarrow.timestamp("ns", "UTC")),
            "small": pyarrow.array(range(6), pyarrow.int8()),
            "vector": pyarrow.array([[1.0, 2.0]] * 6, pyarrow.list_(pyarrow.float32(), 2)),
        }
    )
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet", row_group_size=4)
    predict(tmp_path / "a.parquet", tmp_path / "b.parquet")
    found = pyarrow.parquet.read_table(tmp_path / "b.parquet")
    before = pyarrow.parquet.read_table(tmp_path / "a.parquet")
    assert found.select(before.column_names).equals(before)
    assert found.column_names[4:] == ["label", "probability", "p_negative", "p_positive"]


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=10), min_size=1, max_size=9))
@settings(deadline=None, max_examples=60)
def test_any_text_comes_through_in_order(tmp_path_factory, texts):
    folder = tmp_path_factory.mktemp("bulk")
    write(folder / "a.jsonl", "".join(json.dumps({"text": text}) + "\n" for text in texts).encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bulk, "CHUNK", 3)
        predict(folder / "a.jsonl", folder / "b.csv")
        assert [row["text"] for row in read(folder / "b.csv")] == texts
        predict(folder / "b.csv", folder / "c.jsonl")
    if any(map(str.strip, texts)):
        assert [row["text"] for row in read(folder / "c.jsonl") if row["text"].strip()] == [
            t for t in texts if t.strip()
        ]


def test_names_that_are_taken_get_a_prefix():
    taken = ["label", "predicted_label", "p_negative", "text"]
    names = added_names(("negative", "positive"), taken)
    assert names == ["predicted_predicted_label", "probability", "predicted_p_negative", "p_positive"]
    assert added_names(("x", "x_"), []) == ["label", "probability", "p_x", "p_x_"]


def test_json_objects_may_have_different_keys(tmp_path):
    write(tmp_path / "a.jsonl", b'{"text": "a", "x": [1]}\n{"text": "b", "y": {"z": 1}}\n{"text": "\\ud83d"}\n')
    predict(tmp_path / "a.jsonl", tmp_path / "b.csv")
    rows = read(tmp_path / "b.csv")
    assert [(row["x"], row["y"]) for row in rows] == [("[1]", ""), ("", '{"z": 1}'), ("", "")]
    predict(tmp_path / "a.jsonl", tmp_path / "c.jsonl")
    assert [row["text"] for row in read(tmp_path / "c.jsonl")] == ["a", "b", "\ud83d"]


@pytest.mark.parametrize("name", ["b", "b.txt", "b.parquet.gz", "b.zip"])
def test_an_unknown_ending_is_refused(tmp_path, name):
    write(tmp_path / "a.csv", b"text\na\n")
    with pytest.raises(ConfigError, match="has no ending that says its format. Expected .csv, .tsv, .jsonl"):
        predict(tmp_path / "a.csv", tmp_path / name)


def test_nothing_of_the_users_is_replaced(tmp_path):
    write(tmp_path / "a.csv", b"text\na\n")
    write(tmp_path / "b.csv", b"precious")
    with pytest.raises(RunError, match="b.csv exists already. Pass --overwrite to replace it, or name another"):
        predict(tmp_path / "a.csv", tmp_path / "b.csv")
    assert (tmp_path / "b.csv").read_bytes() == b"precious"
    predict(tmp_path / "a.csv", tmp_path / "b.csv", overwrite=True)
    assert len(read(tmp_path / "b.csv")) == 1
    write(tmp_path / "c.csv.parts" / "mine.txt", b"precious")
    with pytest.raises(
        RunError, match="c.csv.parts exists, and is not of `tfsent predict`. Remove it, or name another"
    ):
        predict(tmp_path / "a.csv", tmp_path / "c.csv")
    assert (tmp_path / "c.csv.parts" / "mine.txt").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"text\n", "a.csv has no rows"),
        (b"body\na\n", "no column 'text'"),
        (b"text,x\na,b\nc\n", "line 3: expected 2 fields, received 1"),
        (b'{"text": "a"}\n{"text": 3}\n', "line 2: 'text' is not a string; received 3"),
    ],
)
def test_faults_are_found_before_anything_is_classified(tmp_path, content, message):
    predictor = Stub()
    with pytest.raises(DataError, match=message):
        predict(write(tmp_path / "a.csv", content), tmp_path / "b.csv", predictor)
    assert predictor.asked == 0
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


def test_columns_that_do_not_fit_into_parquet_are_named(tmp_path):
    write(tmp_path / "a.jsonl", b'{"text": "a", "x": 1}\n{"text": "b", "x": "y"}\n')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bulk, "CHUNK", 1)
        with pytest.raises(DataError, match="do not fit into one Parquet table: .* Write .jsonl in its place"):
            predict(tmp_path / "a.jsonl", tmp_path / "b.parquet")


@pytest.mark.parametrize("ending", ["csv", "jsonl.gz", "parquet"])
def test_the_same_command_goes_on(tmp_path, ending, monkeypatch, messages):
    monkeypatch.setattr(bulk, "CHUNK", 2)
    source = write(tmp_path / "a.csv", csv_bytes([(f"text {i}", i) for i in range(9)], ("text", "id")))
    whole, output = tmp_path / f"whole.{ending}", tmp_path / f"b.{ending}"
    predict(source, whole)
    with pytest.raises(Interrupted):
        predict(source, output, Stopping())
    assert not output.exists()
    predictor = Stub()
    result = predict(source, output, predictor)
    assert (result.rows, result.continued_at, predictor.asked) == (9, 4, 5)
    assert "Continuing after 4 rows." in messages.text
    assert read(output) == read(whole)
    assert not (tmp_path / f"b.{ending}.parts").exists()


@pytest.mark.parametrize("what", ["source", "model", "columns"])
def test_another_job_begins_anew(tmp_path, what, monkeypatch):
    monkeypatch.setattr(bulk, "CHUNK", 2)
    source = write(tmp_path / "a.csv", csv_bytes([(f"text {i}", f"x{i}") for i in range(9)], ("text", "body")))
    with pytest.raises(Interrupted):
        predict(source, tmp_path / "b.csv", Stopping())
    if what == "source":
        write(source, source.read_bytes() + b"one more,x9\n")
    predictor = Stub()
    changes = {"model": {"model_id": "other"}, "columns": {"text": "body"}}.get(what, {})
    result = predict(source, tmp_path / "b.csv", predictor, **changes)
    assert (result.continued_at, predictor.asked) == (0, result.rows)


class Slow(Stub):
    def predict_proba(self, texts, advance=len):
        time.sleep(0.05)
        return super().predict_proba(texts, advance)


def _classify(source, output):
    bulk.CHUNK = 2
    predict(source, output, Slow())


def test_kill_9_loses_no_row_and_doubles_none(tmp_path, monkeypatch):
    monkeypatch.setattr(bulk, "CHUNK", 2)
    source = write(tmp_path / "a.csv", csv_bytes([(f"text {i}", i) for i in range(40)], ("text", "id")))
    output = tmp_path / "b.csv"
    for _ in range(3):
        process = multiprocessing.get_context("fork").Process(target=_classify, args=(source, output))
        process.start()
        parts = len(list(output.with_name("b.csv.parts").glob("0*")))
        while process.is_alive() and len(list(output.with_name("b.csv.parts").glob("0*"))) < parts + 3:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    assert not output.exists()
    assert predict(source, output).continued_at >= 18
    assert [int(row["id"]) for row in read(output)] == list(range(40))


class Trickle:
    """A stream that has a little each time, as a pipe has."""

    def __init__(self, raw, size):
        self.raw, self.size = raw, size

    def read1(self, _):
        piece, self.raw = self.raw[: self.size], self.raw[self.size :]
        return piece


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_json_lines_are_answered_as_they_come(size):
    lines = [{"text": "short", "id": 1}, {"text": "x" * 80, "label": "mine"}, {"text": ""}]
    raw = "\n\n".join(map(json.dumps, lines)).encode()
    found = [json.loads(line) for line in predict_lines(Stub(), Trickle(raw, size), DataConfig())]
    assert [(row.get("id"), row["label"]) for row in found] == [(1, "negative"), (None, "mine"), (None, None)]
    assert found[1]["predicted_label"] == "positive"


@pytest.mark.parametrize("line", [b"not json", b"[1]", b'{"body": "a"}', b'{"text": 3}', b"\xff"])
def test_a_bad_line_is_named_after_the_answers_to_those_before(line):
    answers = predict_lines(Stub(), Trickle(b'{"text": "a"}\n' + line + b"\n", 14), DataConfig())
    assert json.loads(next(answers))["label"] == "negative"
    with pytest.raises(DataError, match="standard input, line 2: expected a JSON object with 'text', received"):
        next(answers)


def test_a_pandas_frame_comes_back(tmp_path):
    frame = pandas.DataFrame({"text": ["a", "b" * 80], "score": [0.5, None]})
    frame.to_parquet(tmp_path / "a.parquet")
    predict(tmp_path / "a.parquet", tmp_path / "b.parquet")
    found = pandas.read_parquet(tmp_path / "b.parquet")
    pandas.testing.assert_frame_equal(found[["text", "score"]], frame)
    assert found["label"].tolist() == ["negative", "positive"]
