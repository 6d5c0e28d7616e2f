"""Soft labels: a column of probabilities for each class, of files of every kind and in memory, checked row by row."""

import json

import numpy as np
import pandas
import pyarrow
import pytest
from data_files import csv_bytes, plain, read, write
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import tiny_texts

from tfsent.data.duplicates import find_duplicates
from tfsent.data.files import find_files, read_files
from tfsent.data.memory import read_memory
from tfsent.data.reading import load_labelled, load_parts
from tfsent.data.records import Faults
from tfsent.data.reviews import Reviews, load_reviews, save_reviews
from tfsent.data.soft_labels import probabilities_of
from tfsent.data.splits import load_splits
from tfsent.errors import DataError
from tfsent.recipe.schema import DataConfig

CLASSES = ("neg", "neutral", "pos")
TEXTS = ["good film", 'a "fine", film\nin two lines', "bad plot", "é 日本 ☃"]
SOFT = [[0.1, 0.2, 0.7], [0.0, 0.5, 0.5], [0.9998, 0.0, 0.0], [1, 0, 0]]
FRAME = pandas.DataFrame({"text": TEXTS, **{name: [row[i] for row in SOFT] for i, name in enumerate(CLASSES)}})


def written(path, frame, kind):
    if kind in ("csv", "tsv"):
        frame.to_csv(path, index=False, sep="," if kind == "csv" else "\t")
    elif kind == "parquet":
        frame.to_parquet(path)
    else:
        frame.to_json(path, orient="records", lines=kind == "jsonl", double_precision=15)
    return path


def parts_of(path, label=CLASSES, **more):
    return load_parts(DataConfig(train=str(path), label=label, **more))


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "array", "parquet"])
def test_probabilities_are_read_from_files_of_every_kind(tmp_path, kind):
    reviews = parts_of(written(tmp_path / f"a.{kind}", FRAME, kind))["train"]
    assert list(reviews.texts) == TEXTS
    assert (reviews.soft.dtype, reviews.soft.shape, reviews.labels.dtype) == (np.float32, (4, 3), np.int32)
    expected = np.array(SOFT) / np.sum(SOFT, axis=1, keepdims=True)
    np.testing.assert_array_equal(reviews.soft, expected.astype(np.float32))
    assert reviews.labels.tolist() == [2, 1, 0, 0]  # of equals the first
    assert reviews.label_names == CLASSES
    assert reviews.class_counts == {"neg": 2, "neutral": 1, "pos": 1}


@pytest.mark.parametrize(
    "data",
    [
        FRAME,
        pyarrow.Table.from_pandas(FRAME),
        (TEXTS, SOFT),
        (np.array(TEXTS), np.array(SOFT)),
        (TEXTS, np.array(SOFT, np.float32)),
    ],
    ids=["pandas", "arrow", "lists", "arrays", "float32"],
)
def test_probabilities_in_memory(data):
    reviews = read_memory(data, DataConfig(source="memory", label=CLASSES))["train"]
    expected = np.array(SOFT) / np.sum(SOFT, axis=1, keepdims=True)
    np.testing.assert_allclose(reviews.soft, expected, rtol=1e-6)
    assert (reviews.labels.tolist(), reviews.label_names, list(reviews.texts)) == ([2, 1, 0, 0], CLASSES, TEXTS)


@pytest.mark.parametrize(
    ("probabilities", "received"),
    [
        ([0, 1, 1, 0], r"shape \[4\]"),
        (np.ones((4, 2)) / 2, r"shape \[4, 2\]"),
        ([[1.0], [0.5, 0.5]], "list"),
        (FRAME[list(CLASSES)], "DataFrame"),
    ],
    ids=["labels", "two", "ragged", "frame"],
)
def test_an_array_has_a_column_for_each_class(probabilities, received):
    config = DataConfig(source="memory", label=CLASSES)
    with pytest.raises(
        DataError,
        match=r"data= for train: data.label names 3 classes, .* an array of shape \[texts, 3\] in the order 'neg', "
        f"'neutral', 'pos'. Received: {received}.",
    ):
        read_memory((TEXTS, probabilities), config)
    with pytest.raises(DataError, match="has 3 texts and 4 labels. Expected one for each"):
        read_memory((TEXTS[:3], SOFT), config)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([0.5, 0.5, None], "'pos' has no probability"),
        ([None, None, None], "'neg' has no probability"),
        ([-0.1, 0.6, 0.5], "'neg': expected a probability, a number of 0 to 1; received '?-0.1"),
        ([float("inf"), 0, 0], "'neg': expected a probability, .*; received '?inf"),
        ([90, 5, 5], "'neg': expected a probability, .*; received '?90"),
        ([0.5, 0.2, 0.2], "the probabilities sum to 0.9; expected 1, within 0.001"),
        ([0, 0, 0], "the probabilities sum to 0; expected 1"),
    ],
)
def test_a_faulty_row_is_named_with_file_and_line(tmp_path, row, message):
    frame = pandas.DataFrame([dict(zip(CLASSES, row, strict=True)), dict.fromkeys(CLASSES, 1 / 3)], dtype=float)
    frame = frame.assign(text=["good", "bad"])
    frame.to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(DataError, match=f"1 faulty row:\n  .*a.csv, line 2: {message}"):
        parts_of(tmp_path / "a.csv")
    frame.to_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=f"1 faulty row:\n  .*a.parquet, row 1: {message}"):
        parts_of(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=f"1 faulty row:\n  train, row 1: {message}"):
        read_memory(frame, DataConfig(source="memory", label=CLASSES))


@pytest.mark.parametrize("value", ["0,5", "50%", True, [0.5], {"p": 1}, "nan", 10**400, "high"])
def test_what_is_no_number_is_no_probability(tmp_path, value):
    path = write(tmp_path / "a.jsonl", json.dumps({"text": "a", "neg": value, "pos": 0.5}).encode())
    with pytest.raises(DataError, match="a.jsonl, line 1: 'neg': expected a probability, a number of 0 to 1; received"):
        parts_of(path, ("neg", "pos"))


def test_ten_faults_are_shown_and_all_counted(tmp_path):
    rows = [("a", 0.5, 0.4)] * 12 + [("b", 0.5, 0.5)]
    path = write(tmp_path / "a.csv", csv_bytes(rows, ("text", "neg", "pos")))
    with pytest.raises(DataError, match="12 faulty rows:") as error:
        parts_of(path, ("neg", "pos"))
    said = str(error.value)
    assert said.count("\n  ") == 11 and "line 11: the probabilities sum to 0.9" in said and "and 2 more" in said


def test_rows_without_text_are_left_out(tmp_path, messages):
    rows = [("good", 0.1, 0.9), ("", 0.5, 0.5), (" ", "", ""), ("bad", 0.8, 0.2)]
    reviews = parts_of(write(tmp_path / "a.csv", csv_bytes(rows, ("text", "neg", "pos"))), ("neg", "pos"))["train"]
    assert (list(reviews.texts), reviews.soft.shape, reviews.empty_rows) == (["good", "bad"], (2, 2), 2)
    assert "2 rows without text are left out" in messages.text


ROWS = st.integers(2, 5).flatmap(
    lambda classes: st.lists(
        st.lists(st.floats(0, 1), min_size=classes, max_size=classes).filter(lambda row: sum(row) > 1e-3),
        min_size=1,
        max_size=8,
    )
)


@given(ROWS)
@settings(deadline=None, max_examples=50)
def test_probabilities_survive_every_kind_of_file(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("soft")
    shares = np.array(rows) / np.sum(rows, axis=1, keepdims=True)
    names = tuple(f"class {i}" for i in range(shares.shape[1]))
    frame = pandas.DataFrame(shares, columns=names).assign(text=[f"text {i}" for i in range(len(rows))])
    found = [
        parts_of(written(folder / f"a.{kind}", frame, kind), names)["train"] for kind in ("csv", "jsonl", "parquet")
    ]
    found.append(read_memory(frame, DataConfig(source="memory", label=names))["train"])
    for reviews in found:
        np.testing.assert_allclose(reviews.soft, shares, atol=1e-6)
        np.testing.assert_array_equal(reviews.labels, reviews.soft.argmax(axis=1))
        np.testing.assert_allclose(reviews.soft.sum(axis=1), 1, atol=1e-6)


@given(st.floats(0, 1), st.sampled_from([1 - 1e-3, 1 + 1e-3]), st.integers(-9, 9).filter(bool))
@settings(deadline=None)
def test_sums_just_inside_and_outside_of_a_thousandth(first, edge, step):
    total = edge + step * 1e-6
    row = {"a": first, "b": total - first}
    if total - first < 0:
        return
    if abs(total - 1) < 1e-3:
        found = probabilities_of(row, ("a", "b"))
        assert sum(found) == pytest.approx(1, abs=1e-6)
        assert found[0] == pytest.approx(first / total, abs=1e-6)
    else:
        with pytest.raises(ValueError, match="the probabilities sum to|expected a probability"):
            probabilities_of(row, ("a", "b"))


@pytest.mark.parametrize("row", [("0.5", "0.501"), ("0.6", "0.401"), ("0.5", "0.499"), ("1.001", "0")])
def test_the_edge_itself_is_inside(row):
    assert sum(probabilities_of(dict(zip("ab", row, strict=True)), ("a", "b"))) == pytest.approx(1)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "array", "parquet"])
def test_a_missing_column_is_named_with_the_way_out(tmp_path, kind):
    path = written(tmp_path / f"a.{kind}", FRAME, kind)
    with pytest.raises(DataError) as error:
        parts_of(path, ("neg", "positive"))
    assert "'positive'. It has: 'text', 'neg', 'neutral', 'pos'." in str(error.value)
    assert str(error.value).endswith(""" Name yours: --set 'data.label=["neg", "NAME"]'""")
    with pytest.raises(DataError, match='Did you mean \'neutral\'.* \'data.label=."neg", "neutral", "pos".\'$'):
        parts_of(path, ("neg", "neutrall", "pos"))
    with pytest.raises(DataError, match="no (column|key) 'body' and no .* 'x'.* --set data.text=.* --set 'data.label="):
        parts_of(path, ("neg", "x"), text="body")
    with pytest.raises(DataError, match="data= for train has no column 'x'. .* --set 'data.label="):
        read_memory(FRAME, DataConfig(source="memory", label=("neg", "x")))


def test_a_table_with_labels_instead_says_so(tmp_path):
    path = write(tmp_path / "a.csv", b"text,sentiment\ngood,pos\n")
    with pytest.raises(DataError) as error:
        parts_of(path, ("neg", "pos"))
    assert str(error.value).endswith(
        """ Name yours: --set 'data.label=["NAME", "NAME"]' (or, where one column has the labels: """
        "--set data.label=sentiment)"
    )


def test_a_folder_per_class_has_no_probabilities(tmp_path):
    write(tmp_path / "pos" / "0.txt", b"good")
    with pytest.raises(DataError, match="has a folder per class, and no columns. Expected a table that has 'neg'"):
        parts_of(tmp_path)


def test_a_table_without_a_header_is_guessed(tmp_path):
    path = write(tmp_path / "a.csv", b"0.25,a film that I liked very much,7,0.75\n0.5,dull,3,0.5\n")
    with pytest.raises(DataError, match=r"seems to have no header: .* data.header=\[neg,text,column3,pos\]$"):
        parts_of(path, ("neg", "pos"))
    found = parts_of(path, ("neg", "pos"), header=("neg", "text", "id", "pos"))["train"]
    assert found.soft.tolist() == [[0.25, 0.75], [0.5, 0.5]]


def test_a_quote_that_was_never_closed_is_found(tmp_path):
    lines = ["text,neg,pos", '"I loved it,0.1,0.9', "It was great,0.2,0.8", 'said she",0,1', "bad,1,0"]
    path = write(tmp_path / "a.csv", "\n".join(lines).encode())
    with pytest.raises(DataError, match="a.csv, line 2: unbalanced quote"):
        parts_of(path, ("neg", "pos"))
    assert len(parts_of(path, ("neg", "pos"), quoting="none")["train"]) == 4
    lines[1:4] = ['"Pros, short, and fun', "Cons, long, none", 'really",0.2,0.8']
    assert len(parts_of(write(path, "\n".join(lines).encode()), ("neg", "pos"))["train"]) == 2


def test_groups_are_kept_apart(tmp_path):
    rows = [(text, 1 - label, label, f"film {i // 10}") for i, (text, label) in enumerate(tiny_texts(400, 1))]
    path = write(tmp_path / "a.csv", csv_bytes(rows, ("text", "neg", "pos", "film")))
    splits = load_splits(DataConfig(train=str(path), label=("neg", "pos"), group="film"))
    assert len(splits.train.soft) == len(splits.train) > 300
    assert not set(splits.train.groups) & set(splits.test.groups)


def test_rows_have_the_most_probable_class(tmp_path):
    path = written(tmp_path / "a.csv", FRAME, "csv")
    rows = read(path, label=CLASSES)
    assert plain(rows) == list(zip(TEXTS, ["pos", "neutral", "neg", "neg"], strict=True))
    assert rows[0].soft == tuple(np.array([0.1, 0.2, 0.7], np.float32).tolist())


def test_a_model_is_measured_with_the_most_probable_class(tmp_path):
    config, faults = DataConfig(train=str(written(tmp_path / "a.csv", FRAME, "csv")), label=CLASSES), Faults()
    rows = read_files(find_files(config.train, "train"), config, faults)
    reviews, unknown = load_labelled(rows, ("pos", "neg"), faults, "reviews")
    assert (list(reviews.texts), reviews.labels.tolist(), reviews.soft) == ([TEXTS[0], *TEXTS[2:]], [0, 1, 1], None)
    assert unknown == {"neutral": 1}


def test_a_class_may_never_be_the_most_probable_one(tmp_path):
    rows = [(text, 0.4, 0.05, 0.55) if label else (text, 0.6, 0.3, 0.1) for text, label in tiny_texts(60, 1)]
    path = write(tmp_path / "a.csv", csv_bytes(rows, ("text", *CLASSES)))
    splits = load_splits(DataConfig(train=str(path), label=CLASSES))
    assert all(part.label_names == CLASSES for part in vars(splits).values())
    assert splits.train.class_counts["neutral"] == 0
    truth = {text: np.array(soft, np.float32) for text, *soft in rows}
    for text, soft in zip(splits.train.texts, splits.train.soft, strict=True):
        np.testing.assert_allclose(soft, truth[text], rtol=1e-6)
    assert splits.validation.soft is None and splits.test.soft is None
    assert [truth[text].argmax() for text in splits.test.texts] == splits.test.labels.tolist()
    few = load_splits(DataConfig(train=str(path), label=CLASSES, train_examples=10))
    assert few.train.soft.shape == (10, 3)


def test_a_class_without_any_probability_is_refused(tmp_path):
    rows = [(text, 1 - label, 0, label) for text, label in tiny_texts(60, 1)]
    path = write(tmp_path / "a.csv", csv_bytes(rows, ("text", *CLASSES)))
    with pytest.raises(DataError, match="has no example of class 'neutral'. Give .* remove the class from data.label."):
        load_splits(DataConfig(train=str(path), label=CLASSES))


def test_what_is_held_out_is_saved_as_it_is_measured(tmp_path):
    rows = [(text, 1 - label, label) for text, label in tiny_texts(60, 1)]
    path = write(tmp_path / "a.csv", csv_bytes(rows, ("text", "neg", "pos")))
    test = load_splits(DataConfig(train=str(path), label=("neg", "pos"))).test
    save_reviews(test, tmp_path / "test.jsonl.gz")
    assert load_reviews(tmp_path / "test.jsonl.gz").fingerprint == test.fingerprint


def reviews_of(soft, texts=("a", "b")):
    soft = None if soft is None else np.array(soft, np.float32)
    return Reviews(texts, np.array([0, 1], np.int32), ("no", "yes"), "made up", soft=soft)


def test_the_fingerprint_covers_soft_labels_and_is_kept_without():
    # Caches and checkpoints of earlier versions have this one.
    assert reviews_of(None).fingerprint == "81209f56fb42768866cf5a847b0c970e54f0118d1632591300f463abda02b40b"
    soft = [[0.75, 0.25], [0.25, 0.75]]
    fingerprints = {reviews_of(s).fingerprint for s in (None, soft, [[0.75, 0.25], [0.5, 0.5]], [[1, 0], [0, 1]])}
    assert len(fingerprints) == 4
    assert reviews_of(soft).hard().fingerprint == reviews_of(None).fingerprint
    assert reviews_of(soft).take(np.array([1, 0])).soft.tolist() == soft[::-1]
    assert reviews_of(None).take(np.array([1])).soft is None


def test_conflicts_are_about_the_most_probable_class():
    alike = reviews_of([[0.75, 0.25], [0.25, 0.75]], ("a", "a"))
    assert find_duplicates({"train": alike}).texts_with_two_labels == 1
    same = Reviews(("a", "a"), np.array([0, 0], np.int32), ("no", "yes"), "", soft=np.array([[0.9, 0.1], [0.6, 0.4]]))
    assert find_duplicates({"train": same}).texts_with_two_labels == 0
