"""Every form of a model, asked through one interface: the same answers, in order, from any number of threads."""

import http.server
import json
import shutil
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import tfsent
from tfsent.errors import ArtifactError, RunError

FORMS = ["", "export/serving", "export/mobile/model.tflite"]

TEXTS = [
    "good great film",
    "",
    "Bad, awful <br />PLOT!",
    "the " * 90 + "góod",
    "\x00good\x00 film",
    "日本good",
    "good\ud800 film \u061d",
    "\u202egood\u200f \u2067film",
    "good 👩\u200d👩\u200d👧 film",
    "x" * 5000 + " bad plot",
    "good film " * 60_000,
]
"""Among them every text nobody planned for that a string can hold; bytes are tried in test_tokenizer.py."""


def test_all_forms_give_the_trained_models_answer(exported):
    expected = tfsent.load(exported).predict_proba(TEXTS)
    for path, tolerance in [
        ("serving", 1e-5),
        ("mobile/model.tflite", 1e-5),
    ]:
        predictor = tfsent.load(exported / "export" / path)
        assert predictor.label_names == ("negative", "positive")
        found = predictor.predict_proba(TEXTS)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=tolerance, err_msg=path)


@pytest.mark.parametrize("path", ["", "export/serving", "export/serving/1", "export/mobile/model.tflite"])
def test_predict_gives_label_probability_and_all_probabilities(exported, path):
    good, bad = tfsent.load(exported / path).predict(
        ["great superb lovely good fine film", "awful dull poor bad worse film"]
    )
    assert (good.label, bad.label) == ("positive", "negative")
    assert good.probability == max(good.probabilities.values()) > 0.5
    assert sum(good.probabilities.values()) == pytest.approx(1, abs=1e-5)
    assert good.text.startswith("great")


def test_order_is_kept_and_no_text_is_no_answer(exported):
    texts = [f"film {'good ' * i}" for i in (9, 1, 30, 3)]
    for path in ("", "export/serving", "export/mobile/model.tflite"):
        predictor = tfsent.load(exported / path)
        together = predictor.predict_proba(texts)
        alone = np.concatenate([predictor.predict_proba([text]) for text in texts])
        np.testing.assert_allclose(together, alone, atol=1e-5)
        assert predictor.predict_proba([]).shape == (0, 2)


class Shuffled:
    """As a shuffled pandas Series: iterated by place, indexed by label."""

    def __init__(self, texts):
        self.texts, self.labels = texts, list(range(len(texts)))[::-1]

    def __iter__(self):
        return iter(self.texts)

    def __len__(self):
        return len(self.texts)

    def __getitem__(self, index):
        return self.texts[index] if isinstance(index, slice) else self.texts[self.labels.index(index)]


@pytest.mark.parametrize("path", ["", "export/serving", "export/mobile/model.tflite"])
def test_a_column_of_a_shuffled_table_is_answered_row_by_row(exported, path):
    texts = ["great superb lovely good", "awful dull poor bad worse film", "good film"]
    predictor = tfsent.load(exported / path)
    expected = predictor.predict(texts)
    assert predictor.predict(Shuffled(texts)) == expected
    assert predictor.predict(text for text in texts) == expected


def test_one_string_is_not_a_list_of_letters(exported):
    with pytest.raises(TypeError, match="put it in a list"):
        tfsent.load(exported).predict("good")
    with pytest.raises(TypeError, match="Received in it: None"):
        tfsent.load(exported).predict(["good", None])


@pytest.mark.parametrize("path", FORMS)
def test_eight_threads_get_right_answers(exported, path):
    """LiteRT's interpreter is not thread-safe: unguarded, it gave errors and wrong answers."""
    texts = [f"film {'good ' * (i % 7)}{'bad ' * (i % 5)}" for i in range(48)]
    predictor = tfsent.load(exported / path)
    expected = [predictor.predict_proba([text]) for text in texts]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda text: predictor.predict_proba([text]), texts))
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_a_phone_file_answers_behind_a_threading_server(exported):
    predictor = tfsent.load(exported / "export/mobile/model.tflite")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            text = self.rfile.read(int(self.headers["Content-Length"])).decode()
            body = json.dumps(predictor.predict([text])[0].to_dict()).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words):
            """Quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask(text):
        with opener.open(f"http://127.0.0.1:{server.server_port}", text.encode()) as answer:
            return json.loads(answer.read())

    texts = [f"{'good' if i % 2 else 'bad'} film {i}" for i in range(24)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, texts))
    server.shutdown()
    server.server_close()
    assert [answer["text"] for answer in found] == texts
    assert [answer["label"] for answer in found] == [p.label for p in predictor.predict(texts)]


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "path", "error", "message"),
    [
        (lambda r: (r / "model/model.keras").write_bytes(b"PK"), "", ArtifactError, "cannot be read: it is damaged"),
        (lambda r: flip(r / "model/model.keras"), "", ArtifactError, r"cannot be read: (Bad CRC-32|A total of)"),
        (lambda r: (r / "model/labels.txt").unlink(), "", ArtifactError, "has no labels.txt"),
        (lambda r: (r / "model/vocab.txt").unlink(), "", ArtifactError, "Cannot read the text specification"),
        (lambda r: (r / "model/model.keras").unlink(), "", RunError, "holds no model"),
        (
            lambda r: (r / "export/mobile/vocab.txt").unlink(),
            "export/mobile/model.tflite",
            ArtifactError,
            "Cannot read the text specification",
        ),
        (
            lambda r: (r / "export/mobile/model.tflite").write_bytes(b"TFL3" * 9),
            "export/mobile/model.tflite",
            ArtifactError,
            "cannot be opened as a .tflite file of tfsent",
        ),
        (
            lambda r: (r / "export/serving/1/saved_model.pb").write_bytes(b"nonsense"),
            "export/serving",
            ArtifactError,
            "cannot be loaded as a SavedModel of tfsent",
        ),
        (lambda r: None, "heldout", ArtifactError, "cannot be opened: it is a folder. Expected a run directory"),
        (lambda r: None, "config.yaml", ArtifactError, "cannot be opened: it is a file"),
        (lambda r: None, "nowhere", ArtifactError, "There is nothing at .*nowhere. Expected a run directory"),
        (lambda r: None, "export", ArtifactError, r"export holds several models. Name one, in .*serving or .*mobile\."),
        (lambda r: None, "export/mobile", ArtifactError, "holds several models. Name one: .*model.tflite"),
    ],
)
def test_what_cannot_be_opened_says_why(exported, tmp_path, spoil, path, error, message):
    mine = shutil.copytree(exported, tmp_path / "run")
    spoil(mine)
    with pytest.raises(error, match=message):
        tfsent.load(mine / path)
