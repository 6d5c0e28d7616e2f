"""Ctrl-C and SIGTERM: how a person or a scheduler asks a training to stop.

Before training, either signal ends the command at once. During training it sets a flag, and training stops after the
current step with a checkpoint; a second Ctrl-C ends the process at once. Checkpoints are whole or not there, so nothing
is lost. A repeated SIGTERM changes nothing: `timeout` sends it to a process and to its group.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from tfsent.errors import Interrupted, Preempted

logger = logging.getLogger(__name__)

SAME_COMMAND = "Give the same command again to continue."


@dataclass
class StopRequest:
    """Which signal asked training to stop; 0 for none."""

    signal: int = 0
    hint: str = SAME_COMMAND
    """How to continue, a sentence."""

    def raise_if_any(self, what: str) -> None:
        """Stop between two trainings of one command.

        Args:
            what: what stops, such as `Tuning`.

        Raises:
            Interrupted: Ctrl-C was pressed.
            Preempted: SIGTERM came.
        """
        if self.signal == signal.SIGTERM:
            raise Preempted(f"SIGTERM came. {self.hint}")
        if self.signal:
            raise Interrupted(f"{what} was interrupted. {self.hint}")


@contextmanager
def stop_immediately(hint: Callable[[], str], stop_request: StopRequest | None = None) -> Iterator[StopRequest]:
    """End the body at once when a signal comes: there is no step to finish.

    Python drops an exception that is raised inside a destructor, so the signal is remembered as well.

    Args:
        hint: gives a sentence that says how to continue.
        stop_request: an existing one to reuse: a signal at the end of one training then also stops the next.

    Raises:
        Preempted: SIGTERM came.
        KeyboardInterrupt: Ctrl-C was pressed.
    """
    stop_request = stop_request or StopRequest()

    def end(number: int) -> None:
        if number == signal.SIGINT:
            raise KeyboardInterrupt(f"Interrupted. {hint()}")
        raise Preempted(f"SIGTERM came. {hint()}")

    def handler(number: int, frame: Any) -> None:
        stop_request.signal = number
        end(number)

    with _handled(handler):
        if stop_request.signal:  # its exception was dropped
            end(stop_request.signal)
        yield stop_request


@contextmanager
def stop_between_runs(
    what: str, stop_request: StopRequest | None = None, *, hint: str = SAME_COMMAND
) -> Iterator[StopRequest]:
    """Like `stop_immediately`, around several trainings: the whole command is to be repeated, not one training.

    Args:
        what: what stops, such as `Tuning`.
        stop_request: see `stop_immediately`.
        hint: how to continue, a sentence.

    Raises:
        Interrupted: Ctrl-C was pressed during a training.
        KeyboardInterrupt: Ctrl-C was pressed twice, or between trainings.
        Preempted: SIGTERM came.
    """
    try:
        with stop_immediately(lambda: hint, stop_request) as stop_request:
            stop_request.hint = hint
            yield stop_request
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(f"Interrupted. {hint}") from error
    except Preempted as error:
        raise Preempted(f"SIGTERM came. {hint}") from error
    except Interrupted as error:
        raise Interrupted(f"{what} was interrupted. {hint}") from error


def stop_during_startup() -> AbstractContextManager[StopRequest]:
    """Like `stop_immediately`, around a command that still loads TensorFlow, which takes seconds."""
    return stop_immediately(lambda: "Training had not begun: give the same command again.")


@contextmanager
def stop_after_step(stop_request: StopRequest) -> Iterator[None]:
    """Record a signal in `stop_request` for the training loop to see; a second Ctrl-C ends the process at once."""

    def handler(number: int, frame: Any) -> None:
        if number == signal.SIGTERM:
            logger.warning("SIGTERM: finishing this step.")
        else:
            logger.warning("Finishing this step. Ctrl-C again quits at once.")
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # the system ends the process, even inside a long step
        stop_request.signal = number

    with _handled(handler):
        yield


@contextmanager
def _handled(handler: Callable[[int, Any], None]) -> Iterator[None]:
    """Send both signals to a handler while the body runs. Python allows that in the main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)
