"""The sides of benchmarks/serving.py that answer inside a process, and how the peers' files are made.

    python benchmarks/serving_peers.py measure SIDE PATH REVIEWS.json
    python benchmarks/serving_peers.py make-onnx|make-openvino FOLDER [REVIEWS.json]

benchmarks/serving.py calls both, in the environment of the side. Nothing of tfsent is imported here. FOLDER holds the
run's weights in the layout of transformers; REVIEWS.json the texts, and how the run cuts them. A side is a function
from its file or folder and that JSON to a function that answers texts.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

THREADS, BATCH = 2, 32
WARM = 100
"""Texts that a side answers before the clock starts. Most runtimes prepare something for each new length."""
Answer = Callable[[list[str]], np.ndarray]
"""Texts → probabilities, `float[b, classes]`."""


def tokenizing(folder: Path, data: dict) -> Callable[[list[str]], dict]:
    """Texts → `ids` and `mask`, `int64[b, s]`, padded to the longest text; the ids are those of tfsent."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer

    tokenizer = Tokenizer(WordPiece.from_file(str(folder / "vocab.txt"), unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer(lowercase=data["lowercase"])
    tokenizer.pre_tokenizer = BertPreTokenizer()
    begin, end = tokenizer.token_to_id("[CLS]"), tokenizer.token_to_id("[SEP]")
    room, head = data["max_tokens"] - 2, data["head_tokens"]

    def tokenize(texts: list[str]) -> dict:
        found = tokenizer.encode_batch_fast([plain(text, data) for text in texts], add_special_tokens=False)
        rows = [encoding.ids for encoding in found]
        rows = [row if len(row) <= room else row[:head] + row[len(row) - (room - head) :] for row in rows]
        lengths = np.array([len(row) + 2 for row in rows])
        ids = np.zeros((len(rows), lengths.max()), np.int64)  # [PAD] is 0
        for i, row in enumerate(rows):
            ids[i, : lengths[i]] = [begin, *row, end]
        return {"ids": ids, "mask": (np.arange(lengths.max()) < lengths[:, None]).astype(np.int64)}

    return tokenize


def plain(text: str, data: dict) -> str:
    """Replace HTML line breaks by spaces, as tfsent does."""
    return re.sub(data["html_break"], " ", text)


# --- the sides --------------------------------------------------------------------------------------------------------


def savedmodel(path: Path, data: dict) -> Answer:
    """The SavedModel of tfsent, as a Python service loads it."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(THREADS)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    import tensorflow_text  # noqa: F401 - registers the ops

    model = tf.saved_model.load(str(path))
    serve = model.signatures["serving_default"]
    return lambda texts: serve(text=tf.constant(texts))["probabilities"].numpy()


def mean_pooled(folder: Path, **settings: str):
    """The classifier in PyTorch: BERT, the mean of the tokens, a dense layer."""
    import transformers
    from transformers.modeling_outputs import SequenceClassifierOutput

    class BertForSequenceClassification(transformers.BertForSequenceClassification):
        def forward(self, input_ids, attention_mask, **_):
            hidden = self.bert(input_ids, attention_mask=attention_mask).last_hidden_state
            weights = attention_mask.unsqueeze(-1).to(hidden.dtype)
            return SequenceClassifierOutput(logits=self.classifier((hidden * weights).sum(1) / weights.sum(1)))

    return BertForSequenceClassification.from_pretrained(folder, **settings).eval()


def pipeline(folder: Path, data: dict) -> Answer:
    """The pipeline of transformers on PyTorch. It keeps the head of a long text; the time is the same."""
    import torch
    import transformers

    torch.set_num_threads(THREADS)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    pipe = transformers.pipeline("text-classification", model=mean_pooled(folder), tokenizer=tokenizer, device="cpu")
    options = {"top_k": None, "batch_size": BATCH, "truncation": True, "max_length": data["max_tokens"]}

    def answer(texts: list[str]) -> np.ndarray:
        found = pipe([plain(text, data) for text in texts], function_to_apply="softmax", **options)
        scores = ({line["label"]: line["score"] for line in lines} for lines in found)
        return np.array([[score[name] for name in data["label_names"]] for score in scores])

    return answer


def onnx(path: Path, data: dict) -> Answer:
    """ONNX Runtime on its CPU provider."""
    import onnxruntime as ort

    tokenize = tokenizing(path.parent, data)
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = THREADS, 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda texts: session.run(None, tokenize(texts))[0]


def openvino(path: Path, data: dict, precision: str = "f32") -> Answer:
    """OpenVINO's CPU plugin. Left alone it would take bfloat16 where a processor has it, also for a float32 file."""
    import openvino as ov

    tokenize = tokenizing(path.parent, data)
    settings = {"INFERENCE_NUM_THREADS": THREADS, "INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
    compiled = ov.Core().compile_model(path, "CPU", settings)
    return lambda texts: compiled(tokenize(texts))[0]


def openvino_bfloat16(path: Path, data: dict) -> Answer:
    """The same in bfloat16, int8 where the file has int8."""
    return openvino(path, data, "bf16")


SIDES = {side.__name__: side for side in (savedmodel, pipeline, onnx, openvino, openvino_bfloat16)}


# --- what is measured -------------------------------------------------------------------------------------------------


def measure(side: str, path: str, reviews: str) -> dict:
    """Answer one text at a time, then in batches. Return seconds, memory and probabilities.

    Returns:
        `first_answer`, a `time.time()`; `seconds` of each text alone; `reviews_per_second` in batches;
        `peak_megabytes`; and `probabilities` of all texts, from the batches.
    """
    data = json.loads(Path(reviews).read_text(encoding="utf-8"))
    texts = data["texts"]
    answer = SIDES[side](Path(path), data)
    answer(texts[:1])
    first = time.time()
    for text in texts[:WARM]:
        answer([text])
    seconds = []
    for text in texts:
        started = time.perf_counter()
        answer([text])
        seconds.append(time.perf_counter() - started)
    batches = [texts[i : i + BATCH] for i in range(0, len(texts), BATCH)]
    for batch in batches[:3]:
        answer(batch)
    started = time.perf_counter()
    found = [answer(batch) for batch in batches]
    rate = len(texts) / (time.perf_counter() - started)
    return {
        "first_answer": first,
        "seconds": seconds,
        "reviews_per_second": rate,
        "peak_megabytes": peak_megabytes("self"),
        "probabilities": [row.tolist() for rows in found for row in rows],
    }


def peak_megabytes(process: str | int) -> float:
    """Peak resident memory. `getrusage` would count the process that started this one as well."""
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii", errors="replace")
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) * 1024 / 1e6


# --- the files of the peers -------------------------------------------------------------------------------------------


def make_onnx(folder: str) -> None:
    """Write `float32.onnx` and `int8.onnx`, with dynamic quantisation, beside the weights."""
    import torch
    from onnxruntime.quantization import QuantType, quantize_dynamic

    class Probabilities(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.classifier = mean_pooled(Path(folder), attn_implementation="eager")

        def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            return torch.softmax(self.classifier(ids, attention_mask=mask).logits, dim=-1)

    axes = {name: {0: "batch", 1: "length"} for name in ("ids", "mask")}
    names = {"input_names": ["ids", "mask"], "output_names": ["probabilities"]}
    ones, target = torch.ones(2, 16, dtype=torch.long), Path(folder) / "float32.onnx"
    axes["probabilities"] = {0: "batch"}
    torch.onnx.export(
        Probabilities().eval(), (ones, ones), str(target), opset_version=17, dynamo=False, dynamic_axes=axes, **names
    )
    # One scale a channel is as fast as one a matrix, the default, and flips fewer labels.
    quantize_dynamic(target, target.with_name("int8.onnx"), weight_type=QuantType.QInt8, per_channel=True)


def make_openvino(folder: str, reviews: str) -> None:
    """Write `float32.xml` and `int8.xml`, quantised after training on the run's calibration reviews."""
    import nncf
    import openvino as ov

    data = json.loads(Path(reviews).read_text(encoding="utf-8"))
    model = ov.convert_model(Path(folder) / "float32.onnx")
    ov.save_model(model, Path(folder) / "float32.xml", compress_to_fp16=False)
    tokenize = tokenizing(Path(folder), data)
    rows = [tokenize([text]) for text in data["calibration"]]
    small = nncf.quantize(
        model, nncf.Dataset(rows), model_type=nncf.ModelType.TRANSFORMER, subset_size=len(data["calibration"])
    )
    ov.save_model(small, Path(folder) / "int8.xml")


if __name__ == "__main__":
    steps = {"measure": measure, "make-onnx": make_onnx, "make-openvino": make_openvino}
    print(json.dumps(steps[sys.argv[1]](*sys.argv[2:])))
