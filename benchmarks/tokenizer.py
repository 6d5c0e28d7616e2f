"""The text graph beside Hugging Face `tokenizers`: are the ids the same, and how fast are both?

    python benchmarks/tokenizer.py DATA_DIR VOCAB [--rounds 3]

DATA_DIR holds IMDb as tensorflow-datasets prepared it, VOCAB is an uncased `vocab.txt`. A cased vocabulary of 28,996
tokens is trained on the spot. All 100,000 texts are compared with both; the 25,000 training reviews are timed,
alternating, both sides uncut and on all cores. Writes benchmarks/results/tokenizer.json.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import click
from tokenizers import BertWordPieceTokenizer

from tfsent.console import print_table, progress_bar
from tfsent.text.light_tokenizer import LightTokenizer
from tfsent.text.spec import TextSpec, read_vocabulary
from tfsent.text.token_store import tokenize_all
from tfsent.text.tokenizer import Tokenizer

UNCUT = 2**20
"""No review has so many tokens."""


def read_imdb(folder: Path) -> dict[str, list[str]]:
    """The texts of each part, HTML line breaks replaced: those are ours, and Hugging Face's would differ there."""
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    parts = ("train", "test", "unsupervised")
    loaded = tfds.load("imdb_reviews/plain_text", data_dir=str(folder), download=False, batch_size=-1)
    return {part: [raw.decode() for raw in loaded[part]["text"].numpy()] for part in parts}


def without_breaks(texts: Sequence[str]) -> list[str]:
    """What Hugging Face is given."""
    return [re.sub(r"(?i)<br[ \t\n\r\f]*/?>", " ", text) for text in texts]


def pair(vocabulary: Sequence[str], lowercase: bool) -> tuple[Tokenizer, BertWordPieceTokenizer]:
    """Ours and theirs over one vocabulary."""
    ids = {token: i for i, token in enumerate(vocabulary)}
    theirs = BertWordPieceTokenizer(vocab=ids, lowercase=lowercase, strip_accents=lowercase)
    return Tokenizer(TextSpec(lowercase, UNCUT, "head"), vocabulary), theirs


def cased_vocabulary(texts: Sequence[str]) -> list[str]:
    """Trained by Hugging Face's own trainer, of the size of bert-base-cased's."""
    trained = BertWordPieceTokenizer(lowercase=False, strip_accents=False)
    trained.train_from_iterator(texts, vocab_size=28_996, show_progress=False)
    vocabulary = trained.get_vocab()
    return sorted(vocabulary, key=vocabulary.__getitem__)


def count_different(ours: Tokenizer, theirs: BertWordPieceTokenizer, texts: Sequence[str], label: str) -> int:
    """How many texts get other ids."""
    different = 0
    with progress_bar(label, len(texts)) as bar:
        for start in range(0, len(texts), 5000):
            part = texts[start : start + 5000]
            tokens = tokenize_all(ours, part)
            expected = theirs.encode_batch(without_breaks(part))
            different += sum(tokens[i].tolist() != theirs.ids for i, theirs in enumerate(expected))
            bar.update(len(part))
    return different


def count_light(ours: Tokenizer, texts: Sequence[str]) -> int:
    """How many texts get other ids from the tokenizer for edge devices, which has no TensorFlow."""
    light, different = LightTokenizer(ours.spec, ours.vocabulary), 0
    with progress_bar("edge", len(texts)) as bar:
        for start in range(0, len(texts), 5000):
            part = texts[start : start + 5000]
            tokens = tokenize_all(ours, part)
            different += sum(tokens[i].tolist() != row.tolist() for i, row in enumerate(light(part)[0]))
            bar.update(len(part))
    return different


def seconds(call: Callable[[], object]) -> float:
    """How long a call takes."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


@click.command()
@click.argument("data_dir", type=click.Path(path_type=Path, exists=True))
@click.argument("vocab", type=click.Path(path_type=Path, exists=True))
@click.option("--rounds", default=3)
def main(data_dir: Path, vocab: Path, rounds: int) -> None:
    """Compare, time, print, write."""
    parts = read_imdb(data_dir)
    everything = [text for texts in parts.values() for text in texts]
    uncased, cased = pair(read_vocabulary(vocab), True), pair(cased_vocabulary(parts["train"]), False)
    result = {
        "texts": len(everything),
        "different_uncased": count_different(*uncased, everything, "uncased"),
        "different_cased": count_different(*cased, everything, "cased"),
        "different_on_edge": count_light(uncased[0], everything),
    }
    ours, theirs = uncased
    train, cleaned = parts["train"], without_breaks(parts["train"])
    tokens = int(tokenize_all(ours, train).lengths.sum())
    times = [
        (seconds(lambda: tokenize_all(ours, train)), seconds(lambda: theirs.encode_batch(cleaned)))
        for _ in range(rounds)
    ]
    mine, peer = (statistics.median(side) for side in zip(*times, strict=True))
    result |= {
        "tokens": tokens,
        "tokens_per_second": round(tokens / mine),
        "tokens_per_second_hugging_face": round(tokens / peer),
        "ratio": round(statistics.median(b / a for a, b in times), 2),
        "ratios": [round(b / a, 2) for a, b in times],
        "threads": os.cpu_count(),
        "tokenizers": importlib.metadata.version("tokenizers"),
        "tensorflow-text": importlib.metadata.version("tensorflow-text"),
    }
    print_table("text graph and Hugging Face tokenizers", ("figure", "value"), list(result.items()))
    target = Path(__file__).parent / "results" / "tokenizer.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
