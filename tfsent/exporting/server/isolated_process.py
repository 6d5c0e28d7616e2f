"""Runs a SavedModel as a server does, in a process without Keras and tfsent.

Run as a file: `python -P isolated_process.py SAVEDMODEL TEXTS.json OUT.npz`. The process loads only TensorFlow and the
op library of tensorflow-text that the graph may use. A graph with any other custom op fails here as on a server. Writes
`probabilities`, `float32[n, classes]`, in the order of the texts, and `seconds` of single inferences.
"""

import json
import sys
import time
from pathlib import Path

ALLOWED_OP_LIBRARY = "_fast_wordpiece_tokenizer.so"
BARRED = ("keras", "tf_keras", "keras_hub", "tensorflow_text", "tfsent")
TIMED = 100


def main(folder: str, texts_path: str, out_path: str) -> None:
    """Load, run, write."""
    # `import tensorflow` imports Keras where it can. A server has none.
    for name in BARRED:
        sys.modules[name] = None  # type: ignore[assignment]
    import numpy as np
    import tensorflow as tf

    # Importing tensorflow_text, which lies beside tensorflow, would register all of its ops.
    ops = Path(tf.__file__).parents[1] / "tensorflow_text" / "python" / "ops"
    tf.load_op_library(str(ops / ALLOWED_OP_LIBRARY))
    serve = tf.saved_model.load(folder).signatures["serving_default"]
    texts = [text.encode("utf-8", "ignore") for text in json.loads(Path(texts_path).read_text(encoding="utf-8"))]
    # Texts of similar length go together, so that little of a batch is padding. `SavedModelPredictor` does the same;
    # it is repeated on purpose, for tfsent cannot be imported here.
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    probabilities = [np.zeros(0)] * len(texts)
    for start in range(0, len(order), 32):
        batch = order[start : start + 32]
        rows = serve(text=tf.constant([texts[i] for i in batch]))["probabilities"].numpy()
        for i, row in zip(batch, rows, strict=True):
            probabilities[i] = row
    seconds = []
    for text in texts[:TIMED]:
        started = time.perf_counter()
        serve(text=tf.constant([text]))
        seconds.append(time.perf_counter() - started)
    np.savez(out_path, probabilities=np.stack(probabilities), seconds=np.array(seconds))


if __name__ == "__main__":
    main(*sys.argv[1:])
