"""TensorFlow Serving's REST API: what is read, what is refused with which message, what is written."""

import base64
import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfsent.serving import rest
from tfsent.serving.answers import Answers, outputs
from tfsent.serving.refusals import RefusedError


def body(whole):
    return json.dumps(whole).encode()


B64 = {"b64": base64.b64encode("großartig".encode()).decode()}


@pytest.mark.parametrize(
    ("given_", "form", "texts"),
    [
        ({"instances": ["a", "b"]}, "rows", ("a", "b")),
        ({"instances": [{"text": "a"}, B64, {"text": B64}]}, "rows", ("a", "großartig", "großartig")),
        ({"instances": ["a"], "signature_name": "serving_default"}, "rows", ("a",)),
        ({"inputs": ["a", B64]}, "columns", ("a", "großartig")),
        ({"inputs": "a"}, "columns", ("a",)),
        ({"inputs": B64}, "columns", ("großartig",)),
        ({"inputs": {"text": ["a", "b"]}}, "columns", ("a", "b")),
        ({"inputs": {"text": "a"}, "signature_name": ""}, "columns", ("a",)),
        ({"instances": [""]}, "rows", ("",)),
    ],
)
def test_texts_of_predict(given_, form, texts):
    assert rest.read_predict(body(given_)) == rest.Question(texts, form)


@pytest.mark.parametrize(
    ("given_", "texts"),
    [
        ({"examples": [{"text": "a"}, {"text": ["b"]}, {"text": B64}]}, ("a", "b", "großartig")),
        ({"examples": [{}, {"stars": 5}], "context": {"text": "a"}}, ("a", "a")),
        ({"examples": [{"text": "a", "stars": [1, 2]}], "context": {}}, ("a",)),
        ({"examples": [{"text": "a"}], "signature_name": "classify"}, ("a",)),  # as TensorFlow Serving wants it
    ],
)
def test_texts_of_classify(given_, texts):
    assert rest.read_classify(body(given_)) == rest.Question(texts, "examples")


DEEP = b'{"instances": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
FORM = 'instances[0]: expected a string or {"b64": "…"}. Received: '


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "The body is not JSON: Expecting value: line 1 column 1 (char 0)."),
        (b'{"instances": ["a"', "The body is not JSON: Expecting ',' delimiter: line 1 column 19 (char 18)."),
        (b'{"instances": ["\xff"]}', "The body is not UTF-8: byte 17 is 0xff."),
        (DEEP, "The body is JSON that is nested too deeply. Expected an object of lists."),
        (b'{"instances": [NaN]}', "The body holds NaN. Expected texts; and NaN is not JSON."),
        (b'{"instances": [-Infinity]}', "The body holds -Infinity. Expected texts; and -Infinity is not JSON."),
        (
            b'{"instances": ["a"], "instances": ["b"]}',
            "The body has the key 'instances' twice in one object. Expected each key once.",
        ),
        (
            b'{"instances": [{"text": "a", "text": "b"}]}',
            "The body has the key 'text' twice in one object. Expected each key once.",
        ),
        (b"[1]", "The body: expected a JSON object. Received: a list."),
        (b"null", "The body: expected a JSON object. Received: null."),
        (b"{}", 'Expected either "instances" or "inputs". Received: nothing.'),
        (
            b'{"instances": ["a"], "inputs": ["a"]}',
            "Expected either \"instances\" or \"inputs\". Received: 'instances', 'inputs'.",
        ),
        (b'{"texts": ["a"]}', "The body has an unknown key 'texts'. Expected instances or inputs."),
        (b'{"instances": []}', "instances: the list is empty. Expected at least one text."),
        (b'{"inputs": []}', "inputs: the list is empty. Expected at least one text."),
        (b'{"inputs": {"text": []}}', "inputs.text: the list is empty. Expected at least one text."),
        (b'{"instances": "a"}', "instances: expected a list. Received: a string."),
        (b'{"inputs": 5}', "inputs: expected a list. Received: a number."),
        (b'{"instances": [1]}', FORM + "a number."),
        (b'{"instances": [' + b"9" * 9999 + b"]}", FORM + "a number."),
        (b'{"instances": [1.5]}', FORM + "a number."),
        (b'{"instances": [true]}', FORM + "a boolean."),
        (b'{"instances": [null]}', FORM + "null."),
        (b'{"instances": [["a"]]}', FORM + "a list."),
        (b'{"instances": [{"review": "a"}]}', "instances[0]: expected one input, 'text'. Received: 'review'."),
        (b'{"instances": [{}]}', "instances[0]: expected one input, 'text'. Received: nothing."),
        (b'{"inputs": {"texts": ["a"]}}', "inputs: expected one input, 'text'. Received: 'texts'."),
        (b'{"instances": [{"text": 5}]}', 'instances[0].text: expected a string or {"b64": "…"}. Received: a number.'),
        (b'{"instances": ["a", {"b64": "?"}]}', "instances[1].b64: not base64. Received: '?'."),
        (b'{"instances": [{"b64": 5}]}', FORM + "an object."),
        (
            b'{"instances": ["a"], "signature_name": "other"}',
            "There is no signature 'other'. Expected serving_default, or none named.",
        ),
        (b'{"instances": ["a"], "signature_name": 5}', "signature_name: expected a string. Received: a number."),
    ],
)
def test_messages_of_predict(raw, message):
    with pytest.raises(RefusedError) as refusal:
        rest.read_predict(raw)
    assert (str(refusal.value), refusal.value.http) == (message, 400)


@pytest.mark.parametrize(
    ("whole", "message"),
    [
        ({}, 'Expected "examples". Received: nothing.'),
        ({"instances": ["a"]}, "The body has an unknown key 'instances'. Expected examples or context."),
        ({"examples": []}, "examples: the list is empty. Expected at least one text."),
        ({"examples": ["a"]}, "examples[0]: expected an object with 'text'. Received: a string."),
        ({"examples": [{"a": 1}]}, "examples[0]: expected the feature 'text'. Received: 'a'."),
        (
            {"examples": [{"text": ["a", "b"]}]},
            'examples[0].text: expected a string or {"b64": "…"}. Received: a list.',
        ),
        ({"examples": [{"text": "a"}], "context": 1}, "context: expected an object. Received: a number."),
        (
            {"examples": [{"text": "a"}], "context": {"text": "b"}},
            "examples[0]: 'text' is in the context, too. Leave it out in one of them.",
        ),
    ],
)
def test_messages_of_classify(whole, message):
    with pytest.raises(RefusedError) as refusal:
        rest.read_classify(body(whole))
    assert (str(refusal.value), refusal.value.http) == (message, 400)


@pytest.mark.parametrize(
    ("path", "address"),
    [
        ("/v1/models/m", rest.Address("m", "status")),
        ("/v1/models/m/versions/3", rest.Address("m", "status", 3)),
        ("/v1/models/m/labels/canary", rest.Address("m", "status", None, "canary")),
        ("/v1/models/m/metadata", rest.Address("m", "metadata")),
        ("/v1/models/m/versions/3/metadata", rest.Address("m", "metadata", 3)),
        ("/v1/models/m:predict", rest.Address("m", "predict")),
        ("/v1/models/m/versions/3:predict", rest.Address("m", "predict", 3)),
        ("/v1/models/m/labels/stable:classify", rest.Address("m", "classify", None, "stable")),
    ],
)
def test_addresses(path, address):
    assert rest.read_address(path) == address


NOTHING = "There is nothing at {!r}. Expected /v1/models/NAME or /v1/models/NAME:predict."


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/v1/models", 404, NOTHING.format("/v1/models")),
        ("/v1/models/", 404, NOTHING.format("/v1/models/")),
        ("/v2/models/m", 404, NOTHING.format("/v2/models/m")),
        ("/v1/models/m/versions", 404, NOTHING.format("/v1/models/m/versions")),
        ("/" + "x" * 100, 404, NOTHING.format("/" + "x" * 59 + "…")),
        ("/v1/models/m:guess", 404, "There is no verb 'guess'. Expected :predict or :classify."),
        ("/v1/models/m:regress", 400, "This model classifies, and has no regression. Ask :classify or :predict."),
        ("/v1/models/m/versions/two:predict", 400, "A version is a number. Received: 'two'."),
        ("/v1/models/m/versions/-1", 400, "A version is a number. Received: '-1'."),
    ],
)
def test_messages_of_addresses(path, status, message):
    with pytest.raises(RefusedError) as refusal:
        rest.read_address(path)
    assert (str(refusal.value), refusal.value.http) == (message, status)


PROBABILITIES = np.array([[0.25, 0.75], [0.96, 0.04]], np.float32)
TWO = Answers(("neg", "pos"), PROBABILITIES)


def test_answers_have_the_form_of_the_question():
    rows = rest.write_answer(rest.Question(("a", "b"), "rows"), TWO)
    assert rows == {
        "predictions": [
            {"label": "pos", "probability": 0.75, "probabilities": [0.25, 0.75]},
            {"label": "neg", "probability": 0.96, "probabilities": [0.96, 0.04]},
        ]
    }
    columns = rest.write_answer(rest.Question(("a", "b"), "columns"), TWO)
    assert columns["outputs"]["label"] == ["pos", "neg"]
    assert columns["outputs"]["probabilities"] == [[0.25, 0.75], [0.96, 0.04]]
    examples = rest.write_answer(rest.Question(("a", "b"), "examples"), TWO)
    assert examples == {"results": [[["neg", 0.25], ["pos", 0.75]], [["neg", 0.96], ["pos", 0.04]]]}


def test_logits_are_answered_where_there_are_some():
    answers = Answers(("neg", "pos"), PROBABILITIES, np.array([[1, 2], [3, -4]], np.float32))
    rows = rest.write_answer(rest.Question(("a", "b"), "rows"), answers)["predictions"]
    assert [row["logits"] for row in rows] == [[1, 2], [3, -4]]
    assert [one.name for one in outputs(2, logits=True)] == list(answers.columns())
    assert [one.name for one in outputs(2, logits=False)] == list(TWO.columns())


@given(st.lists(st.floats(0, 1, width=32), min_size=2, max_size=4))
def test_numbers_are_the_float32_that_the_model_gave(row):
    answers = Answers(tuple("abcd"[: len(row)]), np.array([row], np.float32))
    written = json.loads(json.dumps(rest.write_answer(rest.Question(("t",), "rows"), answers)))
    assert np.array(written["predictions"][0]["probabilities"], np.float32).tolist() == row


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(raw):
    for read in (rest.read_predict, rest.read_classify):
        try:
            read(raw)
        except RefusedError as refusal:
            assert refusal.http == 400


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["text", "b64", "x"]), inner),
    max_leaves=6,
)


@given(st.sampled_from(["instances", "inputs", "examples", "context", "signature_name"]), JSON)
def test_any_json_is_read_or_refused(key, value):
    for read in (rest.read_predict, rest.read_classify):
        try:
            question = read(body({key: value}))
            assert all(isinstance(text, str) for text in question.texts)
        except RefusedError as refusal:
            assert refusal.http == 400


def test_it_needs_neither_a_server_nor_tensorflow():
    check = "import sys, tfsent.serving.rest; print([n for n in ('starlette', 'tensorflow') if n in sys.modules])"
    assert subprocess.run([sys.executable, "-c", check], capture_output=True, text=True).stdout == "[]\n"
