"""export/android: its tokenizer compiled by Kotlin and run on a JVM gives the ids that tfsent gives."""

import base64
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from nasty_texts import nasty, rich_vocabulary

from tfsent.text.light_tokenizer import LightTokenizer
from tfsent.text.mediapipe_tokenizer import for_mediapipe
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
        val given = String(Base64.getDecoder().decode(line), Charsets.UTF_8)
        val ids = tokenizer.rows(given).joinToString("|") { it.joinToString(",") }
        println(ids + "\\t" + Base64.getEncoder().encodeToString(forMediaPipe(given, text).toByteArray()))
    }
}
"""
KEYS = ("lowercase", "max_tokens", "truncation", "head_tokens", "window_step", "max_windows", "max_bytes")


@pytest.fixture(scope="module")
def jar(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kotlin")
    (folder / "Harness.kt").write_text(HARNESS)
    files = [*(str(SOURCES / name) for name in ("BertTokenizer.kt", "Normalize.kt")), str(folder / "Harness.kt")]
    command = ["kotlinc", *files, "-include-runtime", "-d", str(folder / "sample.jar")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "sample.jar"


def answers(jar, folder, spec, vocabulary, texts):
    """The rows of each text, and the text as MediaPipe gets it, out of the JVM."""
    write_text_files(folder, spec, vocabulary)
    whole = json.loads((folder / "text.json").read_text())
    keys = (*KEYS, "max_word_characters", "html_break")
    (folder / "rules").write_text("\n".join(f"{key}\t{str(whole[key]).replace('True', 'true')}" for key in keys) + "\n")
    (folder / "texts").write_text("".join(base64.b64encode(text.encode()).decode() + "\n" for text in texts))
    command = ["java", "-cp", str(jar), "HarnessKt", *(str(folder / n) for n in ("rules", "vocab.txt", "texts"))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = [line.split("\t") for line in done.stdout.splitlines()]
    rows = [[[int(i) for i in row.split(",")] for row in ids.split("|")] for ids, _ in found]
    return rows, [base64.b64decode(text).decode() for _, text in found]


def expected(spec, vocabulary, texts):
    rows, owner = LightTokenizer(spec, vocabulary)(texts)
    return [[rows[r].tolist() for r in np.flatnonzero(owner == i)] for i in range(len(texts))]


@pytest.mark.parametrize("lowercase", [True, False])
@pytest.mark.parametrize("truncation", ["head", "tail", "head_tail", "windows"])
def test_nasty_texts_have_the_same_ids(jar, tmp_path, lowercase, truncation):
    vocabulary, texts = rich_vocabulary(lowercase), nasty(300)
    spec = TextSpec(lowercase, 12, truncation, 0.25, 0.3)
    rows, plain = answers(jar, tmp_path, spec, vocabulary, texts)
    wanted = expected(spec, vocabulary, texts)
    assert [(texts[i], rows[i]) for i in range(len(texts)) if rows[i] != wanted[i]] == []
    assert [text for text, found in zip(texts, plain, strict=True) if found != for_mediapipe(text, spec)] == []


@pytest.mark.real
def test_real_reviews_have_the_same_ids(jar, tmp_path, minilm, imdb):
    vocabulary, texts = read_vocabulary(minilm / "vocab.txt"), list(imdb.texts[:1000])
    spec = TextSpec(True, 256)
    rows, plain = answers(jar, tmp_path, spec, vocabulary, texts)
    assert rows == expected(spec, vocabulary, texts)
    assert plain == [for_mediapipe(text, spec) for text in texts]


def test_code_points_differ_only_in_scripts_that_unicode_got_late(jar, tmp_path):
    """Java's tables are of a later Unicode than the tokenizer's, which is that of Hugging Face `tokenizers`."""
    points = [point for point in range(0x20000) if not 0xD800 <= point < 0xE000]
    texts = [f"a{chr(point)}a" for point in points]
    vocabulary, spec = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "##a", "aa"], TextSpec(True, 512)
    rows, _ = answers(jar, tmp_path, spec, vocabulary, texts)
    wanted = expected(spec, vocabulary, texts)
    different = [point for point, ours, theirs in zip(points, rows, wanted, strict=True) if ours != theirs]
    assert min(different, default=0x800) > 0x7F0  # Latin, Greek, Cyrillic, Hebrew, Arabic are alike
    assert len(different) < 500
