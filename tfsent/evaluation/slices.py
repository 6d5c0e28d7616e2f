"""Traits of reviews → slices: where a model is worse than elsewhere, and where that may be chance.

Each slice is compared with all other reviews by Fisher's exact test (R. A. Fisher, 1922). Many comparisons find
something by chance, so the p-values are held to 5% together, after S. Holm (1979): at most one evaluation in twenty
names any slice `worse` or `better` that is not. Slices may overlap; Holm's procedure allows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import scipy.stats

from tfsent.evaluation.analysis import Slice
from tfsent.evaluation.intervals import wilson
from tfsent.evaluation.traits import Trait

FEW = 30
"""Reviews of a slice, or outside of it, below which nothing is compared: an interval is then over 20 points wide."""
LEVEL = 0.05
ORDER = ("worse", "alike", "better", "too few")


def find_slices(traits: Iterable[Trait], right: np.ndarray) -> tuple[Slice, ...]:
    """Compare the accuracy of slices with that of the other reviews.

    Args:
        traits: what the slices have in common. Those without a review are left out.
        right: `bool[n]`, whether the model has a review right.

    Returns:
        The worse slices, the alike, the better and those that are too small, each from the lowest accuracy. The bands
        of confidence come after the others that are large enough: that a model is right more often where it is sure is
        no finding.
    """
    found = [(trait, trait.rows) for trait in traits if trait.rows.any()]
    counts = [(int(right[rows].sum()), int(rows.sum())) for _, rows in found]
    all_right, reviews = int(right.sum()), len(right)
    tested = [i for i, (_, count) in enumerate(counts) if min(count, reviews - count) >= FEW]
    p_values = [_fisher(*counts[i], all_right, reviews) for i in tested]
    significant = dict(zip(tested, _holm(p_values), strict=True))
    slices = []
    for i, ((trait, _), (hits, count)) in enumerate(zip(found, counts, strict=True)):
        others = reviews - count
        rest = (all_right - hits) / others if others else None
        verdict = "too few" if min(count, others or count) < FEW else "alike"
        if rest is not None and significant.get(i):
            verdict = "worse" if hits / count < rest else "better"
        slices.append(Slice(trait.by, trait.value, count, hits / count, wilson(hits, count), rest, verdict))
    return tuple(sorted(slices, key=_rank))


def _rank(one: Slice) -> tuple[bool, bool, int, float]:
    return one.verdict == "too few", one.by == "confidence", ORDER.index(one.verdict), one.accuracy


def _fisher(hits: int, count: int, all_right: int, reviews: int) -> float:
    others = all_right - hits
    table = [[hits, count - hits], [others, reviews - count - others]]
    return float(scipy.stats.fisher_exact(table).pvalue)


def _holm(p_values: Sequence[float]) -> list[bool]:
    """Return which p-values are significant together, from the smallest on until one is not."""
    significant = [False] * len(p_values)
    for rank, i in enumerate(np.argsort(p_values, kind="stable").tolist()):
        if p_values[i] > LEVEL / (len(p_values) - rank):
            break
        significant[i] = True
    return significant
