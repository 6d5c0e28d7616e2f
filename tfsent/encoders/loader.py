"""Pretrained BERT encoders: a URI (`hubs.py`) → an encoder with its vocabulary, casing and provenance.

Whatever the hub and the layout, the result is one KerasHub backbone (`bert.py`), so that training, export and
quantisation need not know where it came from.
"""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import keras
import keras_hub
import numpy as np

from tfsent.encoders import catalogue, hubs
from tfsent.encoders.checkpoint import PretrainedWeights, read_json
from tfsent.encoders.from_huggingface import read_huggingface
from tfsent.errors import EncoderError, first_line
from tfsent.model import bert
from tfsent.model.classifier import load_classifier
from tfsent.text.spec import TextSpec, check_vocabulary, read_text_files

SENTENCE = "A moving, funny film; I would watch it again."
FINGERPRINT_TOLERANCE = 1e-4
"""Matrix products differ by less between machines, and by far more between checkpoints."""


@dataclass(frozen=True)
class Encoder:
    """A pretrained encoder, ready to be put into a classifier."""

    backbone: Any
    """`bert.BertEncoder` or `bert.ElectraEncoder`, in float32."""
    vocabulary: tuple[str, ...]
    lowercase: bool
    provenance: dict[str, Any]
    """URI, format, folder, revision, and the SHA-256 of each file."""

    def rebuilt(self, *, dropout: float, dtype: str) -> Any:
        """The same encoder, weights copied, with another dropout and precision policy."""
        config = {**self.backbone.get_config(), "dropout": dropout, "dtype": dtype}
        twin = type(self.backbone).from_config(config)
        bert.copy_weights(self.backbone, twin)
        return twin

    def describe(self) -> dict[str, Any]:
        """Sizes and ways to compute, for people."""
        backbone = self.backbone
        return {
            "parameters": backbone.count_params(),
            "layers": backbone.num_layers,
            "hidden_size": backbone.hidden_dim,
            "heads": backbone.num_heads,
            "positions": backbone.max_sequence_length,
            "vocabulary": len(self.vocabulary),
            "casing": "uncased" if self.lowercase else "cased",
            "activation": backbone.activation,
            "layer_norm_epsilon": backbone.layer_norm_epsilon,
            "pooler": bert.has_pooler(backbone),
        }

    def encode(self, text: str) -> np.ndarray:
        """The mean of a text's token vectors, `float32[hidden]`."""
        spec = TextSpec(lowercase=self.lowercase, max_tokens=min(64, self.backbone.max_sequence_length))
        from tfsent.text.tokenizer import Tokenizer

        ids = Tokenizer(spec, self.vocabulary)([text]).ids.to_tensor().numpy()
        inputs = {"token_ids": ids, "segment_ids": np.zeros_like(ids), "padding_mask": np.ones_like(ids)}
        encoded = self.backbone(inputs, training=False)["sequence_output"]
        return keras.ops.convert_to_numpy(encoded)[0].mean(axis=0)

    def fingerprint(self) -> list[float]:
        """The first eight numbers of `SENTENCE` encoded: another checkpoint, or other arithmetic, gives others."""
        return [round(float(value), 6) for value in self.encode(SENTENCE)[:8]]


def load_encoder(uri: str, *, ask_hub: bool = False) -> Encoder:
    """Open the encoder a URI names, in float32.

    Args:
        uri: see the table in `hubs.py`.
        ask_hub: ask the hub even for what is recorded here, to learn whether it changed.

    Raises:
        EncoderError: unknown scheme, a checkpoint that cannot be used as it is, or that changed meanwhile.
        AssetError: a download failed.
        ArtifactError: the model of a run is damaged.
    """
    place = hubs.locate(uri, ask_hub=ask_hub)
    found = _open(place.folder, must_be_run=uri.startswith("run:"))
    size = found.backbone.token_embedding.input_dim
    if size != len(found.vocabulary):
        raise EncoderError(
            f"{place.folder}: the vocabulary has {len(found.vocabulary):,} tokens and the encoder's embedding {size:,}."
            " Expected the vocabulary the encoder was trained with."
        )
    check_vocabulary(found.vocabulary)
    files = place.files or hubs.digests(place.folder, found.files)
    provenance = {
        "uri": uri,
        "format": found.format,
        "folder": str(place.folder),
        "revision": place.revision,
        "files": files,
    }
    encoder = Encoder(found.backbone, found.vocabulary, _casing(found, place.folder), provenance)
    if hubs.is_new(uri):
        # The sentence is tokenised by TensorFlow, and training on JAX goes without.
        fingerprint = encoder.fingerprint() if importlib.util.find_spec("tensorflow_text") else []
        hubs.remember(uri, place, files, fingerprint)
    return encoder


def check_encoder(uri: str) -> dict[str, Any]:
    """Open an encoder, encode `SENTENCE`, and compare with what was recorded of it.

    Returns:
        What it is and where it came from; `difference` from the recorded fingerprint, None where none was recorded.

    Raises:
        EncoderError: a file, or the fingerprint, is not what was recorded; and what `load_encoder` raises.
    """
    record, entry = hubs.read_record(uri), catalogue.find(uri)
    encoder = load_encoder(uri)
    found = encoder.fingerprint()
    recorded = record["fingerprint"] if record else list(entry.fingerprint) if entry else []
    difference = max(abs(a - b) for a, b in zip(found, recorded, strict=True)) if recorded else None
    if difference is not None and difference > FINGERPRINT_TOLERANCE:
        raise EncoderError(
            f"{uri} does not encode {SENTENCE!r} as recorded. Expected {recorded}, received {found}: they differ by "
            f"{difference:.1e}, and {FINGERPRINT_TOLERANCE:.0e} is allowed. Its files are as recorded, so tfsent or a "
            "library computes otherwise now."
        )
    return {**encoder.provenance, **encoder.describe(), "fingerprint": found, "difference": difference}


class OpenedCheckpoint(NamedTuple):
    """What a folder holds."""

    format: str
    backbone: Any
    vocabulary: tuple[str, ...]
    lowercase: bool | None
    files: tuple[str, ...]


def _open(folder: Path, *, must_be_run: bool) -> OpenedCheckpoint:
    if (folder / "model" / "model.keras").is_file():
        return _from_run(folder)
    if must_be_run:
        raise EncoderError(f"{folder} is no finished run of tfsent: it has no model/model.keras. Expected run:DIR.")
    if (folder / "saved_model.pb").is_file():
        from tfsent.encoders.from_tensorflow import read_savedmodel

        return _from_checkpoint(read_savedmodel(folder), folder)
    if (folder / "bert_config.json").is_file():
        from tfsent.encoders.from_tensorflow import read_google

        return _from_checkpoint(read_google(folder), folder)
    if not (folder / "config.json").is_file():
        raise EncoderError(
            f"{folder} has no config.json, bert_config.json or saved_model.pb. Expected a Hugging Face folder "
            "(config.json, model.safetensors, vocab.txt), a KerasHub preset, a TF-Hub SavedModel, Google's "
            "bert_model.ckpt folder, or a run of tfsent."
        )
    config = read_json(folder / "config.json")
    if "registered_name" in config:
        return _from_preset(folder, str(config["registered_name"]))
    return _from_checkpoint(read_huggingface(folder), folder)


def _from_checkpoint(found: PretrainedWeights, folder: Path) -> OpenedCheckpoint:
    backbone = bert.build(
        found.arrays,
        num_heads=found.heads,
        activation=found.activation,
        epsilon=found.epsilon,
        where=f"{folder} ({found.format})",
    )
    return OpenedCheckpoint(found.format, backbone, found.vocabulary, found.lowercase, found.files)


def _from_run(folder: Path) -> OpenedCheckpoint:
    """The encoder inside a classifier that tfsent trained."""
    model, (spec, vocabulary) = load_classifier(folder / "model" / "model.keras"), read_text_files(folder / "model")
    backbone = next(layer for layer in model.layers if isinstance(layer, bert.BertEncoder))
    files = ("model/model.keras", "model/vocab.txt", "model/text.json")
    return OpenedCheckpoint("tfsent-run", backbone, vocabulary, spec.lowercase, files)


def _from_preset(folder: Path, registered: str) -> OpenedCheckpoint:
    """A KerasHub preset. KerasHub computes BERT and ELECTRA with the tanh GELU, and DistilBERT with the exact one."""
    kind = registered.rpartition(">")[2]
    if kind not in ("BertBackbone", "DistilBertBackbone", "ElectraBackbone"):
        raise EncoderError(
            f"{folder} is a KerasHub preset of {kind}. Expected BERT, DistilBERT or ELECTRA, such as "
            "keras:bert_small_en_uncased."
        )
    place = str(folder.resolve())  # a relative name might be that of a preset on Kaggle
    tokenizer_class = getattr(keras_hub.models, kind.replace("Backbone", "Tokenizer"))
    try:
        loaded = getattr(keras_hub.models, kind).from_preset(place, dtype="float32")
        tokenizer = tokenizer_class.from_preset(place)
    except Exception as error:
        # KerasHub, h5py and Keras each raise their own kinds.
        raise EncoderError(f"{folder} could not be loaded as a KerasHub preset: {first_line(error)}") from error
    names = ("config.json", "model.weights.h5", "tokenizer.json", "assets/tokenizer/vocabulary.txt")
    files = tuple(name for name in names if (folder / name).is_file())
    backbone = _from_kerashub(loaded, kind, folder)
    return OpenedCheckpoint("keras-hub", backbone, tuple(tokenizer.get_vocabulary()), bool(tokenizer.lowercase), files)


def _from_kerashub(loaded: Any, kind: str, folder: Path) -> Any:
    """Copy a KerasHub backbone into ours. Our variables have the same paths as KerasHub's.

    KerasHub computes BERT and ELECTRA with the tanh GELU, DistilBERT with the exact one. DistilBERT has neither
    segments nor a pooler. ELECTRA has no pooler, and KerasHub adds one.
    """
    config = loaded.get_config()
    backbone = bert.BertEncoder(
        vocabulary_size=loaded.token_embedding.input_dim,
        embedding_dim=loaded.token_embedding.output_dim,
        activation="gelu_exact" if kind == "DistilBertBackbone" else "gelu_tanh",
        dtype="float32",
        num_segments=config.get("num_segments", 2),
        **{name: config[name] for name in ("num_layers", "num_heads", "hidden_dim", "intermediate_dim")},
        max_sequence_length=config["max_sequence_length"],
    )
    theirs = {v.path.removeprefix("token_and_position_embedding/"): v for v in loaded.weights}
    absent = ("segment_embedding/", "pooled_dense/") if kind == "DistilBertBackbone" else ()
    for variable in backbone.weights:
        if variable.path.startswith(absent) and absent:
            variable.assign(np.zeros(variable.shape, np.float32))
        elif variable.path in theirs:
            variable.assign(theirs[variable.path])
        else:
            raise EncoderError(f"{folder}: the KerasHub preset has no variable {variable.path}.")
    if kind == "ElectraBackbone":
        bert.clear_pooler(backbone)
    return backbone


def _casing(found: OpenedCheckpoint, folder: Path) -> bool:
    """Whether the encoder wants lower case: as its checkpoint says, else as its vocabulary shows."""
    capitals = [token for token in found.vocabulary if re.search("[A-Z]", token) and not token.startswith("[")]
    # A few of them say nothing: vocabularies are counted from texts, and texts have odd corners.
    cased = len(capitals) > len(found.vocabulary) / 100
    if cased and found.lowercase:
        raise EncoderError(
            f"{folder} asks for lower case, and its vocabulary has capitals: no word with one would ever be found. "
            "Expected the tokenizer settings the encoder was trained with (do_lower_case=false for a cased vocabulary)."
        )
    return not cased if found.lowercase is None else found.lowercase
