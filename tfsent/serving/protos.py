"""The messages of TensorFlow Serving that are needed here, without TensorFlow.

They are described below with the field numbers of the official `.proto` files, in a pool of their own: a program that
loads the official ones, too, has no two messages of one name.

Sources: https://github.com/tensorflow/serving/tree/master/tensorflow_serving/apis, and of TensorFlow itself
tensor.proto, tensor_shape.proto, example.proto, feature.proto and meta_graph.proto.
"""

from __future__ import annotations

import re
from typing import Any

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2

FLOAT, STRING = 1, 7
"""DataType of tensorflow/core/framework/types.proto."""
STATES = {"UNKNOWN": 0, "START": 10, "LOADING": 20, "AVAILABLE": 30, "UNLOADING": 40, "END": 50}
"""ModelVersionStatus.State."""
CODE_UNKNOWN = 2
"""tensorflow.error.Code of a version that could not be loaded."""

_CORE = """
TensorShapeProto.Dim: size=1 int64, name=2 string
TensorShapeProto: dim=2 repeated TensorShapeProto.Dim, unknown_rank=3 bool
TensorProto: dtype=1 DataType, tensor_shape=2 TensorShapeProto, version_number=3 int32, tensor_content=4 bytes
TensorProto: float_val=5 repeated float, string_val=8 repeated bytes
BytesList: value=1 repeated bytes
FloatList: value=1 repeated float
Int64List: value=1 repeated int64
Feature: bytes_list=1 BytesList kind, float_list=2 FloatList kind, int64_list=3 Int64List kind
Features: feature=1 map Feature
Example: features=1 Features
TensorInfo: name=1 string encoding, dtype=2 DataType, tensor_shape=3 TensorShapeProto
SignatureDef: inputs=1 map TensorInfo, outputs=2 map TensorInfo, method_name=3 string
"""
_SERVING = """
ModelSpec: name=1 string, version=2 google.protobuf.Int64Value version_choice
ModelSpec: version_label=4 string version_choice, signature_name=3 string
PredictRequest: model_spec=1 ModelSpec, inputs=2 map tensorflow.TensorProto, output_filter=3 repeated string
PredictResponse: outputs=1 map tensorflow.TensorProto, model_spec=2 ModelSpec
ExampleList: examples=1 repeated tensorflow.Example
ExampleListWithContext: examples=1 repeated tensorflow.Example, context=2 tensorflow.Example
Input: example_list=1 ExampleList kind, example_list_with_context=2 ExampleListWithContext kind
ClassificationRequest: model_spec=1 ModelSpec, input=2 Input
Class: label=1 string, score=2 float
Classifications: classes=1 repeated Class
ClassificationResult: classifications=1 repeated Classifications
ClassificationResponse: result=1 ClassificationResult, model_spec=2 ModelSpec
StatusProto: error_code=1 int32, error_message=2 string
GetModelStatusRequest: model_spec=1 ModelSpec
ModelVersionStatus: version=1 int64, state=2 State, status=3 StatusProto
GetModelStatusResponse: model_version_status=1 repeated ModelVersionStatus
SignatureDefMap: signature_def=1 map tensorflow.SignatureDef
GetModelMetadataRequest: model_spec=1 ModelSpec, metadata_field=2 repeated string
GetModelMetadataResponse: model_spec=1 ModelSpec, metadata=2 map google.protobuf.Any
"""
"""A line: message, then fields: name=number, repeated or map (from string), type, oneof."""
_ENUMS = {"DataType": {"DT_INVALID": 0, "DT_FLOAT": FLOAT, "DT_STRING": STRING}, "State": STATES}
_FIELD = re.compile(r"(\w+)=(\d+) (?:(repeated|map) )?([\w.]+)(?: (\w+))?")
_Field = descriptor_pb2.FieldDescriptorProto


def _described(name: str, package: str, lines: str, enums: tuple[str, ...], *needed: str) -> Any:
    """Return the descriptor of a file with messages."""
    file = descriptor_pb2.FileDescriptorProto(name=name, package=package, syntax="proto3", dependency=needed)
    for enum in enums:
        values = [descriptor_pb2.EnumValueDescriptorProto(name=n, number=i) for n, i in _ENUMS[enum].items()]
        file.enum_type.add(name=enum, value=values)
    messages: dict[str, Any] = {}
    for line in lines.strip().splitlines():
        name, _, fields = line.partition(": ")
        if name not in messages:
            outer, _, inner = name.rpartition(".")
            if outer and outer not in messages:
                messages[outer] = file.message_type.add(name=outer)
            messages[name] = messages[outer].nested_type.add(name=inner) if outer else file.message_type.add(name=name)
        for field in fields.split(", "):
            found = _FIELD.fullmatch(field)
            assert found, field
            _add_field(messages[name], package, *found.groups())
    return file


def _add_field(
    message: Any, package: str, name: str, number: str, many: str | None, kind: str, choice: str | None
) -> None:
    field = message.field.add(name=name, number=int(number), label=_Field.LABEL_OPTIONAL)
    if many:
        field.label = _Field.LABEL_REPEATED
    if many == "map":
        entry = "".join(part.title() for part in name.split("_")) + "Entry"
        nested = message.nested_type.add(name=entry)
        nested.options.map_entry = True
        _add_field(nested, package, "key", "1", None, "string", None)
        _add_field(nested, package, "value", "2", None, kind, None)
        kind = f"{package}.{message.name}.{entry}"
    if hasattr(_Field, f"TYPE_{kind.upper()}"):
        field.type = getattr(_Field, f"TYPE_{kind.upper()}")
    else:
        field.type = _Field.TYPE_ENUM if kind in _ENUMS else _Field.TYPE_MESSAGE
        field.type_name = f".{kind}" if kind.startswith(("tensorflow.", "google.")) else f".{package}.{kind}"
    if choice:
        names = [one.name for one in message.oneof_decl]
        if choice not in names:
            message.oneof_decl.add(name=choice)
            names.append(choice)
        field.oneof_index = names.index(choice)


def _pool() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    for known in (any_pb2, wrappers_pb2):
        pool.AddSerializedFile(known.DESCRIPTOR.serialized_pb)
    known_names = ("google/protobuf/any.proto", "google/protobuf/wrappers.proto")
    core = _described("tfsent/core.proto", "tensorflow", _CORE, ("DataType",))
    serving = _described(
        "tfsent/serving.proto", "tensorflow.serving", _SERVING, ("State",), "tfsent/core.proto", *known_names
    )
    for file in (core, serving):
        pool.AddSerializedFile(file.SerializeToString())
    return pool


_POOL = _pool()


def message(name: str) -> Any:
    """Return the class of a message, such as `tensorflow.TensorProto` or `tensorflow.serving.PredictRequest`."""
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(name))


def names() -> list[str]:
    """Return the full names of the messages that are described here."""
    return [
        f"{package}.{name}"
        for package, lines in (("tensorflow", _CORE), ("tensorflow.serving", _SERVING))
        for name in dict.fromkeys(line.partition(": ")[0] for line in lines.strip().splitlines())
    ]


Tensor = message("tensorflow.TensorProto")
SignatureDef = message("tensorflow.SignatureDef")
PredictRequest = message("tensorflow.serving.PredictRequest")
PredictResponse = message("tensorflow.serving.PredictResponse")
ClassificationRequest = message("tensorflow.serving.ClassificationRequest")
ClassificationResponse = message("tensorflow.serving.ClassificationResponse")
GetModelMetadataRequest = message("tensorflow.serving.GetModelMetadataRequest")
GetModelMetadataResponse = message("tensorflow.serving.GetModelMetadataResponse")
GetModelStatusRequest = message("tensorflow.serving.GetModelStatusRequest")
GetModelStatusResponse = message("tensorflow.serving.GetModelStatusResponse")
SignatureDefMap = message("tensorflow.serving.SignatureDefMap")
