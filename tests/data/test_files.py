"""Rows of files: labels, texts and groups of every kind, several files, and what is refused."""

import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from data_files import csv_bytes, plain, read, write
from hypothesis import given, settings
from hypothesis import strategies as st

from tfsent.data.files import find_files, spelt_label
from tfsent.data.records import Row
from tfsent.errors import DataError
from tfsent.recipe.schema import DataConfig

GOOD = [("good film", "pos"), ('a "fine", film\nin two lines', "pos"), ("bad plot", "neg"), ("é 日本 ☃", "neg")]


def test_a_row_names_its_first_line(tmp_path):
    rows = read(write(tmp_path / "a.csv", csv_bytes(GOOD)))
    assert [row.place for row in rows] == [f"{tmp_path}/a.csv, line {n}" for n in (2, 3, 5, 6)]


def test_the_recipe_names_the_columns(tmp_path):
    content = csv_bytes([(1, "neg", "x", "bad"), (2, "pos", "y", "good")], ("id", "stars", "film", "body"))
    rows = read(write(tmp_path / "a.csv", content), text="body", label="stars", group="film")
    assert [row[:3] for row in rows] == [("bad", "neg", "x"), ("good", "pos", "y")]


def test_parquet_gives_equal_rows(tmp_path):
    texts = [text for text, _ in GOOD]
    table = pyarrow.table({"text": texts, "label": [1, 1, 0, 0], "film": [7, 7, 8, None], "other": [0.5] * 4})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    rows = read(tmp_path / "a.parquet", group="film")
    assert [row[:3] for row in rows] == [(t, n, g) for t, n, g in zip(texts, "1100", ("7", "7", "8", ""), strict=True)]
    pyarrow.parquet.write_table(pyarrow.table({"text": ["a", None], "label": [0, 1]}), tmp_path / "b.parquet")
    assert plain(read(tmp_path / "b.parquet", "parquet")) == [("a", "0"), ("", "1")]


@pytest.mark.parametrize(
    ("value", "spelt"),
    [
        *[(1, "1"), (1.0, "1"), (0.5, "0.5"), (None, ""), (float("nan"), ""), ("x", "x"), (True, "True")],
        *[(["x"], "x"), ([2.0], "2"), (b"sch\xc3\xb6n", "schön")],
    ],
)
def test_labels_and_groups_are_spelt_in_one_way(tmp_path, value, spelt):
    """pandas turns a column of whole numbers with a gap in it into one of floats. Labelling tools write lists."""
    assert spelt_label(value) == spelt
    if not isinstance(value, bytes):
        path = write(tmp_path / "a.jsonl", json.dumps({"text": "a", "label": value, "film": value}).encode())
        assert [(row.label, row.group) for row in read(path, group="film")] == [(spelt, spelt)]


@pytest.mark.parametrize("value", [["a", "b"], [], {"a": 1}, [[1, 2]]])
@pytest.mark.parametrize("key", ["label", "film"])
def test_lists_objects_and_vectors_are_no_label(tmp_path, value, key):
    """Of JSON and of Parquet, as a label and as a group."""
    fields = {"text": "a", "label": 1, "film": 1, key: value}
    word = "label" if key == "label" else "group"
    write(tmp_path / "a.jsonl", json.dumps(fields).encode())
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([fields]), tmp_path / "a.parquet")
    for name, place in (("a.jsonl", "line 1"), ("a.parquet", "row 1")):
        with pytest.raises(DataError, match=f"{name}, {place}: expected one {word}, a string or a number; received"):
            read(tmp_path / name, group="film")


def test_texts_are_strings_or_utf8(tmp_path):
    texts = pyarrow.array(["schön".encode(), b"bad"], pyarrow.binary())
    pyarrow.parquet.write_table(pyarrow.table({"text": texts, "label": [1, 0]}), tmp_path / "a.parquet")
    assert plain(read(tmp_path / "a.parquet")) == [("schön", "1"), ("bad", "0")]
    texts = pyarrow.array([b"\xff"], pyarrow.binary())
    pyarrow.parquet.write_table(pyarrow.table({"text": texts, "label": [1]}), tmp_path / "b.parquet")
    with pytest.raises(DataError, match="b.parquet, row 1: 'text' has bytes that are not UTF-8"):
        read(tmp_path / "b.parquet")
    pyarrow.parquet.write_table(pyarrow.table({"text": [1, 2], "label": [0, 1]}), tmp_path / "c.parquet")
    with pytest.raises(DataError, match="c.parquet, row 1: 'text' is not a string; received 1"):
        read(tmp_path / "c.parquet")
    with pytest.raises(DataError, match="a.jsonl, line 1: 'text' is not a string; received 3"):
        read(write(tmp_path / "a.jsonl", b'{"text": 3, "label": 1}\n'))
    path = write(tmp_path / "b.jsonl", b'{"text": null, "label": 1}\n{"text": "a", "label": 0}\n')
    assert plain(read(path)) == [("", "1"), ("a", "0")]


def test_several_files_and_globs(tmp_path):
    for i, row in enumerate(GOOD):
        write(tmp_path / f"part{i}.csv", csv_bytes([row]))
    assert plain(read(tmp_path / "part*.csv")) == GOOD
    config = DataConfig(train=[str(tmp_path / "part2.csv"), str(tmp_path / "part[01].csv")])
    assert [p.name for p in find_files(config.train, "train")] == ["part2.csv", "part0.csv", "part1.csv"]
    config = DataConfig(train=[str(tmp_path / "part0.csv"), str(tmp_path / "*.csv")])
    assert [p.name for p in find_files(config.train, "train")] == [f"part{i}.csv" for i in range(4)]
    write(tmp_path / "odd[1].csv", csv_bytes(GOOD))
    assert plain(read(tmp_path / "odd[1].csv")) == GOOD
    write(tmp_path / "mixed" / "a.csv", csv_bytes(GOOD[:2]))
    write(tmp_path / "mixed" / "b.txt", csv_bytes(GOOD[2:], delimiter="\t"))
    assert plain(read(tmp_path / "mixed" / "*")) == GOOD


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(
        DataError, match="data.train: there is nothing at '.*none.csv'. Expected a file, a folder, or a"
    ):
        read(tmp_path / "none.csv")
    with pytest.raises(DataError, match=f"nothing at 'none.csv', seen from {Path.cwd()}. Expected a file"):
        read(Path("none.csv"))
    with pytest.raises(DataError, match="there is nothing at '.*none.zip/train'"):
        read(tmp_path / "none.zip" / "train")


def test_ten_faults_are_shown_others_counted(tmp_path):
    path = write(tmp_path / "a.csv", b"text,label\n" + b"only\n" * 25)
    with pytest.raises(DataError) as caught:
        read(path)
    lines = str(caught.value).splitlines()
    assert lines[0] == "25 faulty rows:"
    assert lines[-1].strip() == "… and 15 more"
    assert len(lines) == 12


@given(st.binary(max_size=200), st.sampled_from([b"text,label\n", b"", b'{"text": "a", "label": 1}\n', b"[{", b"PAR1"]))
@settings(deadline=None, max_examples=300)
def test_any_bytes_give_rows_or_one_error(tmp_path_factory, content, begin):
    path = tmp_path_factory.mktemp("junk") / "a.csv"
    path.write_bytes(begin + content)
    try:
        assert all(isinstance(row, Row) for row in read(path))
    except DataError as error:
        assert "a.csv" in str(error)
