"""The built wheel: what is in it, and that it runs outside the checkout.

`make wheel`, a step of CI, installs it with everything it requires.
"""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_package_and_recipes_alone(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"tfsent"}
    assert {"tfsent/text/code_points.npz", "tfsent/py.typed"} <= set(names)
    shipped = {Path(name).name for name in names if name.startswith("tfsent/configs/")}
    assert shipped >= {path.name for path in (ROOT / "configs").glob("*.yaml")}
    entry = next(name for name in names if name.endswith("entry_points.txt"))
    assert "tfsent = tfsent.cli.main:main" in zipfile.ZipFile(wheel).read(entry).decode()


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The wheel's files alone in a folder, and a Python that takes tfsent from there."""
    folder = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), str(wheel)]
    subprocess.run(words, check=True)

    def run(*words):
        command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(folder)!r}); {words[0]}", *words[1:]]
        return subprocess.run(command, cwd=folder.parent, check=True, capture_output=True, text=True).stdout

    return run


@pytest.mark.parametrize("words", [["--version"], ["recipes", "ls"], ["config", "check", "imdb"], ["--help"]])
def test_commands_run_from_the_wheel(installed, words):
    assert installed("from tfsent.cli.main import main; main()", *words)


def test_files_beside_the_code_are_found(installed):
    table = "from tfsent.text.code_points import code_point_table as t; print(t(True)[ord('É')].tolist())"
    assert installed(table).strip() == "[101, -1, -1]"


TYPED = """
import tfsent
run = tfsent.train("imdb", data=(["good"], ["pos"]))
reveal_type(run.evaluate().accuracy)
reveal_type(tfsent.load("runs/x").predict(["good"])[0].label)
reveal_type(run.export().passed)
"""


def test_mypy_sees_the_types_from_outside(wheel, tmp_path):
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    (tmp_path / "user.py").write_text(TYPED)
    command = [sys.executable, "-m", "mypy", "--follow-imports=silent", "--ignore-missing-imports", "user.py"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, env={"MYPYPATH": str(site), "PATH": ""}
    )
    revealed = [
        line.partition("Revealed type is ")[2].strip('"') for line in done.stdout.splitlines() if "Reveal" in line
    ]
    assert [name.removeprefix("builtins.") for name in revealed] == ["float", "str", "bool"], done.stdout
