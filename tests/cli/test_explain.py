"""`tfsent explain` and `tfsent.api.explaining.explain`."""

import json
import shutil

import pytest
from click.testing import CliRunner
from command_line import call

from tfsent.api.explaining import explain
from tfsent.cli.main import main

GOOD, BAD = "superb great film", "dull awful film"


@pytest.fixture(scope="module")
def shown(tiny_run, tmp_path_factory):
    """One call for several tests, with a page."""
    html = tmp_path_factory.mktemp("page") / "why.html"
    return call("explain", tiny_run, GOOD, BAD, "--html", html), html


def test_words_and_figures_are_shown(shown):
    out, _ = shown
    assert GOOD in out and BAD in out
    assert "Log odds of positive: +" in out and "Log odds of negative: +" in out
    assert "for positive" in out and "against" in out
    assert out.count("Nothing was cut. The scores add up to the change of the log odds within 0.") == 2
    assert "\x1b[" not in out, "colours only for a terminal"


def test_the_page_is_written(shown):
    out, html = shown
    assert f"Page: {html}" in out
    source = html.read_text(encoding="utf-8")
    assert source.count("<section>") == 2
    assert '<mark class="for"' in source


def test_colours_are_those_of_sign_and_strength(tiny_run, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    out = CliRunner().invoke(main, ["explain", str(tiny_run), GOOD]).stdout
    assert "\x1b[1;4;38;5;33m" in out


def test_a_text_cannot_steer_the_terminal(tiny_run):
    out = call("explain", tiny_run, "good \x1b]0;title\x07 [bold]film[/bold] :smile:")
    assert "\x1b" not in out and "\x07" not in out
    assert "[bold]film[/bold] :smile:" in out


def test_json_is_a_line_for_each_text(tiny_run, tmp_path):
    html = tmp_path / "why.html"
    rows = [json.loads(x) for x in call("explain", tiny_run, GOOD, BAD, "--json", "--html", html).splitlines()]
    assert [row["label"] for row in rows] == ["positive", "negative"]
    assert [word["word"] for word in rows[0]["words"]] == GOOD.split()
    assert html.is_file()


def test_another_class_is_explained(tiny_run):
    row = json.loads(call("explain", tiny_run, GOOD, "--label", "negative", "--json"))
    assert (row["label"], row["prediction"]["label"]) == ("negative", "positive")
    assert row["logit"] < 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{run}", GOOD, "--label", "negativ"], "The model has no class 'negativ'. Did you mean 'negative'?"),
        (["{run}", GOOD, "--label", "7"], "The model has no class '7'. Expected one of: negative, positive."),
        (["{run}", GOOD, " \n"], "Text 2 is blank. Expected a review."),
        (["{run}", "na\udcefve"], "Text 1 is not UTF-8. Expected a review in UTF-8."),
        (["{tmp}/none", GOOD], "There is nothing at"),
        (["{tmp}", GOOD], "cannot be opened: it is a folder."),
    ],
)
def test_bad_input_is_one_message(tiny_run, tmp_path, words, message):
    page = tmp_path / "why.html"
    words = [word.format(run=tiny_run, tmp=tmp_path) for word in words]
    assert message in call("explain", *words, "--html", page, code=1)
    assert list(tmp_path.iterdir()) == []


def test_a_page_that_cannot_be_written_is_told(tiny_run, tmp_path):
    (tmp_path / "file").touch()
    assert "Cannot write " in call("explain", tiny_run, GOOD, "--html", tmp_path / "file" / "why.html", code=1)


@pytest.mark.parametrize("place", ["export/mobile/model.tflite", "export/serving/1", "export/serving"])
def test_of_an_exported_file_the_run_is_named(exported, place):
    expected = f"{exported / place} is an exported file, and only a run can be explained. Its run is {exported}: name"
    assert expected in call("explain", exported / place, GOOD, code=1)


def test_an_exported_file_that_lies_alone(exported, tmp_path):
    file = shutil.copytree(exported / "export" / "mobile", tmp_path / "mobile") / "model.tflite"
    assert "Name the run that it was exported from." in call("explain", file, GOOD, code=1)


def test_texts_are_a_list_of_strings(tiny_run):
    with pytest.raises(TypeError, match="explain takes a list of texts. Received one string: put it in a list."):
        explain(tiny_run, GOOD)
    with pytest.raises(TypeError, match="Received in it: 7."):
        explain(tiny_run, [GOOD, 7])


def test_help_explains():
    assert len(call("explain", "--help")) > 500
    assert CliRunner().invoke(main, ["explain", "run"]).exit_code == 2
