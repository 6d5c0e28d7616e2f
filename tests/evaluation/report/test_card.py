"""The model card: metadata that the Hub reads, and Markdown that no text of a stranger breaks."""

import logging
import re

import pytest
from huggingface_hub import ModelCard

from tfsent.evaluation.report.card import OWN, in_markdown, write_card


def read(run):
    path = write_card(run)
    assert path == run / "README.md"
    text = path.read_text(encoding="utf-8")
    assert "None" not in text
    assert not re.search(r"\bnan\b", text)
    return ModelCard(text)


def test_the_metadata_is_what_the_hub_reads(runs):
    run = runs(evaluated=True)
    runs.change(run, "metrics.json", origin="official IMDb test split", accuracy=0.9258)
    data = read(run).data
    assert (data.language, data.license, data.pipeline_tag) == ("en", "apache-2.0", "text-classification")
    assert data.base_model == "sentence-transformers/all-MiniLM-L6-v2"
    assert data.metrics == ["accuracy", "f1", "matthews_correlation", "roc_auc", "brier_score"]
    first, second, *_ = data.eval_results
    assert (first.metric_type, first.metric_value, first.dataset_type, first.dataset_split) == (
        *("accuracy", 0.9258, "stanfordnlp/imdb"),
        "test",
    )
    assert second.metric_args == {"average": "macro"}


def test_what_is_not_known_is_left_out(runs):
    run = runs(settings=["data.train=/home/somebody/a.csv"])
    runs.change(run, "data.json", encoder={"uri": "path:/home/somebody/bert"})
    card = read(run)
    found = card.data.to_dict()
    assert {"language", "license", "base_model", "datasets", "model-index"} & found.keys() == set()
    assert "somebody" not in card.content
    assert "The licence of the encoder is not known to tfsent." in card.text


@pytest.mark.parametrize(
    ("uri", "base"),
    [
        ("hf:google-bert/bert-base-uncased@main", "google-bert/bert-base-uncased"),
        ("hf:bert", None),
        ("keras:bert_tiny_en_uncased", None),
        ("pypi:minilm-l6", "sentence-transformers/all-MiniLM-L6-v2"),
    ],
)
def test_the_encoder_is_named_as_on_the_hub(runs, uri, base):
    run = runs()
    runs.change(run, "data.json", encoder={"uri": uri})
    assert read(run).data.base_model == base


def test_reviews_held_out_of_train_are_not_called_the_official_ones(runs):
    run = runs(evaluated=True)
    runs.change(run, "metrics.json", origin="held out of the training reviews; not the official test split")
    assert read(run).data.eval_results[0].dataset_type == "reviews"


def test_it_says_what_the_report_says(runs):
    text = read(runs(evaluated=True, exported=True)).text
    for words in (
        "| genre: horror | 72.0% | 61.0 to 81.0% | 80 | 85.0% |",
        "3 slices were compared with the other reviews, at 5% together (Holm); 1 more is too small to tell.",
        "- 60.0% of the reviews are longer than the model reads.",
        "| int4 | no: 3.00% of labels flip | 13.0 MB | 12.0 | 85.0% | ±0.0 pt | 0.00% |",
        "Training reviews by class: negative 200, positive 200.",
        "3 epochs were trained. Epoch 2 is kept, chosen by the validation reviews.",
        'model = tfsent.load("made-up")',
        "tfsent train config.yaml --run-dir made-up",
    ):
        assert words in text, words


def test_after_training_it_says_that_the_test_is_to_come(runs):
    text = read(runs()).text
    assert "**Validation accuracy 90.0%**" in text
    assert "The test reviews have not been measured." in text


ATTACKS = (
    "<script>alert(1)</script>",
    "| a | b |",
    "`x` **y** ![z](http://e)",
    "---\nlicense: mit\n---",
    "# h",
    "```\n",
)


@pytest.mark.parametrize("attack", ATTACKS)
def test_texts_of_strangers_are_shown_as_they_are(runs, attack):
    names = (f"{attack} 1", attack)
    run = runs(classes=names, evaluated=True, exported=True)
    runs.change(run, "metrics.json", origin=attack, never_predicted=[attack])
    runs.change(run, "environment.json", tfsent=attack)
    row = {"artifact": attack, "faults": [attack], "remark": attack, "not_chosen": attack}
    runs.change(run, "verify.json", artifacts=[row])
    runs.write(run, "analysis.json", runs.analysis(names).to_dict())
    card = read(run)
    assert card.data.license == "apache-2.0"
    body = card.text.replace(OWN, "")
    assert "<" not in body
    columns = [len(re.findall(r"(?<!\\)\|", line)) for line in body.splitlines() if line.startswith("|")]
    assert set(columns) <= {4, 5, 6, 8}
    assert body.count("```") == 4
    assert not [line for line in body.splitlines() if line.startswith("#") and attack in line]


def test_a_name_that_would_break_out_of_a_block_is_not_in_one(runs):
    assert 'tfsent.load("RUN")' in read(runs("a`\n```\n<b>")).text


def test_markdown_is_escaped_on_one_line():
    assert in_markdown("a|b *c* [d](e)\n# f <g> & $h$ ~i~") == (r"a\|b \*c\* \[d\](e) \# f &lt;g&gt; &amp; \$h\$ \~i\~")
    assert in_markdown(3) == "3"


def test_what_is_no_unicode_is_replaced(runs):
    assert read(runs("emoji 😀 عربى", classes=("\ud83d", "\u0000\u0085"), evaluated=True))


def test_a_readme_of_somebody_else_is_left_alone(runs, caplog):
    run = runs()
    (run / "README.md").write_text("mine")
    with caplog.at_level(logging.WARNING):
        write_card(run)
    assert (run / "README.md").read_text() == "mine"
    assert (
        f"{run / 'README.md'} is not tfsent's, so the model card is not written. Rename it to get one." in caplog.text
    )


def test_its_own_card_is_written_again(runs):
    run = runs()
    first = write_card(run).read_bytes()
    assert write_card(run).read_bytes() == first
    assert OWN in first.decode()


@pytest.mark.parametrize("damage", [None, "", "{}"])
@pytest.mark.parametrize("name", ["metrics.json", "analysis.json", "verify.json", "history.csv", "data.json"])
def test_it_is_written_whatever_is_missing_or_damaged(runs, name, damage):
    run = runs(evaluated=True, exported=True)
    (run / name).unlink() if damage is None else runs.write(run, name, damage)
    assert read(run)
