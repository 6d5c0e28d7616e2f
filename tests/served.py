"""A server as a process of its own, and how tests ask it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent / "serving"
ROOT = HERE.parents[1]
PATIENCE = 120
"""Seconds until a test gives up. No test is about time."""


@dataclass
class Answered:
    status: int
    body: bytes
    headers: object

    @property
    def json(self):
        return json.loads(self.body)


class Server:
    """A process that serves. `log` is what it wrote to standard error."""

    def __init__(self, command, env=None):
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
        paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        self.process = subprocess.Popen(
            [sys.executable, *map(str, command)],
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env={**os.environ, "PYTHONPATH": paths, **(env or {})},
        )
        self.said = self.process.stdout.readline()
        found = re.search(r"http://([\d.]+):(\d+)/", self.said)
        assert found, self.said + self.log
        self.host, self.port = found[1], int(found[2])
        self.url = found[0]
        grpc = re.search(r"gRPC on (\S+)", self.said)
        self.grpc = grpc[1] if grpc else None

    @property
    def log(self):
        self._log.seek(0)
        return self._log.read().decode()

    def lines(self, event):
        """What the log says of an event."""
        lines = [json.loads(line) for line in self.log.splitlines() if line.startswith("{") and line.endswith("}")]
        return [line for line in lines if line["event"] == event]

    def ask(self, path, body=None, method=None, headers=None):
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        request = urllib.request.Request(self.url.rstrip("/") + path, body, headers or {}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as reply:
                return Answered(reply.status, reply.read(), reply.headers)
        except urllib.error.HTTPError as error:
            return Answered(error.code, error.read(), error.headers)

    def predict(self, *texts, **words):
        return self.ask("/v1/models/sentiment:predict", {"instances": list(texts)}, **words)

    def metric(self, name, **labels):
        wanted = ",".join(f'{key}="{value}"' for key, value in labels.items())
        page = self.ask("/monitoring/prometheus/metrics").body.decode()
        line = f"{name}{{{wanted}}}" if labels else name
        found = re.search(rf"^{re.escape(line)} (\S+)$", page, re.MULTILINE)
        return float(found[1]) if found else 0.0

    def connect(self):
        return socket.create_connection((self.host, self.port), timeout=PATIENCE)

    def end(self, how=signal.SIGTERM):
        """End it; give its exit code and what it printed last."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        rest, _ = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, rest


def until(condition, what):
    """Wait until a condition holds, and give what it gave."""
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < end, f"waited in vain for: {what}"
        time.sleep(0.02)
    return found
