"""Files that people really have, made after public bug reports: each is read as it should be, or refused with the way
out. They lie beside the project."""

from pathlib import Path

import pytest

from tfsent.data.splits import load_splits
from tfsent.errors import DataError
from tfsent.recipe.schema import DataConfig

CASES = Path(__file__).parents[3] / "shared" / "cases"
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="shared/cases is not here")


def total(name, **settings):
    """Reviews in all splits of a file."""
    splits = load_splits(DataConfig(train=str(CASES / name), **settings))
    return sum(len(part) for part in vars(splits).values()), splits


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("excel_blank_rows.csv", {}),
        ("cr_inside.csv", {}),
        ("mac_cr.csv", {}),
        ("pandas_tabs_quoteall.tsv", {}),
        ("raw_quotes.tsv", {"quoting": "none"}),
        ("semicolon.csv", {}),
        ("sep_line.csv", {}),
        ("mysql.csv", {"escape": "\\"}),
        ("agnews_noheader.csv", {"header": ["label", "title", "text"]}),
        ("pandas_noname.csv", {"text": 0, "label": 1}),
        ("latin1.csv", {"encoding": "latin-1"}),
        ("doccano.jsonl", {}),
        ("list_label.parquet", {}),
        ("amazon.jsonl", {"text": "reviewText", "label": "overall"}),
        ("yelp_like.json", {}),
        ("array.json", {}),
        ("array_pretty.jsonl", {}),
        ("sms.txt", {"header": ["label", "text"]}),
        ("bin_text.parquet", {}),
    ],
)
def test_a_file_is_read_whole(name, settings):
    count, splits = total(name, **settings)
    assert count == 120
    assert all(len(counts) == 2 and min(counts.values()) >= 5 for counts in (splits.train.class_counts,))
    assert all(
        abs(counts[0] - counts[1]) <= 1 for part in vars(splits).values() for counts in [[*part.class_counts.values()]]
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cat25.csv", "24 faulty rows:\n  .*cat25.csv, line 6: the header again; were files joined"),
        ("raw_quotes.tsv", "raw_quotes.tsv, line 12: .*data.quoting=none"),
        ("mysql.csv", r"mysql.csv, line 12: .*--set data.escape='\\'"),
        ("agnews_noheader.csv", r"seems to have no header.* --set data.header=\[label,column2,text\]"),
        ("sms.txt", r"seems to have no header.* --set data.header=\[label,text\]"),
        ("pandas_noname.csv", "no column 'text' and no column 'label'. It has: '0', '1'. Name yours"),
        (
            "latin1.csv",
            "latin1.csv, line 2: byte 46 .* set data.encoding, such as latin-1 or cp1252; or set data.errors",
        ),
        ("amazon.jsonl", "no key 'text' and no key 'label'. .* --set data.text=reviewText --set data.label=overall"),
        ("reviews.xlsx", "is a workbook. Save the sheet as CSV UTF-8"),
        ("nfc.csv", "labels that look alike: "),
    ],
)
def test_a_file_is_refused_with_the_way_out(name, message):
    with pytest.raises(DataError, match=message):
        total(name)


def test_what_is_left_out_or_odd_is_said(messages):
    total("excel_blank_rows.csv")
    assert "rows without text are left out" in messages.text
    total("semicolon.csv")
    assert "its columns are separated by ';'" in messages.text
    total("nan20.csv")
    assert "have the label 'nan' 20 times" in messages.text


@pytest.mark.parametrize("name", ["fewshot8.csv", "longtail.csv", "intents77.csv"])
def test_rare_classes_are_in_every_split(name, messages):
    _, splits = total(name)
    assert all(min(part.class_counts.values()) >= 1 for part in vars(splits).values())
    assert "split has few reviews of " in messages.text


def test_a_given_test_file_may_lack_classes(messages):
    _, splits = total("stars.csv", test=str(CASES / "test_3_of_5.csv"))
    assert splits.test.class_counts == {"1": 20, "2": 20, "3": 20, "4": 0, "5": 0}
    assert "The test split has no review of '4', '5': nothing is measured there about these classes." in messages.text
