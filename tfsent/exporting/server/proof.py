"""The proof of a SavedModel: what a server would do with it is done, and compared with the trained model.

All of it goes through TensorFlow's C API in a process without Keras and tfsent: held-out reviews in batches and alone,
batches of 0, 1, 7 and 256, texts that nobody planned for, every signature, requests as clients of gRPC and REST build
them, and the warm-up records. Beside that, every op must be one that `export.serving.min_server` has, and no file may
name a path of this machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfsent.exporting.golden import NASTY_TEXTS
from tfsent.exporting.parity import Budget, Parity, ReferenceAnswers, compare
from tfsent.exporting.server.allowed_ops import foreign_ops
from tfsent.exporting.server.c_api import Answer, Call, ask, texts_of
from tfsent.exporting.server.requests import calls_of_clients, calls_of_warmup
from tfsent.inference.keras_run import KerasPredictor
from tfsent.storage import downloads

BATCH, TIMED, OF_CLIENTS = 32, 100, 7
SIZES = (0, 1, 7, 256)
NO_TEXT = (b"\xff\xfe not UTF-8", b"caf\xe9", b"half a pair \xed\xa0\x80", b"cut \xf0\x9f\x91", b"\x00 begins so")
"""Bytes that no Python string has."""
SAME = {"float32": 1e-5, "bfloat16": 0.02}
"""How far the answers to one text may differ by what else is in the batch. A number of bfloat16 has 8 bits, and the
order of sums depends on the batch."""
ODD = {"float32": 1e-4, "bfloat16": 0.1}
"""How far an answer to a text that nobody planned for may be from the trained model's."""


def verify_savedmodel(
    predictor: KerasPredictor,
    folder: Path,
    reference: ReferenceAnswers,
    budget: Budget,
    *,
    precision: str = "float32",
    server: str = "2.12",
) -> Parity:
    """Prove a SavedModel.

    Args:
        predictor: the run's model.
        folder: the SavedModel.
        reference: the trained model's answers to held-out reviews.
        budget: of a SavedModel of this precision.
        precision: `float32` or `bfloat16`.
        server: the oldest release of TensorFlow Serving that must run it.

    Raises:
        ExportError: it cannot be loaded as a server loads it.
    """
    texts = [text.encode("utf-8", "ignore") for text in reference.reviews.texts]
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # little of a batch is then padding
    batches = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
    odd = [*(text.encode("utf-8", "ignore") for text in NASTY_TEXTS), *NO_TEXT]
    some = texts[:OF_CLIENTS]
    parts = {
        "batches": [Call("serving_default", texts_of([texts[i] for i in rows])) for rows in batches],
        "alone": [Call("serving_default", texts_of([text])) for text in texts[:TIMED]],
        "sizes": [Call("serving_default", texts_of(_repeated(texts, size))) for size in SIZES],
        "odd": [Call("serving_default", texts_of(odd)), *(Call("serving_default", texts_of([text])) for text in odd)],
        "info": [Call("info", texts_of(some))],
        "tokens": [_tokens(predictor, some)],
    }
    clients, warmup = calls_of_clients(some), calls_of_warmup(folder / "assets.extra")
    calls = [call for part in (*parts.values(), clients.values(), warmup.values()) for call in part]
    answers = iter(ask(folder, calls))
    found = {name: [next(answers) for _ in part] for name, part in parts.items()}
    of_clients, of_warmup = ({name: next(answers) for name in part} for part in (clients, warmup))

    faults = [f"{name}: {one.error.splitlines()[0]}" for name, part in found.items() for one in part if one.error]
    probabilities = np.full_like(reference.probabilities, np.nan)
    for rows, answer in zip(batches, found["batches"], strict=True):
        if not answer.error:
            probabilities[rows] = answer.outputs["probabilities"]
    seconds = [answer.seconds for answer in found["alone"]]
    parity = compare("savedmodel", folder, (probabilities, seconds), reference, budget)
    same = _Near(probabilities, SAME[precision])
    faults += same.faults("alone", found["alone"], [[i] for i in range(len(found["alone"]))])
    faults += same.faults("batch", found["sizes"], [_repeated(range(len(texts)), size) for size in SIZES])
    faults += _odd_faults(predictor, odd, found["odd"], ODD[precision])
    faults += same.faults("tokens", found["tokens"], [range(len(some))])
    faults += _info_faults(predictor, found["info"][0], len(some))
    for name, answer in of_clients.items():
        faults += same.faults(name, [answer], [range(len(some))])
    faults += [f"{name}: {answer.error.splitlines()[0]}" for name, answer in of_warmup.items() if answer.error]
    faults += [f"{fault}; export.serving.min_server is {server}" for fault in foreign_ops(folder, server)]
    faults += _paths_in(folder)
    return replace(parity, faults=(*parity.faults, *dict.fromkeys(faults)))


class _Near:
    """Compares answers with those of the batches of like length."""

    def __init__(self, probabilities: np.ndarray, tolerance: float):
        self.probabilities, self.tolerance = probabilities, tolerance

    def faults(self, name: str, answers: Sequence[Answer], rows: Sequence[Sequence[int]]) -> list[str]:
        """Return a sentence for each answer that is missing or differs.

        Args:
            name: what is asked, for the sentence.
            answers: some.
            rows: the reviews of each.
        """
        found = []
        for answer, expected in zip(answers, rows, strict=True):
            if answer.error:
                found.append(f"{name}: {answer.error.splitlines()[0]}")
                continue
            given = answer.outputs["scores" if "scores" in answer.outputs else "probabilities"]
            wanted = self.probabilities[list(expected)]
            if given.shape != wanted.shape or not np.allclose(given, wanted, rtol=0, atol=self.tolerance):
                found.append(f"{name}: {len(wanted)} texts have other answers than in batches of {BATCH}")
        return found


def _odd_faults(
    predictor: KerasPredictor, odd: Sequence[bytes], answers: Sequence[Answer], tolerance: float
) -> list[str]:
    expected = predictor.predict_proba([text.decode("utf-8", "ignore") for text in odd])
    together, *alone = answers
    if together.error or any(answer.error for answer in alone):
        return []  # said already
    given = (together.outputs["probabilities"], np.concatenate([one.outputs["probabilities"] for one in alone]))
    wrong = {
        odd[i]
        for found in given
        for i in np.flatnonzero(~np.isclose(found, expected, rtol=0, atol=tolerance).all(axis=1)).tolist()
    }
    return [f"the text {text[:40]!r} has another answer than from the trained model" for text in sorted(wrong)]


def _info_faults(predictor: KerasPredictor, answer: Answer, count: int) -> list[str]:
    if answer.error:
        return []
    labels = [[name.decode() for name in row] for row in answer.outputs["labels"].tolist()]
    if labels == [list(predictor.label_names)] * count:
        return []
    return [f"info names the classes {labels[:1]}, and the run {list(predictor.label_names)}"]


def _tokens(predictor: KerasPredictor, texts: Sequence[bytes]) -> Call:
    """Ask `tokens` as a caller does that tokenises. With `truncation: windows` it asks for the first window."""
    rows = predictor.tokenizer(tf.constant(texts))
    first = tf.searchsorted(rows.owner, tf.range(len(texts), dtype=rows.owner.dtype))
    inputs = predictor.tokenizer.inputs(tf.gather(rows.ids, first))
    names = {"ids": "token_ids", "mask": "padding_mask", "segment_ids": "segment_ids"}
    return Call("tokens", {name: inputs[key].numpy().astype(np.int32) for name, key in names.items()})


def _repeated(values: Sequence, count: int) -> list:
    return [values[i % len(values)] for i in range(count)]


def _paths_in(folder: Path) -> list[str]:
    """Return a sentence for each file that names a folder of this machine."""
    own = {str(path).encode() for path in (Path.home(), Path.cwd(), folder.resolve().parent, downloads.cache_dir())}
    own = {path for path in own if len(path) > 5}  # "/" and "/root" occur in ordinary text
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [f"{file.relative_to(folder)} names a path of this machine" for file in files if _names_any(file, own)]


def _names_any(file: Path, paths: set[bytes]) -> bool:
    raw = file.read_bytes()
    return any(path in raw for path in paths)
