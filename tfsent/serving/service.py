"""The model that answers now, and how a new version takes its place."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfsent.errors import ArtifactError, TfsentError, first_line
from tfsent.serving.answers import Answers
from tfsent.serving.batcher import Batcher
from tfsent.serving.engine import Engine
from tfsent.serving.monitoring import Log, Metrics
from tfsent.serving.places import Place
from tfsent.serving.refusals import ClosingError, GoneError, LateError, TooLargeError, UnknownError
from tfsent.serving.settings import Settings

TRIES = 5
"""How often a model is opened that is replaced while it is opened."""
KEPT = 20
"""Versions that the status tells of."""


@dataclass(frozen=True)
class Model:
    """A version that is open."""

    version: int
    engine: Engine
    batcher: Batcher
    path: Path
    stamp: str


@dataclass(frozen=True)
class Request:
    """Texts for a model.

    Attributes:
        name: of the model.
        texts: any number.
        version: None for the newest.
        label: of a version. There are none: it is refused.
    """

    name: str
    texts: Sequence[str]
    version: int | None = None
    label: str | None = None


@dataclass(frozen=True)
class Reply:
    """Answers, and the version that gave them."""

    model: Model
    answers: Answers


@dataclass(frozen=True)
class VersionStatus:
    """What became of a version, in the words of TensorFlow Serving: `LOADING`, `AVAILABLE`, `END`."""

    version: int
    state: str
    error: str = ""


class Service:
    """Answers texts with the newest version of a model.

    Args:
        place: where the model lies.
        settings: how it is served.
        metrics: told of texts, batches and versions.
        log: told of versions.

    Raises:
        ArtifactError: the model cannot be served.
    """

    def __init__(self, place: Place, settings: Settings, metrics: Metrics, log: Log):
        self.place, self.settings, self.metrics, self.log = place, settings, metrics, log
        self.closing = False
        self._lock = threading.Lock()
        self._states: dict[int, VersionStatus] = {}
        self._refused: str | None = None
        found = place.newest()
        if found is None:
            raise ArtifactError(f"There is no model at {place.path}.")
        self.model = self._open(*found)
        self._announce()
        metrics.queue.set_function(lambda: self.model.batcher.waiting)

    def find(self, name: str, version: int | None = None, label: str | None = None) -> Model:
        """Return the model that a request names.

        Raises:
            UnknownError: it is not served.
        """
        model = self.model
        if name != self.settings.name:
            raise UnknownError(f"There is no model {name!r}. This server has {self.settings.name!r}.")
        if label is not None:
            raise UnknownError(f"There is no version labelled {label!r}: this server has no labels. Leave it out.")
        if version is not None and version != model.version:
            raise UnknownError(f"Version {version} is not served. Version {model.version} is.")
        return model

    def statuses(self, version: int | None = None) -> list[VersionStatus]:
        """Return what became of the versions, the newest first.

        Args:
            version: of which; None for all.

        Raises:
            UnknownError: there never was this version.
        """
        if version is None:
            return sorted(self._states.values(), key=lambda status: -status.version)
        if version not in self._states:
            raise UnknownError(f"There is no version {version}. Version {self.model.version} is served.")
        return [self._states[version]]

    def check(self, texts: Sequence[str]) -> None:
        """Refuse what will not be answered.

        Raises:
            ClosingError: the server is shutting down.
            TooLargeError: there are too many texts.
        """
        if self.closing:
            raise ClosingError
        if len(texts) > (most := self.settings.limits.texts):
            raise TooLargeError(f"The request has {len(texts):,} texts. Expected at most {most:,}: ask in parts.")

    async def ask(self, request: Request, seconds: float, gone: asyncio.Future[None] | None = None) -> Reply:
        """Answer a request with the version that is newest now.

        Args:
            request: the model that it names, and its texts.
            seconds: how long the caller waits.
            gone: is done when the client has left.

        Raises:
            RefusedError: there is no such model, the queue is full, it took too long, the client left, or the server
                shuts down.
        """
        model, texts = self.find(request.name, request.version, request.label), request.texts
        self.check(texts)
        if seconds <= 0:
            raise LateError("The deadline had passed before the request was read.")
        ticket = model.batcher.submit(texts)
        waited: set[asyncio.Future[Any]] = {ticket.future, gone} if gone else {ticket.future}
        try:
            await asyncio.wait(waited, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if ticket.future.done():
                self.metrics.texts.inc(len(texts))
                return Reply(model, ticket.future.result())
            if gone and gone.done():
                raise GoneError("The client left.")
            raise LateError(f"No answer within {seconds:.3g} seconds. Ask for fewer texts, or later.")
        finally:
            if not ticket.future.done():
                model.batcher.drop(ticket)
                ticket.future.cancel()

    async def watch(self) -> None:
        """Look for new versions until the task is cancelled."""
        while self.settings.watch_seconds is not None:
            await asyncio.sleep(self.settings.watch_seconds)
            new = await asyncio.to_thread(self.look)
            if new is not None:
                self.switch(new)

    def look(self) -> Model | None:
        """Open a new version and try it, where there is one. The old one answers meanwhile.

        Where the new one is not fit, that is logged, counted and kept for the status. It is not tried again.
        """
        found = self.place.newest()
        if found is None or found[1] in (self.model.stamp, self._refused):
            return None
        if found[1].isdecimal() and self.place.kind == "tensorflow" and int(found[1]) < self.model.version:
            return None  # the newest was deleted: the one that is open goes on
        try:
            return self._open(*found)
        except (TfsentError, OSError, MemoryError) as error:
            self._refused = found[1]
            self.metrics.reloads.labels("refused").inc()
            going_on = self.model.version
            self.log.write("error", "reload refused", path=str(found[0]), error=first_line(error), version=going_on)
            return None

    def switch(self, new: Model) -> None:
        """Let a new version answer from now on. Call it in the event loop, where requests pick their version."""
        old, self.model = self.model, new
        self._announce()
        self.metrics.reloads.labels("loaded").inc()
        threading.Thread(target=self._retire, args=(old,), daemon=True).start()

    def close(self) -> None:
        """Answer what is in the queue, and end the threads."""
        self.model.batcher.close()

    def _open(self, path: Path, stamp: str) -> Model:
        for _ in range(TRIES):
            started = time.monotonic()
            version = int(stamp) if stamp.isdecimal() and self.place.kind == "tensorflow" else self._number(path)
            self._note(VersionStatus(version, "LOADING"))
            fault: Exception | None = None
            try:
                engine = self._engine(path)
            except (TfsentError, OSError, MemoryError) as error:
                fault = error
            now = self.place.newest()
            if now is not None and now[1] != stamp:
                path, stamp = now  # half of what was opened may be the old one
                continue
            if fault is not None:
                self._note(VersionStatus(version, "END", first_line(fault)))
                raise fault
            limits, settings = self.settings.limits, self.settings
            batcher = Batcher(engine, settings.workers, limits.queue, settings.patience, self.metrics.batches.observe)
            seconds = round(time.monotonic() - started, 3)
            self.log.write("debug", "opened", path=str(path), version=version, seconds=seconds)
            return Model(version, engine, batcher, path, stamp)
        raise ArtifactError(f"{path} is replaced again and again while it is opened.")

    def _number(self, path: Path) -> int:
        """The number of a model whose folder has none: it rises with each."""
        if self.place.kind == "tensorflow":
            return int(path.name) if path.name.isdecimal() else 1
        loading = [v for v, status in self._states.items() if status.state == "LOADING"]
        return loading[0] if loading else max(self._states, default=0) + 1

    def _engine(self, path: Path) -> Engine:
        if self.place.kind == "litert":
            from tfsent.serving.litert import LiteRTEngine

            return LiteRTEngine(path, self.settings.workers)
        from tfsent.serving.saved_model import SavedModelEngine

        return SavedModelEngine(path, self.settings.batch)

    def _announce(self) -> None:
        self._note(VersionStatus(self.model.version, "AVAILABLE"))
        self.metrics.version.set(self.model.version)
        labels = list(self.model.engine.label_names)
        self.log.write("info", "model", path=str(self.model.path), version=self.model.version, labels=labels)

    def _retire(self, old: Model) -> None:
        """Let the old version finish what it has."""
        old.batcher.close()
        self._note(VersionStatus(old.version, "END"))
        self.log.write("debug", "retired", version=old.version)

    def _note(self, status: VersionStatus) -> None:
        with self._lock:
            states = {**self._states, status.version: status}
            oldest = sorted(states)[:-KEPT]
            self._states = {number: one for number, one in states.items() if number not in oldest}
