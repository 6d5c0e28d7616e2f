"""Ctrl-C and SIGTERM: how a training is asked to end, before its steps, during them and between several trainings."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from tfsent.errors import Interrupted, Preempted

AGAIN = "The same command goes on."
ENDED = (
    "Ended in the middle of a step. If a checkpoint was written before, go on with tfsent train --resume RUN, or with "
    "the same command where there are several trainings."
)
PATIENCE_SECONDS = 2
"""How long a handler may take that ends the process in a better way."""
SAME_SECONDS = 0.5
"""What comes so soon after a signal is that signal: `timeout` and others send it to a process and to its group. Who
presses Ctrl-C again is slower, mostly."""
FINISHING = {
    signal.SIGINT: "Finishing this step. Ctrl-C again quits at once.",
    signal.SIGTERM: "SIGTERM: finishing this step.",
}


@dataclass
class StopRequest:
    """Which signal asked training to stop."""

    by: int = 0

    def raise_if_any(self, what: str) -> None:
        """Between two trainings of one command.

        Args:
            what: was asked to stop, such as `Training`.

        Raises:
            Interrupted: Ctrl-C was pressed.
            Preempted: SIGTERM came.
        """
        if self.by == signal.SIGTERM:
            raise Preempted(f"SIGTERM came. {AGAIN}")
        if self.by:
            raise Interrupted(f"{what} was interrupted. {AGAIN}")


@contextmanager
def stop_immediately(way_on: Callable[[], str], asked: StopRequest | None = None) -> Iterator[StopRequest]:
    """Where there is no step to finish, either signal ends the command at once and in order.

    Python drops what is raised within a destructor. So the signal is remembered too, and who begins something long
    looks whether one came.

    Args:
        way_on: a sentence that says how to go on.
        asked: what remembers, where one does already: a signal that comes when the last step of a training is done ends
            nothing there, and what would have followed must hear of it.

    Raises:
        Preempted: SIGTERM came.
        KeyboardInterrupt: Ctrl-C was pressed.
    """
    asked = asked or StopRequest()

    def end(number: int) -> None:
        if number == signal.SIGINT:
            raise KeyboardInterrupt(f"Interrupted. {way_on()}")
        raise Preempted(f"SIGTERM came. {way_on()}")

    def handler(number: int, frame: Any) -> None:
        signal.signal(number, previous[number])
        asked.by = number
        end(number)

    with _handled(handler) as previous:
        if asked.by:  # it came before, and what was raised then was dropped: a library being imported may do that too
            end(asked.by)
        yield asked


@contextmanager
def stop_between_runs(what: str, asked: StopRequest | None = None) -> Iterator[StopRequest]:
    """As `at_once`, around several trainings: it is the whole command, and not the one at hand, that goes on.

    Args:
        what: was asked to stop, such as `Tuning`.
        asked: as `at_once`.

    Raises:
        Interrupted: Ctrl-C was pressed.
        KeyboardInterrupt: twice, or where there was no step to finish.
        Preempted: SIGTERM came.
    """
    try:
        with stop_immediately(lambda: AGAIN, asked) as asked:
            yield asked
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(f"Interrupted. {AGAIN}") from error
    except Preempted as error:
        raise Preempted(f"SIGTERM came. {AGAIN}") from error
    except Interrupted as error:
        raise Interrupted(f"{what} was interrupted. {AGAIN}") from error


def stop_during_startup() -> AbstractContextManager[StopRequest]:
    """As `at_once`, around a command: TensorFlow takes seconds to load, and SIGTERM must be answered meanwhile."""
    return stop_immediately(lambda: "Training had not begun: give the same command again.")


@contextmanager
def stop_after_step(asked: StopRequest) -> Iterator[None]:
    """Either signal ends training after the step at hand; the second time it is as it was outside."""
    heard = _Heard()

    def handler(number: int, frame: Any) -> None:
        if heard.again(number):
            signal.signal(number, previous[number])
            signal.raise_signal(number)
        asked.by = number

    with _twice_ends_it(), _handled(handler) as previous:
        yield


class _Heard:
    """Which signals came, and when for the first time."""

    def __init__(self) -> None:
        self.first: dict[int, float] = {}

    def again(self, number: int) -> bool:
        """Whether this one is another than the first."""
        now = time.monotonic()
        if number not in self.first:
            self.first[number] = now
            return False
        return now - self.first[number] >= SAME_SECONDS


@contextmanager
def _twice_ends_it() -> Iterator[None]:
    """Says at once that the first signal was heard, and the second ends the process even while a step computes.

    Python runs a handler only when the call of TensorFlow or JAX is done, and one for all the signals that came
    meanwhile: a long compilation, or a process that waits for another that is gone, could not be ended. The wake-up
    file of the `signal` module is written to at once. Checkpoints are whole or not there, so nothing is lost.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    left = threading.Event()

    def listen() -> None:
        heard = _Heard()
        while byte := os.read(reading, 1):
            number = byte[0]
            if number not in FINISHING:
                continue
            if number not in heard.first:
                os.write(2, f"\n{FINISHING[signal.Signals(number)]}\n".encode())
            if heard.again(number) and not left.wait(PATIENCE_SECONDS):
                shown = "\x1b[?25h" if os.isatty(2) else ""  # the cursor, which a progress bar hides
                os.write(2, f"{shown}\n{ENDED}\n".encode())
                os._exit(Preempted.exit_code if number == signal.SIGTERM else Interrupted.exit_code)

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        left.set()
        os.close(writing)
        listener.join()
        os.close(reading)


@contextmanager
def _handled(handler: Callable[[int, Any], None]) -> Iterator[dict[int, Any]]:
    """Both signals go to the handler; gives where they went before."""
    previous: dict[int, Any] = {n: signal.signal(n, handler) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield previous
    finally:
        for number, old in previous.items():
            signal.signal(number, old)
