"""Which ops of a SavedModel an old TensorFlow Serving lacks.

`served_ops.json` has each op with the release that brought it, and each attribute that came later;
`tests/served_ops_reference.py` makes it from the libraries of TensorFlow 2.12 to 2.20 and tensorflow-text. A server
refuses a graph with an op that it does not know. An attribute that it does not know it ignores (tried with 2.12), and
so may answer otherwise: that is a fault, too.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LATER = "no release up to 2.20"


def foreign_ops(folder: Path, server: str) -> list[str]:
    """Return a sentence for each node that a server cannot run.

    Args:
        folder: the SavedModel.
        server: a release such as `2.12`.
    """
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    saved = SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    releases, ops, attributes = _served()
    known = releases[: releases.index(server) + 1]
    found = []
    for place, node in _nodes(saved.meta_graphs[0].graph_def):
        since = ops.get(node.op, LATER)
        if since not in known:
            found.append(f"op {node.op} (node {place}) came with {since}")
        for name, release in attributes.get(node.op, {}).items():
            if name in node.attr and release not in known:
                found.append(f"attribute {name} of op {node.op} (node {place}) came with {release}")
    return found


def _nodes(graph: Any) -> Iterator[tuple[str, Any]]:
    for node in graph.node:
        yield node.name, node
    own = {function.signature.name for function in graph.library.function}
    for function in graph.library.function:
        for node in function.node_def:
            if node.op not in own:  # a call of a function of the graph
                yield f"{function.signature.name}/{node.name}", node


@functools.cache
def _served() -> tuple[list[str], dict[str, str], dict[str, dict[str, str]]]:
    """Return the releases in order, the release of each op, and that of each later attribute."""
    stored = json.loads(Path(__file__).with_name("served_ops.json").read_text(encoding="utf-8"))
    ops = {name: release for release, names in stored["ops"].items() for name in names.split()}
    return list(stored["ops"]), ops, stored["attributes"]
