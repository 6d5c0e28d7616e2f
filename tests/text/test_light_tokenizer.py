"""Without TensorFlow the ids are those of the graph, on every text and with every truncation."""

import os
import unicodedata

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from nasty_texts import REORDERED, TEXTS, rich_vocabulary
from tiny import VOCABULARY

from tfsent.errors import ArtifactError
from tfsent.text.light_tokenizer import LightTokenizer
from tfsent.text.spec import MAX_BYTES, MAX_WINDOWS, TextSpec, read_vocabulary
from tfsent.text.token_store import tokenize_all
from tfsent.text.tokenizer import Tokenizer

RICH = {lowercase: rich_vocabulary(lowercase) for lowercase in (True, False)}
GRAPH = {lowercase: Tokenizer(TextSpec(lowercase, 512), words) for lowercase, words in RICH.items()}
LIGHT = {lowercase: LightTokenizer(TextSpec(lowercase, 512), words) for lowercase, words in RICH.items()}


@pytest.mark.parametrize("lowercase", [True, False])
@given(text=TEXTS)
@settings(max_examples=int(os.environ.get("TFSENT_EXAMPLES", "400")), deadline=None)
def test_ids_are_those_of_the_graph(lowercase, text):
    assume(not REORDERED.search(unicodedata.normalize("NFD", text)))
    expected = GRAPH[lowercase].tokenize(tf.constant([text.encode()])).numpy()[0].tolist()
    assert LIGHT[lowercase].tokenize([text]) == [expected]


@pytest.mark.parametrize(
    "text",
    ["[CLS] good [SEP][MASK] [UNK] [PAD]", "good\ud800 film", "", " \n", "a" * 101, "good<BR />film", "\x00good"],
)
def test_texts_that_mislead_tokenizers(text):
    raw = text.encode("utf-8", "ignore")
    expected = GRAPH[True].tokenize(tf.constant([raw])).numpy()[0].tolist()
    assert LIGHT[True].tokenize([text]) == [expected]


def test_a_text_of_many_megabytes_is_cut_as_in_the_graph():
    text = "é" * 3 + " good" * (MAX_BYTES // 4)
    expected = GRAPH[True].tokenize(tf.constant([text])).numpy()[0].tolist()
    assert LIGHT[True].tokenize([text]) == [expected]


@given(
    lengths=st.lists(st.integers(0, 90), max_size=4),
    truncation=st.sampled_from(["head", "tail", "head_tail", "windows"]),
    max_tokens=st.integers(3, 40),
    share=st.floats(0, 0.99),
)
@settings(deadline=None, max_examples=30)
def test_rows_are_those_of_the_graph(lengths, truncation, max_tokens, share):
    spec = TextSpec(True, max_tokens, truncation, head_fraction=share, window_overlap=share)
    texts = [" ".join(["good", "bad", "film", "the"][i % 4] for i in range(n)) for n in lengths]
    rows, owner = LightTokenizer(spec, VOCABULARY)(texts)
    tokens = tokenize_all(Tokenizer(spec, VOCABULARY), texts)
    assert owner.tolist() == tokens.owner.tolist()
    assert [row.tolist() for row in rows] == [tokens[i].tolist() for i in range(len(tokens))]


def test_windows_of_an_endless_text_are_limited():
    light = LightTokenizer(TextSpec(True, 8, "windows"), VOCABULARY)
    rows, _ = light(["good " * 5000])
    assert len(rows) == MAX_WINDOWS


def test_padding():
    light = LightTokenizer(TextSpec(True, 8), VOCABULARY)
    [row], _ = light(["good film"])
    found = light.pad(row, 6)
    assert found["token_ids"].tolist() == [[*row.tolist(), light.pad_id, light.pad_id]]
    assert found["padding_mask"].tolist() == [[1, 1, 1, 1, 0, 0]]
    assert {array.dtype for array in found.values()} == {np.dtype(np.int32)}


def test_files_beside_a_model_are_read(tmp_path):
    Tokenizer(TextSpec(True, 8), VOCABULARY).save(tmp_path)
    assert LightTokenizer.load(tmp_path).vocabulary == tuple(VOCABULARY)
    (tmp_path / "text.json").unlink()
    with pytest.raises(ArtifactError, match="Cannot read the text specification"):
        LightTokenizer.load(tmp_path)


@pytest.mark.real
def test_ids_of_real_reviews_are_those_of_the_graph(minilm, imdb):
    vocabulary = read_vocabulary(minilm / "vocab.txt")
    spec = TextSpec(True, 256)
    texts = list(imdb.texts[:2000])
    tokens = tokenize_all(Tokenizer(spec, vocabulary), texts)
    rows, _ = LightTokenizer(spec, vocabulary)(texts)
    assert [i for i, row in enumerate(rows) if not np.array_equal(row, tokens[i])] == []
