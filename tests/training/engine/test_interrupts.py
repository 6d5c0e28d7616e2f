"""Signals between the steps of a training, and where there are none."""

import os
import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

from tfsent.cli.main import main
from tfsent.errors import Preempted
from tfsent.training.engine import devices, interrupts
from tfsent.training.engine.interrupts import StopRequest, stop_after_step, stop_immediately


def send(number):
    os.kill(os.getpid(), number)


def test_where_there_is_no_step_to_finish_a_signal_ends_it_at_once():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt, match="Interrupted. Go on."), stop_immediately(lambda: "Go on."):
        send(signal.SIGINT)
    with pytest.raises(Preempted, match="SIGTERM came. Go on."), stop_immediately(lambda: "Go on."):
        send(signal.SIGTERM)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_a_destructor_swallows_is_remembered(number):
    """Seen with --seeds: Python dropped the KeyboardInterrupt, and the next seed was trained to its end."""

    class Closing:
        def __del__(self):
            send(number)

    with stop_immediately(lambda: "") as asked:
        closing = Closing()
        del closing
        assert asked.by == number
    # And whoever begins next with the same memory does not begin.
    with pytest.raises((KeyboardInterrupt, Preempted)), stop_immediately(lambda: "", asked):
        pytest.fail("it began")


@pytest.mark.parametrize("words", [["train", "smoke"], ["tune", "smoke", "--trials", "1"]])
def test_sigterm_while_tensorflow_loads_ends_it_in_order(words, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(devices, "load_backend", lambda config: send(signal.SIGTERM))
    done = CliRunner().invoke(main, words)
    assert (done.exit_code, done.stderr) == (75, "SIGTERM came. Training had not begun: give the same command again.\n")
    assert list(tmp_path.iterdir()) == []


def test_a_step_is_finished_and_a_second_signal_does_not_wait(capfd, monkeypatch):
    monkeypatch.setattr(interrupts, "SAME_SECONDS", 0)
    asked = StopRequest()
    with pytest.raises(KeyboardInterrupt), stop_after_step(asked):
        send(signal.SIGINT)
        assert asked.by == signal.SIGINT
        send(signal.SIGINT)
    assert "Finishing this step. Ctrl-C again quits at once." in capfd.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_comes_twice_at_once_is_one(number):
    """`timeout` sends it to the process and then to its group."""
    asked = StopRequest()
    with stop_after_step(asked):
        send(number)
        send(number)
    assert asked.by == number


STUCK = """
import ctypes
from tfsent.training.engine.interrupts import StopRequest, stop_after_step
lock, mutex = ctypes.CDLL(None).pthread_mutex_lock, (ctypes.c_char * 64)()
with stop_after_step(StopRequest()):
    print("step", flush=True)
    lock(mutex)
    lock(mutex)  # waits for itself, and no signal wakes it
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75)])
def test_a_second_signal_ends_it_in_the_middle_of_a_step(number, code):
    """Python's handlers wait for the end of a call into C, and two signals that came meanwhile are one to them."""
    process = subprocess.Popen([sys.executable, "-c", STUCK], stdout=-1, stderr=-1, text=True)
    assert process.stdout.readline() == "step\n"
    time.sleep(0.5)
    process.send_signal(number)
    assert (process.stderr.readline(), process.stderr.readline()) == ("\n", f"{interrupts.FINISHING[number]}\n")
    process.send_signal(number)  # the same, sent to its group
    time.sleep(interrupts.SAME_SECONDS + interrupts.PATIENCE_SECONDS + 1)
    assert process.poll() is None
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert (process.returncode, said.strip()) == (code, interrupts.ENDED)


def test_ctrl_c_while_tensorflow_loads_is_exit_code_130(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(devices, "load_backend", lambda config: send(signal.SIGINT))
    done = CliRunner().invoke(main, ["train", "smoke"])
    assert (done.exit_code, done.stderr) == (130, "Interrupted. Training had not begun: give the same command again.\n")
    assert list(tmp_path.iterdir()) == []
