"""A model that costs nothing, one that stops, and a reader of what they answer."""

import csv
import gzip
import io
import json

import numpy as np
import pyarrow.parquet

from tfsent.inference.predictor import Predictor


class Stub(Predictor):
    """Says that long texts are positive."""

    label_names = ("negative", "positive")
    asked = 0

    def predict_proba(self, texts, advance=len):
        assert all(text.strip() for text in texts)
        self.asked += len(texts)
        advance(len(texts))
        positive = np.array([min(len(text), 100) / 100 for text in texts], np.float32)
        return np.stack([1 - positive, positive], axis=1)


class Interrupted(Exception):  # noqa: N818 - what stops it here
    pass


class Stopping(Stub):
    """Stops when it has answered so many texts; at its third chunk of two."""

    def __init__(self, after=4):
        self.after = after

    def predict_proba(self, texts, advance=len):
        if self.asked >= self.after:
            raise Interrupted
        return super().predict_proba(texts, advance)


def read(path):
    """The rows of a file, by an independent reader, with None for what is missing."""
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    name = path.name.removesuffix(".gz")
    if name.endswith(".parquet"):
        return pyarrow.parquet.read_table(path).to_pylist()
    if name.endswith("jsonl"):
        return [json.loads(line) for line in raw.decode().split("\n") if line]
    lines = io.StringIO(raw.decode(), newline="")
    return list(csv.DictReader(lines, delimiter="\t" if name.endswith(".tsv") else ","))
