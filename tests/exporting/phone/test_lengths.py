"""Which lengths a file has, from the lengths of real texts."""

import numpy as np
import pytest

from tfsent.errors import ConfigError
from tfsent.exporting.phone.lengths import signatures_of


def test_auto_takes_the_lengths_that_the_data_uses():
    rows = np.array([20] * 50 + [90] * 30 + [500] * 20)
    assert signatures_of("auto", rows, 512) == {"tokens_32": 32, "tokens_96": 96, "serving_default": 512}
    assert list(signatures_of("auto", rows, 512)) == ["tokens_32", "tokens_96", "serving_default"]


def test_a_length_that_is_hardly_used_is_not_worth_it():
    rows = np.array([60] * 1 + [100] * 199)
    assert signatures_of("auto", rows, 256) == {"tokens_32": 32, "tokens_128": 128, "serving_default": 256}
    assert signatures_of("auto", rows, 32) == {"serving_default": 32}


def test_a_recipe_may_say_them():
    rows = np.array([20])
    assert signatures_of((64, 32), rows, 100) == {"tokens_32": 32, "tokens_64": 64, "serving_default": 100}
    assert signatures_of((), rows, 100) == {"serving_default": 100}
    assert signatures_of((100,), rows, 100) == {"serving_default": 100}
    with pytest.raises(ConfigError, match="export.mobile.lengths has 128. Expected at most text.max_tokens, here 100"):
        signatures_of((128,), rows, 100)
