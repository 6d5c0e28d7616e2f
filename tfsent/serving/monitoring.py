"""What the server says of itself: figures for Prometheus, and a JSON object a line on standard error."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from tfsent.serving.settings import Level

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "quiet": 100}


class Metrics:
    """Figures, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = one = CollectorRegistry()
        ProcessCollector(registry=one)
        how = ("method", "code")
        self.requests = Counter("tfsent_requests", "Requests, by method and status.", how, registry=one)
        self.seconds = Histogram(
            "tfsent_request_seconds", "From a request to its answer.", ("method",), registry=one, buckets=SECONDS
        )
        self.texts = Counter("tfsent_texts", "Texts that were answered.", registry=one)
        self.batches = Histogram(
            "tfsent_batch_texts", "Texts of a batch.", registry=one, buckets=(1, 2, 4, 8, 16, 32, 64, 128)
        )
        self.queue = Gauge("tfsent_queue_texts", "Texts that wait.", registry=one)
        self.reloads = Counter("tfsent_reloads", "New versions that were found.", ("result",), registry=one)
        self.version = Gauge("tfsent_model_version", "The version that answers.", registry=one)
        for result in ("loaded", "refused"):
            self.reloads.labels(result)

    def page(self) -> bytes:
        """Return all figures in Prometheus' text format."""
        return generate_latest(self._registry)


class Log:
    """Writes a JSON object a line. Texts are never in it.

    Args:
        level: what is written: `info` has every request; `quiet` nothing at all.
    """

    def __init__(self, level: Level = "info"):
        self._least = _LEVELS[level]
        self._lock = threading.Lock()
        # A copy: while a model is opened, file descriptor 2 is hidden.
        self._out = os.fdopen(os.dup(2), "w", encoding="utf-8", errors="backslashreplace")

    def write(self, level: Level, event: str, **facts: Any) -> None:
        """Write a line with time, level, event and facts; those that are None are left out."""
        if _LEVELS[level] < self._least:
            return
        known = {name: fact for name, fact in facts.items() if fact is not None}
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"time": time, "level": level, "event": event, **known}, ensure_ascii=False)
        with self._lock:
            try:
                self._out.write(line + "\n")
                self._out.flush()
            except OSError:  # nobody reads it any more: that must not end the server
                pass

    def handler(self) -> logging.Handler:
        """Return a handler that writes what Python's `logging` is told: uvicorn and asyncio use it."""
        return _Handler(self.write)


class _Handler(logging.Handler):
    def __init__(self, write: Callable[..., None]):
        super().__init__(logging.WARNING)
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        level = "error" if record.levelno >= logging.ERROR else "warning"
        said = self.format(record).splitlines()
        self._write(level, "server", message=said[0] if said else "", detail="\n".join(said[1:]) or None)
