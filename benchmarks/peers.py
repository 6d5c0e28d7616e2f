"""Environments for the peers that benchmarks run beside tfsent."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def environment(folder: Path, requirements: list[str]) -> str:
    """The Python of a virtual environment with these requirements, made if it is not there."""
    python = folder / "bin" / "python"
    if not (folder / "done").exists():
        print(f"Installing {' '.join(requirements)} into {folder} …", flush=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *requirements], check=True)
        (folder / "done").touch()
    return str(python)
