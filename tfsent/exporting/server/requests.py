"""Requests as clients of a server build them → calls of its graph."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfsent.exporting.server.c_api import Call, texts_of
from tfsent.exporting.server.warmup import read_warmup
from tfsent.serving import rest


def calls_of_clients(texts: Sequence[bytes]) -> dict[str, Call]:
    """Return the calls that a server makes of the requests of gRPC and REST clients.

    Args:
        texts: UTF-8.
    """
    return {
        "a gRPC Predict request": _of_predict(_predict_request(texts)),
        "a gRPC Classify request": _of_classify(_classify_request(texts)),
        "a REST body of rows": _of_json({"instances": [text.decode() for text in texts]}),
        "a REST body of named rows": _of_json({"instances": [{"text": text.decode()} for text in texts]}),
        "a REST body of columns": _of_json({"inputs": {"text": [text.decode() for text in texts]}}),
        "a REST body of base64": _of_json({"instances": [{"b64": base64.b64encode(t).decode()} for t in texts]}),
    }


def calls_of_warmup(folder: Path) -> dict[str, Call]:
    """Return the calls of the warm-up records in an `assets.extra`."""
    found = {}
    for number, record in enumerate(read_warmup(folder), 1):
        if record.HasField("classify_log"):
            call = _of_classify(record.classify_log.request)
        else:
            call = _of_predict(record.predict_log.request)
        found[f"warm-up record {number}"] = call
    return found


def _predict_request(texts: Sequence[bytes]) -> Any:
    from tensorflow_serving.apis.predict_pb2 import PredictRequest

    request = PredictRequest()
    request.model_spec.name = "sentiment"
    request.model_spec.signature_name = "serving_default"
    request.inputs["text"].CopyFrom(tf.make_tensor_proto(list(texts)))
    return PredictRequest.FromString(request.SerializeToString())


def _classify_request(texts: Sequence[bytes]) -> Any:
    from tensorflow_serving.apis.classification_pb2 import ClassificationRequest

    request = ClassificationRequest()
    request.model_spec.name = "sentiment"
    request.model_spec.signature_name = "classify"
    for text in texts:
        request.input.example_list.examples.add().features.feature["text"].bytes_list.value.append(text)
    return ClassificationRequest.FromString(request.SerializeToString())


def _of_predict(request: Any) -> Call:
    inputs = {name: np.asarray(tf.make_ndarray(value)) for name, value in request.inputs.items()}
    return Call(request.model_spec.signature_name, inputs)


def _of_classify(request: Any) -> Call:
    examples = [example.SerializeToString() for example in request.input.example_list.examples]
    return Call(request.model_spec.signature_name, {"inputs": np.array(examples, object)})


def _of_json(body: dict[str, Any]) -> Call:
    question = rest.read_predict(json.dumps(body).encode())
    return Call("serving_default", texts_of([text.encode() for text in question.texts]))
