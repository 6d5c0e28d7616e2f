"""The server as a process: every address and error, many clients, bad clients, and its end."""

import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from nasty_texts import nasty
from served import PATIENCE, Server, until
from tiny import tiny_texts

import tfsent

PREDICT = "/v1/models/sentiment:predict"
CLASSIFY = "/v1/models/sentiment:classify"


@pytest.fixture(scope="module")
def served(start, mobile):
    return start(mobile, grpc_port=0, limits={"body_bytes": 100_000, "texts": 20})


@pytest.fixture(scope="module")
def predictor(mobile):
    return tfsent.load(mobile / "model.tflite")


def test_answers_are_those_of_the_file(served, predictor):
    texts = ["good great film", "awful bad plot", "", "a film. " * 50]
    expected = predictor.predict_proba(texts)
    found = served.predict(*texts).json["predictions"]
    np.testing.assert_allclose([row["probabilities"] for row in found], expected, atol=1e-6)
    np.testing.assert_allclose([row["probability"] for row in found], expected.max(axis=1), atol=1e-6)
    assert [row["label"] for row in found] == [predictor.label_names[i] for i in expected.argmax(axis=1)]
    assert list(found[0]) == ["label", "probability", "probabilities"]
    columns = served.ask(PREDICT, {"inputs": {"text": texts}}).json["outputs"]
    assert columns["probabilities"] == [row["probabilities"] for row in found]
    classes = served.ask(CLASSIFY, {"examples": [{"text": text} for text in texts]}).json["results"]
    assert [dict(pairs) for pairs in classes] == [
        dict(zip(predictor.label_names, row["probabilities"], strict=True)) for row in found
    ]


def test_nasty_texts_are_answered(served, predictor):
    texts = [*nasty(40), "\ud800 good", "\udfff"]
    expected = predictor.predict_proba(texts)
    found = [served.predict(text).json["predictions"][0] for text in texts]
    np.testing.assert_allclose([row["probabilities"] for row in found], expected, atol=1e-5)


def test_64_clients_get_their_own_answers(served, predictor):
    texts = tiny_texts(640, 5)
    texts = [text for text, _ in texts]
    expected = predictor.predict_proba(texts)

    def client(k):
        return [(i, served.predict(texts[i]).json["predictions"][0]["probabilities"]) for i in range(k, len(texts), 64)]

    with ThreadPoolExecutor(64) as pool:
        answers = [one for found in pool.map(client, range(64)) for one in found]
    assert len(answers) == len(texts)
    for i, found in answers:
        np.testing.assert_allclose(found, expected[i], atol=1e-5)


def test_status_metadata_health_and_figures(served):
    status = {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    for path in ("/v1/models/sentiment", "/v1/models/sentiment/versions/1"):
        assert served.ask(path).json == {"model_version_status": [status]}
    metadata = served.ask("/v1/models/sentiment/metadata").json
    assert metadata["model_spec"] == {"name": "sentiment", "signature_name": "", "version": "1"}
    signature = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["method_name"] == "tensorflow/serving/predict"
    assert signature["inputs"]["text"]["dtype"] == "DT_STRING"
    assert list(signature["outputs"]) == ["label", "probability", "probabilities"]
    sizes = [dim["size"] for dim in signature["outputs"]["probabilities"]["tensor_shape"]["dim"]]
    assert sizes == ["-1", "2"]
    assert served.ask("/healthz").json == {"ready": True, "version": 1}
    before = served.metric("tfsent_requests_total", code="200", method="predict"), served.metric("tfsent_texts_total")
    served.predict("a", "b")
    after = served.metric("tfsent_requests_total", code="200", method="predict"), served.metric("tfsent_texts_total")
    assert np.subtract(after, before).tolist() == [1, 2]
    assert (served.metric("tfsent_queue_texts"), served.metric("tfsent_model_version")) == (0, 1)
    assert served.metric("tfsent_request_seconds_count", method="predict") > 0
    assert served.metric("tfsent_batch_texts_count") >= 2


ONE = {"instances": ["good film"]}
NOT_SERVED = "There is no model 'other'. This server has 'sentiment'."


@pytest.mark.parametrize(
    ("method", "path", "sent", "status", "message"),
    [
        ("GET", "/v1/models/other", None, 404, NOT_SERVED),
        ("POST", "/v1/models/other:predict", ONE, 404, NOT_SERVED),
        ("GET", "/v1/models/other/metadata", None, 404, NOT_SERVED),
        ("GET", "/v1/models/sentiment/versions/7", None, 404, "There is no version 7. Version 1 is served."),
        ("POST", "/v1/models/sentiment/versions/7:predict", ONE, 404, "Version 7 is not served. Version 1 is."),
        (
            "POST",
            "/v1/models/sentiment/labels/canary:predict",
            ONE,
            404,
            "There is no version labelled 'canary': this server has no labels. Leave it out.",
        ),
        ("GET", "/x", None, 404, "There is nothing at '/x'. Expected /v1/models/NAME or /v1/models/NAME:predict."),
        ("GET", PREDICT, None, 405, f"{PREDICT} is asked with POST. Received: GET."),
        ("PUT", PREDICT, ONE, 405, f"{PREDICT} is asked with POST. Received: PUT."),
        (
            "POST",
            "/v1/models/sentiment",
            ONE,
            405,
            "/v1/models/sentiment is asked with GET. Received: POST.",
        ),
        ("POST", "/healthz", ONE, 405, "/healthz is asked with GET. Received: POST."),
        ("POST", PREDICT, b"{", 400, None),
        ("POST", PREDICT, {"instances": []}, 400, "instances: the list is empty. Expected at least one text."),
        (
            "POST",
            PREDICT,
            {"instances": ["a"] * 21},
            413,
            "The request has 21 texts. Expected at most 20: ask in parts.",
        ),
        (
            "POST",
            PREDICT,
            {"instances": ["x" * 100_000]},
            413,
            "The body has more than 100,000 bytes. Ask in parts, or start the server with a larger --max-body-mb.",
        ),
        ("POST", "/page/answer", {"instances": ["a", "b"]}, 400, "The page asks one text. Received: 2."),
    ],
)
def test_messages_and_status_codes(served, method, path, sent, status, message):
    answered = served.ask(path, sent, method)
    assert answered.status == status
    assert list(answered.json) == ["error"]
    assert answered.headers["content-type"] == "application/json"
    if message:
        assert answered.json["error"] == message
    if status == 405:
        assert answered.headers["allow"] in message


def test_a_version_can_be_named(served):
    found = [served.ask(f"/v1/models/sentiment{word}:predict", ONE).json for word in ("", "/versions/1")]
    assert found[0] == found[1]


def test_an_encoded_body_is_refused(served):
    answered = served.ask(PREDICT, b"\x1f\x8b", headers={"content-encoding": "gzip"})
    assert (answered.status, answered.json["error"]) == (400, "The body is encoded with gzip. Send JSON as it is.")


def test_the_page_is_told_how_much_of_a_text_was_read(served):
    short = served.ask("/page/answer", {"instances": ["good film"]}).json
    assert (short["tokens_read"], short["tokens"]) == (2, 2)
    assert (short["label"], short["model"]) == ("positive", "sentiment, version 1")
    assert [name for name, _ in short["classes"]] == ["negative", "positive"]
    long = served.ask("/page/answer", {"instances": ["good film " * 50]}).json
    assert (long["tokens_read"], long["tokens"]) == (30, 100)


def test_a_body_in_pieces_without_a_length_is_limited(served):
    with served.connect() as client:
        client.sendall(b"POST " + PREDICT.encode() + b" HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        piece = b"x" * 10_000
        try:
            for _ in range(200):
                client.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
        except OSError:
            pass  # it has closed the connection: what it said is still to be read, or lost with it
        else:
            assert client.recv(100).startswith(b"HTTP/1.1 413 ")
    until(lambda: [r for r in served.lines("request") if r["status"] == 413], "a 413 in the log")
    assert served.predict("good").status == 200


def test_what_is_not_http_is_refused(served):
    with served.connect() as client:
        client.sendall(b"\x16\x03\x01 this is not HTTP\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 400 ")
    assert served.predict("good").status == 200


def test_the_log_has_no_text_in_it(served):
    served.predict("a very private text")
    line = until(lambda: [r for r in served.lines("request") if r.get("texts") == 1], "a line in the log")[-1]
    assert (line["method"], line["path"], line["status"], line["client"]) == ("POST", PREDICT, 200, "127.0.0.1")
    assert {"time", "level", "ms"} <= set(line)
    assert "private" not in served.log


# -- limits, with a model that is slow --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def slow(start, mobile):
    limits = {"queue": 8, "texts": 8, "answer_seconds": 3.0, "header_seconds": 0.5, "body_seconds": 1.0}
    return start(mobile, slow=0.2, limits=limits)


def in_background(work, count=1):
    pool = ThreadPoolExecutor(count)
    futures = [pool.submit(work) for _ in range(count)]
    pool.shutdown(wait=False)
    return futures


def test_a_full_queue_is_429_and_later_200(slow):
    many = in_background(lambda: slow.predict(*["good"] * 4), 6)
    found = [future.result() for future in many]
    refused = [one for one in found if one.status == 429]
    assert refused and all(one.headers["retry-after"] == "1" for one in refused)
    assert {one.status for one in found} <= {200, 429, 504}
    assert refused[0].json["error"].startswith("The queue is full: ")
    until(lambda: slow.metric("tfsent_queue_texts") == 0, "an empty queue")
    assert slow.predict("good").status == 200


def test_what_takes_too_long_is_504_and_is_dropped(start, mobile):
    served = start(mobile, slow=0.3, limits={"answer_seconds": 0.5})
    answered = served.predict(*["good"] * 10)
    assert (answered.status, answered.json["error"]) == (
        504,
        "No answer within 0.5 seconds. Ask for fewer texts, or later.",
    )
    assert served.metric("tfsent_queue_texts") == 0


@pytest.mark.parametrize("how", ["leaves", "half-closes"])
def test_the_work_of_a_client_that_left_is_not_begun(start, mobile, how):
    served = start(mobile, slow=0.5)
    first = in_background(lambda: served.predict("first"))[0]
    until(lambda: served.metric("tfsent_batch_texts_count") == 1, "the first text being asked")
    sent = json.dumps({"instances": ["left"] * 5}).encode()
    client = served.connect()
    client.sendall(b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (PREDICT.encode(), len(sent)) + sent)
    until(lambda: served.metric("tfsent_queue_texts") > 0, "its texts in the queue")
    client.shutdown(socket.SHUT_WR) if how == "half-closes" else client.close()
    until(lambda: [r for r in served.lines("request") if r["status"] == 499], "a line about the client that left")
    assert first.result().status == 200
    assert served.predict("last").status == 200
    client.close()
    assert served.metric("tfsent_texts_total") == 2
    assert served.metric("tfsent_batch_texts_count") <= 3  # one of the five may have been begun


def test_slow_headers_end_the_connection(slow):
    with slow.connect() as client:
        client.sendall(b"POST /v1/mod")
        assert client.recv(100) == b""
    with slow.connect() as silent:
        assert silent.recv(100) == b""
    with slow.connect() as second:  # the second request of a connection has a limit, too
        second.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        said = b""
        while not said.endswith(b"}"):  # headers and body may come one after the other
            said += second.recv(1000)
        assert said.startswith(b"HTTP/1.1 200 ")
        second.sendall(b"GET /heal")
        assert second.recv(100) == b""


def test_a_slow_body_is_408(slow):
    with slow.connect() as client:
        client.sendall(b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{" % PREDICT.encode())
        said = b"".join(iter(lambda: client.recv(10_000), b""))  # until it closes
        assert said.startswith(b"HTTP/1.1 408 ") and b"The body did not come within 1 seconds." in said


def test_a_model_that_fails_is_500_and_the_log_says_why(slow):
    answered = slow.predict("fail")
    assert (answered.status, answered.json["error"]) == (500, "The server failed: this text breaks the model.")
    assert until(lambda: slow.lines("server"), "an error in the log")[-1]["level"] == "error"
    assert slow.predict("good").status == 200


# -- the token --------------------------------------------------------------------------------------------------------


def test_a_token_is_asked_for(start, mobile):
    served = start(mobile, token="secret")
    refused = "Expected the header Authorization: Bearer TOKEN, with the token of this server."
    for headers in ({}, {"authorization": "Bearer other"}, {"authorization": "secret"}):
        answered = served.predict("good", headers=headers)
        assert (answered.status, answered.json["error"]) == (401, refused)
        assert answered.headers["www-authenticate"] == "Bearer"
    for path in ("/v1/models/sentiment", "/monitoring/prometheus/metrics", "/page/answer"):
        assert served.ask(path).status == 401
    assert served.predict("good", headers={"authorization": "Bearer secret"}).status == 200
    assert served.ask("/healthz").status == served.ask("/").status == 200


# -- its end ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_with_0_and_has_loaded_neither_tensorflow_nor_keras(start, mobile, how):
    served = start(mobile, grpc_port=0)
    assert served.predict("good").status == 200
    assert served.end(how) == (0, "[]\n")
    assert [line["event"] for line in map(json.loads, served.log.splitlines())][-2:] == ["ending", "ended"]


def test_what_was_accepted_is_answered_when_it_is_told_to_end(start, mobile):
    served = start(mobile, slow=0.02)
    answered, stop = [], threading.Event()

    def client():
        connection = http.client.HTTPConnection(served.host, served.port, timeout=PATIENCE)
        while not stop.is_set():
            try:
                connection.connect()
            except OSError:
                return  # it no longer listens
            closed = False
            while not closed:
                connection.request("POST", PREDICT, json.dumps({"instances": ["good film"]}))
                reply = connection.getresponse()
                body = json.loads(reply.read())
                answered.append((reply.status, list(body)))
                closed = reply.getheader("connection") == "close"

    clients = in_background(client, 16)
    until(lambda: len(answered) > 50, "some answers")
    code, _ = served.end()
    stop.set()
    for one in clients:
        one.result()  # an error of a connection would be raised here
    assert code == 0
    assert {status for status, _ in answered} <= {200, 503}
    assert all(keys == (["predictions"] if status == 200 else ["error"]) for status, keys in answered)


def test_a_port_that_is_taken_is_said(served, mobile):
    command = [sys.executable, "-m", "tfsent", "serve", str(mobile), "--port", str(served.port)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"Error: --host 127.0.0.1 --port {served.port} cannot be had: Address already in use. "
        "--port 0 takes a free port.\n"
    )


def test_the_command_says_where_it_is_and_warns_of_open_doors(mobile):
    served = Server(["-m", "tfsent", "serve", mobile, "--port", 0, "--host", "0.0.0.0", "--log-level", "quiet"])
    assert served.said == f"sentiment, version 1 (model.tflite), is served at http://0.0.0.0:{served.port}/\n"
    assert served.predict("good").status == 200
    assert served.end()[0] == 0
    assert served.log == (
        "Warning: every machine that reaches 0.0.0.0 may ask. Set --token-file or TFSENT_SERVE_TOKEN.\n"
    )
    served.process.stdout.close()
