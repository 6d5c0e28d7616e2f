"""Reviews are saved and read back; their fingerprint tells them apart."""

import gzip

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfsent.data.reviews import Reviews, load_reviews, save_reviews
from tfsent.errors import DataError


def reviews_of(labels, names=("negative", "positive")):
    return Reviews(tuple(f"review {i}" for i in range(len(labels))), np.array(labels, np.int32), names, "made up")


@given(st.lists(st.tuples(st.text(), st.integers(0, 1)), max_size=8))
@settings(deadline=None)
def test_saved_reviews_are_read_back(tmp_path_factory, rows):
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
