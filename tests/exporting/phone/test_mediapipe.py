"""model-mediapipe.tflite: its metadata, its answers in LiteRT, and in MediaPipe itself where that is installed."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

import tfsent
from tfsent.errors import ExportError
from tfsent.exporting.phone.mediapipe import write_mediapipe
from tfsent.inference.tflite_file import INPUTS
from tfsent.text.mediapipe_tokenizer import MediaPipeTokenizer, for_mediapipe


@pytest.fixture
def model(exported):
    return exported / "export" / "mobile" / "model-mediapipe.tflite"


def test_it_has_one_graph_and_the_files_of_a_text_classifier(model):
    interpreter = Interpreter(model_path=str(model))
    assert list(interpreter.get_signature_list()) == ["serving_default"]
    found = schema.ModelT.InitFromPackedBuf(model.read_bytes())
    assert len(found.subgraphs) == 1
    [entry] = [one for one in found.metadata if one.name == b"TFLITE_METADATA"]
    metadata = bytes(found.buffers[entry.buffer].data)
    assert metadata[4:8] == b"M001"
    assert all(name.encode() in metadata for name in (*INPUTS, "score", "vocab.txt", "labels.txt"))
    with zipfile.ZipFile(model) as files:
        for name in ("vocab.txt", "labels.txt"):
            assert files.read(name) == (model.parent / name).read_bytes()


def test_it_answers_as_the_other_file_and_keeps_the_head(model):
    phone, other = tfsent.load(model), tfsent.load(model.with_name("model.tflite"))
    texts = ["good great film", "bad awful plot"]
    np.testing.assert_allclose(phone.predict_proba(texts), other.predict_proba(texts), atol=1e-6)
    long = "good " * 60 + "bad " * 60
    assert phone.tokenizer.tokenize([long[: 5 * 30]])[0] == phone.tokenizer([long])[0][0][1:-1].tolist()


def test_the_report_has_its_costs(exported):
    report = json.loads((exported / "verify.json").read_text())
    assert [artifact["artifact"] for artifact in report["artifacts"]][-1] == "mediapipe"


def test_another_graph_is_refused(exported, tmp_path):
    model = schema.ModelT.InitFromPackedBuf((exported / "export/mobile/model-mediapipe.tflite").read_bytes())
    model.subgraphs[0].tensors[model.subgraphs[0].inputs[0]].name = b"serving_default_tokens:0"
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    (tmp_path / "other.tflite").write_bytes(builder.Output())
    with pytest.raises(ExportError, match="The graph takes .*tokens.*. Expected ids, mask, segment_ids"):
        write_mediapipe(tmp_path / "other.tflite", tmp_path)


CLASSIFY = """
import json, sys
from mediapipe.tasks import python
from mediapipe.tasks.python import text
options = text.TextClassifierOptions(base_options=python.BaseOptions(model_asset_path=sys.argv[1]))
with text.TextClassifier.create_from_options(options) as classifier:
    for line in json.load(sys.stdin):
        found = classifier.classify(line).classifications[0].categories
        print(json.dumps({one.category_name: one.score for one in found}))
"""


def ask_mediapipe(model, texts):
    """The probability of `positive`, of MediaPipe itself: without a network, for it reports usage."""
    apart = ["unshare", "-rn"] if shutil.which("unshare") and os.geteuid() == 0 else []
    command = [*apart, sys.executable, "-c", CLASSIFY, str(model)]
    done = subprocess.run(command, input=json.dumps(texts), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line)["positive"] for line in done.stdout.splitlines()]


TEXTS = [
    *("good great film", "bad awful plot", "the " * 90 + "good", "Good, GREAT film!", "x" * 300),
    *(
        "a film.<br />good",
        "Gööd fïlm",
        "goo\u0301d",
        "good\u00a0film\u3000plot",
        "\u0130good",
        "日本good",
        "bad\x07film",
    ),
    *("é" * 50, "é" * 51, "a" * 100, "a" * 101, "«bad» film…", "", " \t\n", "good\x00bad", "[SEP] good [CLS]"),
]


@pytest.mark.skipif(
    importlib.util.find_spec("mediapipe") is None, reason="MediaPipe is not installed: pip install mediapipe"
)
@pytest.mark.parametrize("run", ["exported", "wide_run"])
@pytest.mark.parametrize("normalized", [False, True])
def test_mediapipe_itself_gives_these_answers(request, run, normalized):
    """Its tokenizer is ours of that name, and its runtime runs float32 and int4."""
    model = request.getfixturevalue(run) / "export" / "mobile" / "model-mediapipe.tflite"
    phone = tfsent.load(model)
    phone.tokenizer = MediaPipeTokenizer(phone.tokenizer.spec, phone.tokenizer.vocabulary, normalized=normalized)
    spec = phone.tokenizer.spec
    asked = [for_mediapipe(text, spec) for text in TEXTS] if normalized else TEXTS
    np.testing.assert_allclose(ask_mediapipe(model, asked), phone.predict_proba(TEXTS)[:, 1], atol=1e-5)


def test_an_export_says_what_mediapipe_reads_otherwise(exported):
    report = json.loads((exported / "verify.json").read_text())
    assert re.fullmatch(
        r"MediaPipe reads \d+ of 60 reviews otherwise than tfsent, and \d+ labels change; \d+ and \d+ after the "
        "normalisation of export/README.md.",
        report["artifacts"][-1]["remark"],
    )
