"""Why a request is not answered: one message, a status of HTTP and a status of gRPC."""

from __future__ import annotations


class RefusedError(Exception):
    """A request that is refused. Each kind has its status codes, which are those of TensorFlow Serving.

    Args:
        message: what was expected, what was received, what to do.
        headers: more headers of the HTTP answer.
    """

    http = 500
    grpc = "INTERNAL"

    def __init__(self, message: str, **headers: str):
        super().__init__(message)
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class MalformedError(RefusedError):
    """The body is not what the protocol says."""

    http, grpc = 400, "INVALID_ARGUMENT"


class ForbiddenError(RefusedError):
    """The bearer token is missing or wrong."""

    http, grpc = 401, "UNAUTHENTICATED"


class UnknownError(RefusedError):
    """There is no such model, version, label or page."""

    http, grpc = 404, "NOT_FOUND"


class WrongMethodError(RefusedError):
    """The address exists, and not for this method of HTTP."""

    http, grpc = 405, "UNIMPLEMENTED"


class TooSlowToSendError(RefusedError):
    """The client did not send its body in time."""

    http, grpc = 408, "DEADLINE_EXCEEDED"


class TooLargeError(RefusedError):
    """The body has too many bytes, or too many texts."""

    http, grpc = 413, "INVALID_ARGUMENT"


class BusyError(RefusedError):
    """The queue is full. The client may ask again."""

    http, grpc = 429, "RESOURCE_EXHAUSTED"

    def __init__(self, message: str):
        super().__init__(message, Retry_After="1")


class GoneError(RefusedError):
    """The client left before it had its answer. Nobody reads this message; it is for the log."""

    http, grpc = 499, "CANCELLED"


class ClosingError(RefusedError):
    """The server is shutting down."""

    http, grpc = 503, "UNAVAILABLE"

    def __init__(self, message: str = "This server is shutting down. Ask again, or ask another."):
        super().__init__(message, Retry_After="1")


class LateError(RefusedError):
    """The answer was not ready in time."""

    http, grpc = 504, "DEADLINE_EXCEEDED"
