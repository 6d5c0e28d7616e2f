"""The classifier: encoder, pooling, dense head → logits. `keras.ops` only, so it runs on every Keras backend."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import keras

from tfsent.errors import ArtifactError, ConfigError, first_line
from tfsent.model.bert import copy_weights, has_pooler
from tfsent.recipe.schema import ModelConfig


def build_classifier(encoder: Any, config: ModelConfig, classes: int) -> keras.Model:
    """Stack pooling and dense layers on an encoder.

    Args:
        encoder: of `bert.py`; takes `token_ids`, `segment_ids` `int32[b, s]` and `padding_mask` `bool[b, s]`.
        config: pooling, hidden layers, dropout.
        classes: at least 2.

    Returns:
        A model from those three inputs to logits `float32[b, classes]`.

    Raises:
        ConfigError: the pooler is asked for, and the encoder's checkpoint had none.
    """
    if config.pooling == "pooler" and not has_pooler(encoder):
        raise ConfigError(
            "model.pooling is pooler, and this encoder has none (DistilBERT and ELECTRA were trained without). "
            "Expected mean or cls."
        )
    inputs = {
        "token_ids": keras.Input((None,), dtype="int32", name="token_ids"),
        "segment_ids": keras.Input((None,), dtype="int32", name="segment_ids"),
        "padding_mask": keras.Input((None,), dtype="bool", name="padding_mask"),
    }
    # Without this, Keras warns at every start that the unused pooler has no gradient.
    encoder.pooled_dense.trainable = config.pooling == "pooler"
    outputs = encoder(inputs)
    if config.pooling == "mean":
        # In float32 whatever the policy: a bfloat16 sum over hundreds of tokens would lose them.
        pooling = keras.layers.GlobalAveragePooling1D(dtype="float32", name="pooling")
        x = pooling(outputs["sequence_output"], mask=inputs["padding_mask"])
    elif config.pooling == "cls":
        x = outputs["sequence_output"][:, 0, :]
    else:
        x = outputs["pooled_output"]
    for i, units in enumerate(config.hidden_units):
        x = keras.layers.Dropout(config.dropout, name=f"hidden_{i}_dropout")(x)
        x = keras.layers.Dense(units, activation="gelu", name=f"hidden_{i}")(x)
    x = keras.layers.Dropout(config.dropout, name="logits_dropout")(x)
    # float32 whatever the policy: the loss and the exported probabilities want full precision.
    initializer = keras.initializers.TruncatedNormal(stddev=0.02)
    logits = keras.layers.Dense(classes, dtype="float32", kernel_initializer=initializer, name="logits")(x)
    return keras.Model(inputs, logits, name="classifier")


def load_classifier(path: Path) -> keras.Model:
    """Open a saved classifier, without running any code that may be in it (Keras's safe mode).

    Raises:
        ArtifactError: the file is damaged, or no classifier of tfsent.
    """
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except (OSError, ValueError, TypeError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        # Keras says of half an archive that there is no file.
        why = first_line(error) if zipfile.is_zipfile(path) else "it is damaged, or no file that Keras wrote"
        raise ArtifactError(f"{path} cannot be read: {why}") from error


def as_float32(model: keras.Model) -> keras.Model:
    """The same classifier with the same weights, computing in float32: the form that is saved and exported."""
    config = model.get_config()
    twin = keras.Model.from_config(_with_policy(config, "float32"))
    copy_weights(model, twin)
    return twin


def _with_policy(config: Any, policy: str) -> Any:
    """A copy of a Keras config in which every dtype policy is `policy`."""
    if isinstance(config, dict):
        if config.get("class_name") == "DTypePolicy":
            return {**config, "config": {"name": policy}}
        return {key: _with_policy(value, policy) for key, value in config.items()}
    if isinstance(config, list):
        return [_with_policy(value, policy) for value in config]
    return config
