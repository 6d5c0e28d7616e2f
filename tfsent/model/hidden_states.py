"""A student that imitates the hidden states of a teacher: its classifier, wrapped for training.

The loss is the mean squared difference of the states after paired layers, the student's through a learnt projection to
the teacher's width (X. Jiao et al., TinyBERT, 2020; S. Mukherjee et al., XtremeDistilTransformers, 2021).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from tfsent.errors import ConfigError
from tfsent.model.bert import BertEncoder
from tfsent.model.classifier import pool, split_head
from tfsent.recipe.schema import DistilConfig, ModelConfig

TEACHER = "teacher"
"""The name of the teacher's encoder in the wrapped model. Its weights never change, and no checkpoint holds them."""


def pair_layers(config: DistilConfig, student: BertEncoder, teacher: BertEncoder) -> tuple[int, ...]:
    """Return the teacher's layer for each layer of the student, counted from 0.

    Args:
        config: `layers` is `auto`, or names them.
        student: the encoder that learns.
        teacher: the encoder that is imitated.

    Raises:
        ConfigError: there is not one for each, or the teacher has no such layer.

    Example:
        A student of 3 layers and a teacher of 6 have the pairs (1, 3, 5).
    """
    if config.layers == "auto":
        return tuple((i + 1) * teacher.num_layers // student.num_layers - 1 for i in range(student.num_layers))
    if len(config.layers) != student.num_layers or max(config.layers) >= teacher.num_layers:
        raise ConfigError(
            f"distil.layers is {list(config.layers)}. Expected a layer of the teacher, from 0 to "
            f"{teacher.num_layers - 1}, for each layer of the student, which has {student.num_layers}."
        )
    return config.layers


def imitating(
    classifier: keras.Model, model: ModelConfig, teacher: BertEncoder, pairs: Sequence[int], weight: float, pad_id: int
) -> keras.Model:
    """Wrap a classifier so that training it also minimises the difference to a teacher's hidden states.

    Args:
        classifier: of `build_classifier`. The wrapped model shares its layers.
        model: the section of the recipe that the classifier was built by.
        teacher: takes the same inputs; its name is `TEACHER`. It becomes untrainable.
        pairs: the teacher's layer for each layer of the student.
        weight: of the difference in the loss.
        pad_id: the id of [PAD]. A row that begins with it is padding.

    Returns:
        A model from the inputs of the classifier to its logits.
    """
    teacher.trainable = False  # the setter reaches the layers, which the wrapped model sees; the argument does not
    encoder = next(layer for layer in classifier.layers if isinstance(layer, BertEncoder))
    inputs = {tensor.name: tensor for tensor in classifier.inputs}
    ours = _with_states(encoder, range(encoder.num_layers))(inputs)
    theirs = _with_states(teacher, pairs)(inputs)
    features = pool(ours, inputs["padding_mask"], model.pooling)
    _, head = split_head(classifier)
    imitation = Imitation(teacher.hidden_dim, weight, pad_id, name="imitation")
    states = [ours["states"], theirs["states"]]
    return keras.Model(
        inputs, imitation([head({"features": features}), *states, inputs["token_ids"], inputs["padding_mask"]])
    )


def _with_states(encoder: BertEncoder, layers: Sequence[int]) -> keras.Model:
    """Return an encoder that also gives the hidden states after some layers, `states`: a list of `[b, s, h]`."""
    states = [encoder.get_layer(f"transformer_layer_{i}").output for i in layers]
    return keras.Model(encoder.inputs, {**encoder.output, "states": states}, name=encoder.name)


class Imitation(keras.layers.Layer):
    """Gives back logits, and adds the difference of hidden states to the training loss.

    Args:
        width: of the teacher's states.
        weight: of the difference.
        pad_id: see `imitating`.
        **kwargs: of `keras.layers.Layer`.
    """

    def __init__(self, width: int, weight: float, pad_id: int, **kwargs: Any):
        super().__init__(dtype="float32", **kwargs)
        self.width, self.weight, self.pad_id = width, weight, pad_id

    def build(self, shapes: Any) -> None:
        """Make a projection for each pair of layers."""
        self.projections = [
            keras.layers.Dense(self.width, dtype="float32", name=f"projection_{i}") for i in range(len(shapes[1]))
        ]
        for projection, shape in zip(self.projections, shapes[1], strict=True):
            projection.build(shape)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Return the logits; in training, add the loss.

        Args:
            inputs: logits, `[b, classes]`; the states of the student and of the teacher, lists of `[b, s, h]`; token
                ids, `int32[b, s]`; padding mask, `bool[b, s]`.
            training: whether the model is trained.
        """
        logits, ours, theirs, token_ids, mask = inputs
        if training:
            real = keras.ops.cast(mask & (token_ids[:, :1] != self.pad_id), "float32")  # rows of padding do not count
            differences = [
                keras.ops.sum(keras.ops.mean(keras.ops.square(project(x) - keras.ops.stop_gradient(y)), axis=-1) * real)
                for project, x, y in zip(self.projections, ours, theirs, strict=True)
            ]
            self.add_loss(self.weight * sum(differences) / len(differences) / keras.ops.sum(real))
        return logits

    def compute_output_shape(self, shapes: Any) -> Any:
        """Return the shape of the logits."""
        return shapes[0]
