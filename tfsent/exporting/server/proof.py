"""The proof of a SavedModel: what a server would do with it is done, and compared with the trained model.

All of it goes through TensorFlow's C API in a process without Keras and tfsent: held-out reviews in batches and alone,
batches of 0, 1, 7 and 256, texts that nobody planned for, every signature, requests as clients of gRPC and REST build
them, and the warm-up records. Beside that, every op must be one that `export.serving.min_server` has, and no file may
name a path of this machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
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
ALONE = "alone"
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
    golden: Sequence[str] = (),
) -> Parity:
    """Prove a SavedModel.

    Args:
        predictor: the run's model.
        folder: the SavedModel.
        reference: the trained model's answers to held-out reviews.
        budget: of a SavedModel of this precision.
        precision: `float32` or `bfloat16`.
        server: the oldest release of TensorFlow Serving that must run it.
        golden: further texts to ask.

    Raises:
        ExportError: it cannot be loaded as a server loads it.
    """
    texts = [text.encode("utf-8", "ignore") for text in reference.reviews.texts]
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # little of a batch is then padding
    batches = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
    odd = [*(text.encode("utf-8", "ignore") for text in (*golden, *NASTY_TEXTS)), *NO_TEXT]
    checks = _checks(predictor, folder, texts)
    found = _ask(
        folder,
        {
            "batches": [_of(texts[i] for i in rows) for rows in batches],
            "checks": [check.call for check in checks],
            "odd": [_of(odd), *(_of([text]) for text in odd)],
            "info": [Call("info", texts_of(texts[:OF_CLIENTS]))],
        },
    )
    probabilities = np.full_like(reference.probabilities, np.nan)
    labels = np.full(len(texts), b"", object)
    for rows, answer in zip(batches, found["batches"], strict=True):
        if not answer.error:
            probabilities[rows], labels[rows] = answer.outputs["probabilities"], answer.outputs["label"]
    checked = list(zip(checks, found["checks"], strict=True))
    seconds = [answer.seconds for check, answer in checked if check.name == ALONE]
    parity = compare("savedmodel", folder, (probabilities, seconds), reference, budget)
    faults = [
        *(f"{name}: {_first(one)}" for name in ("batches", "odd", "info") for one in found[name] if one.error),
        *(fault for check, answer in checked for fault in check.faults(answer, probabilities, SAME[precision])),
        *_label_faults(predictor, probabilities, labels),
        *_odd_faults(predictor, odd, found["odd"], ODD[precision]),
        *_info_faults(predictor, found["info"][0]),
        *(f"{fault}; export.serving.min_server is {server}" for fault in foreign_ops(folder, server)),
        *_paths_in(folder),
    ]
    return replace(parity, faults=(*parity.faults, *dict.fromkeys(faults)))


@dataclass(frozen=True)
class _Check:
    """A call whose answer is known: that of the batches of like length."""

    name: str
    call: Call
    rows: Sequence[int] | None
    """The reviews that it asks; None where it only must not fail."""

    def faults(self, answer: Answer, probabilities: np.ndarray, tolerance: float) -> list[str]:
        """Return a sentence where the answer is missing or differs."""
        if answer.error:
            return [f"{self.name}: {_first(answer)}"]
        if self.rows is None:
            return []
        given = answer.outputs["scores" if "scores" in answer.outputs else "probabilities"]
        wanted = probabilities[list(self.rows)]
        if given.shape == wanted.shape and np.allclose(given, wanted, rtol=0, atol=tolerance):
            return []
        return [f"{self.name}: {len(wanted)} texts have other answers than in batches of {BATCH}"]


def _checks(predictor: KerasPredictor, folder: Path, texts: Sequence[bytes]) -> list[_Check]:
    some = range(min(OF_CLIENTS, len(texts)))
    sizes = [[i % len(texts) for i in range(size)] for size in SIZES]
    clients, warmup = calls_of_clients([texts[i] for i in some]), calls_of_warmup(folder / "assets.extra")
    return [
        *(_Check(ALONE, _of([text]), [i]) for i, text in enumerate(texts[:TIMED])),
        *(_Check("in one batch", _of(texts[i] for i in rows), rows) for rows in sizes),
        _tokens(predictor, texts),
        *(_Check(name, call, some) for name, call in clients.items()),
        *(_Check(name, call, None) for name, call in warmup.items()),
    ]


def _ask(folder: Path, parts: dict[str, list[Call]]) -> dict[str, list[Answer]]:
    """Make all calls in one process."""
    answers = iter(ask(folder, [call for part in parts.values() for call in part]))
    return {name: [next(answers) for _ in part] for name, part in parts.items()}


def _of(texts: Iterable[bytes]) -> Call:
    return Call("serving_default", texts_of(list(texts)))


def _first(answer: Answer) -> str:
    return answer.error.splitlines()[0]


def _label_faults(predictor: KerasPredictor, probabilities: np.ndarray, labels: np.ndarray) -> list[str]:
    """Compare the labels with what the run decides on the file's own probabilities."""
    names = np.array([name.encode() for name in predictor.label_names], object)
    wrong = [i for i in np.flatnonzero(labels != names[predictor.choose(probabilities)]) if labels[i]]
    if not wrong:
        return []
    return [f"{len(wrong):,} texts have another label than the run's decision gives their probabilities"]


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


def _info_faults(predictor: KerasPredictor, answer: Answer) -> list[str]:
    if answer.error:
        return []
    labels = [[name.decode() for name in row] for row in answer.outputs["labels"].tolist()]
    if labels and labels == [list(predictor.label_names)] * len(labels):
        return []
    return [f"info names the classes {labels[:1]}, and the run {list(predictor.label_names)}"]


def _tokens(predictor: KerasPredictor, texts: Sequence[bytes]) -> _Check:
    """Ask `tokens` as a caller does that tokenises, about texts of one row: others are an average over windows."""
    rows = predictor.tokenizer(tf.constant(texts[:TIMED]))
    owners, counts = np.unique(rows.owner, return_counts=True)
    first = np.searchsorted(rows.owner, chosen := owners[counts == 1][:OF_CLIENTS])
    inputs = predictor.tokenizer.inputs(tf.gather(rows.ids, first))
    names = {"ids": "token_ids", "mask": "padding_mask", "segment_ids": "segment_ids"}
    given = {name: inputs[key].numpy().astype(np.int32) for name, key in names.items()}
    return _Check("tokens", Call("tokens", given), chosen.tolist())


def _paths_in(folder: Path) -> list[str]:
    """Return a sentence for each file that names a folder of this machine."""
    own = {str(path).encode() for path in (Path.home(), Path.cwd(), folder.resolve().parent, downloads.cache_dir())}
    own = {path for path in own if len(path) > 5}  # "/" and "/root" occur in ordinary text
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [f"{file.relative_to(folder)} names a path of this machine" for file in files if _names_any(file, own)]


def _names_any(file: Path, paths: set[bytes]) -> bool:
    raw = file.read_bytes()
    return any(path in raw for path in paths)
