"""How fast a model answers on this machine: one text at a time by length, many texts, start-up, memory.

A figure is worth what the machine was worth at that moment: compare models in one command, and trust ratios.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfsent.errors import ArtifactError, last_line
from tfsent.inference.predictor import Predictor

LENGTHS = (8, 32, 64, 128, 256, 512)
"""Tokens of the texts that are timed, [CLS] and [SEP] included."""
REPEATS = 100
SECONDS = 5.0
"""At most this long for each length."""


@dataclass(frozen=True)
class Latency:
    """Times of one text, tokenising included."""

    tokens: int
    threads: int | None
    """Of an inference; None where TensorFlow decides."""
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True)
class BenchResult:
    """What `tfsent bench` measures of one model."""

    model: str
    latencies: tuple[Latency, ...]
    reviews: int
    """Of the mix; 0 where the model has no reviews beside it."""
    reviews_per_second: float | None
    """On the reviews of the run, in their own lengths, all threads."""
    start_seconds: float
    """From the start of a process to its first answer."""
    start_megabytes: float
    """Most memory of that process, in 1,000,000 bytes."""

    def to_dict(self) -> dict[str, Any]:
        """Return the result ready for JSON."""
        return asdict(self)


def bench(path: Path, predictors: Sequence[tuple[int | None, Predictor]], reviews: Sequence[str]) -> BenchResult:
    """Measure a model.

    Args:
        path: of the model, for the process that is started.
        predictors: the opened model with each number of threads; the last one classifies the reviews.
        reviews: texts of real lengths; may be empty.

    Raises:
        ArtifactError: a process with the model does not start.
    """
    latencies = [
        _latency(predictor, tokens, threads)
        for threads, predictor in predictors
        for tokens in LENGTHS
        if tokens <= _longest(predictor)
    ]
    per_second = None
    if reviews:
        started = time.perf_counter()
        predictors[-1][1].predict_proba(reviews)
        per_second = len(reviews) / (time.perf_counter() - started)
    seconds, megabytes = _start(path)
    return BenchResult(str(path), tuple(latencies), len(reviews), per_second, seconds, megabytes)


def _longest(predictor: Predictor) -> int:
    tokenizer = getattr(predictor, "tokenizer", None)
    return tokenizer.spec.max_tokens if tokenizer is not None else LENGTHS[-1]


def _latency(predictor: Predictor, tokens: int, threads: int | None) -> Latency:
    text = " ".join(["a"] * (tokens - 2))  # every BERT vocabulary has single letters
    predictor.predict_proba([text])  # the first builds what the others use
    seconds: list[float] = []
    begin = time.perf_counter()
    while len(seconds) < REPEATS and time.perf_counter() - begin < SECONDS:
        started = time.perf_counter()
        predictor.predict_proba([text])
        seconds.append(time.perf_counter() - started)
    p50, p99 = np.quantile(seconds, [0.5, 0.99])
    return Latency(tokens, threads, float(1000 * p50), float(1000 * p99))


def _start(path: Path) -> tuple[float, float]:
    """Run `tfsent predict` once to warm the disk, and once for its seconds and its memory."""
    command = [sys.executable, "-P", "-m", "tfsent", "predict", str(path.resolve()), "a text"]
    for _ in range(2):
        started = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            said = process.stderr.read()
            _, status, usage = _wait(process)
        seconds = time.perf_counter() - started
        if status:
            raise ArtifactError(f"{path} does not answer in a process of its own: {last_line(said)}")
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    return seconds, usage.ru_maxrss * unit / 1e6


def _wait(process: subprocess.Popen[str]) -> tuple[int, int, resource.struct_rusage]:
    """Wait for a process; return its id, its status and what it used."""
    found = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(found[1])
    return found
