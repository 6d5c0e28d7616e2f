"""What every request passes: the token, and on its way out the log and the figures."""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from typing import Any

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tfsent.serving import rest
from tfsent.serving.refusals import ForbiddenError, GoneError, RefusedError
from tfsent.serving.service import Service

METRICS = "/monitoring/prometheus/metrics"
HEALTH = "/healthz"
PAGE = "/"
PAGE_ANSWER = "/page/answer"


class Door:
    """Stands in front of an application.

    Args:
        inner: the application.
        service: its settings, log and figures.
    """

    def __init__(self, inner: ASGIApp, service: Service):
        self._inner, self._service = inner, service
        token = service.settings.token
        self._token = None if token is None else f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        started, status = time.perf_counter(), GoneError.http
        state = scope.setdefault("state", {})

        async def out(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if self._service.closing:
                    message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            async with asyncio.timeout(self._service.settings.limits.body_seconds):  # a client that does not read
                await send(message)

        try:
            if self._allowed(scope):
                await self._inner(scope, receive, out)
            else:
                refusal = ForbiddenError(
                    "Expected the header Authorization: Bearer TOKEN, with the token of this server."
                )
                response = answer_json(rest.write_error(str(refusal)), refusal.http, {"www-authenticate": "Bearer"})
                await response(scope, receive, out)
        finally:
            self._note(scope, status, time.perf_counter() - started, state.get("texts"))

    def _allowed(self, scope: Scope) -> bool:
        # The page is open, for a browser cannot send a token with an address; what it asks is not.
        if self._token is None or scope["path"] in (HEALTH, PAGE):
            return True
        given = dict(scope["headers"]).get(b"authorization", b"")
        return hmac.compare_digest(given, self._token)

    def _note(self, scope: Scope, status: int, seconds: float, texts: int | None) -> None:
        method, path = scope["method"], scope["path"]
        kind = _kind(path)
        self._service.metrics.requests.labels(kind, str(status)).inc()
        self._service.metrics.seconds.labels(kind).observe(seconds)
        self._service.log.write(
            "info",
            "request",
            method=method,
            path=path[:200],
            status=status,
            ms=round(seconds * 1000, 2),
            texts=texts,
            client=(scope.get("client") or ("",))[0] or None,
        )


def _kind(path: str) -> str:
    """What a request was about, in few words: each distinct one is a series in Prometheus."""
    if path in (PAGE, PAGE_ANSWER, HEALTH, METRICS):
        return {PAGE: "page", PAGE_ANSWER: "page", HEALTH: "health", METRICS: "metrics"}[path]
    try:
        return rest.read_address(path).verb
    except RefusedError:
        return "unknown"


def answer_json(whole: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return an object as the answer to a request."""
    body = json.dumps(whole, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
    return Response(body, status, headers, media_type="application/json")
