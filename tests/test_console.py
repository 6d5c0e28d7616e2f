"""Tables and progress, as a person or a pipe gets them."""

import re
import time

import pytest

from tfsent import console
from tfsent.console import print_table, progress_bar


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


def lines_of(capsys, bar, steps):
    """The lines that a bar prints while it takes some steps."""
    with bar:
        for _ in range(steps):
            bar.update(1)
            time.sleep(0.01)
    return capsys.readouterr().err.splitlines()


def test_a_log_file_gets_whole_lines_now_and_then(monkeypatch, capsys):
    monkeypatch.setattr(console, "LINE_SECONDS", 0)
    said = lines_of(capsys, progress_bar("epoch 1/3", 100, done=50), 3)
    assert said and all(re.fullmatch(r"epoch 1/3 5[0-3]/100 · [\d:?]+ left", line) for line in said)


def test_short_work_prints_no_progress(capsys):
    assert lines_of(capsys, progress_bar("MB", 3), 3) == []


def test_a_terminal_gets_a_bar_that_disappears(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with progress_bar("epoch 1/3", 10, done=2) as bar:
        bar.set_postfix_str("loss 0.41")
        bar.update(5)
    shown = capsys.readouterr().err
    assert "epoch 1/3" in shown and "2/10" in shown and "loss 0.41" in shown
    assert "\n" not in shown
    assert shown.split("\r")[-1].strip() == ""
