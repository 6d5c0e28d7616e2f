"""The public names of tfsent: complete, documented, typed, and free at import."""

import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import tfsent

DOCS = Path(__file__).parents[1] / "docs" / "python.md"


def test_all_is_what_resolves():
    assert set(tfsent.__all__) == {*tfsent._MODULES, "__version__"}
    assert set(tfsent.__all__) <= set(dir(tfsent))


@pytest.mark.parametrize("name", [name for name in tfsent.__all__ if name != "__version__"])
def test_each_name_is_documented(name):
    found = getattr(tfsent, name)
    assert found.__module__ == f"tfsent.{tfsent._MODULES[name]}"
    assert inspect.getdoc(found)


@pytest.mark.parametrize("name", ["train", "load", "evaluate", "export", "train_seeds", "tune", "find_learning_rate"])
def test_functions_say_what_they_raise(name):
    text = inspect.getdoc(getattr(tfsent, name))
    assert all(f"\n{section}:\n" in text for section in ("Args", "Returns", "Raises"))


def test_functions_and_classes_are_in_the_docs():
    page = DOCS.read_text(encoding="utf-8")
    for name in ("train", "train_seeds", "find_learning_rate", "tune", "load", "Encoder", "TfsentError", "Run"):
        assert name in page


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'tfsent' has no attribute 'trian'"):
        _ = tfsent.trian


def test_importing_changes_neither_environment_nor_log():
    code = (
        "import logging, os; before = dict(os.environ), logging.root.handlers[:], logging.root.level; import tfsent; "
        "assert before == (dict(os.environ), logging.root.handlers[:], logging.root.level); "
        "assert [type(h).__name__ for h in logging.getLogger('tfsent').handlers] == ['NullHandler']"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_library_is_silent_by_default():
    code = "import logging, tfsent; logging.getLogger('tfsent.data.reading').warning('3 rows are left out')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_types_are_shipped():
    package = Path(importlib.import_module("tfsent").__file__).parent
    assert (package / "py.typed").is_file()
