"""A model's variables as arrays, to save and to restore: everything that decides the next step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tfsent.errors import RunError
from tfsent.model.hidden_states import TEACHER


def snapshot(model: keras.Model) -> dict[str, np.ndarray]:
    """Return every variable that decides the next step: weights, random states, optimiser, schedule, metrics.

    Args:
        model: compiled and built.

    Returns:
        Arrays by group and position, such as `optimizer/0003`.
    """
    if hasattr(model, "jax_state_sync"):
        model.jax_state_sync()  # within `fit`, Keras on JAX keeps the values to itself
    values = {name: keras.ops.convert_to_numpy(variable) for name, variable in _variables(model).items()}
    return {name: np.array(value, order="C") for name, value in values.items()}


def restore(model: keras.Model, arrays: dict[str, np.ndarray]) -> None:
    """Assign a snapshot to a model.

    Args:
        model: compiled and built as when the snapshot was taken.
        arrays: of `snapshot`.

    Raises:
        RunError: the snapshot is of another model.
    """
    variables = _variables(model)
    if strange := set(variables) ^ set(arrays):
        raise RunError(f"The checkpoint is of another model: {sorted(strange)[0]} is in one of them only.")
    for name, variable in variables.items():
        variable.assign(arrays[name])


def weights_of(model: keras.Model) -> list[np.ndarray]:
    """Return the weights as arrays, without a teacher's."""
    return [keras.ops.convert_to_numpy(weight) for weight in _own(model, model.weights)]


def set_weights(model: keras.Model, weights: list[np.ndarray]) -> None:
    """Assign what `weights_of` returned."""
    for variable, array in zip(_own(model, model.weights), weights, strict=True):
        variable.assign(array)


def build(model: keras.Model, validation: Any) -> None:
    """Make the variables of metrics and optimiser before the first training step.

    Keras makes them inside the first trace of the training step otherwise, and then traces the whole step again.

    Args:
        model: compiled.
        validation: a data set of which one batch is evaluated.
    """
    model.evaluate(validation, steps=1, verbose=0)
    model.optimizer.build(model.trainable_variables)
    model.reset_metrics()


def _variables(model: keras.Model) -> dict[str, Any]:
    groups = {
        "model": _own(model, model.variables),
        "optimizer": model.optimizer.variables,
        "metrics": model.metrics_variables,
    }
    return {f"{name}/{i:04d}": v for name, variables in groups.items() for i, v in enumerate(variables)}


def _own(model: keras.Model, variables: Sequence[Any]) -> list[Any]:
    """Leave out the teacher's: they never change, and the recipe says where they come from."""
    fixed = {id(v) for layer in model.layers if layer.name == TEACHER for v in layer.variables}
    return [variable for variable in variables if id(variable) not in fixed]


def count_parameters(model: keras.Model) -> int:
    """Return how many numbers the weights are, without a teacher's."""
    return sum(math.prod(weight.shape) for weight in _own(model, model.weights))
