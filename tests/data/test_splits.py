"""Splits: given ones are kept, others are drawn, every class in proportion and no group on both sides."""

import csv

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import tiny_texts

from tfsent.data import sources
from tfsent.data.records import Row
from tfsent.data.reviews import Reviews
from tfsent.data.sources import IMDB_LABELS
from tfsent.data.splits import load_splits, split, split_by_group
from tfsent.errors import DataError
from tfsent.recipe.schema import DataConfig


def reviews_of(labels, names=("negative", "positive")):
    return Reviews(tuple(f"review {i}" for i in range(len(labels))), np.array(labels, np.int32), names, "made up")


@given(st.lists(st.integers(0, 2), min_size=1, max_size=80), st.data())
@settings(deadline=None)
def test_a_split_is_a_stratified_partition(labels, draw):
    reviews = reviews_of(labels, ("a", "b", "c"))
    count = draw.draw(st.integers(0, len(labels)))
    chosen, rest = split(reviews, count, np.random.default_rng(3), "key")
    assert sorted([*chosen, *rest]) == list(range(len(labels)))
    assert len(chosen) == count
    for label, total in enumerate(np.bincount(labels, minlength=3)):
        assert abs((reviews.labels[chosen] == label).sum() - count * total / len(labels)) <= 1.5


def test_a_split_is_seeded_and_shuffled():
    reviews = reviews_of([0, 1] * 50)
    first, again, other = (split(reviews, 40, np.random.default_rng(s), "key")[0].tolist() for s in (1, 1, 2))
    assert first == again != other
    assert first != sorted(first)


def test_the_draw_behind_published_figures_is_kept():
    """Another draw holds out other reviews, and every accuracy in the README would have to be measured again."""
    reviews = reviews_of([0, 0, 1, 2, 1, 0, 1, 2, 2, 0, 1, 1], ("a", "b", "c"))
    chosen, rest = split(reviews, 5, np.random.default_rng(7), "key")
    assert (chosen.tolist(), rest.tolist()) == ([0, 3, 2, 4, 5], [7, 1, 8, 6, 11, 10, 9])


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 30)), min_size=60, max_size=150), st.integers(0, 9))
@settings(deadline=None, max_examples=30)
def test_no_group_is_on_both_sides(pairs, seed):
    labels, groups = (np.array(column, np.int32) for column in zip(*pairs, strict=True))
    reviews = Reviews(tuple(map(str, range(len(pairs)))), labels, ("a", "b"), "made up", groups)
    if len(set(groups)) < 5:
        return
    chosen, rest = split_by_group(reviews, len(reviews) // 5, np.random.default_rng(seed), "key")
    assert sorted([*chosen, *rest]) == list(range(len(reviews)))
    assert not set(groups[chosen]) & set(groups[rest])


@pytest.mark.parametrize("share", [0.05, 0.2, 0.4, 0.5, 0.75, 0.9, 1.0])
def test_group_splits_have_the_wanted_size(share):
    groups = np.arange(900) // 9
    reviews = Reviews(tuple(map(str, range(900))), np.arange(900) % 2, ("a", "b"), "made up", groups)
    chosen, rest = split_by_group(reviews, round(share * 900), np.random.default_rng(0), "key")
    assert abs(len(chosen) - share * 900) <= 0.06 * 900
    assert len(chosen) + len(rest) == 900
    with pytest.raises(DataError, match=r"key asks for 901 reviews, but only 900 are left .*; --set key=null restores"):
        split_by_group(reviews, 901, np.random.default_rng(0), "key")


def test_group_splits_need_enough_of_a_class():
    reviews = Reviews(tuple(map(str, range(15))), np.arange(15) % 3, ("a", "b", "c"), "made up", np.arange(15))
    with pytest.raises(DataError, match="key asks for 2 of 15 reviews, but every class has fewer than 8. Ask"):
        split_by_group(reviews, 2, np.random.default_rng(0), "key")


def test_the_official_test_split_stays_whole(tiny_reviews):
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


def test_a_drawn_test_split_says_so(tiny_reviews):
    splits = load_splits(DataConfig(dir=str(tiny_reviews), validation_examples=40, test_examples=30))
    assert splits.test.origin == "30 reviews drawn from the official IMDb test split"
    assert len(splits.test) == 30


def test_a_missing_test_split_is_held_out(monkeypatch):
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
        ({"validation_examples": 400}, "data.validation_examples asks for 400 reviews, but only 320 are left"),
        (
            {"validation_examples": 320},
            "validation_examples asks for 320 of 320 reviews, and every split needs one of each of the 2 classes. "
            "Expected 2 to 318",
        ),
        ({"validation_examples": 40, "train_examples": 300}, "data.train_examples asks for 300"),
        ({"validation_examples": 1}, "asks for 1 of 320 reviews, .* of the 2 classes. Expected 2 to 318"),
        ({"validation_examples": 40, "test_examples": 101}, "data.test_examples asks for 101"),
    ],
)
def test_an_impossible_split_is_refused(tiny_reviews, changes, message):
    with pytest.raises(DataError, match=message):
        load_splits(DataConfig(dir=str(tiny_reviews), **changes))


def test_a_given_validation_split_is_drawn_from():
    """`tfds:glue/sst2` has one."""
    parts = {"train": reviews_of([0, 1] * 50), "validation": reviews_of([0, 1] * 30)}
    splits = load_splits(DataConfig(source="tfds:glue/sst2", validation_examples=20, test_examples=10), parts)
    assert [len(part) for part in vars(splits).values()] == [90, 20, 10]
    assert splits.validation.origin == "20 reviews drawn from the made up"


def write_csv(path, rows, header=("text", "label", "film")):
    with path.open("w", newline="", encoding="utf-8") as out:
        csv.writer(out).writerows([header, *rows])
    return str(path)


def test_files_are_split_by_group(tmp_path):
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
    with pytest.raises(DataError, match="they form only 2 groups: too few for so small a share"):
        load_splits(DataConfig(source="csv", train=(write_csv(tmp_path / "two.csv", rows[:20]),), group="film"))
