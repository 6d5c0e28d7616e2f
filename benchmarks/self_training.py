"""What reviews without a label are worth when a trained model labels them, as a train.csv to learn from.

    python benchmarks/self_training.py RUN films DATA_DIR self
    tfsent train imdb --set data.train=self/train.csv …     the rest as in benchmarks/README.md, "Other films"

RUN (and any other RUN, whose probabilities are averaged with its own) was trained on films/train.csv. Of IMDb's 50,000
reviews without a label those are taken of which it is sure, drawn by chance; none that stands, letter by letter, in
train, validation or the official test.
"""

from __future__ import annotations

import csv
from pathlib import Path

import click
import numpy as np
import tensorflow_datasets as tfds

from tfsent.inference import opening

SURE = 0.9


def read_csv(path: Path) -> list[tuple[str, str]]:
    """Texts and labels."""
    with path.open(encoding="utf-8", newline="") as handle:
        return [(row["text"], row["label"]) for row in csv.DictReader(handle)]


def choose(texts: list[str], sure: np.ndarray, known: set[str], count: int, rng: np.random.Generator) -> list[int]:
    """Rows of texts that are sure, distinct and not known, in an order drawn by chance."""
    seen, chosen = set(known), []
    for i in rng.permutation(len(texts)).tolist():
        if sure[i] and texts[i].strip() not in seen:
            seen.add(texts[i].strip())
            chosen.append(i)
    print(f"{len(chosen):,} of {len(texts):,} reviews are sure and new; {min(count, len(chosen)):,} are taken")
    return chosen[:count]


@click.command()
@click.argument("run", type=click.Path(exists=True, path_type=Path), nargs=-1, required=True)
@click.argument("films", type=click.Path(exists=True, path_type=Path))
@click.argument("data_dir", type=click.Path(exists=True))
@click.argument("folder", type=click.Path(exists=False, path_type=Path))
@click.option("--count", default=30_000)
def main(run: tuple[Path, ...], films: Path, data_dir: str, folder: Path, count: int) -> None:
    def read_imdb(split: str) -> list[str]:
        reviews = tfds.load("imdb_reviews", data_dir=data_dir, download=False, split=split)
        return [review["text"].decode() for review in reviews.as_numpy_iterator()]

    train, validation = read_csv(films / "train.csv"), read_csv(films / "validation.csv")
    teachers, texts = [opening.load(path) for path in run], read_imdb("unsupervised")
    names = teachers[0].label_names
    told, unlabelled = (
        np.mean([teacher.predict_proba(some) for teacher in teachers], axis=0)
        for some in ([text for text, _ in validation], texts)
    )
    right = [names[i] == label for i, (_, label) in zip(told.argmax(1), validation, strict=True)]
    print(f"validation accuracy of the teacher: {np.mean(right):.2%}")
    known = {text.strip() for text, _ in train + validation} | {text.strip() for text in read_imdb("test")}
    rng = np.random.default_rng(1)
    chosen = choose(texts, unlabelled.max(1) >= SURE, known, count, rng)
    rows = train + [(texts[i], names[unlabelled[i].argmax()]) for i in chosen]
    folder.mkdir()
    with (folder / "train.csv").open("w", encoding="utf-8", newline="") as out:
        written = csv.writer(out)
        written.writerow(("text", "label"))
        written.writerows(rows[i] for i in rng.permutation(len(rows)))
    print(f"train.csv: {len(rows):,} reviews")


if __name__ == "__main__":
    main()
