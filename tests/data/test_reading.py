"""Reading and splitting reviews."""

import csv
import gzip
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import tiny_texts, write_tfds

from tfsent.data import sources
from tfsent.data.files import Faults, Row
from tfsent.data.reading import collect
from tfsent.data.reviews import Reviews, load_reviews, save_reviews
from tfsent.data.sources import IMDB_LABELS
from tfsent.data.splits import load_splits
from tfsent.errors import DataError
from tfsent.recipe.schema import DataConfig


def reviews_of(labels, names=("negative", "positive")):
    return Reviews(tuple(f"review {i}" for i in range(len(labels))), np.array(labels, np.int32), names, "made up")


def pairs(reviews):
    return zip(reviews.texts, reviews.labels.tolist(), strict=True)


def test_the_official_test_split_is_left_whole_and_validation_comes_out_of_train(tiny_reviews):
    splits = load_splits(DataConfig(dir=str(tiny_reviews), validation_examples=40))
    assert [len(part) for part in vars(splits).values()] == [280, 40, 100]
    assert splits.test.origin == "official IMDb test split"
    assert set(splits.test.texts) == {text for text, _ in tiny_texts(100, 2)}
    assert set(splits.train.texts).isdisjoint(splits.validation.texts)
    assert splits.train.class_counts == {"negative": 140, "positive": 140}
    again = load_splits(DataConfig(dir=str(tiny_reviews), validation_examples=40))
    assert again.describe() == splits.describe()


def test_labels_stay_with_their_texts(tiny_reviews):
    truth = dict(tiny_texts(320, 1) + tiny_texts(100, 2))
    for part in vars(
        load_splits(DataConfig(dir=str(tiny_reviews), validation_examples=40, train_examples=60))
    ).values():
        assert [truth[text] for text in part.texts] == part.labels.tolist()


def test_a_part_of_the_official_test_split_says_so(tiny_reviews):
    splits = load_splits(DataConfig(dir=str(tiny_reviews), validation_examples=40, test_examples=30))
    assert splits.test.origin == "30 reviews drawn from the official IMDb test split"
    assert len(splits.test) == 30


def test_a_source_without_a_test_split_holds_one_out_and_says_so(monkeypatch):
    rows = [Row(f"review {i}", IMDB_LABELS[i % 2], "", f"row {i}") for i in range(100)]
    monkeypatch.setattr(sources, "_imdb_wheel", lambda: iter(rows))
    config = DataConfig(source="imdb-wheel", validation_examples=20, test_examples=30)
    splits = load_splits(config)
    assert [len(part) for part in vars(splits).values()] == [50, 20, 30]
    assert "not the official test split" in splits.test.origin
    tenths = load_splits(DataConfig(source="imdb-wheel"))
    assert [len(part) for part in vars(tenths).values()] == [81, 9, 10]
    shares = load_splits(DataConfig(source="imdb-wheel", validation_examples=0.5, test_examples=0.2))
    assert [len(part) for part in vars(shares).values()] == [40, 40, 20]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"validation_examples": 400}, "data.validation_examples asks for 400 reviews, and only 320 are left"),
        ({"validation_examples": 320}, "The train split is empty"),
        ({"validation_examples": 40, "train_examples": 300}, "data.train_examples asks for 300"),
        ({"validation_examples": 1}, "validation split .1 reviews. has no example of class '(positive|negative)'"),
        ({"validation_examples": 40, "test_examples": 101}, "data.test_examples asks for 101"),
    ],
)
def test_a_split_that_cannot_be_is_refused(tiny_reviews, changes, message):
    with pytest.raises(DataError, match=message):
        load_splits(DataConfig(dir=str(tiny_reviews), **changes))


def test_a_class_without_examples_is_named(tmp_path):
    folder = write_tfds(tmp_path, [(text, 1) for text, _ in tiny_texts(40, 1)], tiny_texts(10, 2))
    with pytest.raises(DataError, match="The IMDb training reviews have one class only, 'positive'. Expected at least"):
        load_splits(DataConfig(dir=str(folder), validation_examples=10))


def test_a_source_without_reviews_is_told(tmp_path):
    folder = write_tfds(tmp_path, [], tiny_texts(10, 2))
    with pytest.raises(DataError, match="could not load imdb_reviews.*no data"):
        load_splits(DataConfig(dir=str(folder), validation_examples=2))


def test_a_missing_data_folder_is_named(tmp_path):
    with pytest.raises(DataError, match="has no imdb_reviews folder"):
        load_splits(DataConfig(dir=str(tmp_path)))


def test_a_truncated_record_file_is_an_error_and_not_fewer_reviews(tmp_path):
    folder = write_tfds(tmp_path, tiny_texts(40, 1), tiny_texts(10, 2))
    record = next(folder.rglob("imdb_reviews-train*"))
    record.write_bytes(record.read_bytes()[:-200])
    with pytest.raises(DataError, match="could not load imdb_reviews/plain_text from"):
        load_splits(DataConfig(dir=str(folder), validation_examples=10))


def test_a_download_that_fails_names_the_way_out(monkeypatch):
    import tensorflow_datasets as tfds

    class Builder:
        def __init__(self, name, *, data_dir):
            assert (name, data_dir) == ("imdb_reviews/plain_text", None)

        def download_and_prepare(self):
            raise ConnectionError("no route to host")

    monkeypatch.setattr(tfds, "builder", Builder)
    with pytest.raises(DataError, match="could not load imdb_reviews/.*: no route to host\nSet data.dir .*imdb-wheel"):
        load_splits(DataConfig())


def test_offline_without_a_prepared_copy_is_refused(monkeypatch):
    monkeypatch.setenv("TFSENT_OFFLINE", "1")
    with pytest.raises(DataError, match="TFSENT_OFFLINE forbids downloading imdb_reviews/plain_text"):
        load_splits(DataConfig())


@given(st.lists(st.tuples(st.text(), st.integers(0, 1)), max_size=8))
@settings(deadline=None)
def test_saved_reviews_read_back_as_they_were(tmp_path_factory, rows):
    reviews = Reviews(tuple(t for t, _ in rows), np.array([n for _, n in rows], np.int32), ("no", "yes"), "öd")
    path = tmp_path_factory.mktemp("saved") / "reviews.jsonl.gz"
    save_reviews(reviews, path)
    loaded = load_reviews(path)
    assert (tuple(loaded.texts), loaded.labels.tolist(), loaded.label_names, loaded.origin) == (
        reviews.texts,
        reviews.labels.tolist(),
        reviews.label_names,
        reviews.origin,
    )
    assert loaded.fingerprint == reviews.fingerprint


def test_the_fingerprint_tells_reviews_apart():
    plain = reviews_of([0, 1])
    assert plain.fingerprint != reviews_of([1, 0]).fingerprint
    assert plain.fingerprint != reviews_of([0, 1], ("x", "y")).fingerprint
    joined = Reviews(("review 0review 1", ""), plain.labels, plain.label_names, "")
    assert plain.fingerprint != joined.fingerprint


def test_damaged_reviews_are_refused(tmp_path):
    path = tmp_path / "reviews.jsonl.gz"
    save_reviews(reviews_of([0, 1] * 200), path)
    whole = path.read_bytes()
    flipped = [whole[:i] + bytes([whole[i] ^ 0xFF]) + whole[i + 1 :] for i in range(40, len(whole), 7)]
    for content in (b"", whole[: len(whole) // 2], gzip.compress(b"{"), gzip.compress(b""), *flipped):
        path.write_bytes(content)
        with pytest.raises(DataError, match="Cannot read the reviews in"):
            load_reviews(path)


@pytest.mark.real
def test_the_wheel_holds_the_25000_official_training_reviews(imdb):
    assert imdb.class_counts == {"negative": 12500, "positive": 12500}
    assert any("<br />" in text for text in imdb.texts[:100])


@pytest.mark.real
def test_tfds_and_the_wheel_hold_the_same_training_reviews(imdb, tfds_folder):
    splits = load_splits(DataConfig(dir=str(tfds_folder)))
    assert [len(part) for part in vars(splits).values()] == [22500, 2500, 25000]
    official = sorted(
        (text, label)
        for part in (splits.train, splits.validation)
        for text, label in zip(part.texts, part.labels, strict=True)
    )
    assert official == sorted(zip(imdb.texts, imdb.labels, strict=True))


def rows_of(*pairs, groups=None):
    groups = groups or [""] * len(pairs)
    return [
        Row(text, label, group, f"f.csv, line {i}")
        for i, ((text, label), group) in enumerate(zip(pairs, groups, strict=True), 2)
    ]


def gather(rows, labels=None, groups=None):
    return collect(iter(rows), labels, groups, Faults(), "reviews")


def test_labels_found_are_sorted_and_numbers_as_numbers():
    words = gather(rows_of(("x", "pos"), ("y", "neg"), ("z", " pos ")))
    assert (words.label_names, words.labels.tolist(), list(words.texts)) == (("neg", "pos"), [1, 0, 1], ["x", "y", "z"])
    stars = gather(rows_of(("x", "10"), ("y", "9"), ("z", "10")))
    assert (stars.label_names, stars.labels.tolist()) == (("9", "10"), [1, 0, 1])
    floats = gather(rows_of(("x", "10.0"), ("y", "9.5")))
    assert floats.label_names == ("9.5", "10.0")
    assert gather(rows_of(("x", "nan"), ("y", "1"))).label_names == ("1", "nan")
    fixed = gather(rows_of(("x", "pos"), ("y", "neg")), labels=("pos", "neutral", "neg"))
    assert (fixed.label_names, fixed.labels.tolist()) == (("pos", "neutral", "neg"), [0, 2])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("a", ""), ("b", "x"), ("c", "  ")], "2 faulty rows:\n  f.csv, line 2: no label\n  f.csv, line 4: no label"),
        ([("a", "neg\nneg"), ("b", "pos")], "f.csv, line 2: a label of several lines, 'neg\\nneg'"),
        ([("a", "neg"), ("b", "po")], "f.csv, line 3: unknown label 'po'; the labels are 'neg', 'pos'"),
    ],
)
def test_missing_and_unknown_labels_name_their_rows(rows, message):
    with pytest.raises(DataError) as caught:
        gather(rows_of(*rows), labels=("neg", "pos") if rows[0][1] == "neg" else None)
    assert message in str(caught.value)


def test_label_columns_that_are_none_are_refused():
    with pytest.raises(DataError, match="one class only, 'x'. Expected at least two"):
        gather(rows_of(("a", "x"), ("b", "x")))
    with pytest.raises(DataError, match="There are no reviews in the reviews"):
        gather([])
    with pytest.raises(
        DataError, match="200 different labels in 200 rows, such as '0'. Is data.label the right column"
    ):
        gather(rows_of(*((f"t{i}", str(i)) for i in range(200))))
    with pytest.raises(DataError, match="labels that differ in nothing but case: 'Pos', 'pos'. Make them one; or name"):
        gather(rows_of(("a", "pos"), ("b", "Pos"), ("c", "neg")))
    assert gather(rows_of(("a", "pos"), ("b", "Pos")), labels=("Pos", "pos")).label_names == ("Pos", "pos")
    with pytest.raises(DataError, match="labels that are one number: '1', '1.0'. Write it in one way; or name all"):
        gather(rows_of(("a", "1"), ("b", "1.0"), ("c", "0"), ("d", "x")))
    assert gather(rows_of(("a", "1"), ("b", "01")), labels=("1", "01")).label_names == ("1", "01")
    names = tuple(map(str, range(200)))  # what the recipe or train says is right
    assert len(gather(rows_of(*((f"t{i}", str(i)) for i in range(200))), labels=names)) == 200


def test_rows_without_text_are_left_out_and_reported(messages):
    found = gather(rows_of(("", "x"), (" \n", "x"), ("a", "x"), ("b", "y")))
    assert list(found.texts) == ["a", "b"]
    assert "2 rows without text are left out, such as f.csv, line 2." in messages.text


def test_half_a_character_is_left_out_of_what_is_kept():
    """JSON may hold one, and no file that is UTF-8 can."""
    found = gather(rows_of(("nice \ud83d", "x\ud83d"), ("\ud83d", "x"), ("b", "y")))
    assert (list(found.texts), found.label_names, found.empty_rows) == (["nice ", "b"], ("x", "y"), 1)


def test_a_row_without_its_group_is_a_fault():
    with pytest.raises(DataError, match="f.csv, line 3: no group"):
        gather(rows_of(("a", "x"), ("b", "y"), groups=["g", ""]), groups={})


def write_csv(path, rows, header=("text", "label", "film")):
    with path.open("w", newline="", encoding="utf-8") as out:
        csv.writer(out).writerows([header, *rows])
    return str(path)


def test_own_files_are_split_by_group_and_labels_hold_for_all_parts(tmp_path):
    rows = [(f"review {i}", "good" if i % 2 else "bad", f"film {i // 10}") for i in range(400)]
    train, test = (
        write_csv(tmp_path / "train.csv", rows),
        write_csv(tmp_path / "test.csv", [("x", "good", "n"), ("y", "bad", "m")]),
    )
    splits = load_splits(DataConfig(source="csv", train=(train,), test=(test,), group="film"))
    assert list(splits.test.texts) == ["x", "y"]
    assert splits.test.origin == f"test reviews in {test}"
    assert splits.validation.origin == "held out of the training reviews, no film on both sides"
    assert 20 <= len(splits.validation) <= 60
    assert not set(splits.train.groups) & set(splits.validation.groups)
    strange = write_csv(tmp_path / "strange.csv", [("x", "god", "n")])
    with pytest.raises(DataError, match="strange.csv, line 2: unknown label 'god'; the labels are 'bad', 'good'"):
        load_splits(DataConfig(source="csv", train=(train,), test=(strange,)))
    shared = write_csv(tmp_path / "shared.csv", [("x", "good", "film 3"), ("y", "bad", "new")])
    with pytest.raises(DataError, match="1 of the 2 test reviews in .*shared.csv have a film that train also has"):
        load_splits(DataConfig(source="csv", train=(train,), test=(shared,), group="film"))
    for train_too in ([train, test], [str(tmp_path / "*.csv")]):
        with pytest.raises(DataError, match="test.csv is in data.train and in data.test. Expected every file in one"):
            load_splits(DataConfig(source="csv", train=train_too, test=(test,)))
    with pytest.raises(DataError, match="they are of only 2 groups: none is that small"):
        load_splits(DataConfig(source="csv", train=(write_csv(tmp_path / "two.csv", rows[:20]),), group="film"))


def test_without_tensorflow_what_is_read_through_it_is_told(tiny_reviews, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(
        DataError, match="data.source imdb is read through TensorFlow, which is not installed here. pip"
    ):
        load_splits(DataConfig(dir=str(tiny_reviews)))


def test_any_text_set_of_tensorflow_datasets_by_name(tiny_reviews):
    config = DataConfig(source="tfds:imdb_reviews/plain_text", dir=str(tiny_reviews))
    splits = load_splits(config)
    assert splits.test.label_names == ("neg", "pos")
    assert splits.test.origin == "test split of tfds:imdb_reviews/plain_text"
    assert [len(part) for part in vars(splits).values()] == [288, 32, 100]
    with pytest.raises(DataError, match="no column 'txt'. Did you mean 'text'"):
        load_splits(config.model_copy(update={"text": "txt"}))
    with pytest.raises(DataError, match="has no glue folder"):
        load_splits(config.model_copy(update={"source": "tfds:glue/sst2"}))


def test_a_given_validation_split_is_drawn_from():
    """`tfds:glue/sst2` has one."""
    parts = {"train": reviews_of([0, 1] * 50), "validation": reviews_of([0, 1] * 30)}
    splits = load_splits(DataConfig(source="tfds:glue/sst2", validation_examples=20, test_examples=10), parts)
    assert [len(part) for part in vars(splits).values()] == [90, 20, 10]
    assert splits.validation.origin == "20 reviews drawn from the made up"


def test_a_test_split_without_labels_is_ignored(tmp_path, messages):
    folder = write_tfds(tmp_path, tiny_texts(100, 1), [(text, -1) for text, _ in tiny_texts(20, 2)])
    splits = load_splits(DataConfig(source="tfds:imdb_reviews/plain_text", dir=str(folder)))
    assert "Ignoring the test split of imdb_reviews/plain_text: it has no labels." in messages.text
    assert splits.test.origin == "held out of the training reviews"
