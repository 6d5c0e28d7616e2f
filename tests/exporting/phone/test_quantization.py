"""The kinds of phone files: what each is, which of them ships, and what the file says of runtimes."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tfsent.exporting.parity import Parity
from tfsent.exporting.phone.contents import min_runtime
from tfsent.exporting.phone.convert import convert
from tfsent.exporting.phone.graph import op_names, read_graph
from tfsent.exporting.phone.quantization import KINDS, choose
from tfsent.inference.keras_run import KerasPredictor
from tfsent.inference.tflite_file import TFLitePredictor
from tfsent.text.spec import write_labels

TEXTS = ["good great film", "bad awful plot", "the " * 90 + "good", ""]


@pytest.fixture(scope="module")
def kinds(wide_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("kinds")
    trained = KerasPredictor(wide_run)
    trained.tokenizer.save(folder)
    write_labels(folder, trained.label_names)
    assert convert(trained, folder, KINDS, {"tokens_8": 8, "serving_default": 32}) == list(KINDS)
    return folder


@pytest.mark.parametrize(
    ("kind", "tolerance"), [("float32", 1e-5), ("float16", 0.01), ("int8", 0.1), ("int4-table", 0.3), ("int4", 0.4)]
)
def test_every_kind_answers_at_every_length(wide_run, kinds, kind, tolerance):
    predictor = TFLitePredictor(kinds / f"{kind}.tflite")
    assert [length for length, _ in predictor.signatures] == [8, 32]
    expected = KerasPredictor(wide_run).predict_proba(TEXTS)
    np.testing.assert_allclose(predictor.predict_proba(TEXTS), expected, atol=tolerance)


def weights_of(path):
    """The types of the token table, the position table and the matrices of the first graph; the head is the last."""
    model = read_graph(path)
    graph = model.subgraphs[0]
    names = {code: name for name, code in vars(schema.TensorType).items() if isinstance(code, int)}
    lookups, products = [], []
    for name, op in zip(op_names(model, graph), graph.operators, strict=True):
        if name == "EMBEDDING_LOOKUP":
            lookups.append(names[graph.tensors[op.inputs[1]].type])
        if name == "FULLY_CONNECTED":
            products.append(names[graph.tensors[op.inputs[1]].type])
    return lookups, products


@pytest.mark.parametrize(
    ("kind", "lookups", "products", "head"),
    [
        ("int8", ["INT8", "INT8"], {"INT8"}, "INT8"),
        ("int4-table", ["INT4", "INT8"], {"INT8"}, "INT8"),
        ("int4", ["INT4", "INT8"], {"INT4"}, "INT8"),
    ],
)
def test_a_kind_has_the_weights_of_its_name(kinds, kind, lookups, products, head):
    found, matrices = weights_of(kinds / f"{kind}.tflite")
    assert found == lookups
    assert (set(matrices[:-1]), matrices[-1]) == (products, head)


def test_a_file_says_which_runtimes_may_open_it(kinds):
    """litert-quantizer leaves the versions of the float32 file, and LiteRT 1.1 to 2.0 answer wrongly."""
    said = {kind: min_runtime(read_graph(kinds / f"{kind}.tflite")) for kind in KINDS}
    assert said == {"float32": "2.9.0", "float16": "2.9.0", "int8": "2.18.0", "int4-table": "2.21.0", "int4": "2.21.0"}
    for kind, expected in (("int8", 12), ("int4-table", 14), ("int4", 14)):
        model = read_graph(kinds / f"{kind}.tflite")
        code = schema.BuiltinOperator.FULLY_CONNECTED
        assert [one.version for one in model.operatorCodes if one.builtinCode == code] == [expected]


def test_int4_is_left_out_where_widths_do_not_fit(exported, tmp_path):
    made = convert(KerasPredictor(exported), tmp_path, ("int8", "int4"), {"serving_default": 32})
    assert made == ["int8"]
    assert [path.name for path in tmp_path.iterdir()] == ["int8.tflite"]


def parity(artifact, megabytes, milliseconds, *faults):
    return Parity(artifact, megabytes, 0.1, 0.0, 0.9, 0.0, 1.0, milliseconds, faults)


SIZES = [parity("float32", 90, 13), parity("int8", 23, 5), parity("int4-table", 18, 5.2), parity("int4", 13, 7)]


def reasons(candidates, limit=None):
    return {one.artifact: one.not_chosen for one in choose(candidates, limit)}


def test_the_smallest_that_is_not_slower_ships():
    assert reasons(SIZES) == {
        "float32": "int4-table is smaller",
        "int8": "int4-table is smaller",
        "int4-table": None,
        "int4": "it takes 1.3 times as long as int4-table",
    }


def test_a_limit_of_size_lets_a_slower_one_ship():
    found = reasons(SIZES, 15)
    assert found["int4"] is None
    assert found["int8"] == "it has 23.0 MB, budget 15 MB"


def test_one_that_is_over_budget_does_not_ship():
    collapsed = parity("int4-table", 18, 5, "41.00% of labels flip, budget 1.00%")
    found = reasons([*SIZES[:2], collapsed])
    assert (found["int8"], found["int4-table"]) == (None, "41.00% of labels flip, budget 1.00%")


def test_where_none_passes_all_say_why():
    judged = choose([parity("int8", 23, 5, "a"), parity("int4", 13, 7)], 10)
    assert [one.passed for one in judged] == [False, False]
    assert [one.not_chosen for one in judged] == [None, None]
    assert judged[1].faults == ("it has 13.0 MB, budget 10 MB",)
