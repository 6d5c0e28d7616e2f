"""A `.tflite` file → one that MediaPipe's TextClassifier and the TFLite Task Library open as it is.

What they need is metadata in the file: which input is which, the tokenizer, and behind the file, as a zip, the
vocabulary and the labels (TensorFlow Lite's metadata schema, identifier M001). MediaPipe lower-cases ASCII only, strips
no accents and keeps the head of a long text.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import flatbuffers
import numpy as np

from tfsent.errors import ExportError
from tfsent.exporting.phone.graph import keep_signature, read_graph, write_graph
from tfsent.inference.tflite_file import DEFAULT_SIGNATURE, INPUTS, MEDIAPIPE

AXIS_LABELS, VOCABULARY = 2, 5
"""Of the enum AssociatedFileType."""
BERT_TOKENIZER = 4
"""Of the union ProcessUnitOptions."""


def write_mediapipe(source: Path, folder: Path) -> None:
    """Write `model-mediapipe.tflite`: a file with metadata.

    Args:
        source: a `.tflite` file. Its longest signature is taken: MediaPipe wants one graph.
        folder: where to write; it has `vocab.txt` and `labels.txt`.

    Raises:
        ExportError: the graph has other inputs than tfsent's.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = read_graph(source)
    keep_signature(model, DEFAULT_SIGNATURE)
    graph = model.subgraphs[0]
    names = [graph.tensors[i].name.decode() for i in graph.inputs]
    names = [name.removeprefix(f"{DEFAULT_SIGNATURE}_").removesuffix(":0") for name in names]
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = np.frombuffer(_metadata(names), np.uint8)
    model.buffers.append(buffer)
    entry.name, entry.buffer = "TFLITE_METADATA", len(model.buffers) - 1
    model.metadata = [*(model.metadata or []), entry]
    write_graph(model, folder / MEDIAPIPE)
    with zipfile.ZipFile(folder / MEDIAPIPE, "a", zipfile.ZIP_STORED) as files:
        for name in ("vocab.txt", "labels.txt"):
            files.write(folder / name, name)


def _metadata(inputs: Sequence[str]) -> bytes:
    """Return the metadata as a flatbuffer. Tables are written before those that point to them.

    Args:
        inputs: names of the inputs in the order of the graph.

    Raises:
        ExportError: they are not those of tfsent.
    """
    if set(inputs) != set(INPUTS):  # metadata with other names would swap inputs without a word
        raise ExportError(f"The graph takes {', '.join(inputs)}. Expected {', '.join(INPUTS)}.")
    builder = flatbuffers.Builder(1024)

    def table(slots: int, *fields: tuple[int, Callable[[int], None]]) -> int:
        builder.StartObject(slots)
        for slot, put in fields:
            put(slot)
        return int(builder.EndObject())

    def offset(value: int) -> Callable[[int], None]:
        return lambda slot: builder.PrependUOffsetTRelativeSlot(slot, value, 0)

    def number(value: int) -> Callable[[int], None]:
        return lambda slot: builder.PrependInt8Slot(slot, value, 0)

    def vector(items: Sequence[int]) -> int:
        builder.StartVector(4, len(items), 4)
        for item in reversed(items):
            builder.PrependUOffsetTRelative(item)
        return int(builder.EndVector())

    def file(name: str, kind: int) -> int:
        spelt = builder.CreateString(name)
        return table(5, (0, offset(spelt)), (2, number(kind)))  # AssociatedFile: name, description, type, …

    def tensor(name: str, files: Sequence[int] = ()) -> int:
        spelt, listed = builder.CreateString(name), vector(files)
        return table(7, (0, offset(spelt)), (6, offset(listed)))  # TensorMetadata: name … associated_files

    tokenizer = table(1, (0, offset(vector([file("vocab.txt", VOCABULARY)]))))  # BertTokenizerOptions: vocab_file
    unit = table(2, (0, number(BERT_TOKENIZER)), (1, offset(tokenizer)))  # ProcessUnit: options_type, options
    taken = vector([tensor(name) for name in inputs])
    given = vector([tensor("score", [file("labels.txt", AXIS_LABELS)])])
    units = vector([unit])
    # SubGraphMetadata: name, description, inputs, outputs, associated_files, input_process_units, …
    graph = table(10, (2, offset(taken)), (3, offset(given)), (5, offset(units)))
    name, graphs, version = builder.CreateString("tfsent"), vector([graph]), builder.CreateString("1.0.0")
    # ModelMetadata: name, description, version, subgraph_metadata, …, min_parser_version
    root = table(8, (0, offset(name)), (3, offset(graphs)), (7, offset(version)))
    builder.Finish(root, b"M001")
    return bytes(builder.Output())
