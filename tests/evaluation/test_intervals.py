"""Wilson's interval, against SciPy's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tfsent.evaluation.intervals import wilson


@given(st.integers(1, 100_000), st.floats(0, 1))
def test_it_is_that_of_scipy(reviews, share):
    right = round(share * reviews)
    expected = stats.binomtest(right, reviews).proportion_ci(0.95, method="wilson")
    assert wilson(right, reviews) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert 0 <= wilson(right, reviews)[0] <= right / reviews <= wilson(right, reviews)[1] <= 1
