"""Asks a SavedModel through TensorFlow's C API, in a child process: the path that a server takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from tfsent.errors import ExportError, last_line

OPS = "_fast_wordpiece_tokenizer.so"
"""The op library of tensorflow-text that the graph may use."""


@dataclass(frozen=True)
class Call:
    """One request: a signature with its inputs by name. Texts are arrays of `bytes` objects."""

    signature: str
    inputs: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Answer:
    """What came of a call."""

    outputs: dict[str, np.ndarray]
    """By name; empty where there was an error."""
    error: str
    """Empty where there was none."""
    seconds: float


def texts_of(texts: Sequence[bytes]) -> dict[str, np.ndarray]:
    """Return the inputs of `serving_default`."""
    return {"text": np.array(texts, object)}


def ask(folder: Path, calls: Sequence[Call], packages: Path | None = None) -> list[Answer]:
    """Load a SavedModel in a process of its own and make calls, one after the other.

    Args:
        folder: the SavedModel.
        calls: what to ask. Their signatures and inputs exist.
        packages: where other releases of tensorflow and tensorflow_text lie; None for the installed ones.

    Raises:
        ExportError: the SavedModel cannot be loaded so.
    """
    signatures = _signatures(folder)
    fetches = [sorted(signatures[call.signature].outputs) for call in calls]
    plan = {
        **_libraries(packages or Path(tf.__file__).parents[1]),
        "savedmodel": str(folder.resolve()),
        "calls": [_spelt(call, signatures, names) for call, names in zip(calls, fetches, strict=True)],
    }
    found = _run(plan)
    return [
        Answer(
            dict(zip(names, map(_array, one.get("tensors", ())), strict=False)), one.get("error", ""), one["seconds"]
        )
        for one, names in zip(found, fetches, strict=True)
    ]


def _run(plan: dict[str, Any]) -> list[dict[str, Any]]:
    runner = Path(__file__).with_name("isolated_process.py")
    with tempfile.TemporaryDirectory() as scratch:
        given, out = Path(scratch) / "plan.json", Path(scratch) / "out.json"
        given.write_text(json.dumps(plan), encoding="utf-8")
        # -P: no module beside the script, or in the current folder, may shadow an installed one.
        command = [sys.executable, "-P", str(runner), str(given), str(out)]
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", env=environment, cwd=scratch, check=False
        )
        if done.returncode or not out.is_file():
            raise ExportError(
                f"The SavedModel does not run in a process of its own (exit code {done.returncode}): "
                f"{last_line(done.stderr)}"
            )
        return json.loads(out.read_text(encoding="utf-8"))


def _libraries(packages: Path) -> dict[str, str]:
    """Return the paths of the libraries in the folder of the wheels."""
    return {
        "framework": str(next((packages / "tensorflow").glob("libtensorflow_framework*"))),
        "library": str(next((packages / "tensorflow").glob("libtensorflow_cc*"))),
        "ops": str(packages / "tensorflow_text" / "python" / "ops" / OPS),
    }


def _signatures(folder: Path) -> Mapping[str, Any]:
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    try:
        return SavedModel.FromString((folder / "saved_model.pb").read_bytes()).meta_graphs[0].signature_def
    except (OSError, DecodeError, IndexError) as error:
        raise ExportError(f"{folder / 'saved_model.pb'} is damaged or missing: {error}.") from error


def _spelt(call: Call, signatures: Mapping[str, Any], outputs: Sequence[str]) -> dict[str, Any]:
    signature = signatures[call.signature]
    feeds = {signature.inputs[name].name: _tensor(value) for name, value in call.inputs.items()}
    return {"feeds": feeds, "fetches": [signature.outputs[name].name for name in outputs]}


def _tensor(value: np.ndarray) -> dict[str, Any]:
    flat = value.reshape(-1).tolist()
    if value.dtype == object:
        return {"type": "string", "shape": value.shape, "values": [raw.decode("latin-1") for raw in flat]}
    return {"type": value.dtype.name, "shape": value.shape, "values": flat}


def _array(tensor: dict[str, Any]) -> np.ndarray:
    values = tensor["values"]
    if tensor["type"] == "string":
        return np.array([value.encode("latin-1") for value in values], object).reshape(tensor["shape"])
    return np.array(values, tensor["type"]).reshape(tensor["shape"])
