"""The process: sockets, signals, time limits of connections, and the end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn

from tfsent.errors import ConfigError
from tfsent.serving.app import App
from tfsent.serving.connection import guarded
from tfsent.serving.monitoring import Log, Metrics
from tfsent.serving.places import Place
from tfsent.serving.service import Service
from tfsent.serving.settings import Settings

LINGER = 0.5
"""Seconds between the end of listening and the end of connections: requests that are on their way are answered."""
BACKLOG = 2048


def serve(place: Place, settings: Settings, ready: Callable[[str], Any]) -> None:
    """Serve a model until SIGTERM or SIGINT.

    Args:
        place: where the model lies.
        settings: how it is served.
        ready: is told the address when requests are answered.

    Raises:
        ArtifactError: the model cannot be served.
        ConfigError: a port cannot be had.
    """
    listener = _listen(settings.host, settings.port)
    with contextlib.closing(listener):
        log = Log(settings.level)
        for name in ("uvicorn", "asyncio", "grpc"):
            logger = logging.getLogger(name)
            logger.handlers, logger.propagate = [log.handler()], False
        service = Service(place, settings, Metrics(), log)
        config = uvicorn.Config(
            App(service).asgi(),
            http=guarded(settings.limits.header_seconds),
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=BACKLOG,
            timeout_graceful_shutdown=max(1, round(settings.grace_seconds)),
        )
        _Server(config, service, ready).run([listener])
        service.log.write("info", "ended")


class _Server(uvicorn.Server):
    """uvicorn, with our end: told to end it ends with exit code 0, and loses no request it had accepted."""

    def __init__(self, config: uvicorn.Config, service: Service, ready: Callable[[str], Any]):
        super().__init__(config)
        self._service, self._ready = service, ready
        self._watcher: asyncio.Task[None] | None = None
        self._grpc: Any = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        settings, model = self._service.settings, self._service.model
        said = f"http://{_spelt(settings.host)}:{(sockets or [])[0].getsockname()[1]}/"
        if settings.grpc_port is not None:
            from tfsent.serving.grpc_service import start

            self._grpc, port = await start(self._service)
            said += f" and gRPC on {_spelt(settings.host)}:{port}"
        if settings.watch_seconds is not None:
            self._watcher = asyncio.create_task(self._service.watch())
        self._ready(f"{settings.name}, version {model.version} ({model.path.name}), is served at {said}")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._watcher:
            self._watcher.cancel()
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        self._service.closing = True
        self._service.log.write("info", "ending", waiting=self._service.model.batcher.waiting)
        grace = self._service.settings.grace_seconds
        stopping = [asyncio.create_task(self._grpc.stop(grace))] if self._grpc else []
        await asyncio.sleep(LINGER)
        await super().shutdown(sockets)
        if stopping:
            await asyncio.wait(stopping)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End on a signal. uvicorn's own would raise it again afterwards, and the exit code would not be 0."""
        loop = asyncio.get_running_loop()
        for one in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(one, self._end)
        yield
        for one in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(one)

    def _end(self) -> None:
        self.force_exit = self.should_exit  # told twice: at once
        self.should_exit = True


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
        except OSError:
            listener.close()
            raise
        return listener
    except OSError as error:
        raise ConfigError(
            f"--host {host} --port {port} cannot be had: {error.strerror or error}. --port 0 takes a free port."
        ) from error


def _spelt(host: str) -> str:
    return f"[{host}]" if ":" in host else host
