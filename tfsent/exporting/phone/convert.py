"""A run's model → `.tflite` files of several kinds, in a child process.

`python -m tfsent.exporting.phone.convert SAVEDMODEL FOLDER PLAN.json` is that process: TensorFlow's converter leaks
memory, and both tools write to standard output and standard error.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tfsent.errors import ExportError, last_line
from tfsent.exporting.phone.graph import keep_pieces, read_graph, share_tables, write_graph
from tfsent.exporting.phone.quantization import fits_blocks, quantize
from tfsent.inference.keras_run import KerasPredictor
from tfsent.inference.tflite_file import INPUTS

logger = logging.getLogger(__name__)


def convert(
    predictor: KerasPredictor,
    folder: Path,
    kinds: Sequence[str],
    signatures: dict[str, int],
    kept: Sequence[int] | None = None,
) -> list[str]:
    """Write a `KIND.tflite` for each kind.

    Each takes `ids`, `mask` and `segment_ids`, `int32[1, length]`, and gives `probabilities`, `float32[1, classes]`,
    with a signature for each length over the same weights.

    Args:
        predictor: the run's model.
        folder: where to write; must exist.
        kinds: see `quantization.KINDS`.
        signatures: the length of each; see `lengths.signatures_of`.
        kept: ids of the pieces to keep; None for all.

    Returns:
        The kinds that were made. int4 is left out where the model's widths are no multiples of 32.

    Raises:
        ExportError: the conversion failed.
    """
    plan = {"kinds": list(kinds), "pieces": len(predictor.tokenizer.vocabulary), "kept": kept and list(kept)}
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        source, path = Path(scratch) / "fixed", Path(scratch) / "plan.json"
        path.write_text(json.dumps(plan), encoding="utf-8")
        _write_fixed_lengths(predictor, source, signatures)
        command = [sys.executable, "-P", "-m", "tfsent.exporting.phone.convert", *map(str, (source, folder, path))]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        report = folder / "converted.json"
        if done.returncode or not report.is_file():
            raise ExportError(
                f"The conversion to .tflite failed (exit code {done.returncode}): {last_line(done.stderr)}"
            )
    cost = json.loads(report.read_text(encoding="utf-8"))
    report.unlink()
    logger.info(f"Converted to {', '.join(cost['kinds'])} in {cost['seconds']:.0f} s with {cost['megabytes']:,.0f} MB.")
    return list(cost["kinds"])


def _write_fixed_lengths(predictor: KerasPredictor, folder: Path, signatures: dict[str, int]) -> None:
    """Write the SavedModel that the converter reads: for each length, token ids in and probabilities out."""
    import keras
    import tensorflow as tf

    model = predictor.model

    def classify(ids: tf.Tensor, mask: tf.Tensor, segment_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        inputs = {"token_ids": ids, "padding_mask": tf.not_equal(mask, 0), "segment_ids": segment_ids}
        return {"probabilities": tf.nn.softmax(model(inputs, training=False))}

    archive = keras.export.ExportArchive()
    for name, length in signatures.items():
        signature = [tf.TensorSpec([1, length], tf.int32, name=one) for one in INPUTS]
        archive.add_endpoint(name, classify, input_signature=signature)
    archive.write_out(str(folder), verbose=False)


def _convert(source: str, target: str, plan_path: str) -> None:
    started = time.monotonic()
    plan, folder = json.loads(Path(plan_path).read_text(encoding="utf-8")), Path(target)
    float32 = folder / "float32.tflite"
    float32.write_bytes(_from_savedmodel(source))
    model, pieces = read_graph(float32), plan["pieces"]
    if plan["kept"] is not None:
        keep_pieces(model, pieces, plan["kept"])
        pieces = len(plan["kept"])
    write_graph(model, float32)
    made = [kind for kind in plan["kinds"] if not kind.startswith("int4") or fits_blocks(model)]
    if set(made) - {"float32"}:
        share_tables(model, pieces)
        shared = folder / "shared.tflite"
        write_graph(model, shared)
        for kind in made:
            if kind != "float32":
                quantize(shared, folder / f"{kind}.tflite", kind)
        shared.unlink()
    if "float32" not in made:
        float32.unlink()
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
    cost = {"kinds": made, "seconds": time.monotonic() - started, "megabytes": megabytes}
    (folder / "converted.json").write_text(json.dumps(cost), encoding="utf-8")


def _from_savedmodel(source: str) -> bytes:
    import tensorflow as tf

    names = list(tf.saved_model.load(source).signatures)
    converter = tf.lite.TFLiteConverter.from_saved_model(source, signature_keys=names)
    # Built-in ops are the default. Flex ops would add 70 MB and more to an app.
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    return bytes(converter.convert())


if __name__ == "__main__":
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    _convert(*sys.argv[1:])
