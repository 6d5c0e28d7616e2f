"""Does memory stay flat when the data does not fit into it? IMDb's training reviews again and again, from many files.

    python benchmarks/large_data.py VOCAB [--rows 50000 --rows 500000 --rows 5000000]

For each size, in a process of its own: read CSV files by a glob, split, tokenise to disk, plan an epoch's batches and
draw 500 of them from all over the data. 5 million rows take some 20 GB of disk in the cache folder. The reviews come
out of the pinned wheel; VOCAB is a `vocab.txt`. Writes benchmarks/results/large_data.json.
"""

from __future__ import annotations

import csv
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

SHARD = 25_000


def measure(pattern: str, vocab: str) -> dict[str, object]:
    """Everything up to training, on the files a glob names."""
    from tfsent import backend

    backend.use("tensorflow")
    from tfsent.data.splits import load_splits
    from tfsent.recipe.schema import DataConfig
    from tfsent.text.batch_plan import BatchPlan
    from tfsent.text.feed import token_loader
    from tfsent.text.spec import TextSpec, read_vocabulary
    from tfsent.text.token_store import tokenize_all
    from tfsent.text.tokenizer import Tokenizer

    started = time.perf_counter()
    train = load_splits(DataConfig(source="csv", train=(pattern,))).train
    read = time.perf_counter()
    tokens = tokenize_all(Tokenizer(TextSpec(True, 256), read_vocabulary(Path(vocab))), train.texts)
    tokenized = time.perf_counter()
    plan = BatchPlan(tokens.lengths, 8192, seed=0)
    planned = time.perf_counter()
    for _ in token_loader(tokens, train.labels, plan, 0).tensorflow().take(500):
        pass
    drawn = time.perf_counter()
    return {
        "training_rows": len(train),
        "tokens": int(tokens.review_lengths.sum()),
        "peak_resident_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000),
        "rows_read_per_second": round(len(train) / (read - started)),
        "tokens_per_second": round(int(tokens.review_lengths.sum()) / (tokenized - read)),
        "plan_seconds": round(planned - tokenized, 1),
        "batches_per_second": round(500 / (drawn - planned)),
        "padding": round(plan.padding(), 4),
    }


def write_shard(path: Path) -> None:
    """The 25,000 reviews as a CSV."""
    from tfsent.data.reading import load_parts
    from tfsent.recipe.schema import DataConfig

    reviews = load_parts(DataConfig(source="imdb-wheel"))["train"]
    with path.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(["text", "label"])
        writer.writerows(zip(reviews.texts, reviews.labels.tolist(), strict=True))


@click.command()
@click.argument("vocab", type=click.Path(exists=True))
@click.option("--rows", multiple=True, type=int, default=(50_000, 500_000, 5_000_000))
def main(vocab: str, rows: tuple[int, ...]) -> None:
    """Measure each size, print, write."""
    from tfsent.console import print_table

    results: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        shard = Path(folder) / "shard.csv"
        write_shard(shard)
        for count in rows:
            parts = Path(folder) / str(count)
            parts.mkdir()
            for i in range(max(1, count // SHARD)):
                (parts / f"part-{i:04}.csv").hardlink_to(shard)  # tfsent reads a symbolic link and its target once
            command = [sys.executable, __file__, "--measure", str(parts / "*.csv"), vocab]
            out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            results.append({"rows": count, "files": count // SHARD, **json.loads(out)})
            print_table("", list(results[-1]), [list(r.values()) for r in results])
    target = Path(__file__).parent / "results" / "large_data.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(*sys.argv[2:])))
    else:
        main()
