"""Signals: before training, between its steps, and where a destructor swallows them."""

import os
import signal
import subprocess
import sys
import threading

import pytest
from click.testing import CliRunner

from tfsent import backend
from tfsent.cli.main import main
from tfsent.errors import Interrupted, Preempted
from tfsent.training.engine.interrupts import (
    StopRequest,
    stop_after_step,
    stop_between_runs,
    stop_immediately,
)


def send(number):
    os.kill(os.getpid(), number)


def handlers():
    return signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)


def test_without_a_step_a_signal_stops_at_once():
    before = handlers()
    with pytest.raises(KeyboardInterrupt, match="Interrupted. Resume."), stop_immediately(lambda: "Resume."):
        send(signal.SIGINT)
    with pytest.raises(Preempted, match="SIGTERM came. Resume."), stop_immediately(lambda: "Resume."):
        send(signal.SIGTERM)
    assert handlers() == before


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_inside_a_destructor_is_remembered(number):
    """Seen with --seeds: Python dropped the KeyboardInterrupt, and the next seed was trained to its end."""

    class Closing:
        def __del__(self):
            send(number)

    with stop_immediately(lambda: "") as stop_request:
        closing = Closing()
        del closing
        assert stop_request.signal == number
    with pytest.raises((KeyboardInterrupt, Preempted)), stop_immediately(lambda: "", stop_request):
        pytest.fail("the next training began")


@pytest.mark.parametrize(
    ("number", "error", "message"),
    [
        (signal.SIGTERM, Preempted, "SIGTERM came. Give the same command again to continue."),
        (signal.SIGINT, Interrupted, "Tuning was interrupted. Give the same command again to continue."),
    ],
)
def test_between_runs_the_command_is_to_be_repeated(number, error, message):
    with pytest.raises(error, match=message), stop_between_runs("Tuning") as stop_request:
        stop_request.signal = number
        stop_request.raise_if_any("Tuning")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
@pytest.mark.parametrize("words", [["train", "smoke"], ["tune", "smoke", "--trials", "1"]])
def test_signals_while_tensorflow_loads(words, number, code, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(backend, "use", lambda name: send(number))
    done = CliRunner().invoke(main, words)
    said = "SIGTERM came." if number == signal.SIGTERM else "Interrupted."
    assert (done.exit_code, done.stderr) == (code, f"{said} Training had not begun: give the same command again.\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (signal.SIGINT, "Finishing this step. Ctrl-C again quits at once."),
        (signal.SIGTERM, "SIGTERM: finishing this step."),
    ],
)
def test_a_step_is_finished(number, said, messages):
    before, stop_request = handlers(), StopRequest()
    with stop_after_step(stop_request):
        send(number)
        assert stop_request.signal == number
    assert said in messages.text
    assert handlers() == before


def test_a_repeated_sigterm_changes_nothing():
    stop_request = StopRequest()
    with stop_after_step(stop_request):
        send(signal.SIGTERM)
        send(signal.SIGTERM)
    assert stop_request.signal == signal.SIGTERM


STUCK = """
import os, signal
from tfsent.training.engine.interrupts import StopRequest, stop_after_step
with stop_after_step(StopRequest()):
    os.kill(os.getpid(), signal.SIGINT)
    print("first", flush=True)
    while True:
        signal.pause()
"""


def test_a_second_ctrl_c_ends_the_process():
    process = subprocess.Popen([sys.executable, "-c", STUCK], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "first\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == -signal.SIGINT


def test_another_thread_trains_without_handlers():
    """Python sets handlers in the main thread only; a notebook server or a test may train in another one."""
    found = []

    def work():
        with stop_immediately(lambda: "") as stop_request, stop_after_step(stop_request):
            found.append(handlers())

    before = handlers()
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [before]
