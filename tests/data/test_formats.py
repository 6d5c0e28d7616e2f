"""The kind of a file is found from its content; JSON and Parquet are read; other files are refused by name."""

import gzip
import io
import json
import tarfile
import zipfile

import pyarrow
import pyarrow.parquet
import pytest
from data_files import csv_bytes, plain, read, write
from hypothesis import given, settings
from hypothesis import strategies as st

from tfsent.data import formats, records
from tfsent.errors import DataError

ROWS = [("good film", "pos"), ('a "fine", film\nin two lines', "pos"), ("bad plot", "neg"), ("é 日本 ☃", "neg")]
OBJECTS = [{"text": text, "label": label, "id": i} for i, (text, label) in enumerate(ROWS)]
LINES = "".join(json.dumps(fields) + "\n" for fields in OBJECTS)


def parquet_bytes(objects):
    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(objects), out)
    return out.getvalue()


CONTENTS = {
    "csv": csv_bytes(ROWS),
    "tsv": csv_bytes(ROWS, delimiter="\t"),
    "bom": b"\xef\xbb\xbf" + csv_bytes(ROWS),
    "lines": LINES.encode(),
    "lines-crlf": LINES.replace("\n", "\r\n").encode(),
    "lines-bom": b"\xef\xbb\xbf" + LINES.rstrip().encode(),
    "array": json.dumps(OBJECTS).encode(),
    "array-pretty": json.dumps(OBJECTS, indent=1, ensure_ascii=False).encode(),
    "parquet": parquet_bytes(OBJECTS),
}


@pytest.mark.parametrize("kind", CONTENTS)
@pytest.mark.parametrize("name", ["a.csv", "a.json", "a.txt", "noending"])
def test_the_content_decides_what_a_file_is(tmp_path, kind, name):
    assert plain(read(write(tmp_path / name, CONTENTS[kind]))) == ROWS


@pytest.mark.parametrize("kind", [kind for kind in CONTENTS if kind != "parquet"])
def test_packed_files_are_read_alike(tmp_path, kind):
    assert plain(read(write(tmp_path / "a.gz", gzip.compress(CONTENTS[kind])))) == ROWS
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data/a.json", CONTENTS[kind])
        archive.writestr("readme.txt", b"hello")
        archive.writestr("__MACOSX/data/._a.json", b"\x00\x05\x16\x07")
    assert plain(read(tmp_path / "a.zip")) == ROWS
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        info = tarfile.TarInfo("reviews")  # the one file of an archive may have any name
        info.size = len(CONTENTS[kind])
        archive.addfile(info, io.BytesIO(CONTENTS[kind]))
    assert plain(read(tmp_path / "a.tar.gz")) == ROWS


def test_every_table_of_an_archive_is_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("data/a.csv", csv_bytes(ROWS[:2]))
        archive.writestr("data/b.jsonl", "".join(map(json.dumps, OBJECTS[2:3])))
        archive.writestr("c.tsv", csv_bytes(ROWS[3:], delimiter="\t"))
        archive.writestr("readme.txt", b"hello")
        archive.writestr("./", b"")
    assert plain(read(tmp_path / "all.zip")) == ROWS


@pytest.mark.parametrize("source", ["csv", "tsv", "jsonl", "parquet"])
def test_a_recipe_may_insist_on_a_kind(tmp_path, source):
    content = {"jsonl": "lines"}.get(source, source)
    assert plain(read(write(tmp_path / "a", CONTENTS[content]), source)) == ROWS
    other = write(tmp_path / "b", CONTENTS["parquet" if source != "parquet" else "csv"])
    with pytest.raises(DataError, match="b is Parquet, and data.source is|b cannot be read as Parquet: it does not"):
        read(other, source)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty. Expected a header and rows, or a JSON object a line"),
        (b" \r\n\n", "is empty"),
        (b"t\x00e\x00x\x00t\x00", "is not text: it has NUL bytes. Expected CSV, TSV, JSON lines or Parquet"),
        (b"PK\x03\x04...[Content_Types].xml", "is a workbook. Save the sheet as CSV UTF-8"),
        (b"\xd0\xcf\x11\xe0...", "is a workbook. Save the sheet as CSV UTF-8"),
        (b"PK\x03\x04...a.csv", "is a zip archive. Give its name the ending .zip"),
        (b"PAR1 not really", "cannot be read as Parquet"),
        (b'{"text": "a", "label": 1}\n{"text"\n', "line 2: not JSON"),
        (b'{"text": "a", "label": 1}\n[1]\n', r"line 2: expected an object such as \{'text': …\}, received '\[1\]'"),
        (b'[{"text": "a", "label": 1}, 3]', "item 2: expected an object such as .*, received 3"),
        (b'[{"text": "a", "label": 1}, {"te', "item 2: not JSON"),
        (b'{\n "text": "a"\n}', "has a JSON object over several lines. Expected an object a line, or an array"),
        (
            b'{"reviewText": "a", "overall": 5}\n',
            "has no key 'text' and no key 'label'. It has: 'reviewText', 'overall'",
        ),
        (
            b'{"text": "a", "lable": 5}\n',
            "no key 'label'. .* Did you mean 'lable'. Name yours: --set data.label=lable$",
        ),
        (b"{" * 100_000, "a.x"),
    ],
)
def test_other_files_are_refused_with_the_way_out(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        read(write(tmp_path / "a.x", content))


def test_packed_parquet_damaged_gzip_and_folders_are_refused(tmp_path):
    with pytest.raises(DataError, match="a packed Parquet file cannot be read. Unpack it first"):
        read(write(tmp_path / "a.parquet.gz", gzip.compress(CONTENTS["parquet"])))
    with pytest.raises(DataError, match="a.csv.gz cannot be read: Not a gzipped file"):
        read(write(tmp_path / "a.csv.gz", b"not gzip"))
    with pytest.raises(DataError, match="b.csv.gz cannot be read"):
        read(write(tmp_path / "b.csv.gz", gzip.compress(csv_bytes(ROWS * 99), mtime=0)[:-20]))
    with pytest.raises(DataError, match="a.zip cannot be read: File is not a zip file"):
        read(write(tmp_path / "a.zip", b"PK not zip"))
    with pytest.raises(DataError, match=r"is a folder. Expected a file, or a glob such as .*\*.csv"):
        read(tmp_path, "csv")


def test_a_key_that_some_objects_lack_is_a_missing_value(tmp_path):
    lines = [{"text": "a", "label": 1}, {"label": 0}, {"text": "b", "label": 2}]
    path = write(tmp_path / "a.jsonl", "\n".join(map(json.dumps, lines)).encode())
    assert plain(read(path)) == [("a", "1"), ("", "0"), ("b", "2")]


@pytest.mark.parametrize(
    ("encoding", "wrong"),
    [("latin-1", None), ("cp1252", b"\x81"), ("utf-16", b"\x00\xd8"), ("utf-8", b"\xef"), ("utf-16-le", b"\x00\xd8")],
)
@pytest.mark.parametrize("form", ["csv", "jsonl", "json"])
def test_every_encoding_is_read_and_bad_bytes_are_named(tmp_path, encoding, wrong, form):
    objects = [{"text": "café é", "label": "schön"}, {"text": "ß", "label": "bad"}]
    text = {
        "csv": csv_bytes([(o["text"], o["label"]) for o in objects]).decode(),
        "jsonl": "\n".join(json.dumps(o, ensure_ascii=False) for o in objects),
        "json": json.dumps(objects, ensure_ascii=False),
    }[form]
    path = write(tmp_path / f"a.{form}", text.encode(encoding))
    assert plain(read(path, encoding=encoding)) == [("café é", "schön"), ("ß", "bad")]
    if wrong is None:
        return
    bad = write(tmp_path / "bad", text.encode(encoding).replace("ß".encode(encoding.removesuffix("-16")), wrong, 1))
    if encoding.startswith("utf-16"):
        bad = write(tmp_path / "bad", text.encode(encoding).replace("ß".encode("utf-16-le"), wrong, 1))
    with pytest.raises(DataError, match=f"bad.*(is not {encoding.upper()}; set data.encoding|is not {encoding}: )"):
        read(bad, encoding=encoding)


def test_utf_16_is_found_by_its_mark(tmp_path, messages):
    """Excel calls it Unicode text, with tabs."""
    path = write(tmp_path / "a.txt", csv_bytes(ROWS, delimiter="\t").decode().encode("utf-16"))
    assert plain(read(path)) == ROWS
    assert messages.text.count("a.txt: it is UTF-16.") == 1


def test_errors_replace_replaces_bad_bytes(tmp_path):
    path = write(tmp_path / "a.csv", b"text,label\nna\xefve,b\n")
    with pytest.raises(DataError, match=r"line 2: byte 3 \(0xef\) is not UTF-8; set data.encoding, such as latin-1"):
        read(path)
    assert plain(read(path, errors="replace")) == [("na\ufffdve", "b")]
    assert plain(read(path, encoding="latin-1")) == [("naïve", "b")]


def test_an_endless_line_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "MAX_LINE", 1 << 20)
    path = write(tmp_path / "a.csv", b"text,label\n" + b"x" * (1 << 20))
    with pytest.raises(DataError, match="line 2: longer than 1 MB. Is this a text file"):
        read(path)


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=40), min_size=1, max_size=8), st.integers(1, 30))
@settings(deadline=None, max_examples=100)
def test_an_array_is_read_in_pieces_of_any_size(tmp_path_factory, texts, piece):
    path = tmp_path_factory.mktemp("array") / "a.json"
    path.write_text(
        json.dumps([{"text": t, "label": "x", "n": [{"a": "]"}]} for t in texts], ensure_ascii=False, indent=1)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(formats, "PIECE", piece)
        assert [row.text for row in read(path)] == texts
