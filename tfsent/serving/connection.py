"""A connection with a time limit for the headers of a request, which uvicorn does not have.

Without it, clients that send a byte now and then would hold any number of connections open.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class GuardedProtocol(HttpToolsProtocol):
    """Closes a connection whose request does not come in time."""

    header_seconds = 10.0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Stop the clock when the headers are complete."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._unwatch()
        super().connection_lost(exc)

    def _awaits(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _watch(self) -> None:
        if not self._awaits():
            self._unwatch()
        elif self._timer is None and not self.transport.is_closing():
            self._timer = asyncio.get_running_loop().call_later(self.header_seconds, self._give_up)

    def _unwatch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        self._timer = None
        if self._awaits():
            self.transport.close()


def guarded(header_seconds: float) -> type[GuardedProtocol]:
    """Return the protocol with a time limit.

    Args:
        header_seconds: from the first byte of a request, or from the connection, to the end of its headers.
    """
    return type("GuardedProtocol", (GuardedProtocol,), {"header_seconds": header_seconds})
