"""The messages described here against the official ones of tensorflow-serving-api."""

import pytest
from google.protobuf import symbol_database
from hypothesis import given
from hypothesis import strategies as st

from tfsent.serving import protos

official = pytest.importorskip("tensorflow_serving.apis", reason="NOT COMPARED: pip install tensorflow-serving-api")
from tensorflow_serving.apis import classification_pb2, get_model_metadata_pb2, get_model_status_pb2, predict_pb2  # noqa

POOL = symbol_database.Default().pool


def known(name):
    return POOL.FindMessageTypeByName(name)


@pytest.mark.parametrize("name", protos.names())
def test_each_field_has_the_official_number_and_type(name):
    ours, theirs = protos.message(name).DESCRIPTOR, known(name)
    for field in ours.fields:
        other = theirs.fields_by_name[field.name]
        code = field.name == "error_code"  # an enum, which is a number on the wire
        assert (field.number, field.is_repeated) == (other.number, other.is_repeated), field.name
        assert field.type == (5 if code else other.type), field.name
        assert (field.containing_oneof and field.containing_oneof.name) == (
            other.containing_oneof and other.containing_oneof.name
        )
        if field.message_type and not field.message_type.GetOptions().map_entry:
            assert field.message_type.full_name == other.message_type.full_name
        elif field.message_type:
            kinds = [one.message_type.fields_by_name["value"] for one in (field, other)]
            assert kinds[0].type == kinds[1].type
            assert kinds[0].message_type.full_name == kinds[1].message_type.full_name


@pytest.mark.parametrize("name", ["DataType", "State"])
def test_each_number_of_an_enum_is_the_official_one(name):
    field = {
        "DataType": ("tensorflow.TensorProto", "dtype"),
        "State": ("tensorflow.serving.ModelVersionStatus", "state"),
    }
    message, place = field[name]
    theirs = known(message).fields_by_name[place].enum_type
    for value in protos.message(message).DESCRIPTOR.fields_by_name[place].enum_type.values:
        assert value.number == theirs.values_by_name[value.name].number


def test_the_official_ones_are_in_another_pool():
    assert protos.PredictRequest.DESCRIPTOR.file.pool is not predict_pb2.PredictRequest.DESCRIPTOR.file.pool


texts, numbers = (
    st.lists(st.binary(max_size=20), max_size=4),
    st.lists(st.floats(width=32, allow_nan=False), max_size=4),
)
names, versions = st.text(max_size=8), st.integers(0, 2**63 - 1)


def passed_on(ours, theirs):
    """What ours becomes on the wire, read by the official message, and back."""
    read = theirs.FromString(ours.SerializeToString(deterministic=True))
    assert type(ours).FromString(read.SerializeToString(deterministic=True)) == ours
    return read


@given(names, versions, texts, numbers)
def test_predict_survives_the_wire(name, version, strings, floats):
    request = protos.PredictRequest(output_filter=["label"])
    request.model_spec.name, request.model_spec.version.value = name, version
    request.inputs["text"].dtype = protos.STRING
    request.inputs["text"].tensor_shape.dim.add(size=len(strings))
    request.inputs["text"].string_val.extend(strings)
    read = passed_on(request, predict_pb2.PredictRequest)
    assert (read.model_spec.name, read.model_spec.version.value) == (name, version)
    assert list(read.inputs["text"].string_val) == strings and read.inputs["text"].dtype == 7
    response = protos.PredictResponse()
    response.outputs["probabilities"].float_val.extend(floats)
    assert list(passed_on(response, predict_pb2.PredictResponse).outputs["probabilities"].float_val) == floats


@given(names, texts)
def test_classify_survives_the_wire(label, strings):
    request = protos.ClassificationRequest()
    request.model_spec.version_label = label
    listed = request.input.example_list_with_context
    listed.context.features.feature["stars"].int64_list.value.append(5)
    for text in strings:
        listed.examples.add().features.feature["text"].bytes_list.value.append(text)
    read = passed_on(request, classification_pb2.ClassificationRequest)
    assert read.model_spec.version_label == label
    found = [one.features.feature["text"].bytes_list.value[0] for one in read.input.example_list_with_context.examples]
    assert found == strings
    response = protos.ClassificationResponse()
    response.result.classifications.add().classes.add(label=label, score=0.5)
    one = passed_on(response, classification_pb2.ClassificationResponse).result.classifications[0].classes[0]
    assert (one.label, one.score) == (label, 0.5)


@given(names, versions, st.sampled_from(sorted(protos.STATES)))
def test_status_survives_the_wire(message, version, state):
    response = protos.GetModelStatusResponse()
    row = response.model_version_status.add(version=version, state=protos.STATES[state])
    row.status.error_code, row.status.error_message = protos.CODE_UNKNOWN, message
    read = passed_on(response, get_model_status_pb2.GetModelStatusResponse).model_version_status[0]
    assert (read.version, read.state, read.status.error_message) == (version, protos.STATES[state], message)


@given(names, st.integers(-1, 1000))
def test_metadata_survives_the_wire(name, size):
    signature = protos.SignatureDef(method_name=name)
    signature.inputs["text"].name = name
    signature.inputs["text"].tensor_shape.dim.add(size=size)
    response = protos.GetModelMetadataResponse()
    response.metadata["signature_def"].Pack(protos.SignatureDefMap(signature_def={"serving_default": signature}))
    read = passed_on(response, get_model_metadata_pb2.GetModelMetadataResponse)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert read.metadata["signature_def"].Unpack(signatures)
    found = signatures.signature_def["serving_default"]
    assert (found.method_name, found.inputs["text"].tensor_shape.dim[0].size) == (name, size)
