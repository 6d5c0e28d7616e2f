"""Classify texts with a server that speaks TensorFlow Serving's REST or gRPC: TensorFlow Serving, or `tfsent serve`.

    python client.py "Loved every minute." "The plot never starts."
    python client.py --url grpc://localhost:8500 --file reviews.jsonl.gz > answers.jsonl

REST needs the standard library alone, gRPC `pip install grpcio protobuf`.
Copy this file into a program of yours, or run it: a line of JSON for each text, in order.
"""

from __future__ import annotations

import argparse
import array
import base64
import contextlib
import gzip
import http.client
import itertools
import json
import math
import os
import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import quote, urlsplit

FIRST_WAIT, LONGEST_WAIT = 0.2, 10.0  # seconds
FIRST_OUTPUTS = ("label", "probability", "probabilities")  # people read the lines
TOKEN_VARIABLE = "TFSENT_SERVE_TOKEN"


class ServingError(Exception):
    """The server cannot be asked, or refused. The message is one line."""


class BusyError(Exception):
    """The same request may succeed later. `wait` is how many seconds the server asked for, or 0."""

    def __init__(self, why: str, wait: float = 0.0) -> None:
        super().__init__(why)
        self.wait = wait


class RestClient:
    """Asks over one connection, which it keeps. Not for several threads at once: give each its own.

    Args:
        url: `http://HOST:PORT` or `https://HOST:PORT`, with a path in front of `/v1` if a proxy wants one.
        model: the name that the server knows the model by.
        version: a number. Without it and `label`, the server takes the newest.
        label: such as `canary`. TensorFlow Serving has them in models.config.
        token: sent as `Authorization: Bearer TOKEN`.
        timeout: seconds to connect, and between two pieces of an answer.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        version: int | None = None,
        label: str | None = None,
        token: str = "",
        timeout: float = 30.0,
    ) -> None:
        parts = split_url(url, ("http", "https"))
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname or "", parts.port, timeout=timeout)
        self._path = predict_path(parts.path, model, version, label)
        self._where, self._timeout = f"{parts.scheme}://{parts.netloc}", timeout
        self._headers = {"Content-Type": "application/json", **authorization(token)}

    def ask(self, texts: list[str | bytes]) -> list[dict[str, Any]]:
        """Classify one batch.

        Returns:
            For each text the model's outputs by name: `label`, `probability`, `probabilities`, `logits`.

        Raises:
            BusyError: try again later.
            ServingError: anything else that went wrong.
        """
        body = request_body(texts)
        kept = self._connection.sock is not None
        try:
            status, headers, answer = self._exchange(body)
        except (ConnectionResetError, BrokenPipeError):
            # A server closes a connection that was idle for long. Classifying twice does no harm.
            if not kept:
                raise ServingError(f"{self._where} closed the connection without an answer.") from None
            try:
                status, headers, answer = self._exchange(body)
            except (ConnectionResetError, BrokenPipeError):
                raise ServingError(f"{self._where} closed the connection without an answer.") from None
        if status in (429, 503):
            raise BusyError(f"{self._where} is busy ({status}): {said(answer)}", seconds(headers.get("Retry-After")))
        if status != 200:
            raise ServingError(f"{self._where} answered {status}: {said(answer)}")
        return rows(self._outputs(answer), len(texts))

    def close(self) -> None:
        """Close the connection. The next request opens another."""
        self._connection.close()

    def _exchange(self, body: bytes) -> tuple[int, http.client.HTTPMessage, bytes]:
        """Send a request and read the whole answer; a connection that failed is closed."""
        try:
            self._connection.request("POST", self._path, body, self._headers)
            response = self._connection.getresponse()
            return response.status, response.headers, response.read()
        except BaseException as error:
            self._connection.close()
            if isinstance(error, ConnectionRefusedError):
                raise BusyError(f"Nothing listens at {self._where}: start the server, or correct --url.") from None
            if isinstance(error, TimeoutError):
                raise ServingError(f"No answer from {self._where} within {self._timeout:g} s.") from None
            if isinstance(error, ConnectionResetError | BrokenPipeError):
                raise
            if isinstance(error, OSError | http.client.HTTPException):
                raise ServingError(f"{self._where} cannot be asked: {error or type(error).__name__}") from None
            raise

    def _outputs(self, answer: bytes) -> dict[str, list[Any]]:
        try:
            outputs = json.loads(answer)["outputs"]
        except (ValueError, KeyError, TypeError):
            outputs = None
        if not isinstance(outputs, dict) or not all(isinstance(column, list) for column in outputs.values()):
            raise ServingError(f"{self._where} did not answer as TensorFlow Serving does: {said(answer)}")
        return outputs


class GrpcClient:
    """The same over gRPC, at `grpc://HOST:PORT` or, with TLS, `grpcs://HOST:PORT`. Threads may share one."""

    def __init__(
        self,
        url: str,
        model: str,
        *,
        version: int | None = None,
        label: str | None = None,
        token: str = "",
        timeout: float = 30.0,
    ) -> None:
        try:
            import grpc

            self._messages = grpc_messages()
        except ImportError as error:
            missing = f"gRPC needs more than Python ({error})"
            raise ServingError(f"{missing}. Run `pip install grpcio protobuf`, or ask http://…:8501.") from None
        parts = split_url(url, ("grpc", "grpcs"))
        # Messages of any size, and no retries but those below.
        options = [("grpc.max_receive_message_length", -1), ("grpc.enable_retries", 0)]
        if parts.scheme == "grpcs":
            self._channel = grpc.secure_channel(parts.netloc, grpc.ssl_channel_credentials(), options)
        else:
            self._channel = grpc.insecure_channel(parts.netloc, options)
        self._predict = self._channel.unary_unary(
            "/tensorflow.serving.PredictionService/Predict",
            request_serializer=self._messages["Request"].SerializeToString,
            response_deserializer=self._messages["Response"].FromString,
        )
        self._spec = self._messages["Spec"](name=model, version_label=label or "")
        if version is not None:
            self._spec.version.value = version
        self._where, self._timeout = f"{parts.scheme}://{parts.netloc}", timeout
        self._metadata = [(name.lower(), value) for name, value in authorization(token).items()]
        self._grpc = grpc

    def ask(self, texts: list[str | bytes]) -> list[dict[str, Any]]:
        """Classify one batch, as `RestClient.ask` does."""
        tensor = {"dtype": STRING, "shape": {"dim": [{"size": len(texts)}]}, "string_val": map(as_bytes, texts)}
        request = self._messages["Request"](spec=self._spec, inputs=[{"key": "text", "value": tensor}])
        try:
            answer = self._predict(request, self._timeout, self._metadata)
        except self._grpc.RpcError as error:
            code, words = error.code(), said((error.details() or "").encode())
            # TensorFlow Serving's REST turns these two into 503 and 429.
            if code in (self._grpc.StatusCode.UNAVAILABLE, self._grpc.StatusCode.RESOURCE_EXHAUSTED):
                raise BusyError(f"{self._where} is busy or not there ({code.name}): {words}") from None
            if code == self._grpc.StatusCode.DEADLINE_EXCEEDED:
                raise ServingError(f"No answer from {self._where} within {self._timeout:g} s.") from None
            raise ServingError(f"{self._where} answered {code.name}: {words}") from None
        return rows({output.key: column(output.value) for output in answer.outputs}, len(texts))

    def close(self) -> None:
        """Close the channel for good."""
        self._channel.close()


MESSAGES = {
    "Dim": {"size": (1, "INT64")},
    "Shape": {"dim": (2, "[Dim]")},
    "Tensor": {
        "dtype": (1, "INT32"),
        "shape": (2, "Shape"),
        "tensor_content": (4, "BYTES"),
        "float_val": (5, "[FLOAT]"),
        "string_val": (8, "[BYTES]"),
    },
    "Entry": {"key": (1, "STRING"), "value": (2, "Tensor")},
    "Version": {"value": (1, "INT64")},
    "Spec": {"name": (1, "STRING"), "version": (2, "Version"), "version_label": (4, "STRING")},
    "Request": {"spec": (1, "Spec"), "inputs": (2, "[Entry]")},
    "Response": {"outputs": (1, "[Entry]")},
}
"""What is needed of predict.proto, model.proto and tensor.proto: name → (number, type). On the wire a map is a list of
entries, an enumeration a number. The package tensorflow-serving-api has them all, and loads TensorFlow with them."""
FLOAT, STRING = 1, 7  # of DataType


def grpc_messages() -> dict[str, Any]:
    """Make the classes of `MESSAGES`. Raises ImportError without protobuf."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="client.proto", package="client", syntax="proto3")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            label = kinds.LABEL_REPEATED if kind.startswith("[") else kinds.LABEL_OPTIONAL
            added, kind = message.field.add(name=field, number=number, label=label), kind.strip("[]")
            if kind in MESSAGES:
                added.type, added.type_name = kinds.TYPE_MESSAGE, f".client.{kind}"
            else:
                added.type = getattr(kinds, f"TYPE_{kind}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"client.{name}")) for name in MESSAGES}


def column(tensor: Any) -> list[Any]:
    """Return a tensor of one or two dimensions, of strings or float32, as lists."""
    shape = [dim.size for dim in tensor.shape.dim]
    if tensor.dtype == STRING:
        values: list[Any] = [value.decode("utf-8", "replace") for value in tensor.string_val]
    elif tensor.dtype == FLOAT:
        numbers = array.array("f", tensor.tensor_content) if tensor.tensor_content else tensor.float_val
        values = [float(f"{number:.9g}") for number in numbers]  # as many digits as tell all float32 apart
    else:
        raise ServingError(f"Expected outputs of strings or float32, got the data type {tensor.dtype}.")
    count = math.prod(shape)
    values += values[-1:] * (count - len(values))  # the protocol leaves out a last value that repeats
    if len(shape) not in (1, 2) or len(values) != count:
        raise ServingError(f"Expected an output with one row for each text, got the shape {shape}.")
    width = shape[1] if len(shape) == 2 else 0
    return values if len(shape) == 1 else [values[i * width : (i + 1) * width] for i in range(shape[0])]


def classify(
    client: RestClient | GrpcClient, texts: Iterable[str | bytes], batch_size: int = 32, attempts: int = 6
) -> Iterator[dict[str, Any]]:
    """Classify many texts in batches, and yield one answer for each, in their order.

    Args:
        client: who asks.
        texts: any strings, or bytes, UTF-8 or not.
        batch_size: texts in a request; at most the server's `max_batch_size`.
        attempts: how often a batch is tried while the server is busy (429, 503, UNAVAILABLE) or not yet listening.

    Raises:
        ServingError: the server refused, or was busy too often. Answers before that have been yielded.
    """
    pending = iter(texts)
    while batch := list(itertools.islice(pending, batch_size)):
        yield from with_retries(lambda batch=batch: client.ask(batch), attempts)


def with_retries(call: Callable[[], list[dict[str, Any]]], attempts: int) -> list[dict[str, Any]]:
    """Call again while it raises `BusyError`; each wait is drawn from twice the range of the one before."""
    for attempt in itertools.count(1):
        try:
            return call()
        except BusyError as busy:
            if attempt >= attempts:
                raise ServingError(f"{busy}{f' (tried {attempts} times)' if attempts > 1 else ''}") from None
            # Drawn at random, for clients that all failed at once should not all return at once.
            drawn = random.uniform(0, min(LONGEST_WAIT, FIRST_WAIT * 2**attempt))
            time.sleep(max(drawn, min(busy.wait, LONGEST_WAIT)))


def split_url(url: str, schemes: tuple[str, ...]) -> Any:
    """Split an address, or raise ServingError that says what is expected."""
    try:
        parts = urlsplit(url)
        valid = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise ServingError(f"Expected {' or '.join(f'{s}://HOST:PORT' for s in schemes)}, got {url!r}.")
    return parts


def predict_path(prefix: str, model: str, version: int | None, label: str | None) -> str:
    """Return the path of a predict request."""
    which = f"/versions/{version}" if version is not None else f"/labels/{quote(label, '')}" if label else ""
    return f"{prefix.rstrip('/')}/v1/models/{quote(model, '')}{which}:predict"


def authorization(token: str) -> dict[str, str]:
    """Return the header for a token, none for an empty one."""
    if token and not (token.isascii() and token.isprintable()):
        raise ServingError(f"The token in {TOKEN_VARIABLE} has characters that no header may have.")
    return {"Authorization": f"Bearer {token}"} if token else {}


def request_body(texts: Iterable[str | bytes]) -> bytes:
    """Return texts as the JSON of a predict request. What is no UTF-8 travels as base64."""

    def value(data: bytes) -> str | dict[str, str]:
        try:
            return data.decode()
        except UnicodeDecodeError:
            return {"b64": base64.b64encode(data).decode()}

    inputs = {"inputs": {"text": [value(as_bytes(text)) for text in texts]}}
    return json.dumps(inputs, ensure_ascii=False).encode()


def as_bytes(text: str | bytes) -> bytes:
    """Return the bytes of a text. Half a surrogate pair has no UTF-8; the model drops the bytes that stand for it."""
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")


def rows(outputs: dict[str, list[Any]], count: int) -> list[dict[str, Any]]:
    """Turn columns into one dict for each text."""
    lengths = {name: len(column) for name, column in outputs.items()}
    if not outputs or set(lengths.values()) != {count}:
        raise ServingError(f"Expected {count} answers for {count} texts, got {lengths or 'none'}.")
    names = [name for name in FIRST_OUTPUTS if name in outputs]
    names += sorted(outputs.keys() - set(names))
    return [{name: outputs[name][i] for name in names} for i in range(count)]


def said(answer: bytes) -> str:
    """Return what a server said, in one line."""
    words = answer.decode("utf-8", "replace")
    with contextlib.suppress(ValueError, KeyError, TypeError):
        words = str(json.loads(words)["error"])
    line = " ".join(words.split())
    return f"{line[:300]}…" if len(line) > 300 else line or "no reason given"


def seconds(retry_after: str | None) -> float:
    """Return a Retry-After header in seconds. A date counts as none."""
    return float(retry_after) if retry_after and retry_after.isdecimal() else 0.0


def read_texts(path: str) -> Iterator[str | bytes]:
    """Yield the texts of a file: lines, or the `text` of each line of .jsonl; either may be .gz. `-` is standard input.

    An empty line of a .txt is an empty text, so that answer n belongs to line n.
    """
    name = path.removesuffix(".gz")
    try:
        with sys.stdin.buffer if path == "-" else (gzip.open if path != name else open)(path, "rb") as lines:
            for number, line in enumerate(lines, 1):
                if not name.endswith(".jsonl"):
                    yield line.rstrip(b"\r\n")
                elif line.strip():
                    yield text_field(line, f"{path}, line {number}")
    except (OSError, EOFError) as error:
        raise ServingError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None


def text_field(line: bytes, where: str) -> str:
    """Return the `text` of a line of JSON."""
    try:
        text = json.loads(line)["text"]
    except (ValueError, KeyError, TypeError):
        text = None
    if not isinstance(text, str):
        raise ServingError(f'{where}: expected a JSON object with a "text", a string.')
    return text


def positive(word: str) -> int:
    """Read a number from 1 on, for argparse."""
    if not (word.isdecimal() and int(word) > 0):
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 on, got {word!r}")
    return int(word)


def above_zero(word: str) -> float:
    """Read a number above 0, for argparse."""
    try:
        number = float(word)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {word!r}")
    return number


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Classify texts with TensorFlow Serving or `tfsent serve`: a line of JSON for each text, in order.",
        epilog=f"A bearer token is taken from the environment variable {TOKEN_VARIABLE}.",
    )
    parser.add_argument("texts", nargs="*", metavar="TEXT")
    parser.add_argument("--file", help="lines of a .txt, or the `text` of .jsonl; also .gz; - is standard input")
    parser.add_argument("--url", default="http://localhost:8501", help="http[s]://HOST:8501 or grpc[s]://HOST:8500")
    parser.add_argument("--model", default="sentiment")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--version", type=positive, help="a version of the model; without it the newest")
    which.add_argument("--label", help="a label of a version, such as canary")
    parser.add_argument("--batch-size", type=positive, default=32, help="texts in a request (32)")
    parser.add_argument("--timeout", type=above_zero, default=30.0, help="seconds for a request (30)")
    parser.add_argument("--attempts", type=positive, default=6, help="tries while the server is busy (6)")
    options = parser.parse_args()
    if bool(options.texts) == bool(options.file):
        parser.error("give either texts or --file")
    return options


def main() -> int:
    """Run the command. Returns the exit status."""
    options = parse()
    kind = GrpcClient if options.url.startswith("grpc") else RestClient
    # The shell's bytes, whatever the locale.
    texts = read_texts(options.file) if options.file else [os.fsencode(text) for text in options.texts]
    done = 0
    try:
        client = kind(
            options.url,
            options.model,
            version=options.version,
            label=options.label,
            token=os.environ.get(TOKEN_VARIABLE, "").strip(),
            timeout=options.timeout,
        )
        for answer in classify(client, texts, options.batch_size, options.attempts):
            print(json.dumps(answer, ensure_ascii=False))
            done += 1
        sys.stdout.flush()
    except ServingError as error:
        print(f"Error: {error}" + (f" ({done} texts were classified before.)" if done else ""), file=sys.stderr)
        return 1
    except BrokenPipeError:  # as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
