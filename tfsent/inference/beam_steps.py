"""The steps of the Beam pipeline, as workers run them: read, classify, write. Only `beam.py` imports this room.

A worker may be another machine. It opens the model itself, once, and never before it forks: TensorFlow does not survive
that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam
from apache_beam.ml.inference import base

from tfsent.inference import opening
from tfsent.inference.bulk import added_names, answer, texts_of
from tfsent.inference.predictor import Predictor
from tfsent.inference.shard_files import Job, Shard, read_shards, write_shard

BATCH = 256
"""Rows that a model is given at a time, at most."""
Row = Mapping[str, Any]
Key = tuple[int, int]
"""Index of the input, number of the row in it from 0."""


class ReviewHandler(base.ModelHandler[Row, base.PredictionResult, Predictor]):
    """Opens any form of a model with tfsent. Beam's own handler asks Keras, which refuses a SavedModel.

    Args:
        model: a path that every worker sees.
        job: names the column of the texts.
    """

    def __init__(self, model: str, job: Job):
        super().__init__(max_batch_size=BATCH)
        self.model = model
        self.job = job

    def load_model(self) -> Predictor:
        """Open the model; Beam calls it once in each process."""
        return opening.load(self.model)

    def run_inference(
        self, batch: Sequence[Row], model: Predictor, inference_args: dict[str, Any] | None = None
    ) -> Iterable[base.PredictionResult]:
        """Give each row its new columns."""
        names = added_names(model.label_names, self.job.columns)
        answers = answer(model, texts_of(batch, self.job.config), names)
        return [base.PredictionResult(row, new) for row, new in zip(batch, answers, strict=True)]


class ReadRows(apache_beam.DoFn):
    """The index of an input → its rows that are not answered, each with its key."""

    def __init__(self, job: Job):
        self.job = job

    def process(self, source: int) -> Iterator[tuple[Key, Row]]:
        """Read one input."""
        for shard, rows, _ in read_shards(self.job, source, tables=False):
            for number, row in enumerate(rows, shard.number * self.job.size):
                yield (source, number), row


class ToShard(apache_beam.DoFn):
    """An answered row → the shard that it belongs to, by its input and number."""

    def __init__(self, job: Job):
        self.job = job

    def process(self, element: tuple[Key, base.PredictionResult]) -> Iterator[tuple[Key, tuple[int, Any, Any]]]:
        """Key a row by its shard."""
        (source, number), found = element
        yield (source, number // self.job.size), (number, found.example, found.inference)


class WriteShard(apache_beam.DoFn):
    """All rows of a shard → the file. Beam may do that twice; it is the same file then."""

    def __init__(self, job: Job):
        self.job = job

    def process(self, element: tuple[Key, Iterable[tuple[int, Row, dict[str, Any]]]]) -> Iterator[Shard]:
        """Write one shard."""
        (source, number), rows = element
        shard = next(shard for shard in self.job.shards_of(source) if shard.number == number)
        ordered = sorted(rows, key=lambda row: row[0])
        write_shard(self.job, shard, [row for _, row, _ in ordered], [new for _, _, new in ordered])
        yield shard


def build(pipeline: apache_beam.Pipeline, model: str, job: Job, sources: Sequence[int]) -> None:
    """Add all steps to a pipeline.

    Args:
        pipeline: an empty one.
        model: see `ReviewHandler`.
        job: what is classified.
        sources: indices of the inputs.
    """
    handler: Any = base.KeyedModelHandler(ReviewHandler(model, job))
    _ = (
        pipeline
        | "Inputs" >> apache_beam.Create(list(sources))
        | "Spread inputs" >> apache_beam.Reshuffle()
        | "Read rows" >> apache_beam.ParDo(ReadRows(job))
        | "Spread rows" >> apache_beam.Reshuffle()
        | "Classify" >> base.RunInference(handler)
        | "To shards" >> apache_beam.ParDo(ToShard(job))
        | "Gather shards" >> apache_beam.GroupByKey()
        | "Write shards" >> apache_beam.ParDo(WriteShard(job))
    )
