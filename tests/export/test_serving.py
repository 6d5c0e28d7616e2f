"""export/serving without a server: files against protos and schemas, programs against a stand-in for the server."""

import base64
import concurrent.futures
import gzip
import http.server
import importlib
import json
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from tfsent.exporting.server import warmup

SERVING = Path(__file__).parents[2] / "export" / "serving"
VERSION = "2.20.0"
# The flags of `tensorflow_model_server` 2.20.0 (main.cc) that are used here.
FLAGS = {
    "port",
    "rest_api_port",
    "rest_api_timeout_in_ms",
    "model_config_file",
    "model_config_file_poll_wait_seconds",
    "allow_version_labels_for_unavailable_models",
    "enable_batching",
    "batching_parameters_file",
    "monitoring_config_file",
    "tensorflow_session_parallelism",
}


def documents(name):
    return list(YAML(typ="safe").load_all((SERVING / name).read_text(encoding="utf-8")))


# ---- the stand-in ----


def answer_to(data):
    """What the stand-in answers to a text: another number for each."""
    p = round(zlib.crc32(data) / 2**32, 6)
    return {"label": "positive" if p > 0.5 else "negative", "probability": max(p, 1 - p), "probabilities": [1 - p, p]}


def columns(texts):
    answers = [answer_to(text) for text in texts]
    return {name: [answer[name] for answer in answers] for name in answers[0]}


class Rest(http.server.BaseHTTPRequestHandler):
    """Answers as TensorFlow Serving's http_rest_api_handler.cc does. `failures` come first, one a request."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *words):
        pass

    def setup(self):
        super().setup()
        self.server.connections += 1

    def reply(self, status, body, **headers):
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": len(data), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        self.server.tokens.append(self.headers.get("Authorization"))
        if self.path == "/monitoring/prometheus/metrics":
            self.reply(200, "# TYPE :tensorflow:core:saved_model:read:count counter\n")
        elif self.path == "/v1/models/sentiment":
            status = {"error_code": "OK", "error_message": ""}
            self.reply(200, {"model_version_status": [{"version": "1", "state": self.server.state, "status": status}]})
        elif self.path == "/v1/models/sentiment/metadata":
            self.reply(200, {"model_spec": {"name": "sentiment", "version": "1"}, "metadata": {"signature_def": {}}})
        else:
            self.reply(404, {"error": "Not found"})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.tokens.append(self.headers.get("Authorization"))
        self.server.paths.append(self.path)
        time.sleep(self.server.delay)
        if self.server.failures:
            status, answer, *headers = self.server.failures.pop(0)
            if status == 0:
                self.close_connection = True
                return
            self.reply(status, answer, **dict(*headers))
        elif self.path.endswith(":classify"):
            self.reply(200, {"results": [[["negative", 0.1], ["positive", 0.9]] for _ in body["examples"]]})
        else:
            self.predict(body)

    def predict(self, body):
        values = body["instances"] if "instances" in body else body["inputs"]["text"]
        texts = [base64.b64decode(v["b64"], validate=True) if isinstance(v, dict) else v.encode() for v in values]
        self.server.seen.append(texts)
        if "instances" in body:
            self.reply(200, {"predictions": [answer_to(text) for text in texts]})
        else:
            self.reply(200, {"outputs": columns(texts)})


def start_rest(port=0):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Rest)
    server.daemon_threads = True
    server.failures, server.seen, server.paths, server.tokens = [], [], [], []
    server.connections, server.delay, server.state = 0, 0.0, "AVAILABLE"
    server.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    return server


@pytest.fixture
def rest():
    server = start_rest()
    yield server
    server.shutdown()
    server.server_close()


class Grpc:
    """The same over gRPC, by the stubs of tensorflow-serving-api. A failure is a status code and its details."""

    def __init__(self):
        self.failures, self.seen, self.specs, self.tokens = [], [], [], []

    def Predict(self, request, context):  # noqa: N802 (the proto's name)
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        self.tokens.append(dict(context.invocation_metadata()).get("authorization"))
        self.specs.append(request.model_spec)
        if self.failures:
            context.abort(*self.failures.pop(0))
        texts = list(tf.make_ndarray(request.inputs["text"]))
        self.seen.append(texts)
        response = predict_pb2.PredictResponse()
        for name, column in columns(texts).items():
            kind = tf.string if name == "label" else tf.float32
            response.outputs[name].CopyFrom(tf.make_tensor_proto(column, kind))
        return response


@pytest.fixture
def grpc_server():
    grpc = pytest.importorskip("grpc", reason="NOT RUN OVER gRPC: pip install grpcio")
    reason = "NOT RUN OVER gRPC: pip install tensorflow-serving-api"
    stubs = pytest.importorskip("tensorflow_serving.apis.prediction_service_pb2_grpc", reason=reason)
    service = type("Service", (Grpc, stubs.PredictionServiceServicer), {})()
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
    stubs.add_PredictionServiceServicer_to_server(service, server)
    service.url = f"grpc://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield service
    server.stop(None).wait()


@pytest.fixture
def programs(monkeypatch):
    """The modules of export/serving, which are no package: programs["client"]. No test waits for a retry."""
    monkeypatch.syspath_prepend(str(SERVING))
    names = ("client", "connections", "load")
    modules = {name: importlib.import_module(name) for name in names}
    yield modules
    for name in names:
        del sys.modules[name]


@pytest.fixture
def client(programs, monkeypatch):
    module = programs["client"]
    module.waits = []
    # The module's own name `time`, for http.server's threads use the real one.
    monkeypatch.setattr(module, "time", type("time", (), {"sleep": staticmethod(module.waits.append)}))
    return module


@pytest.fixture(params=["rest", "grpc"])
def server_and_client(request, client):
    """A server, a client of it, and how it says `busy` and `bad request`."""
    if request.param == "rest":
        server = request.getfixturevalue("rest")
        busy, bad = (429, {"error": "queue is full"}), (400, {"error": "no\nsuch  thing"})
        return server, client.RestClient(server.url, "sentiment"), busy, bad
    server = request.getfixturevalue("grpc_server")
    import grpc

    busy, bad = (grpc.StatusCode.UNAVAILABLE, "queue is full"), (grpc.StatusCode.INVALID_ARGUMENT, "no\nsuch  thing")
    return server, client.GrpcClient(server.url, "sentiment"), busy, bad


def run(program, *words, **keywords):
    command = [sys.executable, str(SERVING / program), *words]
    keywords = {"text": True, **keywords}
    return subprocess.run(command, capture_output=True, check=False, timeout=300, **keywords)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def same(answers, texts):
    data = [text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass") for text in texts]
    expected = [answer_to(text) for text in data]
    assert [answer["label"] for answer in answers] == [answer["label"] for answer in expected]
    for name in ("probability", "probabilities"):
        np.testing.assert_allclose([a[name] for a in answers], [a[name] for a in expected], atol=1e-6)


# ---- configuration files ----


def parse_proto(name, message):
    text_format = pytest.importorskip("google.protobuf.text_format")
    return text_format.Parse((SERVING / name).read_text(encoding="utf-8"), message)


def test_models_config_serves_the_versions_that_its_labels_name():
    reason = "models.config NOT CHECKED: pip install tensorflow-serving-api"
    protos = pytest.importorskip("tensorflow_serving.config.model_server_config_pb2", reason=reason)
    (config,) = parse_proto("models.config", protos.ModelServerConfig()).model_config_list.config
    assert (config.name, config.base_path, config.model_platform) == ("sentiment", "/models/sentiment", "tensorflow")
    assert list(config.model_version_policy.specific.versions) == [1]
    assert dict(config.version_labels) == {"stable": 1, "canary": 1}


def own_proto(name, fields):
    """A message of TensorFlow Serving that tensorflow-serving-api has not, from its fields: name → (number, type)."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2

    file = descriptor_pb2.FileDescriptorProto(name=f"{name}.proto", package="own", syntax="proto3")
    file.dependency.append(wrappers_pb2.DESCRIPTOR.name)
    kinds = descriptor_pb2.FieldDescriptorProto
    message = file.message_type.add(name=name)
    for field, (number, kind) in fields.items():
        added = message.field.add(name=field, number=number, label=kinds.LABEL_OPTIONAL)
        if kind == "repeated int64":
            added.type, added.label = kinds.TYPE_INT64, kinds.LABEL_REPEATED
        elif kind in ("bool", "string"):
            added.type = {"bool": kinds.TYPE_BOOL, "string": kinds.TYPE_STRING}[kind]
        else:
            added.type, added.type_name = kinds.TYPE_MESSAGE, f".google.protobuf.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"own.{name}"))()


BATCHING = {  # session_bundle_config.proto, which no wheel has
    "max_batch_size": (1, "Int64Value"),
    "batch_timeout_micros": (2, "Int64Value"),
    "max_enqueued_batches": (3, "Int64Value"),
    "num_batch_threads": (4, "Int64Value"),
    "thread_pool_name": (5, "StringValue"),
    "allowed_batch_sizes": (6, "repeated int64"),
    "pad_variable_length_inputs": (7, "bool"),
    "enable_large_batch_splitting": (8, "BoolValue"),
    "max_execution_batch_size": (9, "Int64Value"),
}


def test_batching_config_has_sizes_that_rise_to_the_largest():
    config = parse_proto("batching.config", own_proto("BatchingParameters", BATCHING))
    sizes = list(config.allowed_batch_sizes)
    assert sizes == sorted(set(sizes)) and sizes[-1] == config.max_batch_size.value and sizes[0] == 1
    assert not config.pad_variable_length_inputs
    assert max(warmup.BATCHES) <= sizes[-1]  # a warm-up that fails keeps the model from loading
    assert config.num_batch_threads.value == 2 and config.max_enqueued_batches.value > 0
    default = re.search(r'"--batch-size", type=positive, default=(\d+)', (SERVING / "client.py").read_text())
    assert int(default[1]) <= config.max_batch_size.value


def test_monitoring_config_has_the_path_that_others_ask():
    # monitoring_config.proto, which no wheel has: MonitoringConfig { PrometheusConfig prometheus_config = 1; }
    text = re.sub("#.*", "", (SERVING / "monitoring.config").read_text())
    (inner,) = re.fullmatch(r"\s*prometheus_config \{(.*)\}\s*", text, re.DOTALL).groups()
    text_format = pytest.importorskip("google.protobuf.text_format")
    fields = {"enable": (1, "bool"), "path": (2, "string")}
    config = text_format.Parse(inner, own_proto("PrometheusConfig", fields))
    assert config.enable and config.path == "/monitoring/prometheus/metrics"
    for name in ("kubernetes.yaml", "curl.sh", "README.md"):
        assert config.path in (SERVING / name).read_text(encoding="utf-8")


def interpolate(text, **environment):
    """Put variables in as compose does: ${NAME:-default}, ${NAME:?message}."""

    def value(found):
        name, kind, rest = found.groups()
        if environment.get(name):
            return environment[name]
        assert kind == ":-", f"{name}: {rest}"
        return rest

    return re.sub(r"\$\{(\w+)(:-|:\?)([^}]*)\}", value, text)


def compose(**environment):
    return YAML(typ="safe").load(interpolate((SERVING / "compose.yaml").read_text(encoding="utf-8"), **environment))


def test_compose_follows_the_compose_specification():
    compose_spec = pytest.importorskip("compose_spec", reason="compose.yaml NOT CHECKED: pip install compose-spec")
    text = interpolate((SERVING / "compose.yaml").read_text(encoding="utf-8"), MODEL_DIR="/srv/model")
    assert compose_spec.PyCompose.from_yaml(text).service_names() == ["sentiment"]
    with pytest.raises(ValueError):
        compose_spec.PyCompose.from_yaml(text.replace("read_only: true\n    tmpfs", "readonly: true\n    tmpfs"))
    assert "$" not in str(compose(MODEL_DIR="/srv/model"))  # each variable was read


def test_compose_wants_a_model_folder():
    with pytest.raises(AssertionError, match="MODEL_DIR: set it to the absolute path of RUN/export/serving"):
        compose()


def test_compose_gives_the_server_no_more_than_it_needs():
    (service,) = compose(MODEL_DIR="/srv/model")["services"].values()
    assert service["image"] == f"tensorflow/serving:{VERSION}"
    assert service["read_only"] and service["user"] == "1000:1000" and service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert all(volume["read_only"] for volume in service["volumes"])
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert service["deploy"]["resources"]["limits"] == {"cpus": "2", "memory": "4g"}


def flags(arguments):
    return dict(re.fullmatch(r"--(\w+)=(.+)", argument).groups() for argument in arguments)


def test_flags_are_those_of_the_server_and_name_mounted_files():
    compose_flags = flags(compose(MODEL_DIR="/srv/model")["services"]["sentiment"]["command"])
    deployment, *_ = documents("kubernetes.yaml")
    kubernetes_flags = flags(deployment["spec"]["template"]["spec"]["containers"][0]["args"])
    kserve_flags = flags(documents("kserve.yaml")[0]["spec"]["predictor"]["model"]["args"])
    assert {*compose_flags, *kubernetes_flags, *kserve_flags} <= FLAGS
    # The only difference: in Kubernetes an edit makes new pods.
    assert compose_flags.pop("model_config_file_poll_wait_seconds") == "10"
    assert compose_flags == kubernetes_flags
    for flag, value in compose_flags.items():
        assert not flag.endswith("_file") or (SERVING / value.removeprefix("/config/")).is_file()


HEALTH = compose(MODEL_DIR="/srv/model")["services"]["sentiment"]["healthcheck"]["test"]


def healthy(port):
    command = [word.replace("/8501", f"/{port}") for word in HEALTH[1:]]
    return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0


def test_the_health_check_waits_for_the_model(rest):
    assert healthy(rest.server_port)
    rest.state = "LOADING"
    assert not healthy(rest.server_port)
    assert not healthy(free_port())


def validate_kubernetes(document):
    reason = "Kubernetes objects NOT CHECKED: pip install kubernetes-validate"
    kubernetes_validate = pytest.importorskip("kubernetes_validate", reason=reason)
    kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("document", documents("kubernetes.yaml"), ids=lambda document: document["kind"])
def test_kubernetes_objects_follow_their_schemas(document):
    validate_kubernetes(document)


def test_kubernetes_objects_belong_together():
    deployment, service, scaler = documents("kubernetes.yaml")
    (kustomization,) = documents("kustomization.yaml")
    pod = deployment["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    labels = pod["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == labels == service["spec"]["selector"]
    assert scaler["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    assert {port["targetPort"] for port in service["spec"]["ports"]} == {p["name"] for p in container["ports"]}
    assert container["image"] == f"tensorflow/serving:{VERSION}"
    assert pod["spec"]["securityContext"]["runAsNonRoot"] and container["securityContext"]["readOnlyRootFilesystem"]
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes.keys()
    (generated,) = kustomization["configMapGenerator"]
    assert volumes["config"]["configMap"]["name"] == generated["name"]
    assert kustomization["resources"] == ["kubernetes.yaml"]
    assert all((SERVING / name).is_file() for name in generated["files"])


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kustomization.yaml NOT BUILT: it needs kubectl")
def test_kustomize_puts_the_files_into_the_pods():
    built = subprocess.run(["kubectl", "kustomize", str(SERVING)], capture_output=True, text=True, check=True).stdout
    found = {document["kind"]: document for document in YAML(typ="safe").load_all(built)}
    for document in found.values():
        validate_kubernetes(document)
    data = found["ConfigMap"]["data"]
    assert data == {name: (SERVING / name).read_text(encoding="utf-8") for name in data} and len(data) == 3
    volumes = found["Deployment"]["spec"]["template"]["spec"]["volumes"]
    assert found["ConfigMap"]["metadata"]["name"] in [v.get("configMap", {}).get("name") for v in volumes]


def test_kserve_has_documented_fields_and_a_version_of_its_own():
    """kserve 0.21's own classes list these fields so. Its package is too heavy to install for a test."""
    (service,) = documents("kserve.yaml")
    assert (service["apiVersion"], service["kind"]) == ("serving.kserve.io/v1beta1", "InferenceService")
    (predictor,) = service["spec"].values()
    model = predictor["model"]
    for found, fields in (
        (predictor, {"minReplicas": int, "maxReplicas": int, "timeout": int, "model": dict}),
        (model["modelFormat"], {"name": str, "version": str}),
        (
            model,
            {
                "modelFormat": dict,
                "runtimeVersion": str,
                "protocolVersion": str,
                "storageUri": str,
                "args": list,
                "resources": dict,
            },
        ),
    ):
        assert {name: type(value) for name, value in found.items()} == fields
    assert model["modelFormat"] == {"name": "tensorflow", "version": "2"}
    assert (model["runtimeVersion"], model["protocolVersion"]) == (VERSION, "v1")


# ---- client.py ----

NASTY = ["", " ", "good", "naïve 😀", "a\0b", "\ud83d half", b"\xff\xfe no UTF-8", '"quoted" \\ \n', "本" * 1000]


def test_order_is_kept_over_batches_and_retries(server_and_client, client):
    server, one, busy, _ = server_and_client
    server.failures += [busy, busy]
    texts = [f"review {i}" for i in range(23)]
    same(list(client.classify(one, texts, 5)), texts)
    assert [len(batch) for batch in server.seen] == [5, 5, 5, 5, 3]
    assert len(client.waits) == 2 and 0 <= client.waits[0] <= 0.4 and 0 <= client.waits[1] <= 0.8


def test_any_text_arrives_byte_for_byte(server_and_client, client):
    server, one, _, _ = server_and_client
    same(list(client.classify(one, NASTY, 4)), NASTY)
    assert [t for b in server.seen for t in b] == [
        text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass") for text in NASTY
    ]


def test_a_bad_request_is_reported_once(server_and_client, client):
    server, one, _, bad = server_and_client
    server.failures += [bad, bad]
    with pytest.raises(client.ServingError, match=r"answered (400|INVALID_ARGUMENT): no such thing$"):
        list(client.classify(one, ["good"]))
    assert len(server.failures) == 1 and client.waits == []


def test_a_server_that_stays_busy_is_given_up(server_and_client, client):
    server, one, busy, _ = server_and_client
    server.failures += [busy] * 5
    with pytest.raises(client.ServingError, match=r"busy .*: queue is full \(tried 3 times\)$"):
        list(client.classify(one, ["good"], attempts=3))
    assert len(server.failures) == 2 and len(client.waits) == 2


def test_a_token_goes_into_the_header(rest, grpc_server, client):
    client.RestClient(rest.url, "sentiment", token="secret").ask(["good"])
    client.GrpcClient(grpc_server.url, "sentiment", token="secret").ask(["good"])
    assert rest.tokens == grpc_server.tokens == ["Bearer secret"]
    with pytest.raises(
        client.ServingError, match="The token in TFSENT_SERVE_TOKEN has characters that no header may have."
    ):
        client.RestClient(rest.url, "sentiment", token="se\ncret")


def test_a_version_or_a_label_is_asked_for(rest, grpc_server, client):
    for own in ({}, {"version": 3}, {"label": "canary"}):
        client.RestClient(rest.url + "/proxy/", "sentiment", **own).ask(["good"])
        client.GrpcClient(grpc_server.url, "sentiment", **own).ask(["good"])
    models = "/proxy/v1/models/sentiment"
    assert rest.paths == [f"{models}:predict", f"{models}/versions/3:predict", f"{models}/labels/canary:predict"]
    assert [(s.name, s.version.value, s.version_label) for s in grpc_server.specs] == [
        ("sentiment", 0, ""),
        ("sentiment", 3, ""),
        ("sentiment", 0, "canary"),
    ]


@pytest.mark.parametrize("status", [429, 503])
def test_the_server_says_how_long_to_wait(rest, client, status):
    rest.failures += [(status, {"error": "full"}, {"Retry_After": 7}), (status, "full", {"Retry_After": "9999"})]
    same(list(client.classify(client.RestClient(rest.url, "sentiment"), ["good"])), ["good"])
    assert client.waits == [7, client.LONGEST_WAIT]


def test_a_server_that_starts_later_is_waited_for(client, monkeypatch):
    port, started = free_port(), []
    monkeypatch.setattr(client.time, "sleep", staticmethod(lambda _: started or started.append(start_rest(port))))
    same(list(client.classify(client.RestClient(f"http://127.0.0.1:{port}", "sentiment"), ["good"])), ["good"])
    started[0].shutdown()
    started[0].server_close()


def test_one_connection_is_kept_and_made_anew_when_it_was_closed(rest, client):
    one = client.RestClient(rest.url, "sentiment")
    list(client.classify(one, ["a", "b", "c"], 1))
    assert rest.connections == 1
    rest.failures.append((0, None))  # closed without an answer, as after a long pause
    same(one.ask(["d"]), ["d"])
    assert rest.connections == 2 and client.waits == []
    rest.failures += [(0, None)] * 3
    with pytest.raises(client.ServingError, match="closed the connection without an answer.$"):
        one.ask(["e"])
    assert len(rest.failures) == 1


def test_a_server_that_never_answers_is_left(client):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(client.ServingError, match=f"^No answer from http://{url} within 0.2 s.$"):
            list(client.classify(client.RestClient(f"http://{url}", "sentiment", timeout=0.2), ["good"]))
    assert client.waits == []


@pytest.mark.parametrize(
    "answer", ["<html>", {"predictions": [1]}, [], {"outputs": ["positive"]}, {"outputs": {"a": 1}}]
)
def test_another_kind_of_server_is_noticed(rest, client, answer):
    rest.failures.append((200, answer))
    with pytest.raises(client.ServingError, match=f"{rest.url} did not answer as TensorFlow Serving does: "):
        client.RestClient(rest.url, "sentiment").ask(["good"])


def test_answers_that_are_too_few_are_noticed(rest, client):
    rest.failures.append((200, {"outputs": {"label": ["positive"]}}))
    with pytest.raises(client.ServingError, match=r"^Expected 2 answers for 2 texts, got \{'label': 1\}.$"):
        client.RestClient(rest.url, "sentiment").ask(["good", "bad"])


@pytest.mark.parametrize("url", ["localhost:8501", "http://", "ftp://host:1", "http://host:port", "http://host:99999"])
def test_an_address_is_checked(client, url):
    with pytest.raises(client.ServingError, match=f"^Expected http://HOST:PORT or https://HOST:PORT, got '{url}'.$"):
        client.RestClient(url, "sentiment")


def test_grpc_without_its_package_says_what_to_install(client, monkeypatch):
    monkeypatch.setitem(sys.modules, "grpc", None)
    with pytest.raises(client.ServingError, match="Run `pip install grpcio protobuf`, or ask http://…:8501.$"):
        client.GrpcClient("grpc://localhost:8500", "sentiment")


@pytest.mark.parametrize(
    ("tensor", "expected"),
    [
        (
            {"dtype": 1, "tensor_content": np.float32([[0.1, 0.5], [1 / 3, 2]]).tobytes()},
            [[0.100000001, 0.5], [0.333333343, 2]],
        ),
        ({"dtype": 1, "float_val": [0.5, 0.25]}, [[0.5, 0.25], [0.25, 0.25]]),  # a last value that repeats is left out
        ({"dtype": 7, "string_val": [b"a", b"b", b"\xff", b"d"]}, [["a", "b"], ["�", "d"]]),
        ({"dtype": 3}, "Expected outputs of strings or float32, got the data type 3."),
        ({"dtype": 1}, "Expected an output with one row for each text, got the shape [2, 2]."),
    ],
)
def test_tensors_are_read_in_each_of_their_forms(client, tensor, expected):
    pytest.importorskip("google.protobuf")
    tensor = client.grpc_messages()["Tensor"](shape={"dim": [{"size": 2}, {"size": 2}]}, **tensor)
    if isinstance(expected, str):
        with pytest.raises(client.ServingError, match=f"^{re.escape(expected)}$"):
            client.column(tensor)
    else:
        assert client.column(tensor) == expected


def test_the_command_writes_a_line_for_each_text(rest):
    texts = ["Loved it.", "😀", "\udcff"]  # the last is a byte that is no UTF-8, as Python gets it from a shell
    done = run("client.py", "--url", rest.url, "--batch-size", "2", *texts)
    assert (done.returncode, done.stderr) == (0, "")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    same(answers, [b"Loved it.", "😀", b"\xff"])
    assert list(answers[0]) == ["label", "probability", "probabilities"]


def test_the_command_asks_over_grpc(grpc_server):
    done = run("client.py", "--url", grpc_server.url, "Loved it.", "A bore.")
    assert (done.returncode, done.stderr) == (0, "")
    same([json.loads(line) for line in done.stdout.splitlines()], ["Loved it.", "A bore."])


def test_the_command_reads_files(rest, tmp_path):
    lines, records = tmp_path / "a.txt", tmp_path / "b.jsonl.gz"
    lines.write_bytes(b"good\r\n\nb\xff\n")
    records.write_bytes(gzip.compress(b'{"text": "good", "label": 1}\n\n{"text": "\\u0000"}\n'))
    for words, given, texts in (
        (["--file", str(lines)], None, [b"good", b"", b"b\xff"]),
        (["--file", str(records)], None, [b"good", b"\0"]),
        (["--file", "-"], lines.read_bytes(), [b"good", b"", b"b\xff"]),
    ):
        done = run("client.py", "--url", rest.url, *words, input=given, text=False)
        assert (done.returncode, done.stderr) == (0, b"")
        same([json.loads(line) for line in done.stdout.splitlines()], texts)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "Error: {} cannot be read: No such file or directory."),
        (b'{"text": "good"}\n{"review": 1}', 'Error: {}, line 2: expected a JSON object with a "text", a string.'),
        (b"\xff", 'Error: {}, line 1: expected a JSON object with a "text", a string.'),
        (gzip.compress(b'{"text": "good"}', mtime=0)[:-9], "Error: {} cannot be read: Compressed file ended before"),
    ],
)
@pytest.mark.parametrize("program", ["client.py", "load.py"])
def test_a_file_that_cannot_be_read_is_one_message(rest, tmp_path, program, content, message):
    file = tmp_path / ("a.jsonl.gz" if content and content[:2] == b"\x1f\x8b" else "a.jsonl")
    if content is not None:
        file.write_bytes(content)
    option = "--file" if program == "client.py" else "--texts"
    done = run(program, "--url", rest.url, option, str(file))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(message.format(file)) and len(done.stderr.splitlines()) == 1


def test_the_command_says_how_far_it_came(rest):
    rest.failures += [(200, {"outputs": columns([b"a", b"b"])}), (404, {"error": "Servable not found"})]
    done = run("client.py", "--url", rest.url, "--batch-size", "2", "a", "b", "c")
    assert done.returncode == 1 and len(done.stdout.splitlines()) == 2
    assert done.stderr == f"Error: {rest.url} answered 404: Servable not found (2 texts were classified before.)\n"


def test_the_command_says_when_nothing_listens():
    url = f"http://127.0.0.1:{free_port()}"
    done = run("client.py", "--url", url, "--attempts", "1", "good")
    assert done.returncode == 1
    assert done.stderr == f"Error: Nothing listens at {url}: start the server, or correct --url.\n"


@pytest.mark.parametrize(
    "words",
    [[], ["good", "--file", "a.txt"], ["--version", "1", "--label", "canary", "good"], ["--timeout", "-1", "good"]],
)
def test_words_that_do_not_go_together_are_refused(words):
    assert run("client.py", *words).returncode == 2


# ---- load.py ----


def test_a_closed_loop_counts_what_the_server_saw(rest, tmp_path):
    texts = tmp_path / "texts.txt"
    texts.write_text("".join(f"review {i}\n" for i in range(7)))
    words = ["--texts", str(texts), "--batch", "3", "--clients", "4", "--count", "50", "--warm-up", "5", "--json"]
    done = run("load.py", "--url", rest.url, *words)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert len(rest.seen) == 55 and {len(batch) for batch in rest.seen} == {3}
    assert {text for batch in rest.seen for text in batch} == {b"review %d" % i for i in range(7)}
    assert (found["loop"], found["clients"], found["requests"], found["answered"]) == ("closed", 4, 50, 50)
    assert found["errors"] == {} and rest.connections <= 4
    assert found["reviews_per_second"] == pytest.approx(3 * found["requests_per_second"], rel=1e-3)
    order = [found["latency_ms"][name] for name in ("p50", "p90", "p95", "p99", "max")]
    assert order == sorted(order) and order[0] > 0


def test_an_open_loop_counts_errors_by_kind(rest):
    rest.failures += [(200, {"outputs": columns([b"a"])})] * 5
    rest.failures += [(429, "full"), (503, "full"), (429, "full"), (0, None)]
    done = run("load.py", "--url", rest.url, "--rate", "400", "--count", "40", "--warm-up", "5", "--json")
    found = json.loads(done.stdout)
    assert (found["loop"], found["rate"], found["requests"], found["answered"]) == ("open", 400, 40, 36)
    assert found["errors"] == {"HTTP 429": 2, "HTTP 503": 1, "connection closed": 1}
    assert len(rest.paths) == 45 and done.returncode == 0


@pytest.mark.parametrize("loop", [["--clients", "2"], ["--rate", "200"]])
def test_a_duration_ends_and_people_get_a_report(rest, loop):
    done = run("load.py", "--url", rest.url, *loop, "--duration", "0.5", "--warm-up", "1")
    count = int(re.match(r"([\d,]+) of \1 requests answered", done.stdout)[1].replace(",", ""))
    assert count == len(rest.seen) - 1 and "reviews/s" in done.stdout and "p99" in done.stdout
    assert ("sent late by" in done.stdout) == (loop[0] == "--rate")


def test_a_latency_counts_from_when_the_request_was_due(rest, programs):
    """Ten requests are due at once, over one connection, to a server that takes 20 ms each: the tenth takes 200."""
    import asyncio

    load, rest.delay = programs["load"], 0.02
    requests = load.make_requests([b"good"], 1, "host", "/v1/models/sentiment:predict", "")
    target = load.Target(requests, load.Pool("127.0.0.1", rest.server_port, False, 30.0, 1))
    tally = load.Tally()

    async def ten():
        await load.open_loop(target, [0.0] * 10, tally)
        target.pool.close()

    asyncio.run(ten())
    assert not tally.errors and all(latency >= 0.02 * (i + 1) for i, latency in enumerate(tally.latencies))


@pytest.mark.parametrize("count", [1, 2, 3, 100, 1001])
def test_percentiles_are_those_of_numpy(programs, count):
    values = np.random.default_rng(count).exponential(size=count).tolist()
    found = programs["load"].percentiles(values)
    np.testing.assert_allclose([found[f"p{p}"] for p in (50, 90, 95, 99)], np.percentile(values, [50, 90, 95, 99]))
    assert found["max"] == max(values) and found["mean"] == pytest.approx(np.mean(values))


def test_arrivals_are_poisson(programs):
    times = programs["load"].poisson_times(50.0, None, 200.0, 0)
    gaps = np.diff(times)
    assert max(times) < 200 and len(times) == pytest.approx(10_000, rel=0.05)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.05) and gaps.min() > 0
    assert times == programs["load"].poisson_times(50.0, None, 200.0, 0)
    assert len(programs["load"].poisson_times(50.0, 7, None, 1)) == 7


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n",
    ],
)
def test_an_answer_is_whole_with_its_last_byte(programs, answer):
    parse = programs["connections"].parse_answer
    assert [parse(bytearray(answer[:n])) for n in range(len(answer))] == [None] * len(answer)
    assert parse(bytearray(answer)) == (200, b"hello", True)
    assert parse(bytearray(answer.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))) == (200, b"hello", False)


def test_a_warm_up_that_fails_ends_the_load(rest):
    rest.failures += [(400, {"error": "no such signature"})] * 3
    done = run("load.py", "--url", rest.url, "--warm-up", "3")
    error = f'Error: The warm-up of {rest.url} failed: HTTP 400 (3 of 3). {{"error": "no such signature"}}\n'
    assert (done.returncode, done.stdout, done.stderr) == (1, "", error)
    rest.failures.append((200, "<html>"))
    done = run("load.py", "--url", rest.url, "--warm-up", "1")
    assert (done.returncode, done.stderr) == (1, f"Error: {rest.url} did not answer as TensorFlow Serving does.\n")


def test_a_load_on_nothing_is_one_message():
    url = f"http://127.0.0.1:{free_port()}"
    done = run("load.py", "--url", url, "--warm-up", "2")
    assert (done.returncode, done.stderr) == (1, f"Error: The warm-up of {url} failed: cannot connect (2 of 2).\n")


@pytest.mark.parametrize("words", [["--rate", "0"], ["--rate", "1", "--clients", "1"], ["--batch", "0"]])
def test_a_load_that_makes_no_sense_is_refused(words):
    assert run("load.py", *words).returncode == 2


# ---- curl.sh ----

CURL = pytest.mark.skipif(shutil.which("curl") is None, reason="curl.sh NOT RUN: it needs curl")


def test_curl_sh_is_a_shell_script():
    assert subprocess.run(["bash", "-n", str(SERVING / "curl.sh")], check=False).returncode == 0


@CURL
@pytest.mark.parametrize("token", ["", "secret"])
def test_curl_sh_asks_everything(rest, token):
    environment = {"URL": rest.url, "TFSENT_SERVE_TOKEN": token, "PATH": "/usr/bin:/bin"}
    command = ["bash", str(SERVING / "curl.sh")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n# ") == 7 + 1  # the metrics begin with # themselves
    assert rest.seen == [[b"Loved every minute.", b"A bore."]] * 2 + [[b"Loved every minute."]]
    assert [path.rpartition(":")[2] for path in rest.paths] == ["predict"] * 3 + ["classify"]
    assert set(rest.tokens) == ({f"Bearer {token}"} if token else {None})


@CURL
def test_curl_sh_stops_at_an_error(rest):
    rest.failures.append((400, {"error": "no such signature"}))
    command = ["bash", str(SERVING / "curl.sh")]
    environment = {"URL": rest.url, "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 22 and "no such signature" in done.stdout
