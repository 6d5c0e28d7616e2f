"""The rewritten graph: the same answers as the converter's, over one table each; refused where it looks otherwise."""

import copy

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from tiny import VOCABULARY

from tfsent.errors import ExportError
from tfsent.exporting.phone import graph as rewriting
from tfsent.exporting.phone.convert import convert
from tfsent.exporting.phone.graph import (
    keep_pieces,
    keep_signature,
    op_names,
    read_graph,
    share_tables,
    write_graph,
)
from tfsent.inference.keras_run import KerasPredictor

SIGNATURES = {"tokens_8": 8, "tokens_16": 16, "serving_default": 32}
PIECES = len(VOCABULARY)


@pytest.fixture(scope="module")
def plain(wide_run, tmp_path_factory):
    """What the converter writes, with three lengths."""
    folder = tmp_path_factory.mktemp("plain")
    convert(KerasPredictor(wide_run), folder, ["float32"], SIGNATURES)
    return folder / "float32.tflite"


def answers(path, ids_of=lambda length: np.arange(length) % PIECES):
    """Each signature's probabilities for a row that is full to three quarters."""
    interpreter = Interpreter(model_path=str(path))
    found = {}
    for name in interpreter.get_signature_list():
        runner = interpreter.get_signature_runner(name)
        length = runner.get_input_details()["ids"]["shape"][1]
        mask = (np.arange(length) < length * 3 // 4).astype(np.int32)[None]
        ids = ids_of(length).astype(np.int32)[None] * mask
        found[name] = runner(ids=ids, mask=mask, segment_ids=np.zeros_like(ids))["probabilities"]
    return found


def test_the_rewritten_file_gives_the_same_answers(plain, tmp_path):
    model = read_graph(plain)
    share_tables(model, PIECES)
    write_graph(model, tmp_path / "shared.tflite")
    before, after = answers(plain), answers(tmp_path / "shared.tflite")
    assert sorted(after) == sorted(SIGNATURES)
    for name in SIGNATURES:
        np.testing.assert_allclose(after[name], before[name], atol=1e-6)


def test_tables_stand_once(plain):
    model = read_graph(plain)
    share_tables(model, PIECES)
    lookups = [
        (graph.tensors[op.inputs[1]].buffer, list(graph.tensors[op.inputs[1]].shape))
        for graph in model.subgraphs
        for name, op in zip(op_names(model, graph), graph.operators, strict=True)
        if name == "EMBEDDING_LOOKUP"
    ]
    assert len(lookups) == 6  # tokens and positions in each of three graphs
    assert len({buffer for buffer, _ in lookups}) == 2
    assert {tuple(shape) for _, shape in lookups} == {(PIECES, 32), (32, 32)}


def test_fewer_pieces_give_the_same_answers_under_their_new_ids(plain, tmp_path):
    kept = [i for i in range(PIECES) if i % 3 != 2]
    model = read_graph(plain)
    keep_pieces(model, PIECES, kept)
    write_graph(model, tmp_path / "fewer.tflite")
    before = answers(plain, lambda length: np.array(kept)[np.arange(length) % len(kept)])
    after = answers(tmp_path / "fewer.tflite", lambda length: np.arange(length) % len(kept))
    for name in SIGNATURES:
        np.testing.assert_allclose(after[name], before[name], atol=1e-6)


def test_one_signature_is_cut_out(plain, tmp_path):
    model = read_graph(plain)
    keep_signature(model, "tokens_16")
    write_graph(model, tmp_path / "one.tflite")
    np.testing.assert_array_equal(answers(tmp_path / "one.tflite")["tokens_16"], answers(plain)["tokens_16"])
    assert len(read_graph(tmp_path / "one.tflite").subgraphs) == 1
    assert (tmp_path / "one.tflite").stat().st_size < plain.stat().st_size


def test_weights_lie_at_multiples_of_16(plain, tmp_path):
    write_graph(read_graph(plain), tmp_path / "again.tflite")
    raw = (tmp_path / "again.tflite").read_bytes()
    large = [bytes(b.data) for b in read_graph(tmp_path / "again.tflite").buffers if b.data is not None]
    assert all(raw.index(data) % 16 == 0 for data in large if len(data) > 1000)


def without_lookup(model):
    for graph in model.subgraphs:
        for op in graph.operators:
            if graph.tensors[op.inputs[0]].shape is not None and list(graph.tensors[op.inputs[0]].shape) == [
                PIECES,
                32,
            ]:
                graph.tensors[op.inputs[0]].shape = np.array([PIECES - 1, 32], np.int32)


def without_positions(model):
    for graph in model.subgraphs:
        for op in graph.operators:
            if [list(graph.tensors[i].shape) for i in op.inputs][1:] == [[graph.tensors[graph.inputs[0]].shape[1], 32]]:
                op.inputs = op.inputs[::-1]


def with_other_positions(model):
    first = model.subgraphs[1]
    for op in first.operators:
        tensors = [first.tensors[i] for i in op.inputs]
        if len(tensors) == 2 and list(tensors[1].shape) == [first.tensors[first.inputs[0]].shape[1], 32]:
            model.buffers[tensors[1].buffer].data = np.zeros_like(model.buffers[tensors[1].buffer].data)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_lookup, "looks up a table of 34 rows 0 times. Expected once"),
        (without_positions, "adds no table of .* positions to its tokens. Expected one"),
        (with_other_positions, "Two lengths of the graph add other positions. Expected the same table"),
    ],
)
def test_another_graph_is_refused(plain, change, message):
    model = read_graph(plain)
    change(model)
    with pytest.raises(ExportError, match=message):
        share_tables(model, PIECES)


def test_a_lookup_with_its_inputs_swapped_does_not_open(plain, tmp_path, monkeypatch):
    honest = rewriting._Edit.lookup
    monkeypatch.setattr(
        rewriting._Edit, "lookup", lambda self, ids, table, shape, name: honest(self, table, ids, shape, name)
    )
    model = copy.deepcopy(read_graph(plain))
    share_tables(model, PIECES)
    write_graph(model, tmp_path / "swapped.tflite")
    with pytest.raises((ValueError, RuntimeError)):
        answers(tmp_path / "swapped.tflite")
