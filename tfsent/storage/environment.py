"""Versions of Python, packages and machine, as a run records them."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from typing import Any


def environment() -> dict[str, Any]:
    """Versions and machine, for `environment.json`."""
    packages = ("tensorflow", "tensorflow-text", "keras", "keras-hub", "jax", "ai-edge-litert", "numpy")
    return {
        "tfsent": version_of("tfsent"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        **{name: version_of(name) for name in packages},
    }


def version_of(package: str) -> str | None:
    """The installed version of a distribution, None where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
