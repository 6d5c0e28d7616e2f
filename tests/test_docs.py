"""Every block of docs/python.md runs, in its order; tiny parts stand in for the recipe. Links lead to files."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"


def blocks(page):
    return re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_every_block_of_the_python_page_runs(tiny_recipe, tmp_path, monkeypatch, capsys, tiny_encoder):
    pytest.importorskip("pandas")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tfsent.recipe.loader.recipes", lambda: {"imdb": tiny_recipe})
    names = {}
    found = blocks(DOCS / "python.md")
    assert len(found) > 10
    for block in found:
        exec(compile(block.replace("pypi:minilm-l6", f"path:{tiny_encoder}"), "docs/python.md", "exec"), names)
    out = capsys.readouterr().out
    assert "mediapipe" in out and "positive" in out


def test_every_block_of_the_distillation_page_runs(tiny_recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tfsent.recipe.loader.recipes", lambda: {"imdb": tiny_recipe})
    names = {"texts": [f"a good film , number {i} ." for i in range(12)], "ask": lambda prompt: " 0.7\n"}
    for block in blocks(DOCS / "distillation.md"):
        exec(compile(block, "docs/distillation.md", "exec"), names)
    assert names["run"].history


def test_pages_link_to_files_that_exist():
    root = DOCS.parent
    pages = [root / "README.md", root / "CONTRIBUTING.md", *DOCS.glob("*.md")]
    pages += [root / folder / "README.md" for folder in ("configs", "export", "benchmarks")]
    missing = [
        f"{page.relative_to(root)}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ]
    assert not missing
