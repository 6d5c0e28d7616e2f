"""export/android, compiled by Kotlin and run on a JVM: it gives the ids and the labels that tfsent gives."""

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

pytestmark = pytest.mark.skipif(
    shutil.which("kotlinc") is None or shutil.which("java") is None,
    reason="NOT COMPILED: it needs Kotlin and Java, on Debian: apt-get install kotlin",
)
SOURCES = Path(__file__).parents[2] / "export/android/app/src/main/java/org/tfsent/sample"
HARNESS = """
import java.io.File
import java.util.Base64
import org.tfsent.sample.*

fun main(words: Array<String>) {
    val rules = File(words[0]).readLines().map { it.substringAfter('\\t') }
    val n = { i: Int -> rules[i].toInt() }
    val text = TextRules(rules[0] == "true", n(1), rules[2], n(3), n(4), n(5), n(6), n(7), rules[8])
    val tokenizer = BertTokenizer(File(words[1]).readText().removeSuffix("\\n").split("\\n"), text)
    File(words[2]).forEachLine { line ->
        val bytes = Base64.getDecoder().decode(line).map { it.toInt() and 0xFF }
        val given = String(CharArray(bytes.size / 2) { i -> (bytes[2 * i] * 256 + bytes[2 * i + 1]).toChar() })
        val ids = tokenizer.rows(given).joinToString("|") { it.joinToString(",") }
        println(ids + "\\t" + Base64.getEncoder().encodeToString(forMediaPipe(given, text).toByteArray()))
    }
}
"""
JSON = Path("/usr/share/java/com.android.json.jar")
DECIDES = """
import java.io.File
import org.json.JSONArray
import org.tfsent.sample.*

fun main(words: Array<String>) {
    val model = ExportedModel(android.content.Context(android.content.Assets(words[0])), "model")
    File(words[1]).forEachLine { line ->
        val row = JSONArray(line)
        val answer = model.answer(FloatArray(row.length()) { row.getDouble(it).toFloat() })
        println(answer.label + "\\t" + answer.probability)
    }
}
"""
ANDROID = """
package android.content

import java.io.File

class Context(val assets: Assets)

class Assets(private val root: String) {
    fun open(path: String) = File(root, path).inputStream()
    fun list(path: String): Array<String>? = File(root, path).list()
}
"""
"""A stand-in for what ExportedModel.kt asks of Android."""
KEYS = ("lowercase", "max_tokens", "truncation", "head_tokens", "window_step", "max_windows", "max_bytes")
KEYS += ("max_word_characters", "html_break")
REASSIGNED = {0x166D, 0x1734, 0x111C9}
"""Characters to which later versions of Unicode gave another category."""


@pytest.fixture(scope="module")
def jar(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kotlin")
    (folder / "Harness.kt").write_text(HARNESS)
    files = [*(str(SOURCES / name) for name in ("BertTokenizer.kt", "Normalize.kt")), str(folder / "Harness.kt")]
    return compiled(files, folder / "sample.jar")


def compiled(files, jar, *words):
    command = ["kotlinc", *map(str, files), *words, "-include-runtime", "-d", str(jar)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return jar


def answers(jar, folder, texts, scratch):
    """The rows of each text by the rules and the vocabulary of a folder, and the text as MediaPipe gets it."""
    whole = json.loads((folder / "text.json").read_text())
    rules = {key: str(whole[key]).replace("True", "true") for key in KEYS}
    (scratch / "rules").write_text("".join(f"{key}\t{value}\n" for key, value in rules.items()))
    # As UTF-16, which may have halves of surrogate pairs, as a string of the JVM may.
    raw = (base64.b64encode(text.encode("utf-16-be", "surrogatepass")).decode() for text in texts)
    (scratch / "texts").write_text("".join(f"{line}\n" for line in raw))
    files = [str(scratch / "rules"), str(folder / "vocab.txt"), str(scratch / "texts")]
    command = ["java", "-cp", str(jar), "HarnessKt", *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = [line.split("\t") for line in done.stdout.splitlines()]
    rows = [[[int(i) for i in row.split(",")] for row in ids.split("|")] for ids, _ in found]
    return rows, [base64.b64decode(text).decode() for _, text in found]


def compare(jar, folder, spec, vocabulary, texts):
    """The texts whose rows differ from tfsent's, and the texts that MediaPipe would get otherwise."""
    write_text_files(folder, spec, vocabulary)
    return read_otherwise(*answers(jar, folder, texts, folder), spec, vocabulary, texts)


@pytest.mark.parametrize("lowercase", [True, False])
@pytest.mark.parametrize("truncation", ["head", "tail", "head_tail", "windows"])
def test_nasty_texts_have_the_same_ids(jar, tmp_path, lowercase, truncation):
    vocabulary, spec = rich_vocabulary(lowercase), TextSpec(lowercase, 12, truncation, 0.25, 0.3)
    assert compare(jar, tmp_path, spec, vocabulary, nasty(300)) == ([], [])


def test_halves_of_pairs_are_dropped_and_a_text_is_cut_where_it_is_here(jar, tmp_path):
    vocabulary, spec = rich_vocabulary(True), TextSpec(True, 12, "tail")
    texts = ["good\ud83dfilm \ude00", "\ude00\ud83d good", "\ud800😀\udc00"]
    texts += ["a" * n + " " + "本 " * 249_999 + "é😀 good" for n in (0, 1, 2, 3, 4)]  # the cut falls into characters
    assert compare(jar, tmp_path, spec, vocabulary, texts)[0] == []


def test_the_golden_texts_have_the_same_ids(jar, tmp_path, exported):
    folder = exported / "export" / "mobile"
    golden = [json.loads(line) for line in (folder / "golden.jsonl").read_text(encoding="utf-8").splitlines()]
    rows, _ = answers(jar, folder, [line["text"] for line in golden], tmp_path)
    assert rows == [line["ids"] for line in golden]


@pytest.mark.real
def test_real_reviews_have_the_same_ids(jar, tmp_path, minilm, imdb):
    vocabulary, texts = read_vocabulary(minilm / "vocab.txt"), list(imdb.texts[:1000])
    assert compare(jar, tmp_path, TextSpec(True, 256), vocabulary, texts) == ([], [])


@pytest.mark.parametrize("lowercase", [True, False])
def test_only_code_points_that_unicode_got_late_are_read_otherwise(jar, tmp_path, lowercase):
    """The tables of a JVM, and of a phone, are of a later Unicode than the ids: they know more characters."""
    points = [*range(0xD800), *range(0xE000, 0x30000), *range(0xE0000, 0xE0200)]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "##a", "aa"]
    others, _ = compare(jar, tmp_path, TextSpec(lowercase, 512), vocabulary, [f"a{chr(point)}a" for point in points])
    different = {ord(text[1]) for text in others}
    assert min(different, default=0x600) >= 0x600  # Latin, Greek, Cyrillic and Hebrew are alike
    assert len(different) < 1000
    # What the ids know nothing of is kept as a letter.
    table = code_point_table(lowercase)
    assert [hex(p) for p in sorted(different - REASSIGNED) if table[p].tolist() != [p, -1, -1]] == []


# -- the label --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def deciding(tmp_path_factory):
    if not JSON.is_file():
        pytest.skip("NOT COMPILED: it needs Android's org.json, on Debian: apt-get install libandroid-json-java")
    folder = tmp_path_factory.mktemp("deciding")
    (folder / "Decides.kt").write_text(DECIDES)
    (folder / "Android.kt").write_text(ANDROID)
    names = ("BertTokenizer.kt", "Decision.kt", "ExportedModel.kt")
    files = [*(SOURCES / name for name in names), folder / "Decides.kt", folder / "Android.kt"]
    return compiled(files, folder / "decides.jar", "-classpath", str(JSON))


def run_decides(jar, model, probabilities):
    """Let the app choose from rows of probabilities. `model` is a folder called so."""
    assert model.name == "model"
    rows = model.parent / "rows"
    rows.write_text("".join(f"{json.dumps(row)}\n" for row in probabilities))
    command = ["java", "-cp", f"{jar}:{JSON}", "DecidesKt", str(model.parent), str(rows)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def decide(jar, model, probabilities):
    """The label and its probability, for each row."""
    done = run_decides(jar, model, probabilities)
    assert done.returncode == 0, done.stderr
    found = [line.split("\t") for line in done.stdout.splitlines()]
    return [label for label, _ in found], np.array([share for _, share in found], np.float32)


@pytest.fixture
def model(tmp_path):
    """A folder of an earlier version: it has no decision.json."""
    folder = tmp_path / "model"
    folder.mkdir()
    write_text_files(folder, TextSpec(True, 12), rich_vocabulary(True))
    (folder / "manifest.json").write_text(json.dumps({"signatures": {"serving_default": 12}, "files": {}}))
    return folder


def test_the_label_follows_the_decision(deciding, model, choice):
    choice.write(model)
    labels, shares = decide(deciding, model, choice.probabilities.tolist())
    assert labels == choice.labels
    assert shares.tolist() == [row[i] for row, i in zip(choice.probabilities, choice.places, strict=True)]


def test_the_golden_texts_have_the_same_labels(deciding, decided, tmp_path):
    folder = shutil.copytree(decided, tmp_path / "model")
    golden = [json.loads(line) for line in (folder / "golden.jsonl").read_text(encoding="utf-8").splitlines()]
    probabilities = [line["probabilities"] for line in golden]
    expected = [line["label"] for line in golden]
    assert decide(deciding, folder, probabilities)[0] == expected
    (folder / "decision.json").unlink()
    assert decide(deciding, folder, probabilities)[0] != expected


@pytest.mark.parametrize("damaged", ["", "{", "[]", "{}", '{"threshold": "high"}', '{"threshold": []}'])
def test_a_damaged_decision_is_not_taken_for_none(deciding, model, damaged):
    (model / "labels.txt").write_text("negative\npositive\n")
    (model / "decision.json").write_text(damaged)
    done = run_decides(deciding, model, [[0.3, 0.7]])
    assert (done.returncode, done.stdout) == (1, "")
    assert "org.json.JSONException" in done.stderr
