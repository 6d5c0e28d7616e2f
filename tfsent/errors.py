"""The errors that a user can fix.

    TfsentError                 exit code 1
    ├── ConfigError             a recipe or a --set is wrong
    ├── AssetError              a download is missing, damaged or forbidden
    ├── DataError               reviews cannot be read, or cannot be trained on
    ├── EncoderError            a checkpoint cannot be used as an encoder
    ├── RunError                a run directory cannot be made, or is not one
    ├── TrainingError           training failed (a loss that is not a number, …)
    ├── Stopped                 a signal ended training; it is not an error
    │   ├── Interrupted         exit code 130: the user pressed Ctrl-C, and the model is saved
    │   └── Preempted           exit code 75: SIGTERM came, a checkpoint was written
    ├── ArtifactError           a saved model or exported file cannot be opened
    └── ExportError             an export failed
        └── BudgetError         an exported file does not agree with the trained model

Every message says what was expected, what was received, and what to do. The command line is the
only place where an error becomes an exit code.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class TfsentError(Exception):
    """Base of all errors raised on purpose."""

    exit_code = 1


def first_line(error: Exception) -> str:
    """Return the first line of an exception's message."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a sentence that suggests the nearest known word, or lists all of them. It begins with a space."""
    known = list(known)
    near = difflib.get_close_matches(word, known, n=1)
    return f" Did you mean {near[0]!r}?" if near else f" Expected one of: {', '.join(known)}."


def last_line(said: str) -> str:
    """Return the last line of a child process's standard error, which names its error."""
    return next((line.strip() for line in reversed(said.splitlines()) if line.strip()), "it said nothing")


class ConfigError(TfsentError):
    """A recipe or a --set is wrong."""


class AssetError(TfsentError):
    """A download is missing, damaged or forbidden."""


class DataError(TfsentError):
    """Reviews cannot be read, or cannot be trained on."""


class EncoderError(TfsentError):
    """A checkpoint cannot be used as an encoder."""


class RunError(TfsentError):
    """A run directory cannot be made, or is not one."""


class TrainingError(TfsentError):
    """Training failed."""


class Stopped(TfsentError):  # noqa: N818 - an event, not an error
    """A signal ended training."""


class Interrupted(Stopped):
    """The user pressed Ctrl-C; the model is saved."""

    exit_code = 130


class Preempted(Stopped):
    """SIGTERM came; a checkpoint was written. 75 is EX_TEMPFAIL of sysexits.h: try again."""

    exit_code = 75


class ArtifactError(TfsentError):
    """A saved model or exported file cannot be opened."""


class ExportError(TfsentError):
    """An export failed."""


class BudgetError(ExportError):
    """An exported file does not agree with the trained model. `report` is the `ParityReport`."""

    def __init__(self, message: str, report: Any = None):
        super().__init__(message)
        self.report = report
