"""The report and the model card of a run, which tell the same facts."""

from __future__ import annotations

from pathlib import Path

from tfsent.evaluation.report.card import write_card
from tfsent.evaluation.report.page import write_report


def renew(run: Path) -> None:
    """Write `report.html` and `README.md` from the files that are in a run.

    Args:
        run: see `write_report`.

    Raises:
        RunError: the directory holds no finished run, or cannot be written to.
    """
    write_report(run)
    write_card(run)
