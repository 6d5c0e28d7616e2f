"""One file of a run, to hand on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfsent.exporting.bundling import BundleResult


def bundle(run: str | Path, output: str | Path, overwrite: bool = False) -> BundleResult:
    """Write a run that was exported into one file that a person hands on.

    `load`, `evaluate`, `predict_file` and `bench` take the file in place of the run. It holds the model, the exported
    files, the held-out reviews that they were proved on, what was measured, licences and a bill of materials
    (CycloneDX). The same run in the same environment gives the same bytes.

    Args:
        run: the run directory; of several seeds, the best is taken.
        output: the file, with a name that ends with `.tfsent.zip`.
        overwrite: replace a file that is there.

    Returns:
        The path, bytes and SHA-256 of the file; and whose licence is unknown.

    Raises:
        RunError: the run is not finished, was not exported, or its last export did not pass; or `output` exists or
            cannot be written.
        ConfigError: the name of `output` does not end with `.zip`.

    Example:
        >>> tfsent.bundle("runs/mine", "mine.tfsent.zip").sha256[:12]
        'ea002957fcba'
        >>> tfsent.load("mine.tfsent.zip").predict(["Loved every minute."])[0].label
        'positive'
    """
    from tfsent.exporting import bundling

    return bundling.bundle(Path(run), Path(output), overwrite=overwrite)
