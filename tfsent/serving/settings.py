"""What `tfsent serve` may be told."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

Level = Literal["debug", "info", "warning", "error", "quiet"]


MOST_WORKERS = 4
"""By default: each takes 60 to 90 MB."""


def default_workers() -> int:
    """Return how many texts are computed at a time: one a core, up to `MOST_WORKERS`."""
    return min(MOST_WORKERS, os.cpu_count() or 1)


@dataclass(frozen=True)
class Limits:
    """What one client may ask of the server. Times are in seconds."""

    body_bytes: int = 8 << 20
    texts: int = 1024
    """Of one request."""
    queue: int = 4096
    """Texts that wait, of all requests."""
    answer_seconds: float = 30.0
    """From the end of the body to the answer."""
    header_seconds: float = 10.0
    """For the first line and the headers of a request."""
    body_seconds: float = 30.0
    """For the body of a request."""


@dataclass(frozen=True)
class Settings:
    """How a model is served."""

    name: str = "sentiment"
    host: str = "127.0.0.1"
    port: int = 8501
    """0 takes a free one."""
    grpc_port: int | None = None
    """None for no gRPC; 0 takes a free one."""
    workers: int = 1
    batch: int = 32
    """Texts that TensorFlow is given at a time, at most. LiteRT takes one."""
    patience: float = 0.003
    """Seconds that a batch which is not full waits for more texts."""
    watch_seconds: float | None = 1.0
    """How often to look for a new version; None for never."""
    grace_seconds: float = 30.0
    """How long a server that was told to end works on what it has."""
    token: str | None = None
    """What clients must send as `Authorization: Bearer …`."""
    limits: Limits = Limits()
    level: Level = "info"
