"""Files of one's own on the command line: what is in them, how a model does on them, and its answers."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import call
from data_files import csv_bytes, write
from tiny import tiny_texts

CASES = Path(__file__).parents[3] / "shared" / "cases"


@pytest.fixture
def table(tmp_path):
    rows = [(text, ("negative", "positive")[label], i) for i, (text, label) in enumerate(tiny_texts(30, 7))]
    return write(tmp_path / "new.csv", csv_bytes(rows, ("body", "stars", "id")))


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


COLUMNS = ("--text", "body", "--label", "stars")


def test_a_run_and_its_exported_files_are_evaluated_on_a_file(exported, table):
    printed = call("evaluate", exported, "--data", table, *COLUMNS)
    assert "30 reviews: reviews in " in printed
    assert f"Predictions: {table.with_name('new.predictions.csv')}" in printed
    assert len(rows_of(table.with_name("new.predictions.csv"))) == 30
    found = [
        json.loads(call("evaluate", model, "--data", table, *COLUMNS, "--json"))
        for model in (exported, exported / "export/serving", exported / "export/mobile/model.tflite")
    ]
    assert len({one["accuracy"] for one in found}) == 1
    assert all(one["unknown_tokens"] is not None for one in found)
    assert found[0]["accuracy"] > 0.9
    assert len(found[0]["matthews_interval"]) == 2


def test_every_form_of_a_model_classifies_a_table(exported, table):
    labels = []
    for i, model in enumerate(("", "export/serving", "export/mobile/model.tflite")):
        out = table.with_name(f"out{i}.csv")
        printed = call("predict", exported / model, "--data", table, "--text", "body", "--output", out)
        assert printed == f"{out}: 30 rows.\n"
        rows = rows_of(out)
        assert list(rows[0]) == ["body", "stars", "id", "label", "probability", "p_negative", "p_positive"]
        assert [row["id"] for row in rows] == [str(i) for i in range(30)]
        labels.append([row["label"] for row in rows])
    assert labels[0] == labels[1] == labels[2]
    assert "exists already. Pass --overwrite" in call(
        "predict", exported, "--data", table, "--text", "body", "--output", out, code=1
    )


def test_several_files_become_shards_in_a_folder(exported, tmp_path):
    model = exported / "export/mobile/model.tflite"
    for name, seed in (("a", 7), ("b", 8)):
        write(tmp_path / f"{name}.csv", csv_bytes([*((text,) for text, _ in tiny_texts(3, seed)), (" ",)], ("text",)))
    words = ("predict", model, "--data", tmp_path / "?.csv", "--output")
    printed = call(*words, tmp_path / "out")
    assert (
        printed == f"{tmp_path / 'out'}: 8 rows of 2 files in 2 shards (2 without a text, whose answers are empty).\n"
    )
    named = ("predict", model, "--data", tmp_path / "a.csv", "--data", tmp_path / "b.csv", "--output", tmp_path / "out")
    found = json.loads(call(*named, "--json"))
    assert (found["rows"], found["continued_at"], found["shards"]) == (8, 8, 2)
    one = ("predict", model, "--data", tmp_path / "a.csv", "--output", tmp_path / "one", "--format", "jsonl")
    assert call(*one).endswith("one: 4 rows in 1 shard (1 without a text, whose answers are empty).\n")
    assert (tmp_path / "one" / "a-00000.jsonl").is_file()
    said = call(*words, tmp_path / "answers.csv", code=1)
    assert "--data matches 2 files, and " in said and "is the name of a file. Name a folder, such as answers." in said
    assert not (tmp_path / "answers.csv").exists()


def test_json_lines_go_through_a_pipe(tiny_run):
    lines = [json.dumps({"text": text, "id": i}) for i, (text, _) in enumerate(tiny_texts(5, 9))]
    printed = call("predict", tiny_run, "--data", "-", stdin="\n".join(lines))
    assert [json.loads(line)["id"] for line in printed.splitlines()] == list(range(5))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["evaluate", "RUN", "--text", "x"], "--text, --label, --by and --set are about a file of yours. Name it"),
        (["evaluate", "RUN", "--split", "test", "--data", "x.csv"], "Give one of them."),
        (["evaluate", "RUN", "--data", "none.csv"], "there is nothing at 'none.csv'"),
        (["evaluate", "RUN", "--data", "x.csv", "--set", "train.epochs=1"], "only keys below data. can still be set"),
        (["predict", "RUN", "--data", "x.csv"], "--data FILE needs --output OUT, such as --output answers.csv."),
        (
            ["predict", "RUN", "--data", "x.csv", "--csv", "--output", "y.csv"],
            "Leave out TEXT, --file and --csv",
        ),
        (["predict", "RUN", "--data", "-", "--output", "y.csv"], "writes them to standard output. Leave out --output"),
        (["predict", "RUN", "--data", "-", "--data", "x.csv"], "writes them to standard output. Leave out --output"),
        (["predict", "RUN", "--data", "-", "--runner", "direct"], "writes them to standard output. Leave out --output"),
        (
            ["predict", "RUN", "--data", "*.csv", "--data", "x.csv", "--output", "y.txt"],
            "y.txt has no ending that says",
        ),
        (
            ["predict", "RUN", "--data", "x.csv", "--format", "csv", "--output", "y.csv"],
            "--format and --runner write in",
        ),
        (
            ["predict", "RUN", "--data", "x.csv", "--output", "y", "--beam-option", "--x=1"],
            "Name it with --runner, such",
        ),
        (["predict", "RUN", "a text", "--runner", "direct"], "are about a table. Name it with --data."),
        (["predict", "none", "--data", "x.csv", "--output", "y", "--runner", "direct"], "There is nothing at none"),
        (
            ["predict", "RUN", "--data", "x.csv", "--output", "y", "--runner", "flink"],
            "flink needs --beam-option '--fli",
        ),
        (["predict", "RUN", "a text", "--output", "y.csv"], "are about a table. Name it with --data."),
        (["predict", "none", "--data", "x.csv", "--output", "y.csv"], "There is nothing at none"),
    ],
)
def test_options_that_do_not_go_together_are_told(tiny_run, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "x.csv", b"text,label\na,negative\n")
    assert message in call(*[str(tiny_run) if word == "RUN" else word for word in words], code=1)
    assert [path.name for path in tmp_path.iterdir()] == ["x.csv"]


def test_unknown_words_are_reported_by_predict(tiny_run):
    assert "These texts: 100.0% of the tokens are [UNK]" in call("predict", tiny_run, "🎉 🥰", stderr=True)


def test_unknown_words_of_a_table_are_reported(tiny_run, tmp_path):
    write(tmp_path / "a.csv", csv_bytes([("🎉 🥰",), ("🎉",)], ("text",)))
    said = call("predict", tiny_run, "--data", tmp_path / "a.csv", "--output", tmp_path / "b.csv", stderr=True)
    assert "The first 2 texts: 100.0% of the tokens are [UNK]" in said


def test_an_ascii_terminal_gets_every_table(tiny_run, tiny_encoder, tmp_path):
    write(tmp_path / "my.csv", csv_bytes([("naïve ☃ film", "schön"), ("bad", "öde")] * 20))
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    for words in (
        ["data", "my.csv", "--set", f"encoder=path:{tiny_encoder}", "--set", "text.max_tokens=32"],
        ["predict", str(tiny_run), "naïve ☃"],
    ):
        command = [sys.executable, "-m", "tfsent", *words]
        done = subprocess.run(command, capture_output=True, cwd=tmp_path, env=environment, check=False)
        assert done.returncode == 0, done.stderr
        assert b"Traceback" not in done.stderr


def lines(rows, header, form):
    return (header + "\n" + "".join(form.format(text=text, label=label) + "\n" for text, label in rows)).encode()


CONTENTS = {
    "my.csv": csv_bytes,
    "my.csv --set data.text=body --set data.label=stars": lambda rows: csv_bytes(rows, ("body", "stars")),
    "my.csv --set data.label=[negative,positive]": lambda rows: csv_bytes(
        [(text, *((0.1, 0.9) if label == "positive" else (0.7, 0.3))) for text, label in rows],
        ("text", "negative", "positive"),
    ),
    "sms.txt --set data.header=[label,text]": lambda rows: csv_bytes([(n, t) for t, n in rows], None, delimiter="\t"),
    "my.csv --set data.text=0 --set data.label=1": lambda rows: csv_bytes(rows, ("0", "1")),
    "my.txt --set data.delimiter=^": lambda rows: csv_bytes(rows, delimiter="^"),
    "my.tsv --set data.quoting=none": lambda rows: lines(rows, "text\tlabel", '"Great," {text}\t{label}'),
    "my.csv --set data.escape=\\": lambda rows: lines(rows, "text,label", '"\\"Great\\", {text}",{label}'),
    "my.csv --set data.encoding=cp1252": lambda rows: (
        lines(rows, "text,label", '"é {text}",{label}').decode().encode("cp1252")
    ),
    "my.jsonl": lambda rows: "".join(json.dumps({"text": t, "label": n}) + "\n" for t, n in rows).encode(),
}
"""The file of each command of the page, made of reviews."""


def commands_of_the_page():
    """The words of each command of the table of formats in docs/data.md, with the file that it names."""
    import re
    import shlex

    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    table = page[page.index("| what you have") : page.index("A folder inside an archive")]
    commands = [found.replace("\\|", "|") for found in re.findall(r"`tfsent (data [^`]+|train [^`]+)`", table)]
    return [shlex.split(command) for command in commands]


@pytest.fixture
def reviews():
    return [(text, ("negative", "positive")[label]) for text, label in tiny_texts(40, 7)]


@pytest.mark.parametrize("words", commands_of_the_page(), ids=" ".join)
def test_every_format_of_the_page_is_read(words, reviews, tiny_recipe, tmp_path, monkeypatch):
    import gzip
    import tarfile

    import pandas

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tfsent.recipe.loader.recipes", lambda: {"imdb": tiny_recipe})
    line = " ".join(words[1:])
    if words[0] == "train":
        words = ["data", *words[1:]]
        write(tmp_path / "reviews" / "a.csv", csv_bytes(reviews[:20]))
        write(tmp_path / "reviews" / "b.csv", csv_bytes(reviews[20:]))
    elif line in CONTENTS:
        write(tmp_path / words[1], CONTENTS[line](reviews))
    elif words[1] == "my.parquet":
        pandas.DataFrame(reviews, columns=["text", "label"]).to_parquet("my.parquet")
    elif words[1] == "my.csv.gz":
        write(tmp_path / "my.csv.gz", gzip.compress(csv_bytes(reviews)))
    else:
        for i, (text, label) in enumerate(reviews):
            write(tmp_path / "reviews" / label / f"{i}.txt", text.encode())
        if words[1] == "reviews.zip":
            shutil.make_archive("reviews", "zip", tmp_path / "reviews")
        elif words[1].startswith("aclImdb"):
            with tarfile.open("aclImdb_v1.tar.gz", "w:gz") as archive:
                archive.add("reviews", "aclImdb/train")
                archive.add("reviews", "aclImdb/test")
    found = json.loads(call(*words, "--json"))
    assert found["parts"]["train"]["reviews"] == 40
    assert sorted(found["parts"]["train"]["classes"].values()) == [20, 20]


@pytest.mark.skipif(not CASES.is_dir(), reason="shared/cases is not here")
def test_the_cases_are_shown_by_tfsent_data(tiny_encoder):
    settings = ("--set", f"encoder=path:{tiny_encoder}", "--set", "text.max_tokens=32")
    printed = call("data", CASES / "intents77.csv", *settings)
    assert max(map(len, printed.splitlines())) <= 100
    assert "customer_request_number_76" in printed
    found = json.loads(call("data", CASES / "emoji.csv", *settings, "--json"))
    assert found["tokens"]["unknown_tokens"] > 0.5
    said = call("data", CASES / "emoji.csv", *settings, stderr=True)
    assert "Training reviews: " in said and "bert-base-multilingual-cased" in said
