"""Reviews in memory: every form gives the same reviews, by the rules of files, and every fault is named."""

import numpy as np
import pyarrow
import pytest

from tfsent.data.memory import read_memory
from tfsent.data.splits import load_splits
from tfsent.errors import DataError
from tfsent.recipe.schema import DataConfig
from tfsent.storage import row_store

CONFIG = DataConfig(source="memory")
TEXTS, LABELS = ["good film", "bad plot", "é 日本 ☃", "dull"], [1, 0, 1, 0]


def read(data, **settings):
    return read_memory(data, DataConfig(source="memory", **settings))


def plain(reviews):
    return [(text, reviews.label_names[label]) for text, label in zip(reviews.texts, reviews.labels, strict=True)]


@pytest.mark.parametrize(
    "data",
    [
        (TEXTS, LABELS),
        [tuple(TEXTS), ("1", "0", "1", "0")],
        (iter(TEXTS), [1.0, 0.0, 1.0, 0.0]),
        (np.array(TEXTS), np.array(LABELS, np.int64)),
        (np.array(TEXTS, object), list(np.array(LABELS, np.float32))),
        pyarrow.table({"label": LABELS, "other": [0.5] * 4, "text": TEXTS}),
        {"train": (TEXTS, LABELS)},
    ],
    ids=["lists", "tuples", "iterator", "arrays", "numpy scalars", "arrow", "dict"],
)
def test_every_form_gives_the_same_reviews(data):
    found = read(data)
    assert list(found) == ["train"]
    assert plain(found["train"]) == list(zip(TEXTS, "1010", strict=True))
    assert found["train"].label_names == ("0", "1")


def test_pandas_is_read_by_position_not_index():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"body": TEXTS, "stars": LABELS}, index=[3, 2, 1, 0])
    expected = list(zip(TEXTS, "1010", strict=True))
    assert plain(read(frame, text="body", label="stars")["train"]) == expected
    assert plain(read((frame["body"], frame["stars"]))["train"]) == expected
    frame["stars"] = frame["stars"].astype("category")
    assert plain(read(frame, text="body", label="stars")["train"]) == expected


@pytest.mark.parametrize("dtype", ["string", object])
def test_missing_values_of_pandas_are_missing(dtype, messages):
    pandas = pytest.importorskip("pandas")
    texts = pandas.array(["good", None, "bad"], dtype=dtype)
    found = read(pandas.DataFrame({"text": texts, "label": [1.0, 1.0, 0.0]}))["train"]
    assert (plain(found), found.empty_rows) == ([("good", "1"), ("bad", "0")], 1)
    assert "1 row without text is left out, such as train, row 2." in messages.text
    labels = pandas.array([1, 0, None], dtype="Int64")
    with pytest.raises(DataError, match="1 faulty row:\n  train, row 3: no label"):
        read(pandas.DataFrame({"text": ["a", "b", "c"], "label": labels}))
    with pytest.raises(DataError, match="row 3: expected one label, a string or a number; received <NA>"):
        read((["a", "b", "c"], list(labels)))


def test_empty_texts_are_left_out_and_reported(messages):
    found = read((["good", None, float("nan"), " \n", "bad"], [*LABELS, 0]))["train"]
    assert (plain(found), found.empty_rows) == ([("good", "1"), ("bad", "0")], 3)
    assert "3 rows without text are left out, such as train, row 2." in messages.text


def test_splits_share_the_labels_of_train():
    parts = read({"test": (["x"], ["bad"]), "train": (["a", "b"], ["good", "bad"])}, labels=("good", "bad"))
    assert [(name, part.label_names) for name, part in parts.items()] == [
        ("train", ("good", "bad")),
        ("test", ("good", "bad")),
    ]
    with pytest.raises(DataError, match="test, row 1: unknown label 'god'; the labels are 'bad', 'good'"):
        read({"test": (["x"], ["god"]), "train": (["a", "b"], ["good", "bad"])})


def test_groups_are_kept_apart():
    films = [f"film {i // 10}" for i in range(400)]
    table = pyarrow.table({"text": [f"review {i}" for i in range(400)], "label": [0, 1] * 200, "film": films})
    config = DataConfig(source="memory", group="film")
    splits = load_splits(config, read_memory(table, config))
    for other in (splits.validation, splits.test):
        assert len(other) and not set(splits.train.groups) & set(other.groups)
    shared = {"train": table, "test": table.slice(0, 20)}
    with pytest.raises(DataError, match="20 of the 20 test reviews passed to tfsent have a film that train also has"):
        load_splits(config, read_memory(shared, config))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, r"data= for train: expected \(texts, labels\), a DataFrame or an Arrow table. Received: NoneType"),
        (TEXTS, r"expected \(texts, labels\), .* Received: list"),
        (("text", "1010"), "expected a list, an array or a Series of texts and one of labels. Received: str"),
        ((set(TEXTS), LABELS), "texts and one of labels. Received: set"),
        ((TEXTS, 1), "texts and one of labels. Received: int"),
        ((TEXTS, LABELS[:3]), "data= for train has 4 texts and 3 labels. Expected one for each"),
        ((["a", 3], [0, 1]), "train, row 2: 'text' is not a string; received 3"),
        (([b"\xff", "b"], [0, 1]), "train, row 1: 'text' has bytes that are not UTF-8"),
        ((["a", "b"], [[0, 1], [1]]), r"train, row 1: expected one label, a string or a number; received \[0, 1\]"),
        ((["a", "b"], [b"\xff", 1]), "train, row 1: the label has bytes that are not UTF-8"),
        ((["a", "b"], [None, 1]), "train, row 1: no label"),
        ((["a", "b"], [1, 1]), "The train reviews passed to tfsent have one class only, '1'"),
        (([], []), "There are no reviews in the train reviews passed to tfsent"),
        ({"train": (TEXTS, LABELS), "tset": (TEXTS, LABELS)}, "Received the key 'tset'. Did you mean 'test'"),
        ({"text": TEXTS, "label": LABELS}, "data= is a dict, so its keys name splits. Received the key 'text'"),
        ({"test": (TEXTS, LABELS)}, "data= has no split 'train', the reviews to learn from"),
        (pyarrow.table({"txt": TEXTS, "label": LABELS}), "no column 'text'. .*Did you mean 'txt'.*Name .* data.text"),
        (pyarrow.Table.from_arrays([TEXTS, TEXTS, LABELS], ["text", "text", "label"]), "two columns called 'text'"),
    ],
)
def test_a_fault_says_what_was_expected(data, message):
    with pytest.raises(DataError, match=message):
        read(data)


def test_a_group_needs_columns():
    with pytest.raises(DataError, match="data.group is 'film', and .* has no columns. Pass a DataFrame"):
        read((TEXTS, LABELS), group="film")


def test_reviews_in_memory_cannot_be_read_again():
    with pytest.raises(DataError, match="data.source is memory: .* Pass the same data= again"):
        load_splits(CONFIG)


def test_given_reviews_are_split_without_a_file(monkeypatch):
    monkeypatch.setattr(row_store, "_new_file", lambda: pytest.fail("a file was made"))
    texts = [f"review {i}" for i in range(200)]
    splits = load_splits(CONFIG, read((texts, [0, 1] * 100)))
    assert [len(part) for part in vars(splits).values()] == [162, 18, 20]
    assert splits.validation.origin == "held out of the training reviews"
