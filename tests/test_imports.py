"""What an import may pull in: `tfsent --help` must answer at once."""

import subprocess
import sys

import pytest

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
