"""Slices are compared with the rest; what is chance is not called a finding."""

import numpy as np
import pytest
from scipy import stats

from tfsent.evaluation.intervals import wilson
from tfsent.evaluation.slices import FEW, find_slices
from tfsent.evaluation.traits import Trait


def rows(start, stop, count=1000):
    return (np.arange(count) >= start) & (np.arange(count) < stop)


def right(wrong, count=1000):
    found = np.ones(count, bool)
    found[list(wrong)] = False
    return found


def test_a_planted_weakness_is_found_and_comes_first():
    is_right = right([*range(40), *range(100, 1000, 10)])  # of the first 100, 40 are wrong; of the rest one in ten
    found = find_slices([Trait("x", "rest", rows(100, 500)), Trait("x", "weak", rows(0, 100))], is_right)
    weak = found[0]
    assert (weak.by, weak.value, weak.reviews, weak.accuracy, weak.verdict) == ("x", "weak", 100, 0.6, "worse")
    assert (weak.interval, weak.rest) == (wilson(60, 100), 0.9)
    assert found[1].value == "rest"


def test_the_test_is_that_of_fisher_with_holm():
    """Three slices with p-values worked out by the hypergeometric distribution: 0.05/3, 0.05/2, 0.05/1."""
    is_right = right([*range(0, 20), *range(100, 114), *range(200, 212), *range(300, 1000, 12)])
    traits = [Trait("x", str(i), rows(100 * i, 100 * i + 100)) for i in range(3)]
    p_values = []
    for trait in traits:
        wrong_inside, wrong = int((~is_right[trait.rows]).sum()), int((~is_right).sum())
        law = stats.hypergeom(1000, wrong, 100)
        likely = law.pmf(np.arange(101))
        p_values.append(likely[likely <= law.pmf(wrong_inside) * (1 + 1e-7)].sum())
    order = np.argsort(p_values)
    expected, open_ = {}, True
    for rank, i in enumerate(order):
        open_ = open_ and p_values[i] <= 0.05 / (3 - rank)
        expected[str(i)] = "worse" if open_ else "alike"
    assert {one.value: one.verdict for one in find_slices(traits, is_right)} == expected
    assert set(expected.values()) == {"worse", "alike"}


def test_chance_is_not_a_finding():
    """Of 60 evaluations with 20 slices of a model that is equally good everywhere, about one in twenty may name one."""
    rng = np.random.default_rng(0)
    named = 0
    for _ in range(60):
        is_right = rng.random(300) < 0.8
        traits = [Trait("x", str(i), rng.random(300) < 0.3) for i in range(20)]
        named += any(one.verdict != "alike" for one in find_slices(traits, is_right))
    assert named <= 8


@pytest.mark.parametrize(("inside", "verdict"), [(FEW - 1, "too few"), (FEW, "worse"), (1000 - FEW + 1, "too few")])
def test_too_few_reviews_tell_nothing(inside, verdict):
    found = find_slices([Trait("x", "y", rows(0, inside))], right(range(FEW)))
    assert found[0].verdict == verdict


def test_the_order_of_verdicts():
    is_right = right([*range(60), *range(500, 600)])
    traits = [
        Trait("confidence", "low", rows(0, 60)),
        Trait("a", "few", rows(0, 5)),
        Trait("a", "better", rows(600, 1000)),
        Trait("a", "alike", rows(250, 800, 1000)),
        Trait("a", "worse", rows(0, 120)),
        Trait("a", "none", rows(0, 0)),
        Trait("a", "all", rows(0, 1000)),
    ]
    found = find_slices(traits, is_right)
    assert [one.value for one in found] == ["worse", "alike", "all", "better", "low", "few"]
    everything = next(one for one in found if one.value == "all")
    assert (everything.rest, everything.verdict, everything.accuracy) == (None, "alike", 0.84)


@pytest.mark.parametrize("is_right", [np.ones(200, bool), np.zeros(200, bool)])
def test_a_model_that_is_always_right_or_wrong(is_right):
    found = find_slices([Trait("x", "y", rows(0, 100, 200))], is_right)
    assert [one.verdict for one in found] == ["alike"]
    assert find_slices([], is_right) == ()
