"""The training loop: a compiled model and its batches → a trained model, with checkpoints on the way.

Keras's `fit` runs one epoch at a time, so that an epoch may begin at any step. The callback's state and the model's
variables decide everything that follows. A checkpoint holds both: resuming gives what an uninterrupted training gives.
"""

from __future__ import annotations

import importlib.util
import logging
import signal
from collections.abc import Callable, Sequence
from typing import Any

import keras

from tfsent.errors import Preempted, TrainingError
from tfsent.text.feed import BatchLoader
from tfsent.training.engine.callbacks import CheckpointCallback, ProgressCallback, StoppedError
from tfsent.training.engine.faults import explained
from tfsent.training.engine.guards import warn_if_nothing_was_learnt
from tfsent.training.engine.interrupts import stop_after_step
from tfsent.training.engine.model_state import build, set_weights

logger = logging.getLogger(__name__)


def fit(
    model: keras.Model,
    loader: BatchLoader,
    validation_loader: BatchLoader,
    checkpointing: CheckpointCallback,
    *,
    majority: float,
    unknown: str | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> bool:
    """Train from the callback's position to the end of the plan, or until validation no longer improves.

    Args:
        model: compiled.
        loader: gives, at every iteration, the batches from the callback's position to the end of the epoch.
        validation_loader: is evaluated after every epoch.
        checkpointing: keeps the best weights, the history and checkpoints.
        majority: share of the largest class among the validation examples.
        unknown: what to say of tokens that the vocabulary does not have; None where there are few.
        callbacks: of the user; they are called after ours.

    Returns:
        Whether the user pressed Ctrl-C. Otherwise the model has the weights of the best epoch.

    Raises:
        TrainingError: the loss became not a number before any epoch was done, or memory ran out.
        Preempted: SIGTERM came; a checkpoint was written.
        RunError: the disk is full.
    """
    plan, position = loader.plan, checkpointing.position
    read, read_validation = _reader(loader), _reader(validation_loader)
    progress = ProgressCallback(plan, position, checkpointing.best.metric)
    with explained(checkpointing.config.batch_tokens, checkpointing.run), stop_after_step(checkpointing.stop_request):
        try:
            build(model, read_validation())
            checkpointing.set_model(model)
            if position.step == plan.steps:
                checkpointing.finish_epoch(lambda: model.evaluate(read_validation(), verbose=0, return_dict=True))
            while not checkpointing.is_done():
                model.fit(
                    read(),
                    initial_epoch=position.epoch,
                    epochs=position.epoch + 1,
                    steps_per_epoch=plan.steps - position.step,
                    validation_data=read_validation(),
                    callbacks=[progress, checkpointing, *_tensorboard(checkpointing), *callbacks],
                    shuffle=False,
                    verbose=0,
                )
        except StoppedError:
            if checkpointing.stop_request.signal == signal.SIGTERM:
                raise Preempted(
                    f"SIGTERM came. A checkpoint was written. To continue: tfsent train --resume {checkpointing.run}"
                ) from None
            return True
        except TrainingError as error:
            if not checkpointing.best.weights:
                checkpointing.delete_checkpoints()  # resuming would end at the same step
                raise
            logger.warning(f"{error} Training ends here; the weights of its best epoch are kept.")
        finally:
            progress.close()
    warn_if_nothing_was_learnt(checkpointing.best.logs, majority, unknown)
    logger.info(checkpointing.summary())
    set_weights(model, checkpointing.best.weights)
    return False


def _reader(loader: BatchLoader) -> Callable[[], Any]:
    """Return what gives Keras an epoch to read: tf.data, on JAX as well; without TensorFlow a PyDataset."""
    if not _has_tensorflow():
        return loader.keras
    data = loader.tensorflow()
    return lambda: data


def _tensorboard(checkpointing: CheckpointCallback) -> list[keras.callbacks.Callback]:
    # Keras writes TensorBoard's files through TensorFlow.
    if not checkpointing.devices.is_chief or not _has_tensorflow():
        return []
    return [keras.callbacks.TensorBoard(str(checkpointing.run / "tensorboard"), write_graph=False)]


def _has_tensorflow() -> bool:
    return importlib.util.find_spec("tensorflow") is not None
