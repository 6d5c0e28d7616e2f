"""What int8 costs on the whole test split: every review through LiteRT, against the trained model, paired.

    python benchmarks/int8_full_test.py runs/imdb

Reads RUN/predictions.csv (written by `tfsent evaluate RUN`) for the trained model's answers, runs
RUN/export/mobile/model-int8.tflite on the same reviews, prints a table and writes
benchmarks/results/int8_full_test.json.
"""

from __future__ import annotations

import csv
import json
import statistics
import sys
from pathlib import Path

import numpy as np
from scipy import stats

from tfsent.console import print_table, progress_bar
from tfsent.inference.tflite_file import TFLitePredictor


def main(run: Path) -> None:
    """Measure, print, write."""
    csv.field_size_limit(10**9)
    with (run / "predictions.csv").open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    path = run / "export" / "mobile" / "model-int8.tflite"
    predictor = TFLitePredictor(path)
    with progress_bar("int8 reviews", len(rows)) as bar:
        probabilities, seconds = predictor.timed_proba([row["text"] for row in rows], bar.update)
    names = predictor.label_names
    trained = np.array([[float(row[f"p_{name}"]) for name in names] for row in rows])
    truth = np.array([names.index(row["true_label"]) for row in rows])
    right, right_int8 = trained.argmax(axis=1) == truth, probabilities.argmax(axis=1) == truth
    lost, won = int((right & ~right_int8).sum()), int((~right & right_int8).sum())
    result = {
        "reviews": len(rows),
        "accuracy_trained": float(right.mean()),
        "accuracy_int8": float(right_int8.mean()),
        "flips": float((right != right_int8).mean()) if len(names) == 2 else None,
        "lost": lost,
        "won": won,
        # McNemar's exact test: were the changed reviews as likely to be won as lost?
        "mcnemar_p": float(stats.binomtest(lost, lost + won).pvalue) if lost + won else 1.0,
        "max_difference": float(np.abs(probabilities - trained).max()),
        "megabytes": path.stat().st_size / 1e6,
        "median_ms": 1000 * statistics.median(seconds),
        "threads": predictor.threads,
        "max_tokens": predictor.tokenizer.spec.max_tokens,
    }
    print_table("int8 on the whole test split", ("figure", "value"), [(k, v) for k, v in result.items()])
    target = Path(__file__).parent / "results" / "int8_full_test.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]))
