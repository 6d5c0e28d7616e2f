"""The built wheel, installed into an empty environment."""

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_the_package_and_the_recipes_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"tfsent"}
    assert "tfsent/unicode.npz" in names
    shipped = {Path(name).name for name in names if name.startswith("tfsent/configs/")}
    assert shipped >= {path.name for path in (ROOT / "configs").glob("*.yaml")}


def test_the_installed_wheel_runs(wheel, tmp_path):
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", str(wheel)], check=True)
    commands = [
        ["-m", "tfsent", "--version"],
        ["-m", "tfsent", "recipes", "ls"],
        ["-m", "tfsent", "config", "check", "imdb"],
    ]
    for words in commands:
        assert subprocess.run([python, *words], cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    script = subprocess.run([python.with_name("tfsent"), "--help"], check=True, capture_output=True, text=True).stdout
    assert "predict" in script
    packages = subprocess.run([python, "-m", "pip", "list"], check=True, capture_output=True, text=True).stdout.split()
    assert "torch" not in packages
    outside = "import tfsent, importlib.util as u; print([n for n in ('configs', 'tests', 'export') if u.find_spec(n)])"
    done = subprocess.run([python, "-c", outside], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
    table = "from tfsent.unicode import code_point_table as t; print(t(True)[ord('É')].tolist())"
    done = subprocess.run([python, "-c", table], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[101, -1, -1]"
