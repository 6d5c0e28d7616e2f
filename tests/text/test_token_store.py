"""Tokens that are kept: the same ids, found again, and thrown away when anything about them is wrong."""

import os
import shutil
import sys
import time

import numpy as np
import pytest
from tiny import VOCABULARY, tiny_texts

from tfsent.data.reviews import Reviews
from tfsent.errors import ConfigError
from tfsent.storage import cache
from tfsent.storage.row_store import RowStore
from tfsent.text import token_store
from tfsent.text.spec import TextSpec
from tfsent.text.token_store import load_tokens


def make_reviews(count=30, seed=0):
    rows = tiny_texts(count, seed)
    labels = np.array([label for _, label in rows], np.int32)
    return Reviews(tuple(text for text, _ in rows), labels, ("bad", "good"), "made up")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TFSENT_CACHE", str(tmp_path))
    return tmp_path / "kept"


SPEC = TextSpec(True, 16, truncation="windows")


def rows_of(tokens):
    return [tokens[i].tolist() for i in range(len(tokens))]


def assert_same(a, b):
    assert rows_of(a) == rows_of(b)
    for name in ("lengths", "owner", "review_lengths"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


@pytest.mark.parametrize("in_memory", [0, 1 << 20])
def test_what_is_kept_is_what_was_made_and_is_not_made_again(folder, monkeypatch, in_memory):
    monkeypatch.setattr("tfsent.storage.row_store.IN_MEMORY", in_memory)
    reviews = make_reviews()
    made = load_tokens(reviews, SPEC, VOCABULARY)
    monkeypatch.setattr(token_store, "tokenize_all", lambda *_: pytest.fail("tokenised again"))
    assert_same(made, load_tokens(make_reviews(), SPEC, VOCABULARY))
    assert rows_of(made) == rows_of(made)  # those in memory can still be read


def test_whatever_changes_an_id_is_another_key(folder):
    reviews = make_reviews()
    load_tokens(reviews, SPEC, VOCABULARY)
    load_tokens(make_reviews(seed=1), SPEC, VOCABULARY)
    load_tokens(reviews, TextSpec(True, 17, truncation="windows"), VOCABULARY)
    load_tokens(reviews, SPEC, [*VOCABULARY[:-2], ".", ","])
    assert len(list(folder.iterdir())) == 4


@pytest.mark.parametrize("name", ["ids.bin", "table.npz", "manifest.json"])
@pytest.mark.parametrize("harm", ["flip", "cut", "remove"])
def test_damaged_tokens_are_made_again_and_that_is_said(folder, messages, name, harm):
    made = load_tokens(make_reviews(), SPEC, VOCABULARY)
    path = next(folder.iterdir()) / name
    content = path.read_bytes()
    if harm == "remove":
        path.unlink()
    else:
        half = len(content) // 2
        flipped = content[:half] + bytes([content[half] ^ 1]) + content[half + 1 :]
        path.write_bytes(content[:half] if harm == "cut" else flipped)
    assert_same(made, load_tokens(make_reviews(), SPEC, VOCABULARY))
    assert ["is damaged" in record.message for record in messages.records] == [True]
    assert_same(made, load_tokens(make_reviews(), SPEC, VOCABULARY))
    assert len(messages.records) == 1


def test_what_a_killed_process_was_writing_goes_after_a_day(folder):
    for name, age in ((".old", 2), (".new", 0)):
        (folder / name).mkdir(parents=True)
        (folder / name / "ids.bin").write_bytes(b"half")
        then = time.time() - age * 86_400
        os.utime(folder / name, (then, then))
    load_tokens(make_reviews(), SPEC, VOCABULARY)
    assert [path.name for path in folder.glob(".*")] == [".new"]


def test_those_used_longest_ago_make_room(folder, monkeypatch):
    sets = [make_reviews(seed=seed) for seed in range(4)]
    for reviews in sets[:3]:
        load_tokens(reviews, SPEC, VOCABULARY)
    for age, path in enumerate(sorted(folder.iterdir())):
        os.utime(path / "manifest.json", (age, age))
    oldest = min(folder.iterdir(), key=lambda path: (path / "manifest.json").stat().st_mtime)
    size = sum(file.stat().st_size for path in folder.iterdir() for file in path.iterdir())
    monkeypatch.setattr(cache, "LIMIT_BYTES", size + 100)
    load_tokens(sets[3], SPEC, VOCABULARY)
    assert len(list(folder.iterdir())) == 3
    assert not oldest.exists()
    monkeypatch.setattr(cache, "LIMIT_BYTES", 10)
    shutil.rmtree(folder)
    load_tokens(sets[0], SPEC, VOCABULARY)
    assert not folder.exists()


def test_a_cache_that_cannot_be_written_to_stops_nothing(folder, messages, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RowStore, "copy_to", full)
    assert len(load_tokens(make_reviews(), SPEC, VOCABULARY)) >= 30
    said = messages.text
    assert "Not cached: Cannot write " in said
    assert "No space left" in said
    assert list(folder.iterdir()) == []


def test_a_cache_that_is_only_for_reading_is_read_and_left_alone(folder, messages, monkeypatch):
    made = load_tokens(make_reviews(), SPEC, VOCABULARY)

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.touch", refuse)
    monkeypatch.setattr(token_store, "tokenize_all", lambda *_: pytest.fail("tokenised again"))
    assert_same(made, load_tokens(make_reviews(), SPEC, VOCABULARY))
    assert messages.text == ""


def test_a_folder_that_another_process_takes_away_stops_nothing(folder, messages, monkeypatch):
    def gone(*_):
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(cache, "_make_room", gone)
    assert len(load_tokens(make_reviews(), SPEC, VOCABULARY)) >= 30
    assert "Not cached: [Errno 2] No such file or directory" in messages.text


def test_without_tensorflow_and_without_tokens_it_says_what_to_do(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "tfsent.text.tokenizer", None)
    with pytest.raises(
        ConfigError, match="TensorFlow is not installed to make them. Expected a TFSENT_CACHE of a machine"
    ):
        load_tokens(make_reviews(), SPEC, VOCABULARY)
