"""golden.jsonl: what an app replays is what the trained model says."""

import hashlib
import json

import numpy as np
import scipy.special

import tfsent
from tfsent.exporting.golden import NASTY_TEXTS
from tfsent.inference.keras_run import KerasPredictor
from tfsent.text.light_tokenizer import LightTokenizer


def lines(folder):
    return [json.loads(line) for line in (folder / "golden.jsonl").read_text(encoding="utf-8").splitlines()]


def test_an_app_that_replays_it_agrees(exported):
    """Here the app is the phone file in LiteRT, with ids made without TensorFlow."""
    folder = exported / "export" / "mobile"
    golden = lines(folder)
    texts = [line["text"] for line in golden]
    assert texts[-len(NASTY_TEXTS) :] == list(NASTY_TEXTS)
    assert len(golden) == 60 + len(NASTY_TEXTS)
    rows, owner = LightTokenizer.load(folder)(texts)
    assert [[rows[r].tolist() for r in np.flatnonzero(owner == i)] for i in range(len(texts))] == [
        line["ids"] for line in golden
    ]
    expected, trained = (np.array([line[key] for line in golden]) for key in ("probabilities", "trained"))
    np.testing.assert_allclose(tfsent.load(folder / "model.tflite").predict_proba(texts), expected, atol=1e-6)
    np.testing.assert_allclose(KerasPredictor(exported).predict_proba(texts), trained, atol=1e-6)
    np.testing.assert_allclose(expected, trained, atol=1e-5)
    logits = np.array([line["logits"] for line in golden])
    assert logits.shape == (len(golden), 1, 2)
    np.testing.assert_allclose(scipy.special.softmax(logits[:, 0], axis=1), trained, atol=1e-6)


def test_the_manifest_names_every_file(exported):
    folder = exported / "export" / "mobile"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["tfsent"] == tfsent.__version__
    assert manifest["signatures"] == {"serving_default": 32}
    assert (manifest["quantization"], manifest["min_runtime_version"]) == ("float32", "2.9.0")
    assert manifest["operators"]["FULLY_CONNECTED"] == 13  # 6 in each of 2 layers, and the head
    assert set(manifest["files"]) == {path.name for path in folder.iterdir()} - {"manifest.json"}
    for name, about in manifest["files"].items():
        raw = (folder / name).read_bytes()
        assert (about["bytes"], about["sha256"]) == (len(raw), hashlib.sha256(raw).hexdigest())
