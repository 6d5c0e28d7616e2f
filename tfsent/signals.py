"""Ctrl-C and SIGTERM: how a training is asked to end, before its steps, during them and between several trainings."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tfsent.console import say
from tfsent.errors import Preempted


@dataclass
class Asked:
    """Which signal asked training to stop."""

    by: int = 0


@contextmanager
def at_once(why: Callable[[], str]) -> Iterator[Asked]:
    """Where there is no step to finish, either signal ends the command at once and in order.

    Python drops what is raised within a destructor. So the signal is remembered too, and who begins something long
    looks whether one came.

    Args:
        why: what is said of SIGTERM.

    Raises:
        Preempted: SIGTERM came.
        KeyboardInterrupt: Ctrl-C was pressed.
    """
    asked = Asked()

    def handler(number: int, frame: Any) -> None:
        signal.signal(number, previous[number])
        asked.by = number
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise Preempted(why())

    with _handled(handler) as previous:
        yield asked


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
