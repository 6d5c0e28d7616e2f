"""The addresses of the server: TensorFlow Serving's REST API, figures, health, and a page for people."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from tfsent.errors import first_line
from tfsent.serving import rest
from tfsent.serving.door import HEALTH, METRICS, PAGE, PAGE_ANSWER, Door, answer_json
from tfsent.serving.refusals import (
    ClosingError,
    GoneError,
    MalformedError,
    RefusedError,
    TooLargeError,
    TooSlowToSendError,
    WrongMethodError,
)
from tfsent.serving.service import Request as Asked
from tfsent.serving.service import Service

_ANY = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT")
"""Every address takes them all, to say itself which one it is asked with."""
_BODIES = 8
"""Bodies of the largest size that are in memory at a time, at most."""


class App:
    """Answers HTTP.

    Args:
        service: the model.
    """

    def __init__(self, service: Service):
        self._service = service
        self._body_bytes = 0
        self._page = Path(__file__).with_name("page.html").read_bytes()

    def asgi(self) -> ASGIApp:
        """Return the application for uvicorn."""
        routes = [
            Route(PAGE, _only("GET", self._show_page), methods=_ANY),
            Route(PAGE_ANSWER, _only("POST", self._answer_page), methods=_ANY),
            Route(HEALTH, _only("GET", self._health), methods=_ANY),
            Route(METRICS, _only("GET", self._metrics), methods=_ANY),
            Route("/{path:path}", self._models, methods=_ANY),
        ]
        handlers: dict[Any, Any] = {RefusedError: _refused, HTTPException: _http_refused, ClientDisconnect: _left}
        handlers[Exception] = _failed
        inner = Starlette(routes=routes, exception_handlers=handlers)
        inner.router.redirect_slashes = False
        return Door(inner, self._service)

    async def _models(self, request: Request) -> Response:
        address = rest.read_address(request.url.path)
        if request.method != address.method:
            raise _wrong_method(request, address.method)
        if address.verb == "status":
            self._service.find(address.name, None, address.label)
            found = self._service.statuses(address.version)
            return answer_json(rest.write_status([(one.version, one.state, one.error) for one in found]))
        model = self._service.find(address.name, address.version, address.label)
        if address.verb == "metadata":
            return answer_json(rest.write_metadata(address.name, model.version, model.engine.outputs))
        read = rest.read_predict if address.verb == "predict" else rest.read_classify
        async with self._body(request) as body:
            question = read(body)
        del body
        asked = Asked(address.name, question.texts, address.version, address.label)
        request.state.texts = len(question.texts)
        async with _leaving(request) as gone:
            reply = await self._service.ask(asked, self._service.settings.limits.answer_seconds, gone)
        return answer_json(rest.write_answer(question, reply.answers))

    @contextlib.asynccontextmanager
    async def _body(self, request: Request) -> AsyncIterator[bytes]:
        """Read a body, within the limits of its size, of its time, and of the memory for all bodies.

        Raises:
            RefusedError: it is too large or too slow, encoded, or the server shuts down.
        """
        if self._service.closing:
            raise ClosingError
        limits = self._service.settings.limits
        if encoding := request.headers.get("content-encoding"):
            raise MalformedError(f"The body is encoded with {encoding[:20]}. Send JSON as it is.")
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > limits.body_bytes:
            raise _too_large(limits.body_bytes)
        body = bytearray()
        try:
            try:
                async with asyncio.timeout(limits.body_seconds):
                    async for part in request.stream():
                        body += part
                        self._body_bytes += len(part)
                        if len(body) > limits.body_bytes:
                            raise _too_large(limits.body_bytes)
                        if self._body_bytes > _BODIES * limits.body_bytes:
                            raise ClosingError("Too many bodies are being read. Ask again later.")
            except TimeoutError:
                raise TooSlowToSendError(
                    f"The body did not come within {limits.body_seconds:g} seconds.", Connection="close"
                ) from None
            yield bytes(body)
        finally:
            self._body_bytes -= len(body)

    async def _answer_page(self, request: Request) -> Response:
        """Answer the page: the classes with their probabilities, and how much of the text was read."""
        async with self._body(request) as body:
            question = rest.read_predict(body)
        if len(question.texts) != 1:
            raise MalformedError(f"The page asks one text. Received: {len(question.texts)}.")
        name = self._service.settings.name
        async with _leaving(request) as gone:
            reply = await self._service.ask(
                Asked(name, question.texts), self._service.settings.limits.answer_seconds, gone
            )
        row = reply.answers.columns()
        tokens = await asyncio.to_thread(reply.model.engine.tokens, question.texts[0])
        return answer_json(
            {
                "label": row["label"][0],
                "classes": list(map(list, zip(reply.answers.label_names, row["probabilities"][0], strict=True))),
                "tokens_read": tokens[0] if tokens else None,
                "tokens": tokens[1] if tokens else None,
                "model": f"{name}, version {reply.model.version}",
            }
        )

    async def _show_page(self, request: Request) -> Response:
        headers = {
            "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
            "connect-src 'self'; img-src data:; frame-ancestors 'none'",
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
        }
        return Response(self._page, media_type="text/html; charset=utf-8", headers=headers)

    async def _health(self, request: Request) -> Response:
        if self._service.closing:
            raise ClosingError
        return answer_json({"ready": True, "version": self._service.model.version})

    async def _metrics(self, request: Request) -> Response:
        return Response(self._service.metrics.page(), media_type=CONTENT_TYPE_LATEST)


@contextlib.asynccontextmanager
async def _leaving(request: Request) -> AsyncIterator[asyncio.Future[None]]:
    """Give a future that is done when the client leaves. Call it once the body is read."""

    async def wait() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    gone = asyncio.ensure_future(wait())
    try:
        yield gone
    finally:
        gone.cancel()


def _only(method: str, answer: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    async def checked(request: Request) -> Response:
        if request.method != method and not (method == "GET" and request.method == "HEAD"):
            raise _wrong_method(request, method)
        return await answer(request)

    return checked


def _wrong_method(request: Request, method: str) -> WrongMethodError:
    return WrongMethodError(f"{request.url.path} is asked with {method}. Received: {request.method}.", Allow=method)


def _too_large(most: int) -> TooLargeError:
    return TooLargeError(
        f"The body has more than {most:,} bytes. Ask in parts, or start the server with a larger --max-body-mb.",
        Connection="close",
    )


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    if isinstance(error, GoneError):
        return Response(status_code=error.http)
    return answer_json(rest.write_error(str(error)), error.http, error.headers)


async def _http_refused(request: Request, error: Exception) -> Response:
    """Answer a method that is none of `_ANY`."""
    return await _refused(request, WrongMethodError(f"There is no method {request.method[:20]}."))


async def _failed(request: Request, error: Exception) -> Response:
    """Answer where the model or this code failed. The log has the traceback."""
    return answer_json(rest.write_error(f"The server failed: {first_line(error)}."), 500)


async def _left(request: Request, error: Exception) -> Response:
    return Response(status_code=GoneError.http)
