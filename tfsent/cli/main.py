"""The command `tfsent` and its group. The only place where an error becomes an exit code.

TensorFlow is imported only when a command needs it, so that `tfsent --help` answers at once.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from tfsent import __version__
from tfsent.cli import bundle, compare, distil, explain, inputs, models, runs, search, serve, train, verify
from tfsent.console import show_messages
from tfsent.errors import Interrupted, Stopped, TfsentError


class _Group(click.Group):
    """Turns tfsent's errors, and those of the file system, into one message and an exit code."""

    def invoke(self, context: click.Context) -> Any:
        show_messages()
        try:
            return super().invoke(context)
        except KeyboardInterrupt as event:
            self._fail(str(event) or "Interrupted.", Interrupted.exit_code)
        except Stopped as event:
            self._fail(str(event), event.exit_code)
        except TfsentError as error:
            self._fail(f"Error: {error}", error.exit_code)
        except ModuleNotFoundError as error:  # where only what a .tflite file needs is installed
            self._fail(f"Error: This needs {error.name}, which is not installed here: pip install tfsent", 1)
        except BrokenPipeError:
            raise  # click exits quietly when the reader of a pipe is gone
        except OSError as error:
            self._fail(f"Error: {error.strerror or error}: {error.filename or 'no file named'}", 1)

    @staticmethod
    def _fail(message: str, code: int) -> None:
        click.echo(message, err=True)
        sys.exit(code)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tfsent")
def main() -> None:
    """Fine-tune a BERT encoder on labelled reviews, ship it to server and phone, and prove that the shipped files
    agree with the trained model.

    \b
    A first model, from nothing:
      tfsent train quickstart            reviews, encoder and training → runs/quickstart
      tfsent evaluate runs/quickstart    accuracy on reviews it never saw
      tfsent export runs/quickstart      SavedModel and .tflite, each verified
      tfsent predict runs/quickstart "Loved every minute."

    `tfsent COMMAND --help` explains a command.
    """


@main.command(short_help="Examine this machine: what fits, what is missing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def doctor(as_json: bool) -> None:
    """Examine this machine: versions, devices, precision, caches, settings.

    Shows what is missing and the command that installs it. Changes nothing. The exit code is 1 when something keeps
    tfsent from working.
    """
    from tfsent.cli import doctor as examiner
    from tfsent.cli import tables

    findings = examiner.examine()
    if as_json:
        click.echo(json.dumps([vars(finding) for finding in findings], indent=2))
    else:
        tables.print_findings(findings)
    if faults := [finding for finding in findings if finding.state == "fault"]:
        raise TfsentError(f"{len(faults)} of these keep tfsent from working.")


_FILES = (train, distil, models, explain, compare, runs, verify, bundle, inputs, search, serve)

for _command in [command for file in _FILES for command in file.COMMANDS]:
    main.add_command(_command)
