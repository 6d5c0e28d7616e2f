"""Planted label errors are found, and the table of them can be trained on."""

import csv
import importlib.util

import numpy as np
import pytest
from tiny import tiny_texts

from tfsent.data.reviews import Reviews
from tfsent.errors import ConfigError, DataError, RunError
from tfsent.evaluation.suspects import find_suspects, require_cleanlab, write_suspects

pytest.importorskip("cleanlab")


def planted(count=1500, errors=60, classes=2):
    """Reviews of a good model, some with another label; and which those are."""
    rng = np.random.default_rng(0)
    truth = rng.integers(classes, size=count)
    scores = np.exp(rng.normal(size=(count, classes)) + 5 * np.eye(classes)[truth])
    probabilities = (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)
    wrong = rng.choice(count, errors, replace=False)
    given = truth.copy()
    given[wrong] = (given[wrong] + rng.integers(1, classes, size=errors)) % classes
    texts = tuple(f'review {i}, "quoted"\nin two lines' for i in range(count))
    return (
        Reviews(texts, given.astype(np.int32), tuple("abcd"[:classes]), ""),
        probabilities,
        truth,
        set(wrong.tolist()),
    )


@pytest.mark.parametrize("classes", [2, 4])
def test_planted_errors_are_found(classes):
    reviews, probabilities, truth, wrong = planted(classes=classes)
    suspects = find_suspects(reviews, probabilities)
    found = {one.row for one in suspects}
    assert len(found & wrong) >= 0.95 * len(wrong)
    assert len(found & wrong) >= 0.95 * len(found)
    assert [one.score for one in suspects] == sorted(one.score for one in suspects)
    right = [one.suggested_label == reviews.label_names[truth[one.row]] for one in suspects if one.row in wrong]
    assert np.mean(right) > 0.95
    assert all(one.label != one.suggested_label and one.text == reviews.texts[one.row] for one in suspects)
    assert suspects[0].to_dict()["row"] == suspects[0].row


def test_right_labels_are_not_suspected():
    reviews, probabilities, _, _ = planted(errors=0)
    assert len(find_suspects(reviews, probabilities)) <= 0.01 * len(reviews)


def test_the_table_has_every_review_with_the_suspects_first(tmp_path, messages):
    reviews, probabilities, _, _ = planted(300, 20)
    suspects = find_suspects(reviews, probabilities)
    write_suspects(tmp_path / "check.csv", reviews, probabilities, suspects)
    with (tmp_path / "check.csv").open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    assert list(rows[0]) == ["suspect", "label", "suggested_label", "score", "p_a", "p_b", "text"]
    assert [row["suspect"] for row in rows] == ["yes"] * len(suspects) + ["no"] * (300 - len(suspects))
    assert [row["text"] for row in rows[: len(suspects)]] == [one.text for one in suspects]
    assert sorted(row["text"] for row in rows) == sorted(reviews.texts)
    others = [float(row["score"]) for row in rows[len(suspects) :]]
    assert others == sorted(others)
    assert f"{len(suspects)} of 300 labels may be wrong. Correct the column label of {tmp_path}" in messages.text
    write_suspects(tmp_path / "check.csv", reviews, probabilities, ())  # its own file is replaced
    assert "No label is suspicious." in messages.text


def test_a_corrected_table_is_trained_on(tiny_settings, tmp_path):
    """All its columns stay where they are; the column `label` is what a person corrects."""
    from tfsent.data.splits import load_splits
    from tfsent.recipe.loader import load_config
    from tfsent.training.finetune import train

    texts, truth = (np.array(column) for column in zip(*tiny_texts(120, 7), strict=True))
    given = truth.copy()
    given[:6] = 1 - given[:6]
    reviews = Reviews(tuple(texts.tolist()), given.astype(np.int32), ("negative", "positive"), "")
    probabilities = (np.eye(2)[truth] * 0.9 + 0.05).astype(np.float32)
    suspects = find_suspects(reviews, probabilities)
    assert {one.row for one in suspects} == set(range(6))
    path = tmp_path / "check.csv"
    write_suspects(path, reviews, probabilities, suspects)
    with path.open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    for row in rows[: len(suspects)]:
        row["label"] = row["suggested_label"]  # what a person does
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    own = [setting for setting in tiny_settings if not setting.startswith(("data.source", "data.dir", "data.test"))]
    wanted = ["data.source=files", f"data.train={path}", "data.test_examples=20", "train.epochs=1"]
    config = load_config("smoke", [*own, *wanted])
    splits = load_splits(config.data)
    label_of = dict(zip(texts.tolist(), truth.tolist(), strict=True))
    for part in vars(splits).values():
        assert part.labels.tolist() == [label_of[text] for text in part.texts]
    train(config, tmp_path / "run")
    assert (tmp_path / "run" / "model" / "model.keras").is_file()


def test_what_cannot_be_judged_is_refused(monkeypatch):
    reviews, probabilities, _, _ = planted(50, 0)
    same = Reviews(reviews.texts, np.zeros(50, np.int32), reviews.label_names, "")
    with pytest.raises(
        DataError, match="All 50 reviews have the label 'a'. Wrong labels are found among reviews of at"
    ):
        find_suspects(same, probabilities)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for ask in (require_cleanlab, lambda: find_suspects(reviews, probabilities)):
        with pytest.raises(ConfigError, match=r"cleanlab, which is not installed: pip install 'tfsent\[clean\]'"):
            ask()


def test_a_class_without_reviews_is_no_fault(recwarn):
    reviews, probabilities, _, _ = planted(200, 10)
    three = np.concatenate([probabilities * 0.98, np.full((200, 1), 0.02, np.float32)], axis=1)
    assert find_suspects(Reviews(reviews.texts, reviews.labels, ("a", "b", "c"), ""), three)
    assert not [one for one in recwarn if "cleanlab" in str(one.filename)]


def test_a_file_of_something_else_is_not_replaced(tmp_path):
    reviews, probabilities, _, _ = planted(20, 1)
    (tmp_path / "mine.csv").write_text("text,label\n")
    with pytest.raises(RunError, match="mine.csv exists, and is no table of label errors. Name another file"):
        write_suspects(tmp_path / "mine.csv", reviews, probabilities, ())
    with pytest.raises(RunError, match="is a folder. Expected a file for the label errors"):
        write_suspects(tmp_path, reviews, probabilities, ())
    assert (tmp_path / "mine.csv").read_text() == "text,label\n"
