"""An export to phones: the file that ships, and planted faults that it must catch."""

import json
import shutil

import numpy as np
import pytest
from tiny import VOCABULARY

import tfsent
from tfsent.errors import ArtifactError, BudgetError, ExportError
from tfsent.exporting.phone import files
from tfsent.exporting.phone.convert import convert
from tfsent.exporting.phone.graph import op_names, read_graph, write_graph
from tfsent.inference.keras_run import KerasPredictor


@pytest.fixture
def mine(wide_run, tmp_path):
    return shutil.copytree(wide_run, tmp_path / "run")


def test_all_candidates_stand_in_the_report_and_one_ships(wide_run):
    report = json.loads((wide_run / "verify.json").read_text())
    names = [artifact["artifact"] for artifact in report["artifacts"]]
    assert names == ["float32", "float16", "int8", "int4-table", "int4", "mediapipe"]
    [chosen] = [a for a in report["artifacts"][:-1] if a["not_chosen"] is None]
    manifest = json.loads((wide_run / "export/mobile/manifest.json").read_text())
    assert manifest["quantization"] == chosen["artifact"]
    assert manifest["signatures"] == {"tokens_8": 8, "tokens_16": 16, "serving_default": 32}
    assert chosen["megabytes"] == (wide_run / "export/mobile/model.tflite").stat().st_size / 1e6
    assert sorted(path.name for path in (wide_run / "export/mobile").iterdir()) == [
        "decision.json",
        "golden.jsonl",
        "labels.txt",
        "manifest.json",
        "model-mediapipe.tflite",
        "model.tflite",
        "text.json",
        "vocab.txt",
    ]


def export(run, *overrides):
    return tfsent.export(run, ["mobile"], ["export.verify_examples=40", *overrides])


def test_a_smaller_vocabulary_ships_with_its_file(mine):
    letters = sum(len(piece.removeprefix("##")) == 1 for piece in VOCABULARY)
    wanted = 20 + letters
    loose = ["export.mobile.max_flips=1", "export.mobile.max_accuracy_drop=1"]
    report = export(mine, f"export.mobile.vocabulary={wanted}", "export.mobile.quantization=float32", *loose)
    folder = mine / "export" / "mobile"
    pieces = (folder / "vocab.txt").read_text().split("\n")[:-1]
    assert len(pieces) == wanted < len(VOCABULARY)
    assert report.artifacts[0].flips < 0.5
    golden = [json.loads(line) for line in (folder / "golden.jsonl").read_text().splitlines()]
    assert max(max(row) for line in golden for row in line["ids"]) < wanted
    # The words that are left have the rows that they had.
    texts = [piece for piece in pieces if piece.isalpha()]
    np.testing.assert_allclose(
        tfsent.load(folder / "model.tflite").predict_proba(texts), tfsent.load(mine).predict_proba(texts), atol=1e-5
    )


def test_a_kind_that_the_widths_do_not_allow_is_a_clear_error(tiny_run, tmp_path):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    with pytest.raises(ExportError, match="This model has no int4 file: int4 needs widths that are multiples of 32"):
        export(run, "export.mobile.quantization=int4")


def test_a_limit_that_no_file_keeps_publishes_nothing(mine):
    before = (mine / "export/mobile/manifest.json").read_bytes()
    with pytest.raises(BudgetError, match=r"int4: it has [\d.]+ MB, budget 0.001 MB"):
        export(mine, "export.mobile.max_size_mb=0.001")
    assert (mine / "export/mobile/manifest.json").read_bytes() == before


@pytest.fixture(scope="module")
def int8(wide_run, tmp_path_factory):
    """What an honest conversion makes."""
    folder = tmp_path_factory.mktemp("int8")
    convert(KerasPredictor(wide_run), folder, ["int8"], {"tokens_8": 8, "serving_default": 32})
    return folder / "int8.tflite"


def planted(monkeypatch, int8, change):
    """Let the conversion make what it makes, and then something else of it."""

    def convert(predictor, folder, kinds, signatures, kept):
        shutil.copy(int8, folder)
        change(folder)
        return ["int8"]

    monkeypatch.setattr(files, "convert", convert)


def another_model(folder):
    model = read_graph(folder / "int8.tflite")
    graph = model.subgraphs[0]
    head = [op for name, op in zip(op_names(model, graph), graph.operators, strict=True) if name == "FULLY_CONNECTED"][
        -1
    ]
    buffer = model.buffers[graph.tensors[head.inputs[1]].buffer]
    buffer.data = (-np.asarray(buffer.data).view(np.int8)).view(np.uint8)
    write_graph(model, folder / "int8.tflite")


def swapped_labels(folder):
    (folder / "labels.txt").write_text("positive\nnegative\n")


def another_vocabulary(folder):
    pieces = (folder / "vocab.txt").read_text().split("\n")[:-1]
    (folder / "vocab.txt").write_text("\n".join([*pieces[:5], *pieces[10:15], *pieces[5:10], *pieces[15:]]) + "\n")


def collapsed(folder):
    model = read_graph(folder / "int8.tflite")
    for buffer in model.buffers:
        if buffer.data is not None and len(buffer.data) > 500:
            buffer.data = np.zeros_like(np.asarray(buffer.data))
    write_graph(model, folder / "int8.tflite")


@pytest.mark.parametrize("change", [another_model, swapped_labels, another_vocabulary, collapsed])
def test_a_file_that_answers_otherwise_is_not_published(mine, int8, monkeypatch, change):
    before = (mine / "export/mobile/model.tflite").read_bytes()
    planted(monkeypatch, int8, change)
    with pytest.raises(BudgetError, match="Nothing was published.\n  int8: .*% of labels flip, budget 5.00%"):
        export(mine)
    assert (mine / "export/mobile/model.tflite").read_bytes() == before
    assert not list(mine.glob(".export*"))


def without_operators(folder):
    model = read_graph(folder / "int8.tflite")
    for graph in model.subgraphs:
        graph.operators = []
    write_graph(model, folder / "int8.tflite")


def without_graphs(folder):
    model = read_graph(folder / "int8.tflite")
    model.subgraphs, model.signatureDefs = [], []
    write_graph(model, folder / "int8.tflite")


def lookup_swapped(folder):
    model = read_graph(folder / "int8.tflite")
    for graph in model.subgraphs:
        for name, op in zip(op_names(model, graph), graph.operators, strict=True):
            if name == "EMBEDDING_LOOKUP":
                op.inputs = op.inputs[::-1]
    write_graph(model, folder / "int8.tflite")


@pytest.mark.parametrize("change", [without_operators, without_graphs, lookup_swapped])
def test_a_file_that_cannot_answer_is_not_published(mine, int8, monkeypatch, change):
    before = (mine / "export/mobile/model.tflite").read_bytes()
    planted(monkeypatch, int8, change)
    with pytest.raises(ArtifactError, match="int8.tflite (cannot be opened|opens, and does not run)"):
        export(mine)
    assert (mine / "export/mobile/model.tflite").read_bytes() == before


def test_labels_that_are_not_the_models_are_named(mine, int8, monkeypatch):
    planted(monkeypatch, int8, lambda folder: (folder / "labels.txt").write_text("no\nyes\n"))
    with pytest.raises(ExportError, match="The int8 file has the labels no, yes. Expected negative, positive."):
        export(mine)


def test_mediapipe_reads_what_lies_in_its_file(mine, monkeypatch):
    honest = files.write_mediapipe

    def write(source, folder):
        (folder / "labels.txt").write_text("positive\nnegative\n")
        honest(source, folder)
        (folder / "labels.txt").write_text("negative\npositive\n")

    monkeypatch.setattr(files, "write_mediapipe", write)
    with pytest.raises(ExportError, match="model-mediapipe.tflite has another labels.txt than the folder"):
        export(mine)
