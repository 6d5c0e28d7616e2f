"""Are the words that an explanation names the ones that the model uses? Remove them, and see.

    python benchmarks/explain.py RUN [--reviews 500] [--json FILE]

Takes held-out reviews, of each only the words that the model reads: so removing some pulls in no others. Explains the
predicted class, and removes a share of the words: those with the largest scores, random ones, those with the smallest
scores. The drop of the predicted class's probability is averaged over the reviews and over the shares of ERASER (J.
DeYoung et al., ACL 2020): the area over the deletion curve. Of the largest scores it is ERASER's comprehensiveness. Its
sufficiency is the drop when only these words stay. Intervals are 95%, of 2,000 bootstrap samples of the reviews.
"""

from __future__ import annotations

import itertools
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np

from tfsent import backend
from tfsent.console import print_table, progress_bar
from tfsent.data.reviews import load_reviews

SHARES = (0.01, 0.05, 0.1, 0.2, 0.5)
SAMPLES = 2000
SEED = 1


def words_read(tokenizer, text: str) -> list[str]:
    """Return the words of a text that the model reads, in whole."""
    from tfsent.evaluation.explanation_words import words_of

    pieces = tokenizer.explain(text)
    kept = np.array([piece.kept for piece in pieces], bool)
    return [text[word.start : word.stop] for word in words_of(text, pieces, np.zeros(len(pieces)), kept)]


def orders(words, chance: np.random.Generator) -> dict[str, np.ndarray]:
    """Return in which orders words are removed."""
    scores = np.array([word.score for word in words])
    return {
        "largest": np.argsort(-scores, kind="stable"),
        "random": chance.permutation(len(scores)),
        "smallest": np.argsort(scores, kind="stable"),
    }


def variants(found, chance: np.random.Generator) -> dict[tuple[str, str, float], str]:
    """Return the texts that are left, by what is done, the order and the share."""
    words, texts = [found.text[word.start : word.stop] for word in found.words], {}
    for (order, ranks), share in itertools.product(orders(found.words, chance).items(), SHARES):
        chosen = set(ranks[: math.ceil(share * len(words))].tolist())
        texts["removed", order, share] = " ".join(word for i, word in enumerate(words) if i not in chosen)
        if order != "smallest":
            texts["kept", order, share] = " ".join(word for i, word in enumerate(words) if i in chosen)
    return texts


def interval(values: np.ndarray) -> tuple[float, float]:
    """Return the 95% interval of a mean, `float[n]`."""
    chance = np.random.default_rng(SEED)
    means = [values[chance.integers(len(values), size=len(values))].mean() for _ in range(SAMPLES)]
    return tuple(np.quantile(means, (0.025, 0.975)).tolist())


def measure(run: Path, count: int) -> tuple[dict, list[Sequence[object]]]:
    """Return all figures, and the rows of the table."""
    from tfsent.evaluation.explanation import explain
    from tfsent.inference.keras_run import KerasPredictor

    predictor, chance = KerasPredictor(run), np.random.default_rng(SEED)
    whole = load_reviews(run / "heldout" / "test.jsonl.gz").texts
    whole = whole[:: max(1, len(whole) // count)][:count]
    texts = [" ".join(words_read(predictor.tokenizer, text)) for text in whole]
    started, worked = time.perf_counter(), time.process_time()
    with progress_bar("explaining", len(texts)) as bar:
        found = explain(predictor, texts, advance=bar.update)
    seconds, processor = time.perf_counter() - started, time.process_time() - worked
    made = [variants(one, chance) for one in found]
    probability = np.array([one.prediction.probability for one in found])
    label = [predictor.label_names.index(one.label) for one in found]
    drops = {}
    with progress_bar("removing words", len(made[0])) as bar:
        for key in made[0]:
            answers = predictor.predict_proba([one[key] for one in made])
            drops[key] = probability - answers[np.arange(len(found)), label]
            bar.update(1)
    errors = np.array([one.completeness_error for one in found])
    changes = np.array([abs(one.logit - one.baseline_logit) for one in found])
    figures = {
        "reviews": len(found),
        "seconds_a_review": seconds / len(found),
        "processor_seconds_a_review": processor / len(found),
        "completeness_error": {
            "mean": errors.mean(),
            "max": errors.max(),
            "of_the_change": errors.sum() / changes.sum(),
        },
        "areas": [],
    }
    rows = []
    for done, order in dict.fromkeys((done, order) for done, order, _ in drops):
        at = np.stack([drops[done, order, share] for share in SHARES])
        area, ends = at.mean(), interval(at.mean(axis=0))
        figures["areas"].append(
            {"done": done, "order": order, "area": area, "interval": ends, "at": at.mean(axis=1).tolist()}
        )
        rows.append(
            (f"{done}, {order}", f"{area:.3f}", f"{ends[0]:.3f} to {ends[1]:.3f}", *(f"{x:.3f}" for x in at.mean(1)))
        )
    return figures, rows


@click.command(help=__doc__)
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--reviews", default=500)
@click.option("--json", "target", type=click.Path(path_type=Path))
def main(run: Path, reviews: int, target: Path | None) -> None:
    """Measure, print a table, write JSON."""
    backend.use("tensorflow")
    figures, rows = measure(run, reviews)
    header = ("words with the … scores", "area", "95%", *(f"{share:.0%}" for share in SHARES))
    print_table("Drop of the predicted class's probability", header, rows)
    print(json.dumps({key: value for key, value in figures.items() if key != "areas"}, indent=2, default=float))
    if target:
        target.write_text(json.dumps(figures, indent=2, default=float) + "\n")


if __name__ == "__main__":
    main()
