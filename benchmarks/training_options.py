"""What each option of training is worth: the same small task with and without it, three seeds each.

    python benchmarks/training_options.py --work DIR

2,000 IMDb reviews at 96 tokens to learn from, 4,000 to validate on (the same for all), three epochs; the test reviews
are not looked at. Goes on where it was ended. Prints mean, standard deviation and the difference from the plain recipe
seed by seed, and writes results/training_options.json.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path

import click

SEEDS = (1, 2, 3)
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
    "cosine": ("train.schedule=cosine",),
    "layer_decay 0.9": ("train.layer_decay=0.9",),
    "layer_decay 0.95": ("train.layer_decay=0.95",),
    "ema 0.98": ("train.ema_momentum=0.98",),
    # tfsent drops out no attention weights: do the hidden states want more of it instead?
    "encoder_dropout 0.2": ("model.encoder_dropout=0.2",),
    "label_smoothing 0.1": ("train.label_smoothing=0.1",),
    "accumulation 2 × 2,048": ("train.batch_tokens=2048", "train.accumulation_steps=2"),
}


def measure(work: Path, name: str, settings: tuple[str, ...]) -> list[float]:
    """Validation accuracy, in percent, of each seed."""
    run = work / name.replace(" ", "-")
    if not (run / "seeds.json").is_file():
        words = [word for setting in (*BASE, *settings) for word in ("--set", setting)]
        seeds = ["--seeds", ",".join(map(str, SEEDS)), "--run-dir", str(run)]
        subprocess.run([sys.executable, "-m", "tfsent", "train", "imdb", *words, *seeds], check=True)
    found = json.loads((run / "seeds.json").read_text())["seeds"]
    return [100 * entry["validation_accuracy"] for entry in found]


@click.command()
@click.option("--work", type=click.Path(path_type=Path), default=Path("training_options"))
def main(work: Path) -> None:
    work.mkdir(exist_ok=True)
    results = {}
    for name, settings in OPTIONS.items():
        found = results[name] = measure(work, name, settings)
        differences = [a - b for a, b in zip(found, results["plain"], strict=True)]
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
