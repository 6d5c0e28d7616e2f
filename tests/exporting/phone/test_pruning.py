"""Which pieces stay in a smaller vocabulary."""

import numpy as np
import pytest

from tfsent.errors import ConfigError, RunError
from tfsent.exporting.phone.pruning import pieces_to_keep, read_counts
from tfsent.text.light_tokenizer import LightTokenizer
from tfsent.text.spec import TextSpec

VOCABULARY = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "film",
    "##s",
    "rare",
    "a",
    "##a",
    "ÿ",
    "本",
    "日本",
    "ж",
    "##ж",
]
COUNTS = np.array([9, 0, 9, 9, 0, 7, 5, 4, 0, 0, 0, 0, 6, 0, 0])


def kept(wanted, counts=COUNTS):
    return [VOCABULARY[i] for i in pieces_to_keep(VOCABULARY, counts, wanted)]


def test_auto_keeps_what_occurs_five_times_and_the_characters_of_the_text():
    always = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    assert kept("auto") == [*always, "film", "##s", "a", "##a", "ÿ", "本", "日本"]  # ж is in no text, and not Latin


def test_a_number_keeps_the_most_frequent():
    letters = ["##s", "a", "##a", "ÿ", "本"]
    assert kept(10) == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "film", *letters]
    assert kept(11) == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "film", *letters, "日本"]
    assert kept(1000) == VOCABULARY


def test_too_small_a_number_is_refused():
    with pytest.raises(ConfigError, match="export.mobile.vocabulary is 8. Expected auto, all, or at least 9"):
        kept(8)


def test_a_word_whose_piece_is_gone_is_spelt():
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", *"good", *(f"##{c}" for c in "god")]
    vocabulary = list(dict.fromkeys(vocabulary))
    counts = np.array([piece not in ("good",) for piece in vocabulary]) * 9
    spec = TextSpec(lowercase=True, max_tokens=16)
    small = [vocabulary[i] for i in pieces_to_keep(vocabulary, counts, "auto")]
    assert "good" not in small
    [ids] = LightTokenizer(spec, small).tokenize(["good"])
    assert [small[i] for i in ids] == ["g", "##o", "##o", "##d"]


def test_the_counts_are_those_of_the_training_reviews(tiny_run):
    from tfsent.data.reviews import load_reviews
    from tfsent.inference.keras_run import KerasPredictor

    counts = read_counts(tiny_run / "model")
    pieces = KerasPredictor(tiny_run).tokenizer.vocabulary
    assert counts.shape == (len(pieces),)
    assert counts[pieces.index("[CLS]")] == counts[pieces.index("[SEP]")] == 280  # reviews that are trained on
    assert counts[pieces.index("film")] > 100 > counts[pieces.index("[MASK]")] == 0
    assert len(load_reviews(tiny_run / "heldout" / "validation.jsonl.gz")) == 40


def test_a_run_without_counts_is_a_clear_error(tmp_path):
    with pytest.raises(RunError, match="has no piece_counts.npy: an earlier tfsent trained it.*vocabulary=all"):
        read_counts(tmp_path)
