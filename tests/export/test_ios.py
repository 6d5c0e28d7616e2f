"""export/ios: a parser accepts the Swift. There is no compiler for it here."""

from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[2] / "export" / "ios"


@pytest.mark.parametrize("path", sorted(SOURCES.rglob("*.swift")), ids=lambda path: path.name)
def test_swift_parses(path):
    tree_sitter = pytest.importorskip("tree_sitter", reason="NOT PARSED: pip install tree-sitter tree-sitter-swift")
    swift = pytest.importorskip("tree_sitter_swift", reason="NOT PARSED: pip install tree-sitter tree-sitter-swift")
    parser = tree_sitter.Parser(tree_sitter.Language(swift.language()))
    root = parser.parse(path.read_bytes()).root_node
    assert not root.has_error, [node for node in root.children if node.has_error or node.is_missing]
    assert parser.parse(b"func f( {").root_node.has_error  # the parser does refuse
