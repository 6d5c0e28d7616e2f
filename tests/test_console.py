"""Tables and progress, as a person or a pipe gets them."""

import re
import time

import pytest

from tfsent.console import QUIET_SECONDS, print_table, progress_bar


def test_a_table_in_a_pipe_keeps_words_whole_and_ends_no_line_in_spaces(capsys):
    print_table("Reviews", ("part", "reviews"), [("train", "22,500"), ("a part with a longer name", "1")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Reviews"
    assert "a part with a longer name        1" in lines
    assert [line for line in lines if line != line.rstrip()] == []


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("classes", [5, 20])
def test_no_column_is_left_out_where_there_is_no_room(capsys, monkeypatch, classes, terminal):
    """Seen with the confusion matrix of five classes in 80 columns: the last one was not there."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal)
    monkeypatch.setenv("COLUMNS", "80")
    header = ["class", *(f"said category_{i}" for i in range(classes))]
    print_table("", header, [[f"category_{k}", *(f"{1000 * k + i:,}" for i in range(classes))] for k in (1, 7)])
    words = re.sub(r"\x1b\[\d*m", " ", capsys.readouterr().out).split()
    assert {f"category_{i}" for i in range(classes)} <= set(words)
    assert {f"{7000 + i:,}" for i in range(classes)} <= set(words)


def test_what_a_reader_wrote_is_shown_as_it_is(capsys):
    texts = ["Loved it. [/sarcasm]", "[i]Great[/i] :thumbs_up: film", "[red]3[/red]"]
    print_table("[b]A title", ("text", "[label]"), [(text, "[pos]") for text in texts])
    out = capsys.readouterr().out
    assert all(part in out for part in (*texts, "[b]A title", "[label]", "[pos]"))


def lines_of(monkeypatch, capsys, meter, seconds):
    """What a meter says when each of its steps takes so many seconds."""
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    meter.last = now
    with meter:
        for taken in seconds:
            now += taken
            meter.update(1)
    return capsys.readouterr().err.splitlines()


def test_the_time_left_is_that_of_the_steps_to_come(monkeypatch, capsys):
    """Neither the first step, which traces graphs, nor what was done before it tells how long they take."""
    said = lines_of(monkeypatch, capsys, progress_bar("epoch 1/3", 100, done=50), [QUIET_SECONDS * 4, *[10.0] * 4])
    assert said == ["epoch 1/3 52/100 · loss 0.5 · 8 min left", "epoch 1/3 55/100 · loss 0.5 · 8 min left"]


def test_nothing_is_said_often_or_of_what_is_done(monkeypatch, capsys):
    assert lines_of(monkeypatch, capsys, progress_bar("MB", 3), [1.0, 1.0, 1.0]) == []
    assert lines_of(monkeypatch, capsys, progress_bar("MB", 2), [1.0, 2.0 * QUIET_SECONDS]) == []
    assert lines_of(monkeypatch, capsys, progress_bar("MB", 50), [1.0, 31.0, 1.0]) == [
        "MB 2/50 · loss 0.5 · 25 min left"
    ]
