"""A table of probabilities: found by text, the same from every kind of file, checked as soft labels are."""

import json
import zipfile

import numpy as np
import pandas
import pytest
from data_files import csv_bytes, write
from hypothesis import given, settings
from hypothesis import strategies as st

from tfsent.data import probability_table
from tfsent.data.probability_table import ProbabilityTable, is_table, read_probabilities
from tfsent.errors import DataError
from tfsent.recipe.schema import DataConfig

CLASSES = ("neg", "pos")
TEXTS = ["good film", 'a "fine", film\nin two lines', "bad plot", "é 日本 ☃"]
SOFT = [[0.25, 0.75], [0.5, 0.5], [0.999, 0.0], [1.0, 0.0]]
FRAME = pandas.DataFrame(SOFT, columns=CLASSES).assign(text=TEXTS, id=range(4))


def table_of(path, classes=CLASSES, **more):
    return read_probabilities(DataConfig(**more), path, classes)


def written(path, frame, kind):
    if kind in ("csv", "tsv", "semicolon"):
        frame.to_csv(path, index=False, sep={"csv": ",", "tsv": "\t", "semicolon": ";"}[kind])
    elif kind == "parquet":
        frame.to_parquet(path)
    else:
        frame.to_json(path, orient="records", lines=kind == "jsonl", double_precision=15)
    return path


@pytest.mark.parametrize("kind", ["csv", "tsv", "semicolon", "jsonl", "array", "parquet"])
@pytest.mark.parametrize("prefix", ["", "p_"])
def test_a_table_answers_by_text(tmp_path, kind, prefix):
    """With `p_` as `tfsent predict` writes it."""
    frame = FRAME.rename(columns={name: prefix + name for name in CLASSES})
    table = table_of(written(tmp_path / "a.x", frame, kind))
    assert len(table) == 4
    found = table.of(["é 日本 ☃", "unknown", *TEXTS[:3], "Good film"])
    assert (found.dtype, found.shape) == (np.float32, (6, 2))
    expected = [[1, 0], [np.nan, np.nan], [0.25, 0.75], [0.5, 0.5], [1, 0], [np.nan, np.nan]]
    np.testing.assert_array_equal(found, np.array(expected, np.float32))
    assert table.of([]).shape == (0, 2)
    assert table.label_names == CLASSES


def test_the_classes_say_which_column_is_which(tmp_path):
    path = written(tmp_path / "a.csv", FRAME, "csv")
    assert table_of(path, ("pos", "neg")).of(TEXTS[:1]).tolist() == [[0.75, 0.25]]
    both = written(tmp_path / "b.csv", FRAME.assign(p_neg=0.5, p_pos=0.5), "csv")
    assert table_of(both).of(TEXTS[:1]).tolist() == [[0.25, 0.75]]


def test_a_text_that_occurs_again_has_the_mean_of_its_rows(tmp_path, messages):
    rows = [("a", 0.2, 0.8), ("b", 1, 0), ("a", 0.4, 0.6), ("a ", 0, 1), ("a", 0.6, 0.4)]
    table = table_of(write(tmp_path / "a.csv", csv_bytes(rows, ("text", *CLASSES))))
    np.testing.assert_allclose(table.of(["a", "a ", "b"]), [[0.4, 0.6], [0, 1], [1, 0]], atol=1e-7)
    assert "2 rows repeat a text: its probabilities are the mean of its rows." in messages.text


def test_the_recipe_says_how_it_is_read_but_not_where_its_own_files_differ(tmp_path):
    frame = FRAME.rename(columns={"text": "body"})
    path = written(tmp_path / "a.csv", frame, "csv")
    own = {"source": "tsv", "train": ("x.tsv",), "header": ("stars", "body"), "delimiter": "\t", "label": "stars"}
    assert len(table_of(path, text="body", **own)) == 4
    path = write(tmp_path / "b.csv", "text;neg;pos\ncafé;0.5;0.5\n".encode("latin-1"))
    assert not np.isnan(table_of(path, encoding="latin-1").of(["café"])).any()


def test_the_fingerprint_is_of_the_content(tmp_path):
    table = table_of(written(tmp_path / "a.csv", FRAME, "csv"))
    others = [
        FRAME.assign(neg=[0.25, 0.5, 0.999, 0.5], pos=[0.75, 0.5, 0.0, 0.5]),
        FRAME.assign(neg=FRAME["pos"], pos=FRAME["neg"]),
        FRAME.assign(text=[*TEXTS[:3], "other"]),
        FRAME[:3],
    ]
    fingerprints = {table_of(written(tmp_path / "a.csv", frame, "csv")).fingerprint for frame in others}
    assert len(fingerprints - {table.fingerprint}) == 4
    for kind in ("tsv", "jsonl", "array", "parquet"):
        assert table_of(written(tmp_path / "a.x", FRAME[::-1], kind)).fingerprint == table.fingerprint
    named = ProbabilityTable(("a", "b"), table.digests, table.probabilities)
    assert named.fingerprint != table.fingerprint


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8).filter(str.strip),
        st.lists(st.floats(0, 1), min_size=3, max_size=3).filter(lambda row: sum(row) > 1e-3),
        min_size=1,
        max_size=12,
    ),
    st.lists(st.text(max_size=2), max_size=5),
)
@settings(deadline=None, max_examples=50)
def test_every_text_finds_its_row(tmp_path_factory, rows, others):
    folder, classes = tmp_path_factory.mktemp("table"), ("a", "b", "c")
    shares = np.array([*rows.values()]) / np.sum([*rows.values()], axis=1, keepdims=True)
    frame = pandas.DataFrame(shares, columns=classes).assign(text=list(rows))
    tables = [table_of(written(folder / f"a.{kind}", frame, kind), classes) for kind in ("jsonl", "parquet")]
    for table in tables:
        np.testing.assert_allclose(table.of(list(rows)), shares, atol=1e-6)
        assert np.isnan(table.of(others)).all(axis=1).tolist() == [text not in rows for text in others]


def test_digests_that_end_with_zeros_are_told_apart(monkeypatch):
    """NumPy strips zeros at the end of such strings when it shows them."""
    digests = np.array([b"a" * 14, b"a" * 15, b"a" * 15 + b"\1"], "S16")
    table = ProbabilityTable(CLASSES, digests, np.eye(3, 2, dtype=np.float32))
    known = {"x": b"a" * 14 + b"\0\0", "y": b"a" * 15 + b"\0", "z": b"a" * 14 + b"\0\1"}
    monkeypatch.setattr(probability_table, "_digest", known.__getitem__)
    assert table.of(["y", "x"]).tolist() == [[0, 1], [1, 0]]
    assert np.isnan(table.of(["z"])).all()


def test_half_a_surrogate_pair_does_not_matter(tmp_path):
    path = write(tmp_path / "a.jsonl", b'{"text": "a\\ud83d", "neg": 0, "pos": 1}\n')
    assert table_of(path).of(["a", "a\ud83d"]).tolist() == [[0, 1], [0, 1]]


def test_rows_without_text_are_left_out(tmp_path, messages):
    rows = [("a", 0.2, 0.8), ("", "", ""), (" ", 1, 0)]
    assert len(table_of(write(tmp_path / "a.csv", csv_bytes(rows, ("text", *CLASSES))))) == 1
    assert "2 rows without text are left out, such as" in messages.text
    with pytest.raises(DataError, match="There are no texts in .*b.csv. Expected rows of a text and its probabilities"):
        table_of(write(tmp_path / "b.csv", b"text,neg,pos\n"))


@pytest.mark.parametrize("kind", ["csv", "jsonl", "array", "parquet"])
def test_missing_columns_are_one_message(tmp_path, kind):
    path = written(tmp_path / "a.x", FRAME, kind)
    with pytest.raises(DataError) as error:
        table_of(path, ("negative", "pos", "other"))
    said = str(error.value)
    assert "'negative' and no " in said and "'other'. It has: 'neg', 'pos', 'text', 'id'." in said
    assert said.endswith(
        " A table of probabilities has the column 'text' of the texts, and one for each class: 'negative', 'pos', "
        "'other'. Rename its columns."
    )
    assert "--set" not in said and len(said.splitlines()) == 1
    with pytest.raises(DataError, match="'body'. It has: .*'text'.* Rename its columns"):
        table_of(path, text="body")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("a", 0.5, ""), "'pos' has no probability"),
        (("a", "", ""), "'neg' has no probability"),
        (("a", 1.5, -0.5), "'neg': expected a probability, a number of 0 to 1; received '1.5'"),
        (("a", "x", 1), "'neg': expected a probability, a number of 0 to 1; received 'x'"),
        (("a", 0.5, 0.498), "the probabilities sum to 0.998; expected 1, within 0.001"),
    ],
)
def test_faulty_rows_are_one_message(tmp_path, row, message):
    path = write(tmp_path / "a.csv", csv_bytes([("b", 0.5, 0.5), *[row] * 11], ("text", *CLASSES)))
    with pytest.raises(DataError, match=f"11 faulty rows:\n  .*a.csv, line 3: {message}") as error:
        table_of(path)
    assert str(error.value).count("\n  ") == 11


def test_other_files_are_refused(tmp_path):
    with pytest.raises(DataError, match="b.parquet cannot be read as Parquet"):
        table_of(write(tmp_path / "b.parquet", FRAME.to_parquet()[:-20]))
    with pytest.raises(DataError, match="c.csv is empty"):
        table_of(write(tmp_path / "c.csv", b""))
    with pytest.raises(DataError, match="is a folder. Expected a file"):
        table_of(tmp_path)
    path = write(tmp_path / "d.jsonl", json.dumps({"text": 3, "neg": 1, "pos": 0}).encode())
    with pytest.raises(DataError, match="d.jsonl, line 1: 'text' is not a string; received 3"):
        table_of(path)


def test_a_line_tells_how_far_it_is(tmp_path, monkeypatch, messages):
    monkeypatch.setattr(probability_table, "LINE_SECONDS", -1)
    table_of(written(tmp_path / "a.csv", FRAME, "csv"))
    assert "4 rows of probabilities read …" in messages.text


def test_a_table_is_told_from_a_model(tmp_path):
    for kind in ("csv", "jsonl", "parquet"):
        assert is_table(written(tmp_path / f"a.{kind}", FRAME, kind))
    assert is_table(write(tmp_path / "noending", b"text,neg,pos\n"))
    for name in ("model.tflite", "model.TFLITE", "model.keras", "model.h5"):
        assert not is_table(write(tmp_path / name, b"anything"))
    with zipfile.ZipFile(tmp_path / "bundle", "w") as archive:
        archive.writestr("manifest.json", "{}")
    assert not is_table(tmp_path / "bundle")
    assert not is_table(tmp_path)
    assert not is_table(tmp_path / "nothing")
