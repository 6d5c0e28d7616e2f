"""`manifest.json`: what lies in `RUN/export/mobile/`, and what a runtime must be able to do."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from tfsent.backend import quiet_stderr
from tfsent.exporting.phone.graph import op_names, read_graph
from tfsent.exporting.record import write_record
from tfsent.inference.tflite_file import MODEL, TFLitePredictor
from tfsent.recipe.schema import ExportConfig


def write_contents(folder: Path, kind: str, model: Path, config: ExportConfig) -> None:
    """Write `manifest.json`: `facts_of` the phone file, and what `record` adds.

    Args:
        folder: with the files of an export.
        kind: of `model.tflite`.
        model: `RUN/model`.
        config: with the budgets.
    """
    write_record(folder, "mobile", model, config, quantization=kind, **facts_of(folder / MODEL))


def facts_of(path: Path) -> dict[str, Any]:
    """Return what a runtime must be able to do.

    It has the length of each signature, the oldest TensorFlow Lite, the operators of the longest signature, and how
    many of them XNNPACK takes on a CPU.

    Args:
        path: of a `.tflite` file.

    Raises:
        ArtifactError: the file cannot be opened.
    """
    predictor = TFLitePredictor(path)
    names = {length: name for name, length in predictor.lengths.items()}
    graph = read_graph(path)
    ops = Counter(op_names(graph, max(graph.subgraphs, key=lambda g: int(g.tensors[g.inputs[0]].shape[1]))))
    return {
        "signatures": {names[length]: length for length in sorted(names)},
        "min_runtime_version": min_runtime(graph),
        "operators": dict(sorted(ops.items())),
        "delegates": {"XNNPACK": xnnpack_share(path)},
    }


def min_runtime(model: Any) -> str:
    """Return the oldest TensorFlow Lite that a file asks for, such as `2.9.0`.

    Args:
        model: of `read_graph`.
    """
    [entry] = [one for one in model.metadata if one.name == b"min_runtime_version"]
    return bytes(model.buffers[entry.buffer].data).rstrip(b"\0").decode()


def xnnpack_share(path: Path) -> dict[str, int]:
    """Count the operators of the longest signature that XNNPACK takes.

    A delegate appears as an operator among the others. What it took is what lies between its outputs and its inputs.

    Args:
        path: of a `.tflite` file.

    Returns:
        `operators`, `taken`, and `partitions`: between two of them, values go back to LiteRT's own kernels.
    """
    from ai_edge_litert.interpreter import Interpreter

    with quiet_stderr():
        interpreter = Interpreter(model_path=str(path))
        interpreter.allocate_tensors()
    found = interpreter._get_ops_details()  # of ai-edge-litert 2.3; there is no public way
    own = [op for op in found if op["op_name"] != "DELEGATE"]
    maker = {tensor: op for op in own for tensor in op["outputs"]}
    taken: set[int] = set()
    delegates = [op for op in found if op["op_name"] == "DELEGATE"]
    for delegate in delegates:
        given, todo = set(delegate["inputs"]), list(delegate["outputs"])
        while todo:
            tensor = todo.pop()
            if tensor in given or tensor not in maker or maker[tensor]["index"] in taken:
                continue
            taken.add(maker[tensor]["index"])
            todo += list(maker[tensor]["inputs"])
    return {"operators": len(own), "taken": len(taken), "partitions": len(delegates)}
