"""How long a person waits for `tfsent --help` and for a first prediction, whole processes, medians of several.

    python benchmarks/startup.py runs/quickstart

Prints a table and writes benchmarks/results/startup.json. The first of each is a warm-up and not counted.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from tfsent.console import print_table


def seconds(words: list[str], times: int) -> list[float]:
    """Wall-clock seconds of each counted process."""
    found = []
    for _ in range(times + 1):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "tfsent", *words], check=True, capture_output=True)
        found.append(time.perf_counter() - started)
    return found[1:]


def main(run: str) -> None:
    """Measure, print, write."""
    text = "Loved every minute."
    commands = {
        "--help": (["--help"], 10),
        "predict RUN": (["predict", run, text], 5),
        "predict model.tflite": (["predict", f"{run}/export/mobile/model.tflite", text], 5),
    }
    result = {name: seconds(*arguments) for name, arguments in commands.items()}
    rows = [(name, f"{min(s):.2f}", f"{statistics.median(s):.2f}", f"{max(s):.2f}") for name, s in result.items()]
    print_table("seconds a process", ("command", "min", "median", "max"), rows)
    target = Path(__file__).parent / "results" / "startup.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(sys.argv[1])
