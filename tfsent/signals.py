"""Ctrl-C and SIGTERM: how a training is asked to end, before its steps, during them and between several trainings."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from tfsent.console import say
from tfsent.errors import Interrupted, Preempted

AGAIN = "The same command goes on."


@dataclass
class Asked:
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
def at_once(why: Callable[[], str], asked: Asked | None = None) -> Iterator[Asked]:
    """Where there is no step to finish, either signal ends the command at once and in order.

    Python drops what is raised within a destructor. So the signal is remembered too, and who begins something long
    looks whether one came.

    Args:
        why: what is said of SIGTERM.
        asked: what remembers, where one does already: a signal that comes when the last step of a training is done ends
            nothing there, and what would have followed must hear of it.

    Raises:
        Preempted: SIGTERM came.
        KeyboardInterrupt: Ctrl-C was pressed.
    """
    asked = asked or Asked()

    def end(number: int) -> None:
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise Preempted(why())

    def handler(number: int, frame: Any) -> None:
        signal.signal(number, previous[number])
        asked.by = number
        end(number)

    with _handled(handler) as previous:
        if asked.by:  # it came before, and what was raised then was dropped: a library being imported may do that too
            end(asked.by)
        yield asked


@contextmanager
def several(what: str, asked: Asked | None = None) -> Iterator[Asked]:
    """As `at_once`, around several trainings: it is the whole command, and not the one at hand, that goes on.

    Args:
        what: was asked to stop, such as `Tuning`.
        asked: as `at_once`.

    Raises:
        Interrupted: Ctrl-C was pressed.
        Preempted: SIGTERM came.
    """
    try:
        with at_once(lambda: f"SIGTERM came. {AGAIN}", asked) as asked:
            yield asked
    except Preempted as error:
        raise Preempted(f"SIGTERM came. {AGAIN}") from error
    except Interrupted as error:
        raise Interrupted(f"{what} was interrupted. {AGAIN}") from error


def from_the_start() -> AbstractContextManager[Asked]:
    """As `at_once`, around a command: TensorFlow takes seconds to load, and SIGTERM must be answered meanwhile."""
    return at_once(lambda: "SIGTERM came before training began. Give the same command again.")


@contextmanager
def after_the_step(asked: Asked) -> Iterator[None]:
    """Either signal ends training after the step at hand; the second time it is as it was outside."""

    def handler(number: int, frame: Any) -> None:
        signal.signal(number, previous[number])
        asked.by = number
        if number == signal.SIGINT:
            say("Finishing this step. Ctrl-C again quits at once.")
        else:
            say("SIGTERM: finishing this step.")

    with _handled(handler) as previous:
        yield


@contextmanager
def _handled(handler: Callable[[int, Any], None]) -> Iterator[dict[int, Any]]:
    """Both signals go to the handler; gives where they went before."""
    previous: dict[int, Any] = {n: signal.signal(n, handler) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield previous
    finally:
        for number, old in previous.items():
            signal.signal(number, old)
