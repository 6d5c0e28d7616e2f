"""The stubs of tensorflow-serving-api talk to the server as to TensorFlow Serving."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from google.protobuf import json_format
from served import until

import tfsent

pytest.importorskip("tensorflow_serving.apis", reason="NOT RUN OVER GRPC: pip install tensorflow-serving-api")
import grpc
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

TEXTS = ["good great film", "awful bad plot", ""]


@pytest.fixture(scope="module")
def served(start, mobile):
    return start(mobile, grpc_port=0, limits={"texts": 20, "body_bytes": 100_000})


@pytest.fixture(scope="module")
def channel(served):
    with grpc.insecure_channel(served.grpc) as channel:
        yield channel


@pytest.fixture(scope="module")
def prediction(channel):
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


def asking(texts=TEXTS, name="sentiment", **words):
    request = predict_pb2.PredictRequest(**words)
    request.model_spec.name = name
    tensor = request.inputs["text"]
    tensor.dtype = 7
    tensor.tensor_shape.dim.add(size=len(texts))
    tensor.string_val.extend(text.encode() for text in texts)
    return request


def array(tensor):
    return np.array(tensor.float_val, np.float32).reshape([dim.size for dim in tensor.tensor_shape.dim])


def test_predict(prediction, mobile):
    response = prediction.Predict(asking())
    expected = tfsent.load(mobile / "model.tflite").predict_proba(TEXTS)
    assert set(response.outputs) == {"label", "probability", "probabilities"}
    np.testing.assert_allclose(array(response.outputs["probabilities"]), expected, atol=1e-6)
    np.testing.assert_allclose(array(response.outputs["probability"]), expected.max(axis=1), atol=1e-6)
    assert [dim.size for dim in response.outputs["label"].tensor_shape.dim] == [3]
    assert response.outputs["label"].string_val[0] == b"positive"
    spec = response.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("sentiment", 1, "serving_default")


def test_tensorflow_reads_what_is_answered_and_writes_what_is_asked(prediction):
    tf = pytest.importorskip("tensorflow")
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "sentiment"
    request.inputs["text"].CopyFrom(tf.make_tensor_proto(TEXTS))
    found = {name: tf.make_ndarray(tensor) for name, tensor in prediction.Predict(request).outputs.items()}
    assert {name: one.shape for name, one in found.items()} == {
        "label": (3,),
        "probability": (3,),
        "probabilities": (3, 2),
    }
    request.inputs["text"].CopyFrom(tf.make_tensor_proto("good"))  # a scalar
    assert list(prediction.Predict(request).outputs["label"].string_val) == [b"positive"]


def test_an_output_filter(prediction):
    assert set(prediction.Predict(asking(output_filter=["label"])).outputs) == {"label"}


def test_classify(prediction, served):
    request = classification_pb2.ClassificationRequest()
    request.model_spec.signature_name = "classify"  # a SavedModel in TensorFlow Serving wants it named
    request.model_spec.name = "sentiment"
    for text in TEXTS:
        request.input.example_list.examples.add().features.feature["text"].bytes_list.value.append(text.encode())
    found = prediction.Classify(request)
    over_http = served.ask("/v1/models/sentiment:classify", {"examples": [{"text": text} for text in TEXTS]}).json
    for row, pairs in zip(found.result.classifications, over_http["results"], strict=True):
        assert [one.label for one in row.classes] == [name for name, _ in pairs]
        np.testing.assert_allclose([one.score for one in row.classes], [share for _, share in pairs], atol=1e-6)
    with_context = classification_pb2.ClassificationRequest()
    with_context.model_spec.name = "sentiment"
    listed = with_context.input.example_list_with_context
    listed.context.features.feature["text"].bytes_list.value.append(b"good great film")
    listed.examples.add()
    assert prediction.Classify(with_context).result.classifications[0] == found.result.classifications[0]


def test_metadata_and_status_are_those_of_http(prediction, channel, served):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "sentiment"
    response = prediction.GetModelMetadata(request)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    written = json.loads(json_format.MessageToJson(signatures, preserving_proto_field_name=True))
    over_http = served.ask("/v1/models/sentiment/metadata").json["metadata"]["signature_def"]
    for way in ("inputs", "outputs"):
        mine, other = (one["signature_def"]["serving_default"][way] for one in (written, over_http))
        assert mine.keys() == other.keys()
        for name in mine:
            assert (mine[name]["dtype"], mine[name]["name"]) == (other[name]["dtype"], other[name]["name"])
            sizes = [[dim["size"] for dim in one[name]["tensor_shape"]["dim"]] for one in (mine, other)]
            assert sizes[0] == sizes[1]
    ask = get_model_status_pb2.GetModelStatusRequest()
    ask.model_spec.name = "sentiment"
    status = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(ask).model_version_status
    assert [(one.version, one.state, one.status.error_code) for one in status] == [(1, 30, 0)]


def wrong_signature(request):
    request.model_spec.signature_name = "other"


def version_seven(request):
    request.model_spec.version.value = 7


def with_label(request):
    request.model_spec.version_label = "canary"


def numbers(request):
    request.inputs["text"].dtype = 1


def matrix(request):
    request.inputs["text"].tensor_shape.dim.add(size=1)


def too_few(request):
    request.inputs["text"].tensor_shape.dim[0].size = 9


def another_input(request):
    request.inputs["texts"].CopyFrom(request.inputs["text"])
    del request.inputs["text"]


def unknown_output(request):
    request.output_filter.append("logit")


def other_model(request):
    request.model_spec.name = "other"


def empty(request):
    request.inputs["text"].CopyFrom(asking([]).inputs["text"])


def many(request):
    request.inputs["text"].CopyFrom(asking(["a"] * 21).inputs["text"])


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (other_model, "NOT_FOUND", "There is no model 'other'. This server has 'sentiment'."),
        (version_seven, "NOT_FOUND", "Version 7 is not served. Version 1 is."),
        (with_label, "NOT_FOUND", "There is no version labelled 'canary': this server has no labels. Leave it out."),
        (
            wrong_signature,
            "INVALID_ARGUMENT",
            "There is no signature 'other'. Expected serving_default, or none named.",
        ),
        (numbers, "INVALID_ARGUMENT", "text: expected a tensor of type DT_STRING (7). Received: 1."),
        (matrix, "INVALID_ARGUMENT", "text: expected a tensor of shape [n]. Received: [3, 1]."),
        (too_few, "INVALID_ARGUMENT", "text: the shape is [9], and there are 3 texts."),
        (empty, "INVALID_ARGUMENT", "text: the tensor is empty. Expected at least one text."),
        (another_input, "INVALID_ARGUMENT", "Expected one input, 'text'. Received: texts."),
        (
            unknown_output,
            "INVALID_ARGUMENT",
            "output_filter: there is no output 'logit'. Expected label, probability, probabilities.",
        ),
        (many, "INVALID_ARGUMENT", "The request has 21 texts. Expected at most 20: ask in parts."),
    ],
)
def test_messages_of_predict(prediction, change, code, message):
    request = asking()
    change(request)
    with pytest.raises(grpc.RpcError) as refusal:
        prediction.Predict(request)
    assert (refusal.value.code().name, refusal.value.details()) == (code, message)


def test_messages_of_classify_and_metadata(prediction):
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name = "sentiment"

    def refused(call, request):
        with pytest.raises(grpc.RpcError) as refusal:
            call(request)
        assert refusal.value.code().name == "INVALID_ARGUMENT"
        return refusal.value.details()

    assert refused(prediction.Classify, request) == "input: expected examples. Received: nothing."
    request.input.example_list.SetInParent()
    message = "input: the list of examples is empty. Expected at least one text."
    assert refused(prediction.Classify, request) == message
    example = request.input.example_list.examples.add()
    example.features.feature["stars"].int64_list.value.append(5)
    assert refused(prediction.Classify, request) == "examples[0]: expected the feature 'text'. Received: stars."
    example.features.feature["text"].int64_list.value.append(5)
    message = "examples[0].text: expected one text in bytes_list. Received: 0."
    assert refused(prediction.Classify, request) == message
    metadata = get_model_metadata_pb2.GetModelMetadataRequest()
    metadata.model_spec.name = "sentiment"
    message = "metadata_field: expected signature_def. Received: []."
    assert refused(prediction.GetModelMetadata, metadata) == message


def test_a_message_that_is_too_large_and_bytes_that_are_none(prediction, channel, served):
    with pytest.raises(grpc.RpcError) as refusal:
        prediction.Predict(asking(["x" * 200_000]))
    assert refusal.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    raw = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    with pytest.raises(grpc.RpcError):
        raw(b"\xff\xff\xff")
    with pytest.raises(grpc.RpcError) as refusal:
        channel.unary_unary("/tensorflow.serving.PredictionService/Regress")(b"")
    assert refusal.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert prediction.Predict(asking()).outputs


def test_64_clients_get_their_own_answers(prediction, mobile):
    texts = [" ".join(["good", "bad", "film", "plot"][: 1 + i % 4]) + " dull" * (i % 7) for i in range(256)]
    expected = tfsent.load(mobile / "model.tflite").predict_proba(texts)
    with ThreadPoolExecutor(64) as pool:
        found = list(pool.map(lambda t: array(prediction.Predict(asking([t])).outputs["probabilities"])[0], texts))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_callers_deadline_a_full_queue_and_a_cancelled_call(start, mobile):
    served = start(mobile, slow=0.3, grpc_port=0, limits={"queue": 12, "texts": 12})
    with grpc.insecure_channel(served.grpc) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        with pytest.raises(grpc.RpcError) as refusal:
            stub.Predict(asking(["a"] * 10), timeout=0.5)
        assert refusal.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        until(lambda: served.metric("tfsent_queue_texts") == 0, "its texts being dropped")
        calls = [stub.Predict.future(asking(["a"] * 6)) for _ in range(4)]
        codes = [call.code() for call in calls]
        assert grpc.StatusCode.RESOURCE_EXHAUSTED in codes and grpc.StatusCode.OK in codes
        cancelled = stub.Predict.future(asking(["a"] * 10))
        until(lambda: served.metric("tfsent_queue_texts") > 0, "its texts in the queue")
        cancelled.cancel()
        until(lambda: served.metric("tfsent_queue_texts") == 0, "the cancelled texts being dropped")
        assert stub.Predict(asking(["a"])).outputs


def test_a_token_is_asked_for(start, mobile):
    served = start(mobile, token="secret", grpc_port=0)
    with grpc.insecure_channel(served.grpc) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        for metadata in ((), (("authorization", "Bearer other"),)):
            with pytest.raises(grpc.RpcError) as refusal:
                stub.Predict(asking(), metadata=metadata)
            assert refusal.value.code() == grpc.StatusCode.UNAUTHENTICATED
        assert stub.Predict(asking(), metadata=(("authorization", "Bearer secret"),)).outputs


def test_calls_are_answered_when_the_server_is_told_to_end(start, mobile):
    served = start(mobile, slow=0.3, grpc_port=0)
    with grpc.insecure_channel(served.grpc) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        call = stub.Predict.future(asking(["a"] * 4))
        until(lambda: served.metric("tfsent_queue_texts") > 0, "its texts in the queue")
        assert served.end() == (0, "[]\n")
        assert len(call.result().outputs["label"].string_val) == 4
