"""export/ios: the Swift parses, and where there is a compiler, it gives the ids and the labels that tfsent gives."""

import base64
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from nasty_texts import nasty, read_otherwise, rich_vocabulary

from tfsent.text.code_points import code_point_table
from tfsent.text.spec import TextSpec, read_vocabulary, write_text_files

SOURCES = Path(__file__).parents[2] / "export" / "ios"
HARNESS = """
import Foundation

let model = try ExportedModel(folder: URL(fileURLWithPath: CommandLine.arguments[1]))
if CommandLine.arguments.count > 2 { // probabilities, not texts
    while let line = readLine() {
        let answer = model.answer(try JSONDecoder().decode([Float].self, from: Data(line.utf8)))
        print("\\(answer.label)\\t\\(answer.probability)")
    }
    exit(0)
}
let tokenizer = try model.tokenizer()
while let line = readLine() {
    let text = String(decoding: Data(base64Encoded: line)!, as: UTF8.self)
    let rows = tokenizer.rows(text).map { $0.map(String.init).joined(separator: ",") }.joined(separator: "|")
    print(rows + "\\t" + Data(forMediaPipe(text, rules: model.rules).utf8).base64EncodedString())
}
"""
REASSIGNED = {0x166D, 0x1734, 0x111C9}
"""Characters to which later versions of Unicode gave another category."""


@pytest.mark.parametrize("path", sorted(SOURCES.rglob("*.swift")), ids=lambda path: path.name)
def test_swift_parses(path):
    tree_sitter = pytest.importorskip("tree_sitter", reason="NOT PARSED: pip install tree-sitter tree-sitter-swift")
    swift = pytest.importorskip("tree_sitter_swift", reason="NOT PARSED: pip install tree-sitter tree-sitter-swift")
    parser = tree_sitter.Parser(tree_sitter.Language(swift.language()))
    root = parser.parse(path.read_bytes()).root_node
    assert not root.has_error, [node for node in root.children if node.has_error or node.is_missing]
    assert parser.parse(b"func f( {").root_node.has_error  # the parser does refuse


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    if shutil.which("swiftc") is None:
        pytest.skip("NOT COMPILED: it needs Swift, on Debian 13: apt-get install swiftlang")
    folder = tmp_path_factory.mktemp("swift")
    (folder / "main.swift").write_text(HARNESS)
    files = [SOURCES / "Sources" / name for name in ("BertTokenizer.swift", "ExportedModel.swift")]
    command = ["swiftc", "-O", *map(str, files), str(folder / "main.swift"), "-o", str(folder / "program")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "program"


def answers(program, folder, texts):
    """The rows of each text by the rules and the vocabulary of a folder, and the text as MediaPipe gets it."""
    given = "".join(base64.b64encode(text.encode()).decode() + "\n" for text in texts)
    command = [str(program), str(folder)]
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = [line.split("\t") for line in done.stdout.splitlines()]
    rows = [[[int(i) for i in row.split(",")] for row in ids.split("|")] for ids, _ in found]
    return rows, [base64.b64decode(text).decode() for _, text in found]


def compare(program, folder, spec, vocabulary, texts):
    """The texts whose rows differ from tfsent's, and the texts that MediaPipe would get otherwise."""
    write_text_files(folder, spec, vocabulary)
    (folder / "labels.txt").write_text("negative\npositive\n")
    (folder / "manifest.json").write_text(json.dumps({"signatures": {"serving_default": spec.max_tokens}}))
    return read_otherwise(*answers(program, folder, texts), spec, vocabulary, texts)


@pytest.mark.parametrize("lowercase", [True, False])
@pytest.mark.parametrize("truncation", ["head", "tail", "head_tail", "windows"])
def test_nasty_texts_have_the_same_ids(program, tmp_path, lowercase, truncation):
    """The vocabulary has tokens that are one string to Swift: a letter with its accent, and with it behind."""
    vocabulary, spec = rich_vocabulary(lowercase), TextSpec(lowercase, 12, truncation, 0.25, 0.3)
    assert compare(program, tmp_path, spec, vocabulary, nasty(300)) == ([], [])


def test_a_text_is_cut_where_it_is_here(program, tmp_path):
    texts = ["a" * n + " " + "本 " * 249_999 + "é😀 good" for n in (0, 1, 2, 3, 4)]  # the cut falls into characters
    assert compare(program, tmp_path, TextSpec(True, 12, "tail"), rich_vocabulary(True), texts)[0] == []


def test_the_golden_texts_have_the_same_ids(program, exported):
    folder = exported / "export" / "mobile"
    golden = [json.loads(line) for line in (folder / "golden.jsonl").read_text(encoding="utf-8").splitlines()]
    rows, _ = answers(program, folder, [line["text"] for line in golden])
    assert rows == [line["ids"] for line in golden]


@pytest.mark.real
def test_real_reviews_have_the_same_ids(program, tmp_path, minilm, imdb):
    vocabulary, texts = read_vocabulary(minilm / "vocab.txt"), list(imdb.texts[:1000])
    assert compare(program, tmp_path, TextSpec(True, 256), vocabulary, texts) == ([], [])


@pytest.mark.parametrize("lowercase", [True, False])
def test_only_code_points_that_unicode_got_late_are_read_otherwise(program, tmp_path, lowercase):
    """The tables of Swift, and of a phone, are of a later Unicode than the ids: they know more characters."""
    points = [*range(0xD800), *range(0xE000, 0x30000), *range(0xE0000, 0xE0200)]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "##a", "aa"]
    texts = [f"a{chr(point)}a" for point in points]
    others, _ = compare(program, tmp_path, TextSpec(lowercase, 512), vocabulary, texts)
    different = {ord(text[1]) for text in others}
    assert min(different, default=0x600) >= 0x600  # Latin, Greek, Cyrillic and Hebrew are alike
    assert len(different) < 1000
    # What the ids know nothing of is kept as a letter.
    table = code_point_table(lowercase)
    assert [hex(p) for p in sorted(different - REASSIGNED) if table[p].tolist() != [p, -1, -1]] == []


# -- the label --------------------------------------------------------------------------------------------------------


def run_decides(program, folder, probabilities):
    """Let the app choose from rows of probabilities."""
    rows = "".join(f"{json.dumps(row)}\n" for row in probabilities)
    command = [str(program), str(folder), "decide"]
    return subprocess.run(command, input=rows, capture_output=True, text=True, check=False)


def decide(program, folder, probabilities):
    """The label and its probability, for each row."""
    done = run_decides(program, folder, probabilities)
    assert done.returncode == 0, done.stderr
    found = [line.split("\t") for line in done.stdout.splitlines()]
    return [label for label, _ in found], np.array([share for _, share in found], np.float32)


@pytest.fixture
def model(tmp_path):
    """A folder of an earlier version: it has no decision.json."""
    write_text_files(tmp_path, TextSpec(True, 12), rich_vocabulary(True))
    (tmp_path / "manifest.json").write_text(json.dumps({"signatures": {"serving_default": 12}, "files": {}}))
    return tmp_path


def test_the_label_follows_the_decision(program, model, choice):
    choice.write(model)
    labels, shares = decide(program, model, choice.probabilities.tolist())
    assert labels == choice.labels
    assert shares.tolist() == [row[i] for row, i in zip(choice.probabilities, choice.places, strict=True)]


def test_the_golden_texts_have_the_same_labels(program, decided, tmp_path):
    folder = shutil.copytree(decided, tmp_path / "model")
    golden = [json.loads(line) for line in (folder / "golden.jsonl").read_text(encoding="utf-8").splitlines()]
    probabilities = [line["probabilities"] for line in golden]
    expected = [line["label"] for line in golden]
    assert decide(program, folder, probabilities)[0] == expected
    (folder / "decision.json").unlink()
    assert decide(program, folder, probabilities)[0] != expected


@pytest.mark.parametrize("damaged", ["", "{", "[]", '{"threshold": "high"}', '{"threshold": []}'])
def test_a_damaged_decision_is_not_taken_for_none(program, model, damaged):
    (model / "labels.txt").write_text("negative\npositive\n")
    (model / "decision.json").write_text(damaged)
    done = run_decides(program, model, [[0.3, 0.7]])
    assert done.returncode != 0 and done.stdout == "" and "DecodingError" in done.stderr
