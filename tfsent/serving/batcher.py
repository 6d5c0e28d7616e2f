"""The queue in front of a model: texts of many requests in, answers out, in threads of its own.

Requests take turns text by text, so that one of a thousand texts does not hold up one of a single text.
"""

from __future__ import annotations

import asyncio
import heapq
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from tfsent.serving.answers import Answers
from tfsent.serving.engine import Engine, Run
from tfsent.serving.refusals import BusyError

SHORT = 200
"""Characters: texts up to this long go into one batch, whatever their lengths."""


@dataclass(eq=False)
class Ticket:
    """One request in the queue.

    Attributes:
        texts: of the request.
        future: becomes its `Answers`, or the error of the model.
        waiting: the places in `texts` that no worker has taken.
    """

    texts: Sequence[str]
    future: asyncio.Future[Answers]
    waiting: deque[int]
    unanswered: int
    arrived: float = field(default_factory=time.monotonic)
    rows: dict[int, tuple[np.ndarray, np.ndarray | None]] = field(default_factory=dict)


class Batcher:
    """Feeds an engine from one queue.

    Args:
        engine: the model.
        workers: how many threads ask it.
        limit: how many texts may wait.
        patience: seconds that a batch which is not full waits for more texts; nothing where the engine takes one text.
        batched: is told the size of each batch.
    """

    def __init__(
        self,
        engine: Engine,
        workers: int,
        limit: int,
        patience: float,
        batched: Callable[[int], None] = lambda size: None,
    ):
        self._engine, self._limit, self._batched = engine, limit, batched
        self._patience = patience if engine.batch > 1 else 0.0
        self._changed = threading.Condition()
        self._tickets: deque[Ticket] = deque()
        self._closed = False
        self.waiting = 0
        self._busy = 0
        runs = [(engine.worker(), False) for _ in range(workers)]
        wide = engine.wide_worker()
        self._has_wide = wide is not None
        if wide is not None:
            runs.append((wide, True))
        self._threads = [
            threading.Thread(target=self._work, args=run, name=f"worker-{i}", daemon=True) for i, run in enumerate(runs)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, texts: Sequence[str]) -> Ticket:
        """Put a request into the queue. Call it in an event loop.

        Raises:
            BusyError: there is no room for its texts.
        """
        ticket = Ticket(texts, asyncio.get_running_loop().create_future(), deque(range(len(texts))), len(texts))
        with self._changed:
            if self.waiting + len(texts) > self._limit:
                raise BusyError(
                    f"The queue is full: {self.waiting:,} texts wait, and at most {self._limit:,} may. Ask again later."
                )
            self._tickets.append(ticket)
            self.waiting += len(texts)
            self._changed.notify_all()
        return ticket

    def drop(self, ticket: Ticket) -> None:
        """Forget what no worker has begun of a request. Nobody waits for its answer any more."""
        with self._changed:
            self.waiting -= len(ticket.waiting)
            ticket.waiting.clear()
            self._changed.notify_all()

    def close(self) -> None:
        """Answer what is in the queue, then end the threads. Nothing may be submitted any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self, run: Run, wide: bool) -> None:
        while batch := self._take(wide):
            texts = [ticket.texts[i] for ticket, i in batch]
            self._batched(len(texts))
            try:
                answers = run(texts)
            except Exception as error:  # a client's text must not end the thread: the client hears of it
                for ticket in {ticket for ticket, _ in batch}:
                    _settle(ticket.future, error)
                self._rest()
                continue
            self._rest()
            for row, (ticket, i) in enumerate(batch):
                logits = None if answers.logits is None else answers.logits[row]
                self._keep(ticket, i, (answers.probabilities[row], logits))

    def _keep(self, ticket: Ticket, i: int, row: tuple[np.ndarray, np.ndarray | None]) -> None:
        with self._changed:
            ticket.rows[i] = row
            ticket.unanswered -= 1
            if ticket.unanswered:
                return
        rows = [ticket.rows[i] for i in range(len(ticket.texts))]
        logits = [logits for _, logits in rows if logits is not None]
        whole = np.stack(logits) if logits else None
        names, decision = self._engine.label_names, self._engine.decision
        _settle(ticket.future, Answers(names, np.stack([p for p, _ in rows]), whole, decision))

    def _rest(self) -> None:
        with self._changed:
            self._busy -= 1
            self._changed.notify_all()  # a text may be alone now

    def _take(self, wide: bool) -> list[tuple[Ticket, int]]:
        """Wait for texts and take a batch; nothing when the queue is closed and empty.

        A text that is alone is for the wide worker, where there is one; all others are for the others.
        """
        with self._changed:
            while True:
                alone = self._has_wide and self.waiting == 1 and not self._busy
                if not self.waiting or alone is not wide:
                    if self._closed and not self.waiting:
                        return []
                    self._changed.wait()
                    continue
                left = self._tickets[0].arrived + self._patience - time.monotonic()
                if self.waiting >= self._engine.batch or left <= 0 or self._closed:
                    break
                self._changed.wait(left)
            first = self._next()
            batch = [first] if first else []
            if first and self._engine.batch > 1:
                batch += self._mates(first)
            self.waiting -= len(batch)
            self._busy += bool(batch)
        return batch or self._take(wide)

    def _next(self) -> tuple[Ticket, int] | None:
        """Take one text of the request whose turn it is; its next one comes after all other requests."""
        while self._tickets:
            ticket = self._tickets.popleft()
            if ticket.waiting:
                i = ticket.waiting.popleft()
                if ticket.waiting:
                    self._tickets.append(ticket)
                return ticket, i
        return None

    def _mates(self, first: tuple[Ticket, int]) -> list[tuple[Ticket, int]]:
        """Take texts that are about as long as the first: little of a batch is then padding."""
        own = max(SHORT, len(first[0].texts[first[1]]))
        alike = (
            (abs(length - own), number, i)
            for number, ticket in enumerate(self._tickets)
            for i in ticket.waiting
            if own / 2 <= (length := max(SHORT, len(ticket.texts[i]))) <= own * 2
        )
        chosen = [(self._tickets[n], i) for _, n, i in heapq.nsmallest(self._engine.batch - 1, alike)]
        for ticket, i in chosen:
            ticket.waiting.remove(i)
        return chosen


def _settle(future: asyncio.Future[Answers], result: Answers | Exception) -> None:
    """Set a future from another thread, unless nobody waits for it any more."""

    def settle() -> None:
        if future.done():
            return
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)

    future.get_loop().call_soon_threadsafe(settle)
