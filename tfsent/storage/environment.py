"""Versions and machine, as a run records them."""

from __future__ import annotations

import importlib.metadata
import os
import platform

from tfsent import __version__
from tfsent.storage.run_directory import RUN_FORMAT

PACKAGES = ("tensorflow", "tensorflow-text", "keras", "keras-hub", "jax", "ai-edge-litert", "numpy")


def environment() -> dict[str, str | int | None]:
    """Return what `environment.json` keeps."""
    return {
        "run_format": RUN_FORMAT,
        "tfsent": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        **{name: version_of(name) for name in PACKAGES},
    }


def version_of(package: str) -> str | None:
    """Return the installed version of a distribution, None where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
