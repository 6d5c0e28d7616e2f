"""The classifier: encoder, pooling, dense head → logits. It runs on every Keras backend."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfsent.errors import ArtifactError, ConfigError, first_line
from tfsent.model.bert import BertEncoder, copy_weights, has_pooler
from tfsent.recipe.schema import ModelConfig

HEAD_BEGINS = ("hidden_0_dropout", "logits_dropout")
"""The first layer of the head: the dropout before the first dense layer."""


def build_classifier(encoder: BertEncoder, config: ModelConfig, classes: int) -> keras.Model:
    """Stack pooling and dense layers on an encoder.

    Args:
        encoder: takes `token_ids` and `segment_ids`, `int32[b, s]`, and `padding_mask`, `bool[b, s]`.
        config: pooling, hidden layers, dropout.
        classes: at least 2.

    Returns:
        A model from those three inputs to logits, `float32[b, classes]`.

    Raises:
        ConfigError: the recipe wants the pooler, and the checkpoint has none.
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
    # Otherwise Keras warns that an unused pooler has no gradient.
    encoder.pooled_dense.trainable = config.pooling == "pooler"
    x = pool(encoder(inputs), inputs["padding_mask"], config.pooling)
    for i, units in enumerate(config.hidden_units):
        x = keras.layers.Dropout(config.dropout, name=f"hidden_{i}_dropout")(x)
        x = keras.layers.Dense(units, activation="gelu", name=f"hidden_{i}")(x)
    x = keras.layers.Dropout(config.dropout, name="logits_dropout")(x)
    # Always float32: the loss and the exported probabilities need full precision.
    initializer = keras.initializers.TruncatedNormal(stddev=0.02)
    logits = keras.layers.Dense(classes, dtype="float32", kernel_initializer=initializer, name="logits")(x)
    return keras.Model(inputs, logits, name="classifier")


def pool(outputs: dict[str, Any], padding_mask: Any, pooling: str) -> Any:
    """Return the features of each row, `[b, hidden]`.

    Args:
        outputs: of a `BertEncoder`.
        padding_mask: `bool[b, s]`.
        pooling: `model.pooling` of the recipe.
    """
    if pooling == "mean":
        # Always in float32: a bfloat16 sum over hundreds of tokens loses some of them.
        mean = keras.layers.GlobalAveragePooling1D(dtype="float32", name="pooling")
        return mean(outputs["sequence_output"], mask=padding_mask)
    return outputs["sequence_output"][:, 0, :] if pooling == "cls" else outputs["pooled_output"]


def split_head(classifier: keras.Model) -> tuple[keras.Model, keras.Model]:
    """Split a classifier between pooling and head. Both parts share its layers.

    Args:
        classifier: of `build_classifier`.

    Returns:
        A model from the inputs to features, `[b, hidden]`, and one from `{"features": [b, hidden]}` to logits,
        `float32[b, classes]`.
    """
    first = classifier.layers.index(next(layer for layer in classifier.layers if layer.name in HEAD_BEGINS))
    features = keras.Input(classifier.layers[first].input.shape[1:], name="features")
    x = features
    for layer in classifier.layers[first:]:  # from the first dropout on, each layer follows the one before
        x = layer(x)
    encoder = keras.Model(classifier.inputs, classifier.layers[first].input)
    return encoder, keras.Model({"features": features}, x, name="head")


def load_classifier(path: Path) -> keras.Model:
    """Open a saved classifier. Keras's safe mode keeps code in the file from running.

    Args:
        path: a `model.keras`.

    Raises:
        ArtifactError: the file is damaged, or not a classifier of this version of tfsent.
    """
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except (OSError, ValueError, TypeError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        # Keras reports half an archive as a missing file.
        if not zipfile.is_zipfile(path):
            raise ArtifactError(f"{path} cannot be read: it is damaged, or Keras did not write it.") from error
        raise ArtifactError(
            f"{path} cannot be read: {first_line(error)}. A model of an earlier version of tfsent must be trained "
            "again."
        ) from error


def divide_logits(classifier: keras.Model, temperature: float) -> None:
    """Divide the logits by a temperature, in the weights of the last layer.

    Args:
        classifier: of `build_classifier`.
        temperature: above 0.
    """
    last = classifier.get_layer("logits")
    for weight in (last.kernel, last.bias):
        weight.assign(keras.ops.convert_to_numpy(weight) / np.float32(temperature))


def as_float32(model: keras.Model) -> keras.Model:
    """Return a classifier with the same weights that computes in float32: the form that is saved and exported."""
    twin = keras.Model.from_config(_with_policy(model.get_config(), "float32"))
    copy_weights(model, twin)
    return twin


def _with_policy(config: Any, policy: str) -> Any:
    """Return a copy of a Keras config in which every dtype policy is `policy`."""
    if isinstance(config, dict):
        if config.get("class_name") == "DTypePolicy":
            return {**config, "config": {"name": policy}}
        return {key: _with_policy(value, policy) for key, value in config.items()}
    if isinstance(config, list):
        return [_with_policy(value, policy) for value in config]
    return config
