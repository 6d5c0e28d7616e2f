"""Ids written by hand, and an independent implementation beside ours on text nobody planned for."""

import json

import numpy as np
import pytest
import tensorflow as tf
from conftest import GOOD, VOCABULARY
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tokenizers import BertWordPieceTokenizer

from tfsent.errors import ArtifactError, EncoderError
from tfsent.text import MAX_BYTES, TextSpec, Tokenizer, read_vocabulary

LETTERS = [chr(c) for c in range(ord("a"), ord("z") + 1)]
WORDS = list(
    dict.fromkeys([*VOCABULARY, *LETTERS, *(f"##{c}" for c in LETTERS), "'", "!", "-", "日", "本", "é", "ß", "##é"])
)
ID = {token: i for i, token in enumerate(WORDS)}


def make(**spec):
    return Tokenizer(TextSpec(**{"lowercase": True, "max_tokens": 512, **spec}), WORDS)


UNCASED = make()


def tokens_of(text, tokenizer=UNCASED):
    return [WORDS[i] for i in tokenizer.tokenize(tf.constant([text])).numpy()[0]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Good film.", ["good", "film", "."]),
        ("unlike", ["un", "##like"]),
        ("GOOD,bad", ["good", ",", "bad"]),
        ("good<br /><BR>bad<br/ >it", ["good", "bad", "<br/ >it"]),
        ("góöd", ["good"]),
        ("go\u0301o\u0308d", ["good"]),
        ("go\u200bod go\x07od", ["good", "good"]),
        ("good\u00a0bad\u3000it", ["good", "bad", "it"]),
        ("good\x00bad", ["good", "##b", "##a", "##d"]),
        ("日本good", ["日", "本", "good"]),
        ("a" * 101, ["[UNK]"]),
        ("☃", ["[UNK]"]),
        ("İ", ["i"]),
        ("it's", ["it", "'", "s"]),
        ("", []),
        (" \t\n ", []),
        (b"go\xffod \xc3", ["good"]),
        ("[CLS] good", None),
    ],
)
def test_tokens_are_those_written_by_hand(text, expected):
    found = tokens_of(text)
    if expected is None:
        assert "[CLS]" not in found, "a text must not be able to spell a special token"
    elif "<br/ >it" in expected:
        assert found[:2] == ["good", "bad"]
    else:
        assert found == expected


def test_cased_text_keeps_case_and_accents():
    cased = make(lowercase=False)
    assert tokens_of("Good é good", cased) == ["[UNK]", "é", "good"]


REFERENCE = BertWordPieceTokenizer(vocab=ID, lowercase=True, strip_accents=True)
ALPHABET = st.one_of(
    st.sampled_from("abcdefgoil .,'!-\t\n日本éß\u0301\u00a0\u200b\u3000"),
    st.characters(max_codepoint=0x024F, codec="utf-8"),
)


@given(st.text(ALPHABET, max_size=60))
@settings(max_examples=300, deadline=None)
def test_ids_are_those_of_hugging_face_tokenizers(text):
    # Hugging Face reads "[SEP]" in a text as the special token; ours never does.
    assume("[" not in text)
    # A line break in HTML and words between 100 bytes and 100 characters are ours; the alphabet makes neither.
    ours = UNCASED.tokenize(tf.constant([text.encode()])).numpy()[0].tolist()
    assert ours == REFERENCE.encode(text, add_special_tokens=False).ids


@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=5),
    st.integers(3, 20),
    st.sampled_from(["head", "tail", "head_tail"]),
    st.floats(0, 1),
)
@settings(max_examples=60, deadline=None)
def test_truncation_is_what_python_slices_say(lengths, max_tokens, truncation, fraction):
    tokenizer = make(max_tokens=max_tokens, truncation=truncation, head_fraction=fraction)
    rows = [list(range(100, 100 + n)) for n in lengths]
    room = max_tokens - 2
    head = {"head": room, "tail": 0, "head_tail": round(room * fraction)}[truncation]
    kept = [row if len(row) <= room else row[:head] + row[len(row) - (room - head) :] for row in rows]
    found = tokenizer.truncate(tf.ragged.constant(rows, dtype=tf.int32, ragged_rank=1)).to_list()
    assert found == [[ID["[CLS]"], *row, ID["[SEP]"]] for row in kept]


def test_eager_tf_data_and_a_saved_graph_agree(tmp_path):
    texts = ["Good film, it was!", "", "bad " * 50, "日本 go\u0301od<br />it", "\x00\x00", "x" * 300]
    tokenizer = make(max_tokens=16)
    eager = tokenizer(tf.constant(texts)).to_list()
    data = tf.data.Dataset.from_tensor_slices(texts).batch(2).map(tokenizer)
    assert [row for batch in data for row in batch.to_list()] == eager
    module = tf.Module()
    module.f = tf.function(tokenizer.inputs, input_signature=[tf.TensorSpec([None], tf.string)])
    tf.saved_model.save(module, str(tmp_path / "graph"))
    loaded = tf.saved_model.load(str(tmp_path / "graph")).f(tf.constant(texts))
    for row, ids, mask in zip(eager, loaded["token_ids"].numpy(), loaded["padding_mask"].numpy(), strict=True):
        assert ids[mask].tolist() == row
        assert not ids[~mask].any()


def test_inputs_have_the_documented_shapes_and_types():
    inputs = make(max_tokens=16).inputs(tf.constant(["good", "good film it was"]), length=16)
    assert {k: (v.dtype.name, tuple(v.shape)) for k, v in inputs.items()} == {
        "token_ids": ("int32", (2, 16)),
        "segment_ids": ("int32", (2, 16)),
        "padding_mask": ("bool", (2, 16)),
    }
    assert inputs["padding_mask"].numpy().sum(axis=1).tolist() == [3, 6]
    assert make().inputs(tf.constant([], tf.string))["token_ids"].shape[0] == 0


def test_a_text_of_many_megabytes_is_capped():
    huge = "good " * (MAX_BYTES // 5) + "bad"
    assert ID["bad"] not in UNCASED.tokenize(tf.constant([huge])).values.numpy()


def test_the_specification_survives_saving(tmp_path):
    tokenizer = make(max_tokens=9, truncation="tail")
    tokenizer.save(tmp_path)
    loaded = Tokenizer.load(tmp_path)
    assert (loaded.spec, loaded.vocabulary) == (tokenizer.spec, tokenizer.vocabulary)


@pytest.mark.parametrize("content", ["", "{", '{"max_tokens": 3, "colour": 1}'])
def test_a_damaged_specification_is_refused(tmp_path, content):
    UNCASED.save(tmp_path)
    (tmp_path / "text.json").write_text(content)
    with pytest.raises(ArtifactError, match="Cannot read the text specification"):
        Tokenizer.load(tmp_path)


def test_a_vocabulary_wordpiece_cannot_use_is_refused():
    with pytest.raises(EncoderError, match=r"lacks \[CLS\], \[SEP\]"):
        Tokenizer(TextSpec(True, 8), ["[PAD]", "[UNK]", "a"])
    with pytest.raises(EncoderError, match="names the token 'good' twice"):
        Tokenizer(TextSpec(True, 8), [*VOCABULARY, *GOOD[:1]])


def test_a_vocabulary_line_ends_at_a_line_feed_only(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_bytes("a\u2028b\r\nc\x85\n\u3000\n".encode())
    assert read_vocabulary(path) == ("a\u2028b", "c\x85", "\u3000")


@pytest.mark.real
def test_ids_of_real_reviews_are_those_of_hugging_face_tokenizers(minilm, imdb):
    # Its own tokenizer.json is not among the files we fetch; the vocabulary makes the same tokenizer.
    vocabulary = read_vocabulary(minilm / "vocab.txt")
    reference = BertWordPieceTokenizer(vocab={t: i for i, t in enumerate(vocabulary)}, lowercase=True)
    texts = imdb.texts[:2000]
    assert json.loads((minilm / "tokenizer_config.json").read_text())["do_lower_case"]
    ours = Tokenizer(TextSpec(True, 512), vocabulary).tokenize(tf.constant(texts)).to_list()
    theirs = reference.encode_batch([text.replace("<br />", " ") for text in texts], add_special_tokens=False)
    different = [i for i, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b.ids]
    assert different == []
    assert np.mean([len(row) for row in ours]) > 200
