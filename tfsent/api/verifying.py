"""The contract: what was exported is what the model says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tfsent import backend
from tfsent.errors import BudgetError

if TYPE_CHECKING:
    from tfsent.exporting.verification import Verification


def verify(run: str | Path) -> Verification:
    """Verify a run, or a bundle, and every file that was exported from it.

    Each file goes through its own runtime on held-out reviews and golden texts, and is held to the budgets that it was
    exported with. Hashes, operators, labels, vocabulary, truncation and decision must be those of the model as it is.

    Args:
        run: a run directory or a bundle.

    Returns:
        Every check, and what each file costs against the trained model.

    Raises:
        BudgetError: a check failed. The error's `report` is what would have been returned.
        ExportError: nothing is exported.
        RunError: there is no finished run.
        ArtifactError: the bundle is damaged.

    Example:
        >>> tfsent.verify("runs/quickstart").passed
        True
    """
    from tfsent.storage import bundle

    path = bundle.inside(Path(run))
    backend.use("tensorflow")
    from tfsent.exporting import verification

    found = verification.verify(path)
    if not found.passed:
        raise BudgetError(f"{run} may not ship.\n  " + "\n  ".join(found.faults), found)
    return found
