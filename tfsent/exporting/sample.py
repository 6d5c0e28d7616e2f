"""Which held-out reviews an export is proved on."""

from __future__ import annotations

import numpy as np

from tfsent.data.reviews import Reviews
from tfsent.data.splits import split


def verification_sample(reviews: Reviews, count: int) -> Reviews:
    """Draw the reviews that exported files are compared on: the same ones at every call.

    Args:
        reviews: the held-out test reviews of a run.
        count: how many at most, `export.verify_examples`.
    """
    rows, _ = split(reviews, min(count, len(reviews)), np.random.default_rng(0), "verify_examples")
    return reviews.take(rows)
