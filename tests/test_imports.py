"""What an import may load, and which wing may import which."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tfsent

HEAVY = ("tensorflow", "keras", "numpy", "pydantic", "rich", "tensorflow_datasets", "sklearn", "tqdm")
PACKAGE = Path(tfsent.__file__).parent
CONTRIBUTING = Path(__file__).parents[1] / "CONTRIBUTING.md"


def loaded_after(code):
    check = f"import sys; {code}; print(*sorted(n for n in {HEAVY} if n in sys.modules))"
    return subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True).stdout.split()


def test_importing_tfsent_loads_nothing():
    assert loaded_after("import tfsent") == []


def test_help_loads_nothing():
    code = "from click.testing import CliRunner; from tfsent.cli.main import main; CliRunner().invoke(main, ['--help'])"
    assert loaded_after(code) == []


@pytest.mark.parametrize("words", [["recipes", "ls"], ["config", "check", "imdb"]])
def test_recipes_are_read_without_tensorflow(words):
    code = (
        "from click.testing import CliRunner; from tfsent.cli.main import main; "
        f"r = CliRunner().invoke(main, {words}); assert r.exit_code == 0, r.output"
    )
    assert loaded_after(code) == ["pydantic"]


def wings():
    """The wings in their order, as the first column of CONTRIBUTING's table lists them."""
    rows = re.findall(r"^\| (`[\w/` ]+`) \|", CONTRIBUTING.read_text(encoding="utf-8"), re.MULTILINE)
    return [re.findall(r"[\w/]+", row) for row in rows]


def wing_of(module, order):
    """The place in the order of the longest wing that holds a module such as `training.engine.loop`."""
    path = module.replace(".", "/")
    found = [
        (len(name), place) for place, names in enumerate(order) for name in names if f"{path}/".startswith(f"{name}/")
    ]
    assert found, f"CONTRIBUTING's table has no wing for tfsent/{path}.py"
    return max(found)[1]


def modules():
    files = [path for path in PACKAGE.rglob("*.py") if path.name not in ("__init__.py", "__main__.py")]
    return {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in files}


def imported(path, known):
    """The modules of tfsent that a file imports, deferred and `TYPE_CHECKING` imports counted."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "tfsent":
            assert not node.level
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        found |= {name.removeprefix("tfsent.") for name in names} & known
    return found


def test_no_module_imports_from_a_later_wing():
    order, files = wings(), modules()
    upward = [
        f"{name} imports {other}"
        for name, path in files.items()
        for other in imported(path, files.keys())
        if wing_of(other, order) > wing_of(name, order)
    ]
    assert not upward


def test_no_circle_inside_a_wing():
    files = modules()
    edges = {name: imported(path, files.keys()) - {name} for name, path in files.items()}
    while leaves := [name for name, others in edges.items() if not others & edges.keys()]:
        for leaf in leaves:
            del edges[leaf]
    assert not edges, f"these modules import each other in a circle: {sorted(edges)}"


def test_the_door_is_narrow():
    allowed = {"__init__", "__main__", "api", "backend", "console", "errors"}
    assert {path.stem for path in PACKAGE.glob("*.py")} <= allowed
