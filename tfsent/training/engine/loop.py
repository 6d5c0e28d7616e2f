"""The loop: a compiled model and what it reads → a trained model, with checkpoints on the way.

Keras's `fit` runs an epoch at a time, so that an epoch may begin at any step. All that decides what comes next is in
`Progress` and in the model's variables; a checkpoint holds both, and going on from one gives what an uninterrupted
training gives.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import signal
from collections.abc import Iterator
from typing import Any

import keras

from tfsent.errors import Preempted, RunError, TrainingError
from tfsent.text.feed import BatchLoader
from tfsent.training.engine.callbacks import CheckpointCallback, ProgressCallback, StoppedError
from tfsent.training.engine.devices import memory_explained
from tfsent.training.engine.interrupts import stop_after_step

logger = logging.getLogger(__name__)


def fit(
    model: keras.Model, feed: BatchLoader, validation: BatchLoader, keeper: CheckpointCallback, watch: ProgressCallback
) -> bool:
    """Train from where the keeper's progress stands to the end of the plan, or to where validation gets no better.

    Args:
        model: compiled.
        feed: on every iteration, the batches from where the progress stands to the end of its epoch.
        validation: what is evaluated after every epoch.
        keeper: keeps the best weights, history and checkpoints.
        watch: shows how it goes, and ends what is no use.

    Returns:
        Whether the user pressed Ctrl-C.

    Raises:
        TrainingError: the loss is no number, nothing is learnt, or memory ran out, and no epoch before was of use.
        Preempted: SIGTERM came; a checkpoint was written.
        RunError: the disk is full.
    """
    plan, progress = feed.plan, keeper.progress
    read = _reader(feed)
    read_validation = _reader(validation)
    callbacks = [watch, keeper, *_board(keeper)]
    with (
        stop_after_step(keeper.asked),
        memory_explained(keeper.config),
        _disk_explained(keeper),
        _not_kept_if_hopeless(keeper),
    ):
        try:
            if keeper.resumed is not None:
                _build(model, read_validation())
            if progress.step == plan.steps:
                _finish_epoch(model, read_validation(), keeper, watch)
            while not keeper.is_done():
                model.fit(
                    read(),
                    initial_epoch=progress.epoch,
                    epochs=progress.epoch + 1,
                    steps_per_epoch=plan.steps - progress.step,
                    validation_data=read_validation(),
                    callbacks=callbacks,
                    shuffle=False,
                    verbose=0,
                )
        except StoppedError:
            keeper.average(model)
            if keeper.asked.by == signal.SIGTERM:
                raise Preempted(
                    f"SIGTERM came. A checkpoint was written; go on with: tfsent train --resume {keeper.run}"
                ) from None
            return True
        except Preempted:  # a second SIGTERM, before the step was done
            raise
        except TrainingError as error:
            if not keeper.has_learnt(watch.guard.majority):
                raise
            logger.info(f"{error} Training ends here; the weights of its best epoch are kept.")
        finally:
            watch.close()
    if watch.config.guards:
        with _not_kept_if_hopeless(keeper):
            watch.guard.see_end(keeper.best_epoch)
    logger.info(keeper.verdict())
    keeper.restore_best(model)
    return False


def _reader(feed: BatchLoader) -> Any:
    """What gives Keras a feed to read, an epoch long: tf.data, on JAX too; where there is no TensorFlow, NumPy."""
    if not _has_tensorflow():
        return feed.keras
    data = feed.tensorflow()
    return lambda: data


def _board(keeper: CheckpointCallback) -> list[keras.callbacks.Callback]:
    # Keras writes TensorBoard's files through TensorFlow.
    if not keeper.devices.is_chief or not _has_tensorflow():
        return []
    return [keras.callbacks.TensorBoard(str(keeper.run / "tensorboard"), write_graph=False)]


def _has_tensorflow() -> bool:
    # A machine for JAX alone has not.
    return importlib.util.find_spec("tensorflow") is not None


def _build(model: keras.Model, validation: Any) -> None:
    """Make the variables of metrics and optimiser, which Keras does with the first batch: they are to be restored."""
    model.evaluate(validation, steps=1, verbose=0)
    model.optimizer.build(model.trainable_variables)


def _finish_epoch(model: keras.Model, validation: Any, keeper: CheckpointCallback, watch: ProgressCallback) -> None:
    """Go on from a checkpoint of an epoch's last step: only the validation was missing."""
    epoch, logs = keeper.progress.epoch, keeper.progress.logs
    callbacks = keras.callbacks.CallbackList([watch, keeper], model=model)
    callbacks.on_epoch_begin(epoch)
    found = model.evaluate(validation, verbose=0, return_dict=True, callbacks=callbacks)
    callbacks.on_epoch_end(epoch, {**logs, **{f"val_{name}": value for name, value in found.items()}})


@contextlib.contextmanager
def _not_kept_if_hopeless(keeper: CheckpointCallback) -> Iterator[None]:
    """What a guard ended would end there again."""
    try:
        yield
    except Preempted:
        raise
    except TrainingError:
        keeper.delete_checkpoints()
        raise


@contextlib.contextmanager
def _disk_explained(keeper: CheckpointCallback) -> Iterator[None]:
    """TensorBoard's files are TensorFlow's, and so are its errors."""
    try:
        yield
    except RunError:
        raise
    except Exception as error:
        if "No space left" not in str(error):
            raise
        raise RunError(f"The disk of {keeper.run} is full. Free some, or choose another --run-dir.") from error
