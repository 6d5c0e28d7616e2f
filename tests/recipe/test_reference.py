"""The reference of a recipe's keys is that of the config."""

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tfsent.cli.main import main
from tfsent.recipe.reference import Key, keys
from tfsent.recipe.schema import Config

DOCS = Path(__file__).parents[2] / "docs"
sys.path.insert(0, str(DOCS))
import build_tables  # noqa: E402


def test_every_key_is_there_with_its_default_and_a_meaning():
    tree = {}
    for key in keys():
        *sections, name = key.name.split(".")
        section = tree
        for part in sections:
            section = section.setdefault(part, {})
        section[name] = json.loads(key.default)
        assert len(key.meaning) > 10, key
    assert tree == Config().model_dump(mode="json")


def test_limits_and_choices_are_listed():
    found = {key.name: key.values for key in keys()}
    assert found["text.max_tokens"] == "≥ 3, ≤ 512"
    assert found["train.learning_rate"] == "> 0, < 1"
    assert found["text.truncation"] == "head, tail, head_tail, windows"
    assert found["train.jit_compile"] == "auto, true, false"


def test_the_page_is_made_from_the_config():
    assert build_tables.keys() in (DOCS / "recipes.md").read_text(encoding="utf-8"), "make docs"


def test_the_page_keeps_what_is_around_the_table(tmp_path):
    page = tmp_path / "page.md"
    marks = "<!-- keys: made by `make docs` -->", "<!-- /keys -->"
    page.write_text(f"before\n{marks[0]}\nold\n{marks[1]}\nafter\n")
    build_tables._write(page, "keys", "new\n")
    assert page.read_text() == f"before\n{marks[0]}\nnew\n{marks[1]}\nafter\n"
    page.write_text(f"before\n{marks[0]}\nold\nafter\n")
    with pytest.raises(SystemExit, match="page.md needs the lines"):
        build_tables._write(page, "keys", "new\n")
    assert page.read_text() == f"before\n{marks[0]}\nold\nafter\n"


def test_the_command_prints_them():
    done = CliRunner().invoke(main, ["config", "keys"])
    assert "train.epochs: 2    (≥ 1)\n    at most this many; early stopping may end training sooner\n" in done.output
    done = CliRunner().invoke(main, ["config", "keys", "--json"])
    assert [Key(**key) for key in json.loads(done.output)] == keys()
    assert json.loads(keys()[0].default) == "imdb"
