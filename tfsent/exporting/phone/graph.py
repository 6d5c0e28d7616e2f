"""Changes to the graph of a `.tflite` file that TensorFlow's converter does not make.

The converter turns an embedding into GATHER, which no quantiser makes smaller, and gives each signature a slice of the
position table as a constant of its own. `share_tables` turns both into EMBEDDING_LOOKUP: what stands once can be int4.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np

from tfsent.errors import ExportError

IDENTIFIER = b"TFL3"
TOKEN_ROWS = "token_rows"
POSITION_ROWS = "position_rows"
"""Names of the tensors that the lookups give. The recipe of a quantiser names a table by them."""


def read_graph(path: Path) -> Any:
    """Read a `.tflite` file as a tree of objects, `ModelT` of TensorFlow Lite's schema, with all weights in it."""
    from ai_edge_litert import schema_py_generated as schema

    raw = path.read_bytes()
    model = schema.ModelT.InitFromPackedBuf(raw)
    for buffer in model.buffers:
        if buffer.offset > 1:  # litert-quantizer writes the weights behind the flatbuffer
            buffer.data = np.frombuffer(raw, np.uint8, buffer.size, buffer.offset)
        buffer.offset = buffer.size = 0
    return model


def write_graph(model: Any, path: Path) -> None:
    """Write what `read_graph` returned. Equal vectors are stored once: a signature has no scales of its own."""
    builder = _SharingBuilder(sum(len(b.data) for b in model.buffers if b.data is not None) + 2**20)
    builder.Finish(model.Pack(builder), IDENTIFIER)
    path.write_bytes(builder.Output())


class _SharingBuilder(flatbuffers.Builder):
    """Stores equal vectors of numbers once, and bytes at multiples of 16, as the schema wants weights."""

    def __init__(self, size: int):
        super().__init__(size)
        self._known: dict[tuple[str, bytes], int] = {}

    def CreateNumpyVector(self, x: np.ndarray) -> int:  # noqa: N802 – the library's name
        key = (x.dtype.str, hashlib.sha256(x.tobytes()).digest())
        if key not in self._known:
            self._known[key] = super().CreateNumpyVector(x)
        return self._known[key]

    def StartVector(self, elemSize: int, numElems: int, alignment: int) -> int:  # noqa: N802, N803
        return super().StartVector(elemSize, numElems, 16 if elemSize == 1 else alignment)


def op_names(model: Any, graph: Any) -> list[str]:
    """Return the name of each operator of a graph, such as FULLY_CONNECTED, in order."""
    from ai_edge_litert import schema_py_generated as schema

    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
    codes = [names[max(code.builtinCode, code.deprecatedBuiltinCode)] for code in model.operatorCodes]
    return [codes[op.opcodeIndex] for op in graph.operators]


def share_tables(model: Any, pieces: int) -> None:
    """Turn the lookup of tokens and the addition of positions into EMBEDDING_LOOKUP, over one table each.

    Args:
        model: of `read_graph`; changed in place.
        pieces: rows of the token table.

    Raises:
        ExportError: a graph has not exactly one lookup of tokens, followed by one addition of positions; or the
            position tables of two graphs differ.
    """
    longest = max(model.subgraphs, key=lambda graph: int(graph.tensors[graph.inputs[0]].shape[1]))
    _, addition, _ = _embedding(model, longest, pieces)
    positions = longest.tensors[addition.inputs[1]]
    table, width = positions.buffer, int(positions.shape[-1])
    whole = _floats(model, positions)
    for graph in model.subgraphs:
        lookup, addition, at = _embedding(model, graph, pieces)
        own = _floats(model, graph.tensors[addition.inputs[1]])
        if not np.array_equal(own, whole[: own.size]):
            raise ExportError("Two lengths of the graph add other positions. Expected the same table in both.")
        length = own.size // width
        edit = _Edit(model, graph, f"_{length}")
        ids = edit.reshape(lookup.inputs[1], [length], "token_ids_1d")
        rows = edit.lookup(ids, lookup.inputs[0], [length, width], TOKEN_ROWS)
        edit.reshape(rows, [1, length, width], "tokens", output=lookup.outputs[0])
        order = edit.constant(np.arange(length, dtype=np.int32), "positions")
        stored = edit.tensor("position_table", [whole.size // width, width], "FLOAT32", table)
        addition.inputs = [lookup.outputs[0], edit.lookup(order, stored, [length, width], POSITION_ROWS)]
        graph.operators[at : at + 1] = edit.operators
    _drop_unused(model)


def keep_pieces(model: Any, pieces: int, kept: Sequence[int]) -> None:
    """Cut the token table to some of its rows.

    Args:
        model: of `read_graph`; changed in place.
        pieces: rows of the token table.
        kept: the rows in their new order.

    Raises:
        ExportError: see `share_tables`.
    """
    cut: set[int] = set()
    for graph in model.subgraphs:
        lookup, _, _ = _embedding(model, graph, pieces)
        table = graph.tensors[lookup.inputs[0]]
        if table.buffer not in cut:  # which graphs share
            rows = _floats(model, table).reshape(pieces, -1)
            model.buffers[table.buffer].data = rows[np.asarray(kept)].ravel().view(np.uint8)
            cut.add(table.buffer)
        table.shape = np.array([len(kept), table.shape[1]], np.int32)


def keep_signature(model: Any, name: str) -> None:
    """Drop all signatures but one, with their graphs and the constants that only they use.

    Args:
        model: of `read_graph`; changed in place.
        name: of the signature.
    """
    [signature] = [one for one in model.signatureDefs if one.signatureKey.decode() == name]
    model.subgraphs = [model.subgraphs[signature.subgraphIndex]]
    signature.subgraphIndex = 0
    model.signatureDefs = [signature]
    _drop_unused(model)


def _drop_unused(model: Any) -> None:
    """Empty the constants that no operator takes."""
    used = {entry.buffer for entry in model.metadata or []}
    for graph in model.subgraphs:
        taken = {int(i) for op in graph.operators for i in (*op.inputs, *op.outputs)}
        taken |= {t.quantization.details.scales for t in graph.tensors if t.quantization and t.quantization.details}
        for i, tensor in enumerate(graph.tensors):
            if i not in taken and i not in graph.inputs:
                tensor.buffer = 0  # the empty one
            used.add(tensor.buffer)
    for i, buffer in enumerate(model.buffers):
        if i not in used:
            buffer.data = None


def _embedding(model: Any, graph: Any, pieces: int) -> tuple[Any, Any, int]:
    """Return the lookup of tokens, the addition of positions, and the place of the lookup."""
    names = op_names(model, graph)
    lookups = [
        (op, i)
        for i, op in enumerate(graph.operators)
        if names[i] == "GATHER" and int(graph.tensors[op.inputs[0]].shape[0]) == pieces
    ]
    if len(lookups) != 1:
        raise ExportError(f"The graph looks up a table of {pieces:,} rows {len(lookups)} times. Expected once.")
    lookup, at = lookups[0]
    length = int(graph.tensors[graph.inputs[0]].shape[1])
    additions = [op for i, op in enumerate(graph.operators) if names[i] == "ADD" and op.inputs[0] == lookup.outputs[0]]
    if len(additions) != 1 or list(graph.tensors[additions[0].inputs[1]].shape) not in (
        [length, int(graph.tensors[lookup.outputs[0]].shape[-1])],
        [1, length, int(graph.tensors[lookup.outputs[0]].shape[-1])],
    ):
        raise ExportError(f"The graph adds no table of {length:,} positions to its tokens. Expected one.")
    return lookup, additions[0], at


def _floats(model: Any, tensor: Any) -> np.ndarray:
    data = model.buffers[tensor.buffer].data
    if data is None or tensor.type != 0:
        raise ExportError(f"{tensor.name.decode()} of the graph is no float32 constant. Expected a table of weights.")
    return np.asarray(data).view(np.float32)


class _Edit:
    """New operators for a graph, in order, with their tensors. A quantiser wants the names of tensors unique."""

    def __init__(self, model: Any, graph: Any, suffix: str):
        self.model, self.graph, self.suffix = model, graph, suffix
        self.operators: list[Any] = []

    def tensor(self, name: str, shape: Sequence[int], kind: str, buffer: int = 0) -> int:
        from ai_edge_litert import schema_py_generated as schema

        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.buffer = (name + self.suffix).encode(), np.array(shape, np.int32), buffer
        tensor.type = getattr(schema.TensorType, kind)
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def constant(self, values: np.ndarray, name: str) -> int:
        from ai_edge_litert import schema_py_generated as schema

        buffer = schema.BufferT()
        buffer.data = values.view(np.uint8)
        self.model.buffers.append(buffer)
        return self.tensor(name, values.shape, "INT32", len(self.model.buffers) - 1)

    def reshape(self, source: int, shape: Sequence[int], name: str, output: int | None = None) -> int:
        from ai_edge_litert import schema_py_generated as schema

        kind = "INT32" if self.graph.tensors[source].type == schema.TensorType.INT32 else "FLOAT32"
        wanted = self.constant(np.array(shape, np.int32), f"{name}_shape")
        return self._operator("RESHAPE", [source, wanted], self.tensor(name, shape, kind) if output is None else output)

    def lookup(self, ids: int, table: int, shape: Sequence[int], name: str) -> int:
        return self._operator("EMBEDDING_LOOKUP", [ids, table], self.tensor(name, shape, "FLOAT32"))

    def _operator(self, name: str, inputs: list[int], output: int) -> int:
        from ai_edge_litert import schema_py_generated as schema

        code = getattr(schema.BuiltinOperator, name)
        known = [i for i, one in enumerate(self.model.operatorCodes) if one.builtinCode == code]
        if not known:
            added = schema.OperatorCodeT()
            added.builtinCode = added.deprecatedBuiltinCode = code
            added.version = 1
            self.model.operatorCodes.append(added)
        operator = schema.OperatorT()
        operator.opcodeIndex = known[0] if known else len(self.model.operatorCodes) - 1
        operator.inputs, operator.outputs = np.array(inputs, np.int32), np.array([output], np.int32)
        self.operators.append(operator)
        return output
