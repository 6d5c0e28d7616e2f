"""TensorFlow Serving's gRPC API: PredictionService (Predict, Classify, GetModelMetadata) and ModelService."""

from __future__ import annotations

import hmac
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from tfsent.errors import ConfigError
from tfsent.serving import protos
from tfsent.serving.answers import FLOAT, INPUT, METHOD, SIGNATURE, STRING, Output
from tfsent.serving.refusals import ForbiddenError, MalformedError, RefusedError
from tfsent.serving.rest import check_signature
from tfsent.serving.service import Reply, Request, Service

_DTYPES = {STRING: protos.STRING, FLOAT: protos.FLOAT}
SIGNATURES = "signature_def"
"""The one field of metadata."""
_Answer = Callable[[Any, float], Awaitable[Any]]


async def start(service: Service) -> tuple[grpc.aio.Server, int]:
    """Start the server in the running event loop.

    Returns:
        The server, and its port.

    Raises:
        ConfigError: the port cannot be had.
    """
    settings = service.settings
    options = [
        ("grpc.max_receive_message_length", settings.limits.body_bytes),
        ("grpc.so_reuseport", 0),  # or a second server would share the port silently
    ]
    server = grpc.aio.server(options=options, maximum_concurrent_rpcs=settings.limits.queue)
    server.add_generic_rpc_handlers(_Calls(service).handlers())
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    try:
        port = server.add_insecure_port(f"{host}:{settings.grpc_port}")
    except RuntimeError as error:
        raise ConfigError(
            f"--host {settings.host} --grpc-port {settings.grpc_port} cannot be had. --grpc-port 0 takes a free port."
        ) from error
    await server.start()
    return server, port


class _Calls:
    def __init__(self, service: Service):
        self._service = service
        token = service.settings.token
        self._token = None if token is None else f"Bearer {token}".encode()

    def handlers(self) -> list[grpc.GenericRpcHandler]:
        """Return what answers each method, for the server."""
        prediction = {
            "Predict": (self._predict, protos.PredictRequest),
            "Classify": (self._classify, protos.ClassificationRequest),
            "GetModelMetadata": (self._metadata, protos.GetModelMetadataRequest),
        }
        model = {"GetModelStatus": (self._status, protos.GetModelStatusRequest)}
        return [
            grpc.method_handlers_generic_handler(
                f"tensorflow.serving.{service}",
                {
                    name: grpc.unary_unary_rpc_method_handler(
                        self._checked(name, answer), kind.FromString, lambda reply: reply.SerializeToString()
                    )
                    for name, (answer, kind) in methods.items()
                },
            )
            for service, methods in (("PredictionService", prediction), ("ModelService", model))
        ]

    def _checked(self, name: str, answer: _Answer) -> Callable[[Any, Any], Awaitable[Any]]:
        async def call(request: Any, context: Any) -> Any:
            started, code = time.perf_counter(), "CANCELLED"
            try:
                self._require_token(context)
                left = context.time_remaining()
                limit = self._service.settings.limits.answer_seconds
                reply = await answer(request, limit if left is None else min(left, limit))
                code = "OK"
                return reply
            except RefusedError as error:
                code = error.grpc
                await context.abort(getattr(grpc.StatusCode, code), str(error))
            except Exception:
                code = "INTERNAL"
                raise
            finally:
                self._note(name, code, time.perf_counter() - started, context.peer())

        return call

    def _require_token(self, context: Any) -> None:
        given = dict(context.invocation_metadata() or ()).get("authorization", "")
        if self._token is not None and not hmac.compare_digest(str(given).encode(), self._token):
            raise ForbiddenError("Expected the metadata authorization: Bearer TOKEN, with the token of this server.")

    def _note(self, name: str, code: str, seconds: float, peer: str) -> None:
        self._service.metrics.requests.labels(name, code).inc()
        self._service.metrics.seconds.labels(name).observe(seconds)
        ms = round(seconds * 1000, 2)
        self._service.log.write("info", "call", method=name, status=code, ms=ms, client=peer)

    async def _predict(self, request: Any, seconds: float) -> Any:
        check_signature(request.model_spec.signature_name)
        if set(request.inputs) != {INPUT}:
            received = ", ".join(sorted(request.inputs)) or "nothing"
            raise MalformedError(f"Expected one input, {INPUT!r}. Received: {received}.")
        reply = await self._ask(request.model_spec, _texts_of(request.inputs[INPUT]), seconds)
        known = {output.name: output for output in reply.model.engine.outputs}
        wanted = list(request.output_filter) or list(known)
        if strange := [name for name in wanted if name not in known]:
            raise MalformedError(f"output_filter: there is no output {strange[0]!r}. Expected {', '.join(known)}.")
        response = protos.PredictResponse(model_spec=_spec(request.model_spec.name, reply))
        columns = reply.answers.columns()
        for name in wanted:
            _fill(response.outputs[name], known[name], columns[name])
        return response

    async def _classify(self, request: Any, seconds: float) -> Any:
        check_signature(request.model_spec.signature_name, "classify")
        reply = await self._ask(request.model_spec, _texts_of_examples(request.input), seconds)
        response = protos.ClassificationResponse(model_spec=_spec(request.model_spec.name, reply))
        for row in reply.answers.probabilities.tolist():
            classes = response.result.classifications.add().classes
            for label, score in zip(reply.answers.label_names, row, strict=True):
                classes.add(label=label, score=score)
        return response

    async def _metadata(self, request: Any, seconds: float) -> Any:
        if list(request.metadata_field) != [SIGNATURES]:
            raise MalformedError(f"metadata_field: expected {SIGNATURES}. Received: {list(request.metadata_field)}.")
        spec = request.model_spec
        model = self._service.find(spec.name, *_choice(spec))
        signature = protos.SignatureDef(method_name=METHOD)
        _describe(signature.inputs[INPUT], Output(INPUT, STRING, (-1,)), "serving_default_")
        for output in model.engine.outputs:
            _describe(signature.outputs[output.name], output, "")
        response = protos.GetModelMetadataResponse()
        response.model_spec.name = spec.name
        response.model_spec.version.value = model.version
        response.metadata[SIGNATURES].Pack(protos.SignatureDefMap(signature_def={SIGNATURE: signature}))
        return response

    async def _status(self, request: Any, seconds: float) -> Any:
        version, label = _choice(request.model_spec)
        self._service.find(request.model_spec.name, None, label)
        response = protos.GetModelStatusResponse()
        for one in self._service.statuses(version):
            code = protos.CODE_UNKNOWN if one.error else 0
            row = response.model_version_status.add(version=one.version, state=protos.STATES[one.state])
            row.status.error_code, row.status.error_message = code, one.error
        return response

    async def _ask(self, spec: Any, texts: tuple[str, ...], seconds: float) -> Reply:
        version, label = _choice(spec)
        return await self._service.ask(Request(spec.name, texts, version, label), seconds)


def _choice(spec: Any) -> tuple[int | None, str | None]:
    chosen = spec.WhichOneof("version_choice")
    return (
        spec.version.value if chosen == "version" else None,
        spec.version_label if chosen == "version_label" else None,
    )


def _spec(name: str, reply: Reply) -> Any:
    spec = protos.message("tensorflow.serving.ModelSpec")(name=name, signature_name=SIGNATURE)
    spec.version.value = reply.model.version
    return spec


def _texts_of(tensor: Any) -> tuple[str, ...]:
    """The texts of a tensor `string[n]`, or of a scalar."""
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    if tensor.dtype != protos.STRING:
        raise MalformedError(
            f"{INPUT}: expected a tensor of type DT_STRING ({protos.STRING}). Received: {tensor.dtype}."
        )
    if len(shape) > 1 or tensor.tensor_shape.unknown_rank:
        raise MalformedError(f"{INPUT}: expected a tensor of shape [n]. Received: {shape}.")
    count = shape[0] if shape else 1
    if count < 1:
        raise MalformedError(f"{INPUT}: the tensor is empty. Expected at least one text.")
    if len(tensor.string_val) != count:
        # A client may say one value for all of a tensor. For texts that is an error rather than a wish.
        raise MalformedError(f"{INPUT}: the shape is {shape}, and there are {len(tensor.string_val)} texts.")
    return tuple(map(_decoded, tensor.string_val))


def _texts_of_examples(given: Any) -> tuple[str, ...]:
    kind = given.WhichOneof("kind")
    if kind is None:
        raise MalformedError("input: expected examples. Received: nothing.")
    listed = getattr(given, kind)
    if not listed.examples:
        raise MalformedError("input: the list of examples is empty. Expected at least one text.")
    context = listed.context.features.feature if kind == "example_list_with_context" else {}
    return tuple(_text_of(example.features.feature, context, i) for i, example in enumerate(listed.examples))


def _text_of(features: Any, context: Any, i: int) -> str:
    if twice := sorted(set(features) & set(context)):
        raise MalformedError(f"examples[{i}]: {twice[0]!r} is in the context, too. Leave it out in one of them.")
    found = features if INPUT in features else context
    if INPUT not in found:
        received = ", ".join(sorted({*features, *context})) or "nothing"
        raise MalformedError(f"examples[{i}]: expected the feature {INPUT!r}. Received: {received}.")
    values = found[INPUT].bytes_list.value
    if len(values) != 1:
        raise MalformedError(f"examples[{i}].{INPUT}: expected one text in bytes_list. Received: {len(values)}.")
    return _decoded(values[0])


def _decoded(text: bytes) -> str:
    return text.decode("utf-8", "ignore")  # as the model's graph


def _fill(tensor: Any, output: Output, values: list[Any]) -> None:
    tensor.dtype = _DTYPES[output.dtype]
    for size in (len(values), *output.shape[1:]):
        tensor.tensor_shape.dim.add(size=size)
    if output.dtype == STRING:
        tensor.string_val.extend(value.encode() for value in values)
    elif len(output.shape) == 1:
        tensor.float_val.extend(values)
    else:
        tensor.float_val.extend(value for row in values for value in row)


def _describe(info: Any, output: Output, prefix: str) -> None:
    info.name, info.dtype = f"{prefix}{output.name}:0", _DTYPES[output.dtype]
    for size in output.shape:
        info.tensor_shape.dim.add(size=size)
