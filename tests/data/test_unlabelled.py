"""Texts without labels: from tables, lines, folders and splits; each once, and none that is held out."""

import gzip
import io
import json
import re
import tarfile
import zipfile

import pandas
import pytest
from data_files import csv_bytes, write
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import tiny_texts, write_tfds

from tfsent.data import unlabelled
from tfsent.data.unlabelled import load_unlabelled, without
from tfsent.errors import DataError
from tfsent.recipe.schema import DataConfig
from tfsent.storage import row_store
from tfsent.storage.row_store import StoredTexts

TEXTS = ["good film", 'a "fine", film\nin two lines', "bad plot", "é 日本 ☃"]
LINES = [text.replace("\n", " ") for text in TEXTS]
FRAME = pandas.DataFrame({"id": range(4), "text": TEXTS})


def load(*patterns, source="imdb", **more):
    return load_unlabelled(DataConfig(source=source, **more), [str(pattern) for pattern in patterns])


CONTENTS = {
    "csv": FRAME.to_csv(index=False).encode(),
    "tsv": FRAME.to_csv(index=False, sep="\t").encode(),
    "jsonl": FRAME.to_json(orient="records", lines=True).encode(),
    "json": FRAME.to_json(orient="records").encode(),
    "parquet": FRAME.to_parquet(),
}


@pytest.mark.parametrize("kind", CONTENTS)
@pytest.mark.parametrize("ending", [None, "txt"])
def test_tables_need_the_column_of_texts_alone(tmp_path, kind, ending):
    found = load(write(tmp_path / f"a.{ending or kind}", CONTENTS[kind]))
    assert isinstance(found, StoredTexts)
    assert list(found) == TEXTS


@pytest.mark.parametrize("source", ["imdb", "imdb-wheel", "memory", "csv", "folder"])
def test_the_source_of_the_recipe_does_not_matter(tmp_path, source):
    own = {"train": ("a.csv",)} if source in ("csv", "folder") else {}
    path = write(tmp_path / "a.jsonl", b'{"body": "fine", "stars": 3}\n')
    assert list(load(path, source=source, text="body", label="y", **own)) == ["fine"]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_text_file_has_a_text_a_line(tmp_path, end, encoding):
    content = end.join([*LINES, "last, without an end"]).encode(encoding)
    expected = [*LINES, "last, without an end"]
    assert list(load(write(tmp_path / "a.txt", content))) == expected
    assert list(load(write(tmp_path / "a.TXT.gz", gzip.compress(content)))) == expected


def test_a_folder_has_a_text_a_file(tmp_path):
    for i, text in enumerate(TEXTS):
        write(tmp_path / "unsup" / f"{i}_0.txt", text.encode())
    write(tmp_path / "unsup" / "readme.md", b"hello")
    assert list(load(tmp_path / "unsup")) == TEXTS
    assert list(load(tmp_path)) == TEXTS
    write(tmp_path / "urls_unsup.txt", b"http://www.imdb.com/title/tt0018515/usercomments")
    with pytest.raises(DataError, match="has .txt files in several folders: .*, .*unsup. Name those that are meant"):
        load(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        DataError, match=r"empty has no .txt files. Expected a text a file; or name tables, such as .*csv"
    ):
        load(tmp_path / "empty")


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_a_folder_in_an_archive(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    names = [f"train/unsup/{i}.txt" for i in range(4)]
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in zip(names, TEXTS, strict=True):
                archive.writestr(name, text)
    else:
        with tarfile.open(path, "w:gz") as archive:
            for name, text in zip(names, TEXTS, strict=True):
                info = tarfile.TarInfo(name)
                info.size = len(text.encode())
                archive.addfile(info, io.BytesIO(text.encode()))
    assert list(load(path)) == TEXTS
    assert list(load(path / "train" / "unsup")) == TEXTS
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("a.csv", CONTENTS["csv"])
        archive.writestr("readme.txt", b"hello")
    assert list(load(tmp_path / "b.zip")) == TEXTS


def test_empty_texts_are_left_out_and_repeated_ones_kept_once(tmp_path, messages):
    a = write(tmp_path / "a.csv", csv_bytes([("x", 1), ("", 2), ("y", 3), ("x", 4), (" ", 5)], ("text", "id")))
    b = write(tmp_path / "b.txt", b"y\nz\n\nx\nX\n")
    assert list(load(a, b)) == ["x", "y", "z", "X"]
    assert f"3 rows without text are left out, such as {a}, line 3." in messages.text
    assert "3 texts without labels repeat another one, and are left out." in messages.text
    assert list(load(str(tmp_path / "*"), b)) == ["x", "y", "z", "X"]


def test_half_a_surrogate_pair_is_dropped(tmp_path):
    path = write(tmp_path / "a.jsonl", b'{"text": "a\\ud83d"}\n{"text": "\\ud83d"}\n')
    assert list(load(path)) == ["a"]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return write_tfds(tmp_path_factory.mktemp("tfds"), tiny_texts(12, 1), tiny_texts(4, 2))


@pytest.mark.parametrize("source", ["imdb", "tfds:imdb_reviews/plain_text"])
def test_a_split_of_the_source(tmp_path, prepared, source):
    config = {"source": source, "dir": str(prepared)}
    assert list(load("split:unsupervised", **config)) == ["nothing"]
    assert list(load("split:train", **config)) == [text for text, _ in tiny_texts(12, 1)]
    lines = write(tmp_path / "a.txt", b"one more\n")
    assert list(load("split:unsupervised", lines, **config)) == ["one more", "nothing"]
    with pytest.raises(DataError, match="plain_text has no split 'unsupervise'. Did you mean 'unsupervised'"):
        load("split:unsupervise", **config)
    with pytest.raises(DataError, match="plain_text has no split 'xyz'. Expected one of: .*train"):
        load("split:xyz", **config)
    with pytest.raises(DataError, match="has no column 'body'. It has: .*'text'"):
        load("split:unsupervised", text="body", **config)


def test_a_part_of_a_split(prepared):
    config = {"source": "imdb", "dir": str(prepared)}
    whole = [text for text, _ in tiny_texts(12, 1)]
    assert list(load("split:train[:5]", **config)) == whole[:5]
    assert list(load("split:train[5:7]", "split:train[75%:]", **config)) == [*whole[5:7], *whole[9:]]
    with pytest.raises(DataError, match="plain_text has no split 'xyz'. Expected one of: .*train"):
        load("split:xyz[:5]", **config)


@pytest.mark.parametrize("part", ["[:x]", "[:5", "[]", "[1:2:3]", "[120%:]", "[:13]", "[:1]+xyz"])
def test_a_misspelt_part_of_a_split(prepared, part):
    with pytest.raises(
        DataError,
        match=re.escape(
            f"'train{part}' is no part of a split. Expected a range of rows or of percents, such as train[:1000] or "
            "train[50%:]; train has 12 rows."
        ),
    ):
        load(f"split:train{part}", source="imdb", dir=str(prepared))


@pytest.mark.parametrize("source", ["imdb-wheel", "memory", "files"])
def test_a_source_without_splits_says_so(source):
    own = {"train": ("a.csv",)} if source == "files" else {}
    with pytest.raises(
        DataError,
        match=f"There is no split 'unsupervised': data.source is {source}, whose splits have no names. Expected files",
    ):
        load("split:unsupervised", source=source, **own)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"body,label\na,b\n", "a.csv has no column 'text'. It has: 'body', 'label'.* Name yours: --set data.text="),
        (b'{"body": "a"}\n', "a.csv has no key 'text'. It has: 'body'"),
        (b'{"text": 3}\n{"text": ["a"]}\n', "2 faulty rows:\n  .*a.csv, line 1: 'text' is not a string; received 3"),
        (b"text\ncaf\xe9\n", "a.csv, line 2: byte 4 .* is not UTF-8; set data.encoding"),
        (b"text\n\n", "There are no texts in .*a.csv. Expected texts without labels"),
        (b"PAR1 not really", "a.csv cannot be read as Parquet"),
        (b"", "a.csv is empty"),
    ],
)
def test_a_fault_is_one_message(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        load(write(tmp_path / "a.csv", content))


def test_a_faulty_text_file_is_one_message(tmp_path):
    with pytest.raises(DataError, match="a.txt, line 2: byte 4 .* is not UTF-8; set data.encoding"):
        load(write(tmp_path / "a.txt", b"fine\ncaf\xe9\n"))
    with pytest.raises(DataError, match="b.txt is empty"):
        load(write(tmp_path / "b.txt", b""))
    with pytest.raises(DataError, match="c.txt is not text: it has NUL bytes"):
        load(write(tmp_path / "c.txt", b"\0\1\2"))
    with pytest.raises(DataError, match="distil.unlabelled: there is nothing at .*nowhere.*Expected a file, a folder"):
        load(tmp_path / "nowhere*.txt")


def test_texts_may_be_larger_than_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(row_store, "IN_MEMORY", 100)
    monkeypatch.setattr(unlabelled, "TOGETHER", 7)
    lines = [f"review {i % 300}" for i in range(600)]
    found = load(write(tmp_path / "a.txt", "\n".join(lines).encode()))
    assert list(found) == lines[:300]
    rest, left_out = without(found, [lines[:100], lines[250:300]])
    assert (list(rest), left_out) == (lines[100:250], 150)


def test_a_line_tells_how_far_it_is(tmp_path, monkeypatch, messages):
    monkeypatch.setattr(unlabelled, "LINE_SECONDS", -1)
    load(write(tmp_path / "a.txt", b"a\nb\n"))
    assert "2 texts without labels read …" in messages.text


def test_held_out_texts_are_left_out_word_by_word(tmp_path):
    lines = ["It was, well, good!", "it was well done", "!!!", "👍", "日本 の 映画", "STRASSE"]
    texts = load(write(tmp_path / "a.jsonl", "\n".join(json.dumps({"text": line}) for line in lines).encode()))
    rest, left_out = without(texts, [["it  was well<good>", "👍"], [], ("日本, の 映画", "Straße", "nothing")])
    assert isinstance(rest, StoredTexts)
    assert (list(rest), left_out) == (["it was well done", "!!!"], 4)
    assert without(["a", "b"], [["B"]]) == (("a",), 1)
    assert without((), [["a"]]) == ((), 0)
    assert without(("a",), []) == (("a",), 0)


@given(st.lists(st.text(max_size=3), max_size=12), st.lists(st.text(max_size=3), max_size=12))
@settings(deadline=None)
def test_what_is_held_out_is_never_kept(texts, held_out):
    rest, left_out = without(texts, [held_out])
    assert not set(rest) & set(held_out)
    assert len(rest) + left_out == len(texts)
    assert [text for text in texts if text in set(rest)] == list(rest)


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=6), min_size=1, max_size=12))
@settings(deadline=None, max_examples=50)
def test_texts_are_those_of_the_table_in_their_order(tmp_path_factory, texts):
    path = tmp_path_factory.mktemp("texts") / "a.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    expected = list(dict.fromkeys(text for text in texts if text.strip()))
    if not expected:
        with pytest.raises(DataError, match="There are no texts in"):
            load(path)
    else:
        assert list(load(path)) == expected


@pytest.mark.real
def test_imdb_has_50000_reviews_without_labels(tfds_folder, tfds_parts):
    texts = load("split:unsupervised", dir=str(tfds_folder))
    assert len(texts) == 49_507  # the others repeat one of these
    rest, left_out = without(texts, [tfds_parts["test"].texts])
    assert left_out == sum(map(set(tfds_parts["test"].texts).__contains__, texts)) > 0
    assert len(rest) == len(texts) - left_out
    assert not set(rest) & set(tfds_parts["test"].texts)
