"""Kept HTTP connections for load.py: raw sockets under asyncio, for the load must not cost what the server needs."""

from __future__ import annotations

import asyncio
import collections
from dataclasses import dataclass, field
from typing import Any


class Connection(asyncio.Protocol):
    """One kept connection, with one request on it at a time. Just enough HTTP/1.1 to read an answer."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[tuple[int, bytes]] | None = None
        self.open = True
        self._received = bytearray()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        self.open = False
        if self.answer is not None and not self.answer.done():
            self.answer.set_exception(ConnectionResetError())

    def data_received(self, data: bytes) -> None:
        self._received += data
        try:
            whole = parse_answer(self._received)
        except (ValueError, IndexError):  # no HTTP
            self.close()
            return
        if whole is None or self.answer is None or self.answer.done():
            return
        status, body, keep = whole
        self._received.clear()
        if not keep:
            self.close()
        self.answer.set_result((status, body))

    async def ask(self, request: bytes, timeout: float) -> tuple[int, bytes]:
        """Send a request and return status and body. Raises TimeoutError, ConnectionResetError."""
        loop = asyncio.get_running_loop()
        self.answer = answer = loop.create_future()
        late = loop.call_later(timeout, lambda: answer.done() or answer.set_exception(TimeoutError()))
        self.transport.write(request)
        try:
            return await answer
        except TimeoutError:
            self.close()
            raise
        finally:
            late.cancel()

    def close(self) -> None:
        """Close it at once."""
        self.open = False
        self.transport.abort()


def parse_answer(data: bytearray) -> tuple[int, bytes, bool] | None:
    """Return status, body and whether the connection stays, or None while more must come."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    first, *lines = bytes(data[:end]).decode("latin-1").split("\r\n")
    headers = {
        name.strip().lower(): value.strip().lower() for name, _, value in (line.partition(":") for line in lines)
    }
    keep = headers.get("connection") != "close"
    if headers.get("transfer-encoding") == "chunked":
        body = join_chunks(data, end + 4)
    else:
        whole = end + 4 + int(headers.get("content-length", 0))
        body = bytes(data[end + 4 : whole]) if len(data) >= whole else None
    return None if body is None else (int(first.split(" ")[1]), body, keep)


def join_chunks(data: bytearray, start: int) -> bytes | None:
    """Return a chunked body from `start` on, or None while more must come."""
    body = b""
    while (end := data.find(b"\r\n", start)) >= 0:
        size = int(data[start:end].split(b";")[0], 16)
        start = end + 2 + size + 2
        if len(data) < start:
            return None
        if size == 0:
            return body
        body += data[end + 2 : start - 2]
    return None


@dataclass
class Pool:
    """Up to `most` kept connections to one server. Who finds none free gets the next that is, in turn."""

    host: str
    port: int
    tls: bool
    timeout: float
    most: int
    free: list[Connection] = field(default_factory=list)
    opened: int = 0
    waiting: collections.deque[asyncio.Future[Connection | None]] = field(default_factory=collections.deque)

    async def borrow(self) -> Connection:
        """Return an open connection. Raises OSError, TimeoutError."""
        while self.free:
            if (connection := self.free.pop()).open:
                return connection
            self.opened -= 1
        if self.opened < self.most:
            self.opened += 1
            return await self._connect()
        turn: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
        self.waiting.append(turn)
        given = await turn
        return given if given is not None and given.open else await self._connect()

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        try:
            connecting = loop.create_connection(Connection, self.host, self.port, ssl=self.tls or None)
            return (await asyncio.wait_for(connecting, self.timeout))[1]
        except BaseException:
            self._pass_on(None)
            raise

    def give_back(self, connection: Connection) -> None:
        """Let others have a connection; a closed one makes room for a new one."""
        self._pass_on(connection if connection.open else None)

    def _pass_on(self, connection: Connection | None) -> None:
        if self.waiting:
            self.waiting.popleft().set_result(connection)
        elif connection is not None:
            self.free.append(connection)
        else:
            self.opened -= 1

    def close(self) -> None:
        """Close the free connections."""
        for connection in self.free:
            connection.close()
