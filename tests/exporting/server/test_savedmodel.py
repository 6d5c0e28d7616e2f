"""The files of a SavedModel."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tfsent.exporting.server.savedmodel import write_savedmodel
from tfsent.inference.keras_run import KerasPredictor

MEMORY = """
import resource, sys
import tensorflow as tf, tensorflow_text
serve = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
def megabytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
serve(text=tf.constant(["a film " * 100] * 16))
before = megabytes()
text = b"word \\xc3\\xa9 " * 125_000
text = text[:1_000_000]
found = serve(text=tf.constant([text] * 16))["probabilities"].numpy()
assert abs(found - found[0]).max() < 1e-5
print(megabytes() - before)
"""


def test_it_has_labels_and_the_text_files_for_people(exported):
    extra = exported / "export/serving/1/assets.extra"
    assert sorted(path.name for path in extra.iterdir()) == [
        "decision.json",
        "labels.txt",
        "manifest.json",
        "text.json",
        "tf_serving_warmup_requests",
        "vocab.txt",
    ]


def test_bfloat16_is_smaller(tmp_path, wide_run):
    predictor = KerasPredictor(wide_run)
    sizes = {}
    for precision in ("float32", "bfloat16"):
        write_savedmodel(predictor, tmp_path / precision, precision)
        sizes[precision] = sum(path.stat().st_size for path in (tmp_path / precision).rglob("*") if path.is_file())
    assert sizes["float32"] - sizes["bfloat16"] > predictor.model.count_params()  # of 2 bytes each, less the norms


def test_no_file_names_a_path_of_this_machine(exported):
    for path in (exported / "export/serving/1").rglob("*"):
        if path.is_file():
            raw = path.read_bytes()
            assert str(exported.parent).encode() not in raw, path
            assert str(Path(sys.executable).parent).encode() not in raw, path
            assert b"site-packages" not in raw, path


def test_16_texts_of_a_megabyte_stay_under_200_mb(exported):
    if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss == 0 or sys.platform == "darwin":
        pytest.skip("ru_maxrss has other units here")
    words = [sys.executable, "-c", MEMORY, str(exported / "export/serving/1")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]
    assert float(done.stdout) < 200
