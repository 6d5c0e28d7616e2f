"""CSV and its neighbours: every dialect that the recipe can name or tfsent can find, and what is refused."""

import csv
import io

import pandas
import pyarrow
import pyarrow.csv
import pyarrow.parquet
import pytest
from data_files import csv_bytes, plain, read, write
from hypothesis import given, settings
from hypothesis import strategies as st

from tfsent.errors import DataError

ROWS = [("good film", "pos"), ('a "fine", film\nin two lines', "pos"), ("bad; plot", "neg"), ("é 日本 ☃", "neg")]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_separator_and_the_line_ends_are_found(tmp_path, delimiter, end, messages):
    path = write(tmp_path / "a.csv", csv_bytes(ROWS, delimiter=delimiter, lineterminator=end))
    assert plain(read(path)) == ROWS
    said = f"a.csv: its columns are separated by {delimiter!r}."
    assert messages.text.count(said) == (0 if delimiter == "," else 1)


def test_what_the_recipe_names_comes_first(tmp_path):
    path = write(tmp_path / "a.csv", csv_bytes(ROWS, delimiter="^"))
    assert plain(read(path, delimiter="^")) == ROWS
    with pytest.raises(DataError, match="has no column 'text' and no column 'label'. It has: 'text\\^label'"):
        read(path)
    path = write(tmp_path / "b.csv", csv_bytes([("a;b", "x")], ("text", "label"), delimiter=";"))
    with pytest.raises(DataError, match="no column 'text'"):
        read(path, delimiter=",")


def test_excels_line_about_the_separator_is_read(tmp_path):
    rows = read(write(tmp_path / "a.csv", b"sep=;\r\n" + csv_bytes(ROWS, delimiter=";")))
    assert plain(rows) == ROWS
    assert rows[0].place.endswith("a.csv, line 3")


def test_a_table_without_a_header(tmp_path):
    path = write(tmp_path / "sms.txt", csv_bytes([(n, t) for t, n in ROWS], None, delimiter="\t"))
    assert plain(read(path, header=("label", "text"))) == ROWS
    path = write(tmp_path / "a.csv", b'"1","a title","a film that I liked very much"\n"2","b","dull"\n')
    with pytest.raises(
        DataError, match=r"seems to have no header: .* its 3 columns, .* data.header=\[label,column2,text\]"
    ):
        read(path)
    assert plain(read(path, header=("label", "title", "text"))) == [
        ("a film that I liked very much", "1"),
        ("dull", "2"),
    ]
    with pytest.raises(DataError, match="a.csv, line 1: expected 2 fields, received 3"):
        read(path, header=("label", "text"))


def test_columns_called_by_numbers(tmp_path):
    path = write(tmp_path / "a.csv", csv_bytes(ROWS, ("0", "1")))
    assert plain(read(path, text=0, label=1)) == ROWS


def test_blank_rows_are_read_as_empty_and_blank_lines_skipped(tmp_path):
    path = write(tmp_path / "a.csv", b"text,label\na,x\n\n,\n , \n,,,,\nb,y\n")
    assert plain(read(path)) == [("a", "x"), ("", ""), ("", ""), ("", ""), ("b", "y")]


def test_unnamed_columns_are_read(tmp_path):
    assert plain(read(write(tmp_path / "excel.csv", b"text,label,,\na,b,,\n"))) == [("a", "b")]


def test_a_carriage_return_inside_a_field_is_kept(tmp_path):
    path = write(tmp_path / "a.csv", b'text,label\na\rb,x\n"c\rd, e\r\nf",y\r\n')
    assert plain(read(path)) == [("a\rb", "x"), ("c\rd, e\r\nf", "y")]


def test_quotes_that_are_part_of_the_text(tmp_path):
    path = write(tmp_path / "a.tsv", b'text\tlabel\n"Great," he said\tpos\nan "odd" film\tneg\n"lonely\tneg\n')
    with pytest.raises(DataError, match="a.tsv, line 2: .*expected after.* Where quotes are part .*data.quoting=none"):
        read(path)
    assert plain(read(path, quoting="none")) == [
        ('"Great," he said', "pos"),
        ('an "odd" film', "neg"),
        ('"lonely', "neg"),
    ]


@pytest.mark.parametrize("delimiter", ["\t", ",", ";"])
def test_a_quote_that_was_never_closed_is_found(tmp_path, delimiter):
    """Up to the next quote all rows would be one text, without a word."""
    lines = ["text,label", '"I loved it,1', "It was great,1", 'said she",1', "bad,0"]
    path = write(tmp_path / "a.csv", "\n".join(lines).replace(",", delimiter).encode())
    with pytest.raises(DataError, match=r"a.csv, line 2: unbalanced quote: the field spans .*data.quoting=double"):
        read(path)
    assert len(read(path, quoting="none")) == 4
    assert len(read(path, quoting="double")) == 2


def test_the_label_may_stand_before_a_text_of_several_lines(tmp_path):
    path = write(tmp_path / "a.csv", b'label,text\npos,"short\nand good, really"\nneg,bad\n')
    assert plain(read(path)) == [("short\nand good, really", "pos"), ("bad", "neg")]
    for lines in (b'pos,"I loved it\nneg,it was dull"\n', b'pos,"I loved it\nneg,dull\npos,said she"\n'):
        with pytest.raises(DataError, match="b.csv, line 2: unbalanced quote"):
            read(write(tmp_path / "b.csv", b"label,text\n" + lines + b"neg,bad\n"))


def test_fields_may_span_tabs_and_lines(tmp_path):
    rows = [("Pros:\tfunny, short\nCons:\tnone", "pos"), ("Pros:\n\t- acting\n\t- music", "pos"), ("bad", "neg")]
    for name, delimiter in (("a.csv", ","), ("a.tsv", "\t")):
        path = write(tmp_path / name, csv_bytes(rows, delimiter=delimiter, quoting=csv.QUOTE_ALL))
        assert plain(read(path)) == rows


def test_an_escape_before_quotes(tmp_path):
    path = write(tmp_path / "a.csv", b'"text","label"\n"She said \\"never\\", and left","neg"\n"fine","pos"\n')
    with pytest.raises(DataError, match=r"a.csv, line 2: .* Where \\ stands before a quote: --set data.escape='\\'\."):
        read(path)
    assert plain(read(path, escape="\\")) == [('She said "never", and left', "neg"), ("fine", "pos")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"txt,label\n",
            "no column 'text'. It has: 'txt', 'label'. Did you mean 'txt'. Name yours: --set data.text=txt",
        ),
        (b"text,sentiment\n", "no column 'label'. .* Did you mean 'sentiment'. Name yours: --set data.label=sentiment"),
        (b"a,b\n", "no column 'text' and no column 'label'. It has: 'a', 'b'. Name yours: .* --set data.label=NAME"),
        (b"text,label,text\n", "two columns called 'text'. Rename one"),
        (b"\xef\xbb", "is empty. Expected a header and rows"),
        (b"text,label,x,x\n", "two columns called 'x'"),
        (b"text,label\na,b\ntext,label\nc,d\n", "line 3: the header again; were files joined"),
        (
            b"text,label\na,b\nc\nd,e,f\n",
            "line 3: expected 2 fields, received 1; is a quote missing(.|\n)*line 4: .* 3",
        ),
        (b'text,label\na,b\n"c,d\n', "line 3: unexpected end of data. Close every quote"),
        (b'text,label\n"a"b,c\n', "line 2: .*expected after.*Close every quote, and write one inside a field twice"),
    ],
)
def test_a_fault_names_file_and_line(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        read(write(tmp_path / "a.csv", content))


FIELD = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20)
TABLE = st.lists(st.tuples(FIELD.filter(str.strip), FIELD.filter(str.strip)), min_size=1, max_size=6)
"""A row without any text is blank, and csv readers differ in what they do with one."""


def read_back(folder, name, content, **settings):
    return plain(read(write(folder.mktemp("tables") / name, content), quoting="double", **settings))


@given(
    rows=TABLE,
    end=st.sampled_from(["\r\n", "\n", "\r"]),
    delimiter=st.sampled_from([",", ";", "\t", "|", "^"]),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    doubled=st.booleans(),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
@settings(deadline=None, max_examples=300)
def test_what_the_csv_module_writes_is_read_back(tmp_path_factory, rows, end, delimiter, quoting, doubled, encoding):
    escape = {} if doubled else {"doublequote": False, "escapechar": "\\"}
    if not doubled:
        rows = [tuple(field.replace("\\", "/") for field in row) for row in rows]  # csv does not escape itself
    content = csv_bytes(rows, lineterminator=end, delimiter=delimiter, quoting=quoting, **escape).decode()
    options = {"delimiter": delimiter} if delimiter == "^" else {}
    options |= {} if doubled else {"escape": "\\"}
    options |= {"encoding": "utf-16"} if encoding == "utf-16" else {}
    assert read_back(tmp_path_factory, "a.csv", content.encode(encoding), **options) == rows


@given(rows=TABLE, delimiter=st.sampled_from([",", "\t", ";"]), end=st.sampled_from(["\n", "\r\n"]))
@settings(deadline=None, max_examples=100)
def test_what_pandas_writes_is_read_back(tmp_path_factory, rows, delimiter, end):
    frame = pandas.DataFrame(rows, columns=["text", "label"])
    content = frame.to_csv(index=False, sep=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL).encode()
    assert read_back(tmp_path_factory, "a.csv", content) == rows
    lines = frame.to_json(orient="records", lines=True).encode()
    assert read_back(tmp_path_factory, "a.csv", lines) == rows
    assert read_back(tmp_path_factory, "a.csv", frame.to_json(orient="records").encode()) == rows


@given(rows=TABLE, delimiter=st.sampled_from([",", "\t", ";"]))
@settings(deadline=None, max_examples=100)
def test_what_pyarrow_writes_is_read_back(tmp_path_factory, rows, delimiter):
    table = pyarrow.table({"text": [t for t, _ in rows], "label": [n for _, n in rows]})
    out = io.BytesIO()
    pyarrow.csv.write_csv(table, out, pyarrow.csv.WriteOptions(delimiter=delimiter))
    assert read_back(tmp_path_factory, "a.csv", out.getvalue()) == rows
    out = io.BytesIO()
    pyarrow.parquet.write_table(table, out)
    assert read_back(tmp_path_factory, "a.csv", out.getvalue()) == rows


@given(
    rows=st.lists(
        st.tuples(
            *[st.text(st.characters(codec="utf-8", exclude_characters="\x00\r\n\t"), max_size=20).filter(str.strip)] * 2
        ),
        min_size=1,
        max_size=6,
    )
)
@settings(deadline=None, max_examples=100)
def test_tables_without_quoting_are_read_back(tmp_path_factory, rows):
    content = "\n".join(["text\tlabel", *map("\t".join, rows)]).encode()
    path = write(tmp_path_factory.mktemp("tables") / "a.tsv", content)
    assert plain(read(path, quoting="none")) == rows
