"""Runs a SavedModel as a server does: through TensorFlow's C API, in a process without Python's TensorFlow and tfsent.

Run as a file: `python -P isolated_process.py PLAN.json OUT.json`. The plan names the libraries, the SavedModel and the
calls. The process loads TensorFlow's library and the one op library of tensorflow-text that the graph may use: a graph
with any other custom op fails here as on a server.

A call has `feeds`, tensors by name, and `fetches`, names of tensors. A tensor is `{"type", "shape", "values"}`; bytes
are spelt as Latin-1. OUT has for each call the fetched `tensors` and its `seconds`; or the `error`.
"""

import ctypes
import json
import sys
import time
from math import prod
from pathlib import Path

import numpy as np

TYPES = {1: "float32", 3: "int32", 7: "string", 9: "int64", 10: "bool"}
"""TensorFlow's numbers (tensorflow/core/framework/types.proto)."""
NUMBERS = {name: number for number, name in TYPES.items()}
STRING_BYTES = 24
"""Of a TF_TString (tensorflow/c/tf_tstring.h)."""
pointer, text, size = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t
dims = ctypes.POINTER(ctypes.c_int64)


class Output(ctypes.Structure):
    """A tensor of a graph (`TF_Output`, tensorflow/c/c_api.h)."""

    _fields_ = (("operation", pointer), ("index", ctypes.c_int))


outputs = ctypes.POINTER(Output)
pointers = ctypes.POINTER(pointer)
RUN_ARGUMENTS = (
    *(pointer, pointer),  # session, options
    *(outputs, pointers, ctypes.c_int),  # what is fed
    *(outputs, pointers, ctypes.c_int),  # what is fetched
    *(pointer, ctypes.c_int, pointer, pointer),  # targets, metadata, status
)
FUNCTIONS = {
    "TF_NewStatus": (pointer, ()),
    "TF_GetCode": (ctypes.c_int, (pointer,)),
    "TF_Message": (text, (pointer,)),
    "TF_LoadLibrary": (pointer, (text, pointer)),
    "TF_NewGraph": (pointer, ()),
    "TF_NewSessionOptions": (pointer, ()),
    "TF_LoadSessionFromSavedModel": (
        pointer,
        (pointer, pointer, text, ctypes.POINTER(text), ctypes.c_int, pointer, pointer, pointer),
    ),
    "TF_GraphOperationByName": (pointer, (pointer, text)),
    "TF_AllocateTensor": (pointer, (ctypes.c_int, dims, ctypes.c_int, size)),
    "TF_DeleteTensor": (None, (pointer,)),
    "TF_TensorData": (pointer, (pointer,)),
    "TF_TensorType": (ctypes.c_int, (pointer,)),
    "TF_NumDims": (ctypes.c_int, (pointer,)),
    "TF_Dim": (ctypes.c_int64, (pointer, ctypes.c_int)),
    "TF_StringInit": (None, (pointer,)),
    "TF_StringCopy": (None, (pointer, text, size)),
    "TF_StringGetDataPointer": (pointer, (pointer,)),
    "TF_StringGetSize": (size, (pointer,)),
    "TF_SessionRun": (None, RUN_ARGUMENTS),
}


class Server:
    """A loaded SavedModel.

    Args:
        framework: path of TensorFlow's framework library.
        library: path of the library with the C API.
        ops: path of the op library of tensorflow-text.
        folder: the SavedModel.
    """

    def __init__(self, framework: str, library: str, ops: str, folder: str):
        ctypes.CDLL(framework, ctypes.RTLD_GLOBAL)
        self.api = ctypes.CDLL(library, ctypes.RTLD_GLOBAL)
        for name, (result, arguments) in FUNCTIONS.items():
            function = getattr(self.api, name)
            function.restype, function.argtypes = result, arguments
        self.status = self.api.TF_NewStatus()
        self.api.TF_LoadLibrary(ops.encode(), self.status)
        self._check()
        self.graph = self.api.TF_NewGraph()
        tags = (text * 1)(b"serve")
        self.session = self.api.TF_LoadSessionFromSavedModel(
            self.api.TF_NewSessionOptions(), None, folder.encode(), tags, 1, self.graph, None, self.status
        )
        self._check()

    def _check(self) -> None:
        if self.api.TF_GetCode(self.status):
            raise RuntimeError(self.api.TF_Message(self.status).decode("utf-8", "replace"))

    def run(self, feeds: dict, fetches: list) -> list:
        """Run the graph once; return the fetched tensors."""
        given = [self._tensor(value) for value in feeds.values()]
        results = (pointer * len(fetches))()
        self.api.TF_SessionRun(
            *(self.session, None, self._places(list(feeds)), (pointer * len(given))(*given), len(given)),
            *(self._places(fetches), results, len(fetches), None, 0, None, self.status),
        )
        for tensor in given:
            self.api.TF_DeleteTensor(tensor)
        self._check()
        return [self._value(tensor) for tensor in results if tensor]

    def _places(self, names: list) -> ctypes.Array:
        found = (Output * len(names))()
        for i, name in enumerate(names):
            operation, _, index = name.partition(":")
            found[i] = Output(self.api.TF_GraphOperationByName(self.graph, operation.encode()), int(index or 0))
            if not found[i].operation:
                raise RuntimeError(f"the graph has no tensor {name}")
        return found

    def _tensor(self, value: dict) -> int:
        shape, kind = value["shape"], value["type"]
        of_one = STRING_BYTES if kind == "string" else np.dtype(kind).itemsize
        sizes = (ctypes.c_int64 * len(shape))(*shape)
        tensor = self.api.TF_AllocateTensor(NUMBERS[kind], sizes, len(shape), of_one * prod(shape))
        data = self.api.TF_TensorData(tensor)
        if kind != "string":
            raw = np.array(value["values"], kind).tobytes()
            ctypes.memmove(data, raw, len(raw))
            return tensor
        for i, spelt in enumerate(value["values"]):
            raw = spelt.encode("latin-1")
            self.api.TF_StringInit(data + i * STRING_BYTES)
            self.api.TF_StringCopy(data + i * STRING_BYTES, raw, len(raw))
        return tensor

    def _value(self, tensor: int) -> dict:
        kind = TYPES[self.api.TF_TensorType(tensor)]
        shape = [self.api.TF_Dim(tensor, i) for i in range(self.api.TF_NumDims(tensor))]
        data, count = self.api.TF_TensorData(tensor), prod(shape)
        if kind == "string":
            values = [self._string(data + i * STRING_BYTES) for i in range(count)]
        else:
            raw = ctypes.string_at(data, np.dtype(kind).itemsize * count) if count else b""
            values = np.frombuffer(raw, kind).tolist()
        self.api.TF_DeleteTensor(tensor)
        return {"type": kind, "shape": shape, "values": values}

    def _string(self, place: int) -> str:
        raw = ctypes.string_at(self.api.TF_StringGetDataPointer(place), self.api.TF_StringGetSize(place))
        return raw.decode("latin-1")


def main(plan_path: str, out_path: str) -> None:
    """Load, make the calls, write what came out."""
    plan = json.loads(Path(plan_path).read_text(encoding="utf-8"))
    server = Server(plan["framework"], plan["library"], plan["ops"], plan["savedmodel"])
    answers = []
    for call in plan["calls"]:
        started = time.perf_counter()
        try:
            answer: dict = {"tensors": server.run(call["feeds"], call["fetches"])}
        except RuntimeError as error:
            answer = {"error": str(error)}
        answers.append({**answer, "seconds": time.perf_counter() - started})
    Path(out_path).write_text(json.dumps(answers), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
