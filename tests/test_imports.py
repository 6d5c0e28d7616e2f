"""What an import may pull in: `tfsent --help` must answer at once."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import tfsent

HEAVY = ("tensorflow", "keras", "numpy", "pydantic", "rich", "tensorflow_datasets", "sklearn")


def loaded_after(code):
    check = f"import sys; {code}; print(*sorted(n for n in {HEAVY} if n in sys.modules))"
    return subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True).stdout.split()


def test_importing_tfsent_loads_nothing():
    assert loaded_after("import tfsent") == []


def test_help_loads_nothing():
    code = "from click.testing import CliRunner; from tfsent.cli import main; CliRunner().invoke(main, ['--help'])"
    assert loaded_after(code) == []


@pytest.mark.parametrize("words", [["recipes", "ls"], ["config", "check", "imdb"]])
def test_recipes_are_read_without_tensorflow(words):
    code = (
        "from click.testing import CliRunner; from tfsent.cli import main; "
        f"r = CliRunner().invoke(main, {words}); assert r.exit_code == 0, r.output"
    )
    assert loaded_after(code) == ["pydantic"]


def test_modules_import_only_what_stands_above_them_in_contributing():
    page = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = [line.split("|")[2] for line in page.splitlines() if re.match(r"\| (?!---|from)", line)]
    row_of = {name: row for row, cell in enumerate(table) for name in re.findall(r"`(\w+)`", cell)}
    files = {path.stem: path for path in Path(tfsent.__file__).parent.glob("*.py")}
    del files["__init__"], files["__main__"]
    assert set(row_of) == set(files)
    for name, path in files.items():
        for imported in _imported(path.read_text(encoding="utf-8")) & set(files):
            assert row_of[imported] <= row_of[name], f"{name} imports {imported}"


def _imported(code):
    found = set(re.findall(r"^ *from tfsent\.(\w+) import", code, re.MULTILINE))
    for names in re.findall(r"^ *from tfsent import (.*)$", code, re.MULTILINE):
        found |= {name.split(" as ")[0].strip() for name in names.split(",")}
    return found
