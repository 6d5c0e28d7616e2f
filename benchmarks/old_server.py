"""Does a SavedModel of ours run where an old TensorFlow Serving would run it?

    python benchmarks/old_server.py runs/imdb [--python python3.11]

Servers from 2.12 to 2.19 are built with tensorflow-text 2.12.1. This makes an environment with TensorFlow 2.12.1 and
tensorflow-text 2.12.1 (PyPI has them for Python 3.8 to 3.11), loads RUN/export/serving there, runs it on held-out
reviews and on text nobody planned for, and compares with the trained model. Writes benchmarks/results/old_server.json.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

import click
import numpy as np

import tfsent
from tfsent.data.reviews import load_reviews
from tfsent.inference.saved_model import newest_version

PACKAGES = ("tensorflow-cpu==2.12.1", "tensorflow-text==2.12.1")
TROUBLE = [
    "",
    "\x00",
    "naïve café İstanbul",
    "日本語",
    "😀👩\u200d🏽",
    "\u202eabc",
    "x" * 5000,
    "good " * 5000,
    "\u061d\ue000",
]
OLD = """
import json, sys
import tensorflow as tf, tensorflow_text
texts = json.load(open(sys.argv[2]))
serve = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
rows = [serve(text=tf.constant([t]))["probabilities"].numpy()[0].tolist() for t in texts]
json.dump({"tensorflow": tf.__version__, "rows": rows}, open(sys.argv[3], "w"))
"""


@click.command()
@click.argument("run", type=click.Path(path_type=Path, exists=True))
@click.option("--python", default="python3.11", help="A Python that TensorFlow 2.12 was built for.")
@click.option("--reviews", default=200)
def main(run: Path, python: str, reviews: int) -> None:
    """Build the environment, run there, compare, print, write."""
    texts = [*load_reviews(run / "heldout" / "test.jsonl.gz").texts[:reviews], *TROUBLE]
    with tempfile.TemporaryDirectory() as folder:
        there = Path(folder)
        subprocess.run([python, "-m", "venv", there / "env"], check=True)
        old = there / "env" / "bin" / "python"
        subprocess.run([old, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        (there / "texts.json").write_text(json.dumps(texts), encoding="utf-8")
        model = newest_version(run / "export" / "serving").resolve()
        subprocess.run([old, "-c", OLD, model, there / "texts.json", there / "out.json"], check=True)
        found = json.loads((there / "out.json").read_text())
    difference = np.abs(np.array(found["rows"]) - tfsent.load(run).predict_proba(texts)).max()
    result = {"tensorflow": found["tensorflow"], "texts": len(texts), "max_difference": float(difference)}
    click.echo(json.dumps(result, indent=2))
    target = Path(__file__).parent / "results" / "old_server.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
