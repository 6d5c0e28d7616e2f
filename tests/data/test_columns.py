"""Further columns come with the reviews that are kept, out of files of every kind, frames and tables."""

import gzip
import json

import numpy as np
import pandas
import pyarrow
import pyarrow.parquet
import pytest

from tfsent.data.files import find_files, read_files
from tfsent.data.memory import memory_rows
from tfsent.data.reading import load_labelled
from tfsent.data.records import Faults
from tfsent.errors import DataError
from tfsent.recipe.schema import DataConfig

NAMES = ("neg", "pos")
FRAME = pandas.DataFrame(
    {
        "film": ["A", "B", "C", "D", "E"],
        "text": ["good", "", "so so", "bad", "fine"],
        "votes": [1, 2, 3, 4, None],
        "label": ["pos", "neg", "mixed", "neg", "pos"],
    }
)
"""Row 1 has no text, row 2 a label that the model does not know: both are left out."""


def from_file(path, more=("film", "votes"), **settings):
    config = DataConfig(source="files", train=(str(path),), **settings)
    faults = Faults()
    rows = read_files(find_files([str(path)], "train"), config, faults, more)
    return load_labelled(rows, NAMES, faults, "reviews", more)[0]


def from_memory(data, more=("film", "votes")):
    faults = Faults()
    rows = memory_rows(data, "data", DataConfig(source="memory"), faults, more)
    return load_labelled(rows, NAMES, faults, "reviews", more)[0]


def write(path, kind):
    if kind == "csv":
        FRAME.to_csv(path, index=False)
    elif kind == "semicolons":
        FRAME.to_csv(path, index=False, sep=";")
    elif kind == "jsonl":
        FRAME.to_json(path, orient="records", lines=True)
    elif kind == "array":
        FRAME.to_json(path, orient="records")
    elif kind == "parquet":
        FRAME.to_parquet(path)
    else:
        path.write_bytes(gzip.compress(FRAME.to_csv(index=False).encode()))
    return path


@pytest.mark.parametrize("kind", ["csv", "semicolons", "jsonl", "array", "parquet", "csv.gz"])
def test_values_stay_beside_their_reviews(tmp_path, kind):
    found = from_file(write(tmp_path / f"reviews.{kind}", kind))
    assert list(found.texts) == ["good", "bad", "fine"]
    assert list(found.columns["film"]) == ["A", "D", "E"]
    # pandas writes the gap of a column of integers as floats into a CSV
    assert [value.removesuffix(".0") for value in found.columns["votes"]] == ["1", "4", ""]
    taken = found.take(np.array([2, 0]))
    assert (list(taken.columns["film"]), list(taken.texts)) == (["E", "A"], ["fine", "good"])


@pytest.mark.parametrize("data", [FRAME, FRAME.iloc[::-1].iloc[::-1], pyarrow.Table.from_pandas(FRAME)])
def test_frames_and_tables_give_the_same(data):
    found = from_memory(data)
    assert list(found.texts) == ["good", "bad", "fine"]
    assert {name: list(values) for name, values in found.columns.items()} == {
        "film": ["A", "D", "E"],
        "votes": ["1", "4", ""],
    }


def test_any_kind_of_value_becomes_a_word(tmp_path):
    rows = [
        {"text": "good", "label": "pos", "x": {"a": [1]}},
        {"text": "bad", "label": "neg", "x": [1, 2]},
        {"text": "dull", "label": "neg", "x": True},
        {"text": "fine", "label": "pos"},
    ]
    path = tmp_path / "reviews.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    assert list(from_file(path, ("x",)).columns["x"]) == ["{'a': [1]}", "[1, 2]", "True", ""]


def test_the_label_and_the_text_are_columns_too(tmp_path):
    for kind in ("csv", "parquet"):
        found = from_file(write(tmp_path / f"reviews.{kind}", kind), ("label", "text"))
        assert list(found.columns["label"]) == ["pos", "neg", "pos"]


def test_several_files_need_the_column_each(tmp_path):
    FRAME.to_csv(tmp_path / "a.csv", index=False)
    FRAME.drop(columns="film").to_csv(tmp_path / "b.csv", index=False)
    with pytest.raises(DataError, match="b.csv has no column 'film'"):
        from_file(tmp_path / "*.csv")


@pytest.mark.parametrize("kind", ["csv", "jsonl", "array", "parquet"])
def test_a_missing_column_is_one_error(tmp_path, kind):
    with pytest.raises(DataError) as error:
        from_file(write(tmp_path / f"reviews.{kind}", kind), ("flim",))
    said = str(error.value)
    assert "'flim'. It has: 'film', 'text', 'votes', 'label'. Did you mean 'film'? Name yours: --by film" in said
    assert "--set" not in said and len(said.splitlines()) == 1


def test_what_has_no_columns_says_so(tmp_path):
    (tmp_path / "pos").mkdir()
    (tmp_path / "pos" / "1.txt").write_text("good")
    with pytest.raises(DataError, match="has a folder per class, and no columns. Expected a table that has 'film'"):
        from_file(tmp_path)
    with pytest.raises(DataError, match="has no column 'film'. Pass a DataFrame or an Arrow table"):
        from_memory((["good"], ["pos"]))
    with pytest.raises(DataError, match="data= for data has no column 'flim'.* Name yours: --by film"):
        from_memory(FRAME, ("flim",))


def test_without_columns_nothing_is_kept():
    assert from_memory(FRAME, ()).columns == {}
