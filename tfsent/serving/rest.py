"""TensorFlow Serving's REST API as rules: addresses and JSON → texts, answers → JSON. No web server is needed here.

Source: https://www.tensorflow.org/tfx/serving/api_rest
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tfsent.serving.answers import CLASSIFY, INPUT, METHOD, SIGNATURE, STRING, Answers, Output
from tfsent.serving.refusals import MalformedError, UnknownError

SHOWN = 60
"""Characters of a value that a message repeats."""
_ADDRESS = re.compile(
    r"/v1/models/(?P<name>[^/:]+)"
    r"(?:/versions/(?P<version>[^/:]+)|/labels/(?P<label>[^/:]+))?"
    r"(?:(?P<metadata>/metadata)|:(?P<verb>[^/:]*))?"
)
_TYPES = {str: "a string", bool: "a boolean", int: "a number", float: "a number", list: "a list", dict: "an object"}
Verb = Literal["status", "metadata", "predict", "classify"]


@dataclass(frozen=True)
class Address:
    """What the path of a request names."""

    name: str
    verb: Verb
    version: int | None = None
    label: str | None = None

    @property
    def method(self) -> str:
        """The method of HTTP it is asked with."""
        return "POST" if self.verb in ("predict", "classify") else "GET"


@dataclass(frozen=True)
class Question:
    """The texts of a body, and the form in which they came: the answer has the same.

    Attributes:
        texts: in their order.
        form: `rows` (instances), `columns` (inputs) or `examples`.
    """

    texts: tuple[str, ...]
    form: Literal["rows", "columns", "examples"]


def read_address(path: str) -> Address:
    """Return what a path names.

    Raises:
        UnknownError: it is no address of TensorFlow Serving's REST API.
        MalformedError: the version is not a number, or the verb is `:regress`.
    """
    found = _ADDRESS.fullmatch(path)
    if found is None:
        raise UnknownError(f"There is nothing at {_shown(path)}. Expected /v1/models/NAME or /v1/models/NAME:predict.")
    name, version, label, metadata, verb = found.group("name", "version", "label", "metadata", "verb")
    if verb == "regress":
        raise MalformedError("This model classifies, and has no regression. Ask :classify or :predict.")
    verbs: dict[str | None, Verb] = {None: "metadata" if metadata else "status"}
    verbs |= {"predict": "predict", "classify": "classify"}
    if verb not in verbs:
        raise UnknownError(f"There is no verb {_shown(verb)}. Expected :predict or :classify.")
    if version is not None and not re.fullmatch(r"[0-9]{1,18}", version):
        raise MalformedError(f"A version is a number. Received: {_shown(version)}.")
    return Address(name, verbs[verb], None if version is None else int(version), label)


def read_predict(body: bytes) -> Question:
    """Read the body of `:predict`: `instances` (rows) or `inputs` (columns).

    Args:
        body: JSON in UTF-8. A text is a string, or `{"b64": "…"}` for bytes in UTF-8.

    Raises:
        MalformedError: it is not JSON, or not as the protocol says.
    """
    whole = _object(body, "instances", "inputs")
    if ("instances" in whole) == ("inputs" in whole):
        raise MalformedError('Expected either "instances" or "inputs".' + _received(whole))
    if "instances" in whole:
        rows = _filled(whole["instances"], "instances")
        return Question(tuple(_instance(row, f"instances[{i}]") for i, row in enumerate(rows)), "rows")
    values, place = whole["inputs"], "inputs"
    if isinstance(values, dict) and set(values) != {"b64"}:
        values, place = _only_text(values, place), f"inputs.{INPUT}"
    rows = [values] if isinstance(values, str | dict) else _filled(values, place)
    return Question(tuple(_text(row, f"{place}[{i}]") for i, row in enumerate(rows)), "columns")


def read_classify(body: bytes) -> Question:
    """Read the body of `:classify`: `examples`, and perhaps a `context` whose features belong to every example.

    Features other than `text` are allowed and not read, as in TensorFlow Serving.

    Raises:
        MalformedError: it is not JSON, or not as the protocol says.
    """
    whole = _object(body, "examples", "context")
    if "examples" not in whole:
        raise MalformedError('Expected "examples".' + _received(whole))
    context = whole.get("context", {})
    if not isinstance(context, dict):
        raise MalformedError(f"context: expected an object. Received: {_kind(context)}.")
    texts = []
    for i, example in enumerate(_filled(whole["examples"], "examples")):
        place = f"examples[{i}]"
        if not isinstance(example, dict):
            raise MalformedError(f"{place}: expected an object with {INPUT!r}. Received: {_kind(example)}.")
        if twice := sorted(set(example) & set(context)):
            raise MalformedError(f"{place}: {twice[0]!r} is in the context, too. Leave it out in one of them.")
        features = {**context, **example}
        if INPUT not in features:
            raise MalformedError(f"{place}: expected the feature {INPUT!r}.{_received(features)}")
        value = features[INPUT]
        if isinstance(value, list) and len(value) == 1:  # a feature is a list of values
            value = value[0]
        texts.append(_text(value, f"{place}.{INPUT}"))
    return Question(tuple(texts), "examples")


def write_answer(question: Question, answers: Answers) -> dict[str, Any]:
    """Return the JSON object that answers a question."""
    columns = answers.columns()
    if question.form == "examples":
        pairs = [list(map(list, zip(answers.label_names, row, strict=True))) for row in columns["probabilities"]]
        return {"results": pairs}
    if question.form == "columns":
        return {"outputs": columns}
    return {"predictions": [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]}


def write_metadata(name: str, version: int, outputs: Sequence[Output]) -> dict[str, Any]:
    """Return the answer to `GET …/metadata`: the JSON of a GetModelMetadataResponse."""
    signature = {
        "inputs": {INPUT: _tensor(Output(INPUT, STRING, (-1,)), "serving_default_")},
        "outputs": {output.name: _tensor(output, "") for output in outputs},
        "method_name": METHOD,
    }
    return {
        "model_spec": {"name": name, "signature_name": "", "version": str(version)},
        "metadata": {"signature_def": {"signature_def": {SIGNATURE: signature}}},
    }


def write_status(versions: Sequence[tuple[int, str, str]]) -> dict[str, Any]:
    """Return the answer to `GET /v1/models/NAME`: the JSON of a GetModelStatusResponse.

    Args:
        versions: number, state and error message of each; the newest first.
    """
    rows = [
        {
            "version": str(version),
            "state": state,
            "status": {"error_code": "UNKNOWN" if error else "OK", "error_message": error},
        }
        for version, state, error in versions
    ]
    return {"model_version_status": rows}


def write_error(message: str) -> dict[str, str]:
    """Return the JSON object of a refusal."""
    return {"error": message}


def check_signature(name: object, verb: Verb = "predict") -> None:
    """Refuse a signature that the model does not have.

    Args:
        name: what the client says; "" for none.
        verb: what it asks. TensorFlow Serving wants `classify` named where the SavedModel is asked to classify.

    Raises:
        MalformedError: it is not a string, or not a signature for this verb.
    """
    known = (SIGNATURE, CLASSIFY) if verb == "classify" else (SIGNATURE,)
    if not isinstance(name, str):
        raise MalformedError(f"signature_name: expected a string. Received: {_kind(name)}.")
    if name not in ("", *known):
        raise MalformedError(f"There is no signature {_shown(name)}. Expected {' or '.join(known)}, or none named.")


def _tensor(output: Output, prefix: str) -> dict[str, Any]:
    shape = {"dim": [{"size": str(size), "name": ""} for size in output.shape], "unknown_rank": False}
    return {"dtype": output.dtype, "tensor_shape": shape, "name": f"{prefix}{output.name}:0"}


def _object(body: bytes, *known: str) -> dict[str, Any]:
    try:
        whole = json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_once,
            parse_constant=_no_constant,
            parse_int=lambda _: 0,  # no number is ever wanted, and Python refuses long ones
        )
    except RecursionError:
        raise MalformedError("The body is JSON that is nested too deeply. Expected an object of lists.") from None
    except UnicodeDecodeError as error:
        raise MalformedError(f"The body is not UTF-8: byte {error.start + 1} is 0x{body[error.start]:02x}.") from None
    except ValueError as error:
        raise MalformedError(f"The body is not JSON: {error}.") from None
    if not isinstance(whole, dict):
        raise MalformedError(f"The body: expected a JSON object. Received: {_kind(whole)}.")
    if strange := [key for key in whole if key not in (*known, "signature_name")]:
        raise MalformedError(f"The body has an unknown key {_shown(strange[0])}. Expected {' or '.join(known)}.")
    check_signature(whole.get("signature_name", ""), "classify" if "examples" in known else "predict")
    return whole


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise MalformedError(f"The body has the key {_shown(twice)} twice in one object. Expected each key once.")
    return found


def _no_constant(name: str) -> None:
    raise MalformedError(f"The body holds {name}. Expected texts; and {name} is not JSON.")


def _filled(value: object, place: str) -> list[Any]:
    if not isinstance(value, list):
        raise MalformedError(f"{place}: expected a list. Received: {_kind(value)}.")
    if not value:
        raise MalformedError(f"{place}: the list is empty. Expected at least one text.")
    return value


def _instance(row: object, place: str) -> str:
    if isinstance(row, dict) and set(row) != {"b64"}:
        return _text(_only_text(row, place), f"{place}.{INPUT}")
    return _text(row, place)


def _only_text(named: Mapping[str, Any], place: str) -> Any:
    if set(named) != {INPUT}:
        raise MalformedError(f"{place}: expected one input, {INPUT!r}.{_received(named)}")
    return named[INPUT]


def _text(value: object, place: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, dict) and set(value) == {"b64"} and isinstance(value["b64"], str):
        try:
            return base64.b64decode(value["b64"], validate=True).decode("utf-8", "ignore")  # as the model's graph
        except (binascii.Error, ValueError):
            raise MalformedError(f"{place}.b64: not base64. Received: {_shown(value['b64'])}.") from None
    raise MalformedError(f'{place}: expected a string or {{"b64": "…"}}. Received: {_kind(value)}.')


def _received(named: Mapping[str, Any]) -> str:
    return f" Received: {', '.join(map(_shown, named)) if named else 'nothing'}."


def _kind(value: object) -> str:
    return "null" if value is None else _TYPES[type(value)]


def _shown(word: str) -> str:
    return repr(word if len(word) <= SHOWN else f"{word[:SHOWN]}…")
