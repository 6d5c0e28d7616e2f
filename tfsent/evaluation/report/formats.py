"""How figures and names are written, in the report and in the model card."""

from __future__ import annotations

import re

MISSING = "–"
MINUS = "\N{MINUS SIGN}"


def percent(share: float | None, digits: int = 1) -> str:
    """Write a share. What is not certain is not written as if it were."""
    if share is None:
        return MISSING
    written = f"{100 * share:.{digits}f}"
    smallest = f"{10**-digits:.{digits}f}"
    if share > 0 and float(written) == 0:
        return f"< {smallest}%"
    if share < 1 and float(written) == 100:
        return f"> {100 - 10**-digits:.{digits}f}%"
    return f"{written}%"


def between(low: float | None, high: float | None, digits: int = 1) -> str:
    """Write an interval of shares, such as `85.2 to 88.2%`."""
    if low is None or high is None:
        return MISSING
    return f"{100 * low:.{digits}f} to {100 * high:.{digits}f}%"


def points(change: float | None, digits: int = 1) -> str:
    """Write a difference of two shares in percentage points, such as `+0.3 pt`."""
    if change is None:
        return MISSING
    return f"{signed(100 * change, digits)} pt"


def signed(number: float, digits: int = 2) -> str:
    """Write a number with its sign; what is rounded to 0 has none."""
    written = f"{abs(number):.{digits}f}"
    if float(written) == 0:
        return f"±{written}"
    return f"{MINUS if number < 0 else '+'}{written}"


def decimal(number: float | None, digits: int = 3) -> str:
    """Write a number with a fixed number of decimals."""
    return MISSING if number is None else f"{number:.{digits}f}".replace("-", MINUS)


def count(number: float | None) -> str:
    """Write a whole number with commas between thousands."""
    return MISSING if number is None else f"{number:,.0f}"


def difference(number: float | None) -> str:
    """Write a largest difference of probabilities, such as `1.4e-06` or `0.057`."""
    if number is None:
        return MISSING
    return f"{number:.1e}" if 0 < number < 0.001 else f"{number:.3f}"


def p_value(p: float | None) -> str:
    """Write the p of a test."""
    if p is None:
        return MISSING
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def size(megabytes: float | None) -> str:
    """Write a size, such as `17.8 MB`."""
    return MISSING if megabytes is None else f"{megabytes:,.1f} MB"


def short(name: str, limit: int = 60) -> str:
    """Cut a name that is too long for a table."""
    name = " ".join(name.split()) or "(empty)"
    return name if len(name) <= limit else name[: limit - 1].rstrip() + "…"


def without_folders(text: str) -> str:
    """Replace the folders of absolute paths by `…`: a report leaves the machine, and its paths do not."""
    return re.sub(r"(?<![\w./…-])~?/(?=[^\s/])(?:[^/\n'\"<>|]+/)+", "…/", text)
