"""The report is one sound file, whatever the run holds: texts of strangers, missing files, many classes."""

import html.parser
import json
import re
import shutil
import subprocess
import sys

import pytest

from tfsent.errors import RunError
from tfsent.evaluation.report.page import write_report

ATTACKS = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "]]><!--",
    "</style><style>*{display:none}",
    "{{ 7 * 7 }}{% raw %}",
    "' onmouseover='alert(1)",
    "&lt;b&gt;",
)
VOID = {"meta", "link", "br", "line", "circle", "rect", "path", "polyline"}


class Page(html.parser.HTMLParser):
    """Collects tags, text, ids and links, and checks that tags are closed in their order."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words, self.ids, self.links, self.open = [], [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.tags.append(tag)
        self.ids += [values["id"]] if "id" in values else []
        self.links += [values[name] for name in ("href", "src") if name in values]
        assert not [name for name in values if name.startswith("on")]
        if tag not in ("meta", "link", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def read(run):
    path = write_report(run)
    assert path == run / "report.html"
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert len(page.ids) == len(set(page.ids))
    assert "script" not in page.tags
    assert [link for link in page.links if not link.startswith(("#", "data:,"))] == []
    assert [link[1:] for link in page.links if link.startswith("#") and link[1:] not in page.ids] == []
    assert "None" not in page.text
    assert " nan" not in page.text
    return page


def test_after_training_it_says_what_to_do_next(runs):
    page = read(runs())
    assert "90.0% validation accuracy" in page.text
    assert "tfsent evaluate made-up measures the test reviews." in page.text
    assert "Not exported yet tfsent export made-up writes the files" in page.text
    assert "The test reviews have not been measured." in page.text
    assert "Epoch 2 of 3 is kept: it has the highest validation accuracy." in page.text


def test_after_evaluation_and_export_everything_is_there(runs):
    run = runs(evaluated=True, exported=True)
    runs.write(run, "model/decision.json", {"temperature": 1.5, "threshold": None, "aim": None})
    page = read(run)
    for words in (
        "2 slices are shown to be worse",
        "length : over 512 tokens ▼ 70.0% 57.0 to 80.0% of 60; all others 85.0%",
        "Without the temperature",
        "With temperature 1.5",
        "The logits are divided by a temperature of 1.5",
        "60.0% of the reviews are longer than the model reads.",
        "2 more were set aside",
        "int4 ✗ no 3.00% of labels flip",
        "float32 spare int8 is smaller",
        "tfsent train config.yaml --run-dir made-up",
    ):
        assert words in re.sub(r" ([,.:])", r"\1", page.text).replace("length:", "length :"), words
    assert page.tags.count("svg") > 10
    assert "not been measured" not in page.text


@pytest.mark.parametrize(
    "name", ["metrics.json", "analysis.json", "verify.json", "history.csv", "data.json", "config.yaml"]
)
@pytest.mark.parametrize("damage", [None, "", "{}", '{"splits": {"train": 3}, "classes": 1, "artifacts": [1, {}]}'])
def test_it_is_written_whatever_is_missing_or_damaged(runs, name, damage):
    run = runs(evaluated=True, exported=True)
    if damage is not None:
        runs.write(run, name, damage)
    elif name != "config.yaml":  # without one it is no run
        (run / name).unlink()
    assert read(run)


def test_missing_figures_are_dashes(runs):
    run = runs(evaluated=True, exported=True)
    runs.change(run, "metrics.json", roc_auc=None, roc_auc_interval=None, brier=float("nan"))
    rows = json.loads((run / "verify.json").read_text())["artifacts"]
    empty = dict.fromkeys(
        ("megabytes", "max_difference", "flips", "accuracy", "accuracy_drop", "mcnemar_p", "latency_ms")
    )
    runs.change(run, "verify.json", artifacts=[{**row, **empty} for row in rows], trained_model_accuracy=None)
    runs.change(run, "analysis.json", roc=None, precision_recall=None, lengths=None, near_duplicates=None, errors=[])
    assert "ROC-AUC" not in read(run).text


@pytest.mark.parametrize(
    ("near", "accuracy", "words"),
    [
        (3, 0.9, "The surest errors, 3, were all set aside: their texts nearly occur in the training reviews."),
        (0, 1.0, "The model has all 400 reviews right."),
        (None, 0.9, "No error was kept."),
    ],
)
def test_no_errors_to_show_need_not_mean_no_errors(runs, near, accuracy, words):
    run = runs(evaluated=True, errors=(), near_duplicates=near)
    runs.change(run, "metrics.json", accuracy=accuracy)
    assert words in read(run).text


def test_no_folder_of_this_machine_is_in_it(runs):
    settings = ["data.train=/home/somebody/secret/a.csv", "encoder=path:/home/somebody/secret/bert"]
    run = runs(settings=settings, evaluated=True, exported=True)
    runs.change(run, "metrics.json", origin="reviews in /home/somebody/secret/b.csv")
    encoder = {"uri": "path:/home/somebody/secret/bert", "folder": runs.folder_of_encoder, "files": {}}
    runs.change(run, "data.json", encoder=encoder)
    page = read(run)
    text = (run / "report.html").read_text()
    assert "somebody" not in text
    assert str(run.parent) not in text
    assert "encoder path:…/bert" in page.text
    assert "- …/a.csv" in page.text


@pytest.mark.parametrize("attack", ATTACKS)
def test_texts_of_strangers_are_shown_as_they_are(runs, attack):
    run = runs(
        settings=[f"data.text={json.dumps(attack)}"], classes=(f"{attack} 1", attack), evaluated=True, exported=True
    )
    for name, changes in {
        "metrics.json": {"origin": attack, "never_predicted": [attack], "unknown_labels": {attack: 1}},
        "environment.json": {"platform": attack},
        "verify.json": {"origin": attack, "published": [attack], "trained_model_never_predicted": [attack]},
    }.items():
        runs.change(run, name, **changes)
    row = {"artifact": attack, "faults": [attack], "remark": attack, "not_chosen": attack, "never_predicted": [attack]}
    runs.change(run, "verify.json", artifacts=[row, {**row, "megabytes": 1, "accuracy": 1}])
    analysis = runs.analysis((f"{attack} 1", attack), text=f"{attack} {runs.text}")
    slices = [{**vars(one), "by": attack, "value": attack} for one in analysis.slices]
    runs.write(run, "analysis.json", {**analysis.to_dict(), "slices": slices})
    before = read(runs("plain", evaluated=True, exported=True))
    page = read(run)
    assert attack in "".join(page.words)
    assert {"script", "img", "style"} & set(page.tags) == {"style"}
    assert page.tags.count("style") == before.tags.count("style") == 1


def test_a_run_may_have_any_name(runs):
    run = runs("<i>&\"' $(rm -rf x) `y`")
    page = read(run)
    assert "i" not in page.tags
    assert "tfsent evaluate '<i>&\"'\"'\"' $(rm -rf x) `y`'" in page.text
    assert "tfsent evaluate ./-x" in read(runs("-x")).text


def test_what_is_no_unicode_is_replaced(runs):
    run = runs(classes=("\ud83d", "b\u0000\u202e"))
    assert read(run)


@pytest.mark.parametrize("classes", [3, 12, 13, 300])
def test_many_classes(runs, classes):
    names = tuple(f"class {i}" for i in range(classes))
    page = read(runs(classes=names, evaluated=True, exported=True))
    assert ("Confusion matrix" in page.text) == (classes <= 12)
    assert "Most frequent confusions" in page.text
    assert "Curves are drawn for two classes" in page.text


def test_one_epoch_of_one_review(runs):
    run = runs(evaluated=True)
    runs.write(run, "history.csv", "epoch,loss,val_loss,val_accuracy\n1,0.5,nan,1.0\n")
    assert "Epoch 1 of 1 is kept" in read(run).text


def test_reviews_from_python_cannot_be_had_by_a_command(runs):
    page = read(runs(settings=["data.source=memory"]))
    assert 'Call tfsent.train("config.yaml", data=…) with the same reviews' in page.text


def test_it_stays_small_with_the_largest_figures(runs):
    text = "&<>\"'" * 4000
    words = tuple((i, i + 1, 1.0 if i % 2 else -1.0) for i in range(0, 20_000))
    names = tuple("é" * 300 + str(i) for i in range(500))
    run = runs(classes=names, evaluated=True, exported=True)
    analysis = runs.analysis(names, text=text).to_dict()
    analysis["errors"] = [{**analysis["errors"][0], "attributions": words}] * 100
    analysis["slices"] = analysis["slices"] * 1000
    runs.write(run, "analysis.json", analysis)
    read(run)
    assert (run / "report.html").stat().st_size < 3_000_000


def test_the_same_files_make_the_same_report(runs):
    run = runs(evaluated=True, exported=True)
    first = write_report(run).read_bytes()
    assert write_report(run).read_bytes() == first


def test_the_best_seed_is_reported_on(runs):
    run = runs("several/seed-2")
    runs.write(run.parent, "seeds.json", {"best_run": "seed-2"})
    assert write_report(run.parent) == run / "report.html"


def test_without_a_run_nothing_is_written(tmp_path):
    with pytest.raises(RunError, match="No run at"):
        write_report(tmp_path / "none")


def test_nothing_heavy_is_loaded(runs):
    run = runs(evaluated=True, exported=True)
    code = (
        "import sys; from pathlib import Path; from tfsent.evaluation.report.page import write_report; "
        f"write_report(Path({str(run)!r})); "
        "heavy = {'tensorflow', 'keras', 'sklearn', 'scipy', 'matplotlib', 'huggingface_hub'}; "
        "print(*heavy & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_a_real_export_is_of_its_model(exported, tmp_path):
    run = shutil.copytree(exported, tmp_path / "run")
    assert "May it ship? Yes" in read(run).text
    (run / "model" / "labels.txt").write_text("a\nb\n")
    assert "May it ship? Not as it is" in read(run).text
