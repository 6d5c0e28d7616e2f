"""Does a SavedModel of ours run where an old TensorFlow Serving would run it?

    python benchmarks/old_server.py runs/imdb [--releases 2.12.1,2.20.0] [--wheels FOLDER]

The libraries of each release of TensorFlow and tensorflow-text come out of its wheels for Python 3.11 (250 MB each,
with pip): the oldest server and the newest one have these numbers in both. The C API of each loads the newest version
of RUN/export/serving and runs it on held-out reviews, on texts that nobody planned for, on the other signatures and on
the warm-up records, and the answers are compared with the trained model's. Writes benchmarks/results/old_server.json.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import numpy as np

import tfsent
from tfsent.data.reviews import load_reviews
from tfsent.exporting.golden import NASTY_TEXTS
from tfsent.exporting.server.c_api import Call, ask, texts_of
from tfsent.exporting.server.requests import calls_of_clients, calls_of_warmup
from tfsent.inference.saved_model import newest_version


def unpack(release: str, wheels: Path, target: Path) -> None:
    """Fetch the wheels of a release and unpack their libraries."""
    for name in ("tensorflow_cpu", "tensorflow_text"):
        pattern = f"{name}-{release}-*.whl"
        if not list(wheels.glob(pattern)):
            platforms = ["--platform=manylinux_2_17_x86_64", "--platform=manylinux2014_x86_64"]
            command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
            package = f"{name.replace('_', '-')}=={release}"
            words = ["--python-version=3.11", *platforms, "-d", str(wheels), package]
            subprocess.run([*command, *words], check=True, stdout=subprocess.DEVNULL)
        wanted = ["tensorflow/libtensorflow_*", "tensorflow_text/python/ops/*.so"]
        words = ["unzip", "-q", "-o", next(wheels.glob(pattern)), *wanted, "-d", target]
        subprocess.run(words, check=False, stderr=subprocess.DEVNULL)  # each wheel has one of the two


@click.command()
@click.argument("run", type=click.Path(path_type=Path, exists=True))
@click.option("--releases", default="2.12.1,2.20.0")
@click.option("--wheels", type=click.Path(path_type=Path), default=Path(tempfile.gettempdir()) / "tfsent-old-server")
@click.option("--reviews", default=200)
def main(run: Path, releases: str, wheels: Path, reviews: int) -> None:
    """Fetch, run, compare, print, write."""
    texts = [*load_reviews(run / "heldout" / "test.jsonl.gz").texts[:reviews], *NASTY_TEXTS]
    trained = tfsent.load(run).predict_proba(texts)
    model = newest_version(run / "export" / "serving").resolve()
    raw = [text.encode("utf-8", "ignore") for text in texts]
    others = [*calls_of_clients(raw[:7]).values(), *calls_of_warmup(model / "assets.extra").values()]
    results = []
    wheels.mkdir(parents=True, exist_ok=True)
    for release in releases.split(","):
        with tempfile.TemporaryDirectory() as packages:
            unpack(release, wheels, Path(packages))
            batches = [Call("serving_default", texts_of(raw[i : i + 32])) for i in range(0, len(raw), 32)]
            answers = ask(model, [*batches, *others], Path(packages))
        found = np.concatenate([answer.outputs["probabilities"] for answer in answers[: len(batches)]])
        errors = [answer.error.splitlines()[0] for answer in answers if answer.error]
        difference = float(np.abs(found - trained).max())
        line = {"tensorflow": release, "texts": len(texts), "max_difference": difference, "errors": errors}
        results.append(line)
        click.echo(json.dumps(line))
    target = Path(__file__).parent / "results" / "old_server.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
