"""How small the weights of a `.tflite` file are: the kinds, what makes them, and which of them ships.

| kind | token table | matrix products | runs from |
| --- | --- | --- | --- |
| `float32` | float32 | float32 | TensorFlow Lite 2.9 |
| `float16` | float16 | float16, computed in float32 | TensorFlow Lite 2.9 |
| `int8` | int8 rows | int8 rows, activations int8 as they come | TensorFlow Lite 2.18, LiteRT 1.1 |
| `int4-table` | int4 in blocks of 32 | as int8 | LiteRT 2.1 |
| `int4` | int4 in blocks of 32 | int4 in blocks of 32 | LiteRT 2.1 |

LiteRT 1.1 to 2.0 open int4 files and answer wrongly, without a word (tried, version by version). An int4 file therefore
asks for version 14 of FULLY_CONNECTED, which they refuse.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tfsent.exporting.parity import Parity
from tfsent.exporting.phone.graph import POSITION_ROWS, op_names, read_graph, write_graph

KINDS = ("float32", "float16", "int8", "int4-table", "int4")
"""From the largest to the smallest."""
BLOCK = 32
"""Weights that share a scale in int4."""
SLOWER = 1.2
"""A file is slower than another from this factor on. On a busy machine, files of the same speed differed by 1.11."""
RUNTIMES = {"float32": "2.9.0", "float16": "2.9.0", "int8": "2.18.0", "int4-table": "2.21.0", "int4": "2.21.0"}
"""The oldest TensorFlow Lite that runs a kind, for `min_runtime_version` in the file."""


def fits_blocks(model: Any) -> bool:
    """Return whether the widths of the token table and of all matrices can be cut into blocks.

    Args:
        model: of `read_graph`.
    """
    graph = model.subgraphs[0]
    tables = [
        graph.tensors[op.inputs[0 if name == "GATHER" else 1]]
        for name, op in zip(op_names(model, graph), graph.operators, strict=True)
        if name in ("FULLY_CONNECTED", "GATHER")
    ]
    return all(int(table.shape[-1]) % BLOCK == 0 for table in tables)


def quantize(source: Path, target: Path, kind: str) -> None:
    """Write a file with smaller weights, by litert-quantizer.

    Args:
        source: a float32 file after `share_tables`.
        target: of the new file.
        kind: one of `KINDS` but float32.
    """
    from litert_quantizer import quantizer

    model = read_graph(source)
    head = model.subgraphs[0].operators[_last_product(model)]
    name = model.subgraphs[0].tensors[head.outputs[0]].name.decode()
    result = quantizer.Quantizer(str(source), _recipe(kind, name)).quantize()
    target.write_bytes(bytes(result.quantized_model))
    model = read_graph(target)
    _say_versions(model, kind)
    write_graph(model, target)


def _last_product(model: Any) -> int:
    names = op_names(model, model.subgraphs[0])
    return max(i for i, name in enumerate(names) if name == "FULLY_CONNECTED")


def _recipe(kind: str, head: str) -> Any:
    """Return what litert-quantizer is to do. A later entry overrides an earlier one where its pattern matches.

    Args:
        kind: see `quantize`.
        head: the output of the last matrix product. It is small, and decides: it never goes below int8.
    """
    from litert_quantizer import algorithm_manager, qtyping, recipe_manager

    ops, granularity = qtyping.TFLOperationName, qtyping.QuantGranularity
    recipe = recipe_manager.RecipeManager()

    def weights(op: Any, bits: int, pattern: str = ".*") -> None:
        size = granularity.BLOCKWISE_32 if bits == 4 else granularity.CHANNELWISE
        recipe.add_dynamic_config(regex=pattern, operation_name=op, num_bits=bits, granularity=size)

    if kind == "float16":
        cast = algorithm_manager.AlgorithmName.FLOAT_CASTING
        for op in (ops.FULLY_CONNECTED, ops.EMBEDDING_LOOKUP):
            recipe.add_weight_only_config(regex=".*", operation_name=op, num_bits=16, algorithm_key=cast)
        return recipe.get_quantization_recipe()
    weights(ops.FULLY_CONNECTED, 4 if kind == "int4" else 8)
    weights(ops.FULLY_CONNECTED, 8, f".*{re.escape(head)}.*")
    weights(ops.EMBEDDING_LOOKUP, 8 if kind == "int8" else 4)
    weights(ops.EMBEDDING_LOOKUP, 8, f".*{POSITION_ROWS}.*")
    return recipe.get_quantization_recipe()


def _say_versions(model: Any, kind: str) -> None:
    """Write into the file which runtimes may open it. litert-quantizer leaves what was true of the float32 file."""
    from ai_edge_litert import schema_py_generated as schema

    needed = {
        "float16": {},
        "int8": {"FULLY_CONNECTED": 12, "EMBEDDING_LOOKUP": 4},
        "int4-table": {"FULLY_CONNECTED": 14, "EMBEDDING_LOOKUP": 4},
        "int4": {"FULLY_CONNECTED": 14, "EMBEDDING_LOOKUP": 4},
    }[kind]
    for code in model.operatorCodes:
        for name, version in needed.items():
            if code.builtinCode == getattr(schema.BuiltinOperator, name):
                code.version = version
    for entry in model.metadata:
        if entry.name == b"min_runtime_version":
            spelt = RUNTIMES[kind].encode().ljust(16, b"\0")
            model.buffers[entry.buffer].data = np.frombuffer(spelt, np.uint8)


def choose(candidates: Sequence[Parity], max_megabytes: float | None) -> list[Parity]:
    """Decide which candidate ships: the smallest that passes and is not slower than another that passes.

    Args:
        candidates: what each costs.
        max_megabytes: a limit; None for none.

    Returns:
        The candidates. All but one have a reason in `not_chosen`; where none passes, none has.
    """
    judged = [_within(candidate, max_megabytes) for candidate in candidates]
    passing = [one for one in judged if one.passed]
    if not passing:
        return judged
    fastest = min(one.latency_ms for one in passing)
    quick = [one for one in passing if one.latency_ms <= SLOWER * fastest]
    chosen = min(quick, key=lambda one: one.megabytes)
    return [one if one is chosen else replace(one, not_chosen=_reason(one, chosen)) for one in judged]


def _within(one: Parity, max_megabytes: float | None) -> Parity:
    if max_megabytes is None or one.megabytes <= max_megabytes:
        return one
    return replace(one, faults=(*one.faults, f"it has {one.megabytes:.1f} MB, budget {max_megabytes:g} MB"))


def _reason(one: Parity, chosen: Parity) -> str:
    if one.faults:
        return "; ".join(one.faults)
    if one.megabytes >= chosen.megabytes:
        return f"{chosen.artifact} is smaller"
    return f"it takes {one.latency_ms / chosen.latency_ms:.1f} times as long as {chosen.artifact}"
