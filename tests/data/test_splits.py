"""What is held out: as many as were asked for, every class in proportion, and no group on both sides."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfsent.data.duplicates import warn_about_overlap
from tfsent.data.reviews import Reviews
from tfsent.data.splits import split, split_by_group
from tfsent.errors import DataError


def reviews_of(labels, names=("negative", "positive")):
    return Reviews(tuple(f"review {i}" for i in range(len(labels))), np.array(labels, np.int32), names, "made up")


@given(st.lists(st.integers(0, 2), min_size=1, max_size=80), st.data())
@settings(deadline=None)
def test_a_split_is_a_partition_that_keeps_the_share_of_each_class(labels, draw):
    reviews = reviews_of(labels, ("a", "b", "c"))
    count = draw.draw(st.integers(0, len(labels)))
    chosen, rest = split(reviews, count, np.random.default_rng(3), "key")
    assert sorted([*chosen, *rest]) == list(range(len(labels)))
    assert len(chosen) == count
    for label, total in enumerate(np.bincount(labels, minlength=3)):
        assert abs((reviews.labels[chosen] == label).sum() - count * total / len(labels)) <= 1.5


def test_texts_that_are_learnt_from_too_are_told(messages):
    train, one = reviews_of([0, 1] * 5), reviews_of([0, 1])
    held_out = {
        "validation": Reviews(("new", "Review 3"), one.labels, one.label_names, "made up"),
        "test": Reviews(("new", "review 3"), one.labels, one.label_names, "made up"),
    }
    warn_about_overlap(held_out, train)
    assert [record.message.partition(" (")[0] for record in messages.records] == [
        "1 of the 2 test reviews also occur in train, verbatim. Memorised reviews inflate the reported accuracy"
    ]


def test_a_split_is_seeded_and_shuffled():
    reviews = reviews_of([0, 1] * 50)
    first, again, other = (split(reviews, 40, np.random.default_rng(s), "key")[0].tolist() for s in (1, 1, 2))
    assert first == again != other
    assert first != sorted(first)


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
def test_with_groups_as_many_are_held_out_as_were_asked_for(share):
    groups = np.arange(900) // 9
    reviews = Reviews(tuple(map(str, range(900))), np.arange(900) % 2, ("a", "b"), "made up", groups)
    chosen, rest = split_by_group(reviews, round(share * 900), np.random.default_rng(0), "key")
    assert abs(len(chosen) - share * 900) <= 0.06 * 900
    assert len(chosen) + len(rest) == 900
    with pytest.raises(DataError, match=r"key asks for 901 reviews, and only 900 are left .*; --set key=null takes"):
        split_by_group(reviews, 901, np.random.default_rng(0), "key")


def test_with_groups_too_few_of_every_class_are_told():
    reviews = Reviews(tuple(map(str, range(15))), np.arange(15) % 3, ("a", "b", "c"), "made up", np.arange(15))
    with pytest.raises(DataError, match="key asks for 2 of 15 reviews, and every class has fewer than 8. Ask for more"):
        split_by_group(reviews, 2, np.random.default_rng(0), "key")
