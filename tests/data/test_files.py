"""The reader's own files: as they come, several at once, packed, and faulty in every way we could think of."""

import csv
import gzip
import io
import json
import tarfile
import zipfile
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfsent.data import files
from tfsent.data.files import Faults, Row, find_files, read_files
from tfsent.errors import DataError
from tfsent.recipe.loader import source_of
from tfsent.recipe.schema import DataConfig

GOOD = [("good film", "pos"), ('a "fine", film\nin two lines', "pos"), ("bad plot", "neg"), ("é 日本 ☃", "neg")]


def read(path, source="csv", **settings):
    """Rows of files, which must be without fault."""
    config = DataConfig(source=source, train=(str(path),), **settings)
    faults = Faults()
    rows = list(read_files(find_files(config.train, "train"), config, faults))
    faults.raise_if_any()
    return rows


def plain(rows):
    return [(row.text, row.label) for row in rows]


def csv_bytes(rows, header=("text", "label"), **options):
    out = io.StringIO()
    writer = csv.writer(out, **options)
    writer.writerows([header, *rows])
    return out.getvalue().encode()


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", csv_bytes(GOOD)),
        ("a.csv", csv_bytes(GOOD, lineterminator="\n")),
        ("a.csv", b"\xef\xbb\xbf" + csv_bytes(GOOD, quoting=csv.QUOTE_ALL)),
        ("a.csv", csv_bytes(GOOD) + b"\r\n\r\n"),
        ("a.tsv", csv_bytes(GOOD, delimiter="\t")),
        ("a.csv.gz", gzip.compress(csv_bytes(GOOD), mtime=0)),
        ("a.jsonl", "".join(json.dumps({"text": t, "label": n, "x": 1}) + "\n" for t, n in GOOD).encode()),
        ("a.jsonl", "\r\n".join(json.dumps({"label": n, "text": t}) for t, n in GOOD).encode()),
    ],
)
def test_every_kind_of_file_gives_equal_rows(tmp_path, name, content):
    rows = read(write(tmp_path / name, content), name.split(".")[1])
    assert plain(rows) == GOOD


def test_csv_texts_may_span_tabs_and_lines(tmp_path):
    rows = [("Pros:\n\t- acting\n\t- music", "pos"), ("bad", "neg")]
    assert plain(read(write(tmp_path / "a.csv", csv_bytes(rows)))) == rows


def test_upper_case_suffixes_are_read(tmp_path):
    for name in ("pos/0.txt", "pos/1.TXT", "neg/2.Txt"):
        write(tmp_path / "reviews" / name, b"a film")
    assert sorted(row.label for row in read(tmp_path / "reviews", "folder")) == ["neg", "pos", "pos"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.csv", "csv"),
        ("a.b.TSV", "tsv"),
        ("a.jsonl.gz", "jsonl"),
        ("a.csv.yaml", None),
        ("a.csv.txt", None),
        ("csv", None),
        ("a.gz", None),
        ("a.CSV.zip", "csv"),
        ("a.tsv.tar.gz", "tsv"),
        ("a.zip", None),
    ],
)
def test_the_suffix_decides_the_kind(name, kind):
    assert source_of(name) == kind


def test_parquet_labels_may_be_bytes(tmp_path):
    table = pyarrow.table({"text": ["a", "b"], "label": pyarrow.array(["schön".encode(), b"bad"], pyarrow.binary())})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    assert plain(read(tmp_path / "a.parquet", "parquet")) == [("a", "schön"), ("b", "bad")]


def test_a_row_names_its_first_line(tmp_path):
    rows = read(write(tmp_path / "a.csv", csv_bytes(GOOD)))
    assert [row.place for row in rows] == [f"{tmp_path}/a.csv, line {n}" for n in (2, 3, 5, 6)]


def test_the_recipe_names_the_columns(tmp_path):
    content = csv_bytes([(1, "neg", "x", "bad"), (2, "pos", "y", "good")], ("id", "stars", "film", "body"))
    rows = read(write(tmp_path / "a.csv", content), text="body", label="stars", group="film")
    assert [row[:3] for row in rows] == [("bad", "neg", "x"), ("good", "pos", "y")]


def test_parquet_gives_equal_rows(tmp_path):
    texts = [text for text, _ in GOOD]
    table = pyarrow.table({"text": texts, "label": [1, 1, 0, 0], "film": [7, 7, 8, None], "other": [0.5] * 4})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    rows = read(tmp_path / "a.parquet", "parquet", group="film")
    assert [row[:3] for row in rows] == [(t, n, g) for t, n, g in zip(texts, "1100", ("7", "7", "8", ""), strict=True)]
    pyarrow.parquet.write_table(pyarrow.table({"text": ["a", None], "label": [0, 1]}), tmp_path / "b.parquet")
    assert plain(read(tmp_path / "b.parquet", "parquet")) == [("a", "0"), ("", "1")]
    pyarrow.parquet.write_table(pyarrow.table({"text": [1, 2], "label": [0, 1]}), tmp_path / "d.parquet")
    with pytest.raises(DataError, match=r"d.parquet, row 1: no text; received 1"):
        read(tmp_path / "d.parquet", "parquet")
    write(tmp_path / "c.parquet", b"PAR1 not really")
    with pytest.raises(DataError, match="c.parquet cannot be read as Parquet"):
        read(tmp_path / "c.parquet", "parquet")


def test_whole_floats_are_spelt_as_integers(tmp_path):
    """pandas turns a column of whole numbers with a gap in it into one of floats."""
    lines = [{"text": "a", "label": label, "film": label} for label in (1, 1.0, 0.5, None, float("nan"), "x")]
    write(tmp_path / "a.jsonl", "\n".join(map(json.dumps, lines)).encode())
    rows = read(tmp_path / "a.jsonl", "jsonl", group="film")
    assert [row.label for row in rows] == [row.group for row in rows] == ["1", "1", "0.5", "", "", "x"]
    table = pyarrow.table({"text": ["a", "b", "c"], "label": [1.0, None, float("nan")]})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    assert [row.label for row in read(tmp_path / "a.parquet", "parquet")] == ["1", "", ""]


def test_null_texts_and_unnamed_columns_are_read(tmp_path):
    path = write(tmp_path / "a.jsonl", b'{"text": null, "label": 1}\n{"text": "a", "label": 0}\n')
    assert plain(read(path, "jsonl")) == [("", "1"), ("a", "0")]
    assert plain(read(write(tmp_path / "excel.csv", b"text,label,,\na,b,,\n"))) == [("a", "b")]


def test_a_folder_per_class_is_read(tmp_path):
    for place, text in [("pos/0_9.txt", "good"), ("neg/1_2.txt", "bad\nplot"), ("unsup/0_0.txt", "who knows")]:
        write(tmp_path / "aclImdb" / "train" / place, text.encode())
    write(tmp_path / "aclImdb" / "train" / "labeledBow.feat", b"1:2")
    found = read(tmp_path / "aclImdb" / "train", "folder")
    assert sorted(plain(found)) == [("bad\nplot", "neg"), ("good", "pos")]
    assert plain(read(tmp_path / "aclImdb" / "train", "folder", labels=("unsup", "pos"))) == [
        ("good", "pos"),
        ("who knows", "unsup"),
    ]
    write(tmp_path / "aclImdb" / "train" / "urls_pos.txt", b"http://www.imdb.com/")
    write(tmp_path / "aclImdb" / "imdbEr.txt", b"0.5")
    with zipfile.ZipFile(tmp_path / "acl.zip", "w") as archive:
        for file in sorted((tmp_path / "aclImdb").rglob("*.*")):
            archive.write(file, file.relative_to(tmp_path))
    assert sorted(plain(read(tmp_path / "acl.zip", "folder"))) == sorted(plain(found))
    with tarfile.open(tmp_path / "acl.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "aclImdb", "aclImdb")
    assert sorted(plain(read(tmp_path / "acl.tar.gz", "folder"))) == sorted(plain(found))
    with zipfile.ZipFile(tmp_path / "top.zip", "w") as archive:
        archive.writestr("pos/1.txt", "good")
        archive.writestr("neg/1.txt", "bad")
        archive.writestr("notes.txt", "of mine")
    assert plain(read(tmp_path / "top.zip", "folder")) == [("good", "pos"), ("bad", "neg")]
    with zipfile.ZipFile(tmp_path / "acl.zip", "a") as archive:
        archive.writestr("aclImdb/test/pos/0.txt", "never to be learnt from")
    with pytest.raises(DataError, match="acl.zip has folders with .txt files in aclImdb/test, aclImdb/train. Expected"):
        read(tmp_path / "acl.zip", "folder")
    with zipfile.ZipFile(tmp_path / "flat.zip", "w") as archive:
        archive.writestr("1.txt", "good")
    with pytest.raises(DataError, match="flat.zip has no folder with .txt files in it"):
        read(tmp_path / "flat.zip", "folder")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="has no folder with .txt files in it"):
        read(tmp_path / "empty", "folder")
    write(tmp_path / "aclImdb" / "test" / "pos" / "0.txt", b"never to be learnt from")
    with pytest.raises(DataError, match="aclImdb has folders with .txt files in test, train. Expected one place with"):
        read(tmp_path / "aclImdb", "folder")
    with pytest.raises(DataError, match="is not a folder"):
        read(write(tmp_path / "a.csv", b""), "folder")


def test_several_files_globs_and_zip_members(tmp_path):
    for i, row in enumerate(GOOD):
        write(tmp_path / f"part{i}.csv", csv_bytes([row]))
    assert plain(read(tmp_path / "part*.csv")) == GOOD
    config = DataConfig(source="csv", train=[str(tmp_path / "part2.csv"), str(tmp_path / "part[01].csv")])
    assert [p.name for p in find_files(config.train, "train")] == ["part2.csv", "part0.csv", "part1.csv"]
    with zipfile.ZipFile(tmp_path / "all.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for i in range(4):
            archive.write(tmp_path / f"part{i}.csv", f"data/part{i}.csv")
        archive.writestr("__MACOSX/data/._part0.csv", b"\x00\x05\x16\x07")
        archive.writestr("readme.txt", b"hello")
        archive.writestr("./", b"")
    assert plain(read(tmp_path / "all.zip")) == GOOD
    config = DataConfig(source="csv", train=[str(tmp_path / "part0.csv"), str(tmp_path / "*.csv")])
    assert [p.name for p in find_files(config.train, "train")] == [f"part{i}.csv" for i in range(4)]
    write(tmp_path / "odd[1].csv", csv_bytes(GOOD))
    assert plain(read(tmp_path / "odd[1].csv")) == GOOD


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "a.csv is empty. Expected a header and rows"),
        (
            "a.csv",
            b"txt,label\n",
            "no column 'text'. Did you mean 'txt'. It has: 'txt', 'label'. Name yours with data.text",
        ),
        (
            "a.csv",
            b"text;label\n",
            "no column 'text'. Its columns are separated by ';': save it with commas",
        ),
        ("a.csv", b"text,sentiment\n", "no column 'label'. It has: 'text', 'sentiment'. Name yours with data.label"),
        ("a.csv", b"text,label,text\n", "two columns called 'text'"),
        (
            "a.tsv",
            b'text\tlabel\n"I loved it\t1\nIt was great\t1\nsaid she"\t1\nbad\t0\n',
            "1 faulty row:\n  .*a.tsv, line 2: unbalanced quote: the field spans several rows. Escape it as",
        ),
        (
            "a.csv",
            b"text,label\na,b\nc\nd,e,f\n",
            "line 3: expected 2 fields, received 1; is a quote missing(.|\n)*line 4: expected 2 fields, received 3",
        ),
        ("a.csv", b'text,label\na,b\n"c,d\n', "line 3: unexpected end of data. Close every quote"),
        (
            "a.csv",
            b'text,label\n"a"b,c\n',
            "line 2: .*expected after.*Close every quote, and write one inside a field twice",
        ),
        (
            "a.csv",
            b"text,label\nna\xefve,b\n",
            r"line 2: byte 3 \(0xef\) is not UTF-8; convert the file, or set data.errors=repl",
        ),
        ("a.csv", b"\xff\xfet\x00", "a.csv is UTF-16. Save it as UTF-8"),
        ("a.csv", b"text,label\ra,b\r", "line 1: new-line character"),
        ("a.jsonl", b'{"text": "a", "label": 1}\n{"text"\n', "line 2: not JSON"),
        ("a.jsonl", b"[1]\n", "line 1: expected an object such as"),
        ("a.jsonl", b'{"text": 3, "label": 1}\n', "line 1: 'text' is not a string; received 3"),
        ("a.csv.gz", b"not gzip", "a.csv.gz cannot be read"),
        ("a.csv.gz", gzip.compress(csv_bytes(GOOD * 99), mtime=0)[:-20], "a.csv.gz cannot be read"),
        ("a.zip", b"PK not zip", "a.zip cannot be read: File is not a zip file"),
        (
            "a.parquet.gz",
            gzip.compress(b"PAR1", mtime=0),
            "a.parquet.gz: a packed Parquet .* Unpack it first",
        ),
    ],
)
def test_a_fault_names_file_and_line(tmp_path, name, content, message):
    source = name.split(".")[1].replace("zip", "csv")
    with pytest.raises(DataError, match=message):
        read(write(tmp_path / name, content), source)


def test_ten_faults_are_shown_others_counted(tmp_path):
    path = write(tmp_path / "a.csv", b"text,label\n" + b"only\n" * 25)
    with pytest.raises(DataError) as caught:
        read(path)
    lines = str(caught.value).splitlines()
    assert lines[0] == "25 faulty rows:"
    assert lines[-1].strip() == "… and 15 more"
    assert len(lines) == 12


def test_errors_replace_replaces_bad_bytes(tmp_path):
    path = write(tmp_path / "a.csv", b"text,label\nna\xefve,b\n")
    assert plain(read(path, errors="replace")) == [("na\ufffdve", "b")]


def test_a_missing_file_or_a_folder_is_refused(tmp_path):
    with pytest.raises(
        DataError, match="data.train: there is nothing at '.*none.csv'. Expected a file, a folder, or a g"
    ):
        read(tmp_path / "none.csv")
    with pytest.raises(DataError, match=f"nothing at 'none.csv', seen from {Path.cwd()}. Expected a file"):
        read(Path("none.csv"))
    with pytest.raises(DataError, match="is a folder. Expected a csv file, or a glob such as"):
        read(tmp_path)


def test_an_endless_line_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_LINE", 1 << 20)
    path = write(tmp_path / "a.csv", b"text,label\n" + b"x" * (1 << 20))
    with pytest.raises(DataError, match="line 2: longer than 1 MB. Is this a text file"):
        read(path)


FIELD = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20)


@given(st.lists(st.tuples(FIELD, FIELD), min_size=1, max_size=6), st.sampled_from(["\r\n", "\n"]))
@settings(deadline=None, max_examples=100)
def test_written_csv_is_read_back(tmp_path_factory, rows, end):
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    path.write_bytes(csv_bytes(rows, lineterminator=end, quoting=csv.QUOTE_ALL))
    assert plain(read(path)) == rows


@given(st.binary(max_size=200))
@settings(deadline=None, max_examples=200)
def test_any_bytes_give_rows_or_one_error(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("junk") / "a.csv"
    path.write_bytes(b"text,label\n" + content)
    try:
        assert all(isinstance(row, Row) for row in read(path))
    except DataError as error:
        assert "a.csv" in str(error)
