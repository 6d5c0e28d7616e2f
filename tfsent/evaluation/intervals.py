"""The interval of a share, such as an accuracy."""

from __future__ import annotations

import math

Z = 1.959963984540054
"""The 97.5% quantile of the normal distribution."""


def wilson(right: int, reviews: int) -> tuple[float, float]:
    """Return the 95% interval of a share, after E. B. Wilson (1927).

    Args:
        right: how many of them count.
        reviews: how many there are, at least one.

    Example:
        >>> tuple(round(end, 3) for end in wilson(9, 10))
        (0.596, 0.982)
    """
    share, spread = right / reviews, Z * Z / reviews
    centre = (share + spread / 2) / (1 + spread)
    half = math.sqrt(share * (1 - share) * spread + spread * spread / 4) / (1 + spread)
    return max(0.0, centre - half), min(1.0, centre + half)
