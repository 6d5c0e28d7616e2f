"""Integrated gradients against a loop over finite differences, and their words against the text."""

import itertools
import json

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nasty_texts import TEXTS, rich_vocabulary
from numpy_bert import numpy_bert
from safetensors.numpy import load_file
from tiny import write_electra

from tfsent.encoders.loader import load_encoder
from tfsent.evaluation import explanation
from tfsent.evaluation.explanation import explain, from_vectors
from tfsent.evaluation.explanation_words import places_of_rows
from tfsent.inference.keras_run import KerasPredictor
from tfsent.model.classifier import build_classifier
from tfsent.model.decision import Decision
from tfsent.recipe.schema import ModelConfig
from tfsent.text.spec import TextSpec
from tfsent.text.token_store import tokenize_all
from tfsent.text.tokenizer import Tokenizer

TEXT = "A good film, it was unlikely awful: and superb!"
LONG = " ".join(["good plot", "the actor was dull", "unlikely scene, poor"] * 9)


MODELS = {}
"""Those that were made, and what TensorFlow traced of them: tracing takes most of a test's time."""


@pytest.fixture(scope="module", autouse=True)
def traced_once():
    made, differentiator = {}, explanation._differentiator

    def remembered(predictor):
        key = id(predictor.model)
        if key not in made:
            made[key] = predictor.model, differentiator(predictor)
        return made[key][1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(explanation, "_differentiator", remembered)
        yield
    MODELS.clear()


def predictor_of(encoder, classes=2, max_tokens=32, truncation="head_tail", **config):
    """A model with random weights, opened as a run is."""
    key = (id(encoder), classes, repr(config))
    if key not in MODELS:
        MODELS[key] = build_classifier(encoder.rebuilt(dropout=0.1, dtype="float32"), ModelConfig(**config), classes)
        kernel = MODELS[key].get_layer("logits").kernel
        kernel.assign(np.random.default_rng(1).normal(0, 1, kernel.shape))
    predictor = KerasPredictor.__new__(KerasPredictor)
    predictor.model = MODELS[key]
    predictor.tokenizer = Tokenizer(TextSpec(True, max_tokens, truncation), encoder.vocabulary)
    predictor.label_names = ("negative", "positive", "neither", "both")[:classes]
    predictor.decision = Decision()
    return predictor


@pytest.fixture(scope="module")
def encoder(tiny_encoder):
    return load_encoder(f"path:{tiny_encoder}")


@pytest.fixture(scope="module")
def of_run(tiny_run):
    return KerasPredictor(tiny_run)


def total(found):
    return sum(word.score for word in found.words)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("pooling", ["mean", "cls", "pooler"])
def test_scores_add_up_for_every_pooling(encoder, monkeypatch, pooling, classes):
    monkeypatch.setattr(explanation, "TOLERANCE", 0.001)
    predictor = predictor_of(encoder, classes, pooling=pooling, hidden_units=[6])
    for found in explain(predictor, [TEXT, LONG], steps=512):
        assert found.completeness_error < 0.002
        assert total(found) == pytest.approx(found.logit - found.baseline_logit, abs=0.002)


def test_embeddings_narrower_than_the_layers(tmp_path, monkeypatch):
    monkeypatch.setattr(explanation, "TOLERANCE", 0.001)
    encoder = load_encoder(f"path:{write_electra(tmp_path / 'electra')}")
    found = explain(predictor_of(encoder), [TEXT], steps=512)[0]
    assert total(found) == pytest.approx(found.logit - found.baseline_logit, abs=0.002)


def test_the_logit_is_the_log_odds_of_the_answer(encoder):
    predictor = predictor_of(encoder, 4)
    for label in range(4):
        found = explain(predictor, [TEXT], labels=[label])[0]
        p = predictor.predict_proba([TEXT])[0, label]
        assert found.logit == pytest.approx(np.log(p / (1 - p)), abs=1e-4)
        assert found.label == predictor.label_names[label]


def test_of_windows_the_log_odds_of_the_mean_are_explained(encoder, monkeypatch):
    monkeypatch.setattr(explanation, "TOLERANCE", 0.001)
    predictor = predictor_of(encoder, max_tokens=12, truncation="windows")
    assert len(predictor.predict_logits([LONG])[0]) > 3
    found = explain(predictor, [LONG], steps=512)[0]
    p = found.prediction.probability
    assert found.logit == pytest.approx(np.log(p / (1 - p)), abs=1e-4)
    assert total(found) == pytest.approx(found.logit - found.baseline_logit, abs=0.002)
    assert (found.tokens_cut, found.cut) == (0, ())


def test_a_probability_of_nearly_one_is_not_rounded():
    shares, whole = explanation._through_the_mean(np.array([[80.0], [60.0]]))
    assert whole[0] == pytest.approx(60 + np.log(2), abs=1e-6)  # 1 - p is the half of the larger one
    np.testing.assert_allclose(shares[:, 0], [0, 1], atol=1e-6)
    assert explanation._through_the_mean(np.array([[-3.0, 90.0]]))[0].tolist() == [[1.0, 1.0]]


def slow_scores(folder, head, pooling, row, label, steps):
    """The same in NumPy and float64: finite differences at the middles of `steps` parts, token by token."""
    arrays = {name: array.astype(np.float64) for name, array in load_file(folder / "model.safetensors").items()}
    table, norm = arrays["embeddings.word_embeddings.weight"], "embeddings.LayerNorm"
    others = arrays["embeddings.position_embeddings.weight"][: len(row)]
    others = others + arrays["embeddings.token_type_embeddings.weight"][0]
    whole, ends = table[row], table[[row[0], *[0] * (len(row) - 2), row[-1]]]

    def odds(vectors):
        x = vectors + others
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-12)
        x = x * arrays[f"{norm}.weight"] + arrays[f"{norm}.bias"]
        sequence, pooled = numpy_bert(folder, None, np.ones(x.shape[:2], bool), x)
        features = {"mean": sequence.mean(axis=1), "cls": sequence[:, 0], "pooler": pooled}[pooling]
        logits = features @ head[0] + head[1]
        return logits[:, label] - np.log(np.exp(np.delete(logits, label, axis=1)).sum(axis=1))

    points = ends + (np.arange(steps) + 0.5)[:, None, None] / steps * (whole - ends)
    small, scores = 1e-4, []
    for i in range(len(row)):
        away = np.zeros_like(whole)
        away[i] = small * (whole - ends)[i]
        scores.append(((odds(points + away) - odds(points - away)) / (2 * small)).mean())
    return np.array(scores), odds(ends[None])[0], odds(whole[None])[0]


@pytest.mark.parametrize(("pooling", "classes"), [("mean", 2), ("cls", 3), ("pooler", 4)])
def test_scores_are_those_of_numpy(encoder, tiny_encoder, monkeypatch, pooling, classes):
    """Another implementation, another derivative, another rule of integration."""
    monkeypatch.setattr(explanation, "TOLERANCE", 0.0)
    predictor = predictor_of(encoder, classes, pooling=pooling)
    text = "good film, awful"
    found = explain(predictor, [text], labels=[1], steps=512)[0]
    head, row = predictor.model.get_layer("logits").get_weights(), tokenize_all(predictor.tokenizer, [text])[0]
    scores, baseline, whole = slow_scores(tiny_encoder, head, pooling, row, 1, 400)
    assert [text[w.start : w.stop] for w in found.words] == ["good", "film", ",", "awful"]
    np.testing.assert_allclose([w.score for w in found.words], scores[1:-1], atol=1e-3)
    np.testing.assert_array_equal(scores[[0, -1]], 0)
    assert (found.baseline_logit, found.logit) == pytest.approx((baseline, whole), abs=1e-4)


def test_the_network_from_vectors_is_the_model_itself(of_run):
    network, table = from_vectors(of_run.model)
    ids = tokenize_all(of_run.tokenizer, [TEXT])[0][None]
    rest = {"segment_ids": np.zeros_like(ids), "padding_mask": np.ones(ids.shape, bool)}
    expected = of_run.model({"token_ids": ids, **rest}).numpy()
    np.testing.assert_allclose(network({"token_ids": table.numpy()[ids], **rest}).numpy(), expected, atol=1e-6)
    ours = {id(weight) for weight in of_run.model.weights}
    assert {id(weight) for weight in network.weights} <= ours, "a copy would not follow the model"
    assert network.get_layer("logits") is of_run.model.get_layer("logits")


def test_the_model_is_as_before(tiny_run, tmp_path):
    predictor = KerasPredictor(tiny_run)
    before = predictor.predict_proba([TEXT, LONG])
    explain(predictor, [TEXT])
    np.testing.assert_array_equal(predictor.predict_proba([TEXT, LONG]), before)
    predictor.model.save(tmp_path / "again.keras")
    again = keras.saving.load_model(tmp_path / "again.keras")
    for ours, theirs in zip(predictor.model.weights, again.weights, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


def test_praise_speaks_for_praise(of_run):
    """The tiny model has learnt which words praise. Without words it says negative, so blame changes nothing."""
    found = explain(of_run, ["superb great film"])[0]
    assert found.label == found.prediction.label == "positive"
    assert sum(word.score for word in found.words[:2]) > max(0.5, 2 * found.words[2].score)


def test_two_classes_are_each_others_opposite(of_run):
    one, other = (explain(of_run, [TEXT], labels=[label])[0] for label in (0, 1))
    assert one.logit == pytest.approx(-other.logit, abs=1e-5)
    np.testing.assert_allclose([w.score for w in one.words], [-w.score for w in other.words], atol=1e-5)


def test_a_text_has_the_same_scores_alone_and_among_others(of_run):
    told = []
    among = explain(of_run, [LONG, TEXT, "bad"], advance=told.append)
    assert told == [1, 1, 1]
    assert explain(of_run, [TEXT])[0].words == among[1].words
    assert explain(of_run, [LONG, TEXT, "bad"]) == among


def test_small_batches_change_nothing(of_run, monkeypatch):
    whole = explain(of_run, [LONG])[0]
    monkeypatch.setattr(explanation, "BATCH_TOKENS", 1)
    np.testing.assert_allclose(
        [word.score for word in explain(of_run, [LONG])[0].words], [word.score for word in whole.words], atol=1e-5
    )


def test_more_steps_are_taken_until_the_scores_add_up(encoder, monkeypatch):
    predictor = predictor_of(encoder)
    asked = []
    differentiator = explanation._differentiator

    def counting(predictor):
        differentiate = differentiator(predictor)

        def counted(row, label, shares):
            asked.append(shares.tolist())
            return differentiate(row, label, shares)

        return counted

    monkeypatch.setattr(explanation, "_differentiator", counting)
    monkeypatch.setattr(explanation, "TOLERANCE", 0.0)
    explain(predictor, [TEXT], steps=64)
    assert [len(shares) for shares in asked] == [17, 16, 32]
    assert sorted(itertools.chain(*asked)) == np.linspace(0, 1, 65).tolist(), "no point is computed twice"
    asked.clear()
    monkeypatch.setattr(explanation, "TOLERANCE", 100.0)
    explain(predictor, [TEXT])
    assert [len(shares) for shares in asked] == [17]


@pytest.mark.parametrize("text", ["", " \n", "\u200b\u00ad"])
def test_a_text_without_a_token_has_no_words(of_run, text):
    found = explain(of_run, [text])[0]
    assert (found.words, found.tokens, found.cut) == ((), 0, ())
    assert found.logit == found.baseline_logit


def test_no_texts_no_explanations(of_run):
    assert explain(of_run, []) == []


def test_what_was_cut_has_no_score(encoder):
    text = " ".join(f"{word}" for word in ["good", "bad", "unlikely", "film", ",", "the", "plot", "was", "dull", "i"])
    expected = {  # 12 tokens, room for 6; head_tail keeps 2 and 4, and `head` ends inside "unlikely"
        "head": (["good", "bad", "unlikely", "film"], ", the plot was dull i"),
        "tail": ([",", "the", "plot", "was", "dull", "i"], "good bad unlikely film"),
        "head_tail": (["good", "bad", "plot", "was", "dull", "i"], "unlikely film , the"),
    }
    for truncation, (words, cut) in expected.items():
        found = explain(predictor_of(encoder, max_tokens=8, truncation=truncation), [text])[0]
        assert [text[word.start : word.stop] for word in found.words] == words
        assert [text[start:stop] for start, stop in found.cut] == [cut]
        assert (found.tokens, found.tokens_cut) == (12, 6)


def test_a_word_that_is_partly_cut_has_the_score_of_the_rest(encoder):
    predictor = predictor_of(encoder, max_tokens=4, truncation="head")
    found = explain(predictor, ["good unlikely"])[0]
    assert [(w.start, w.stop) for w in found.words] == [(0, 4), (5, 13)]
    assert found.cut == ((7, 13),)
    assert total(found) == pytest.approx(found.logit - found.baseline_logit, abs=explanation.TOLERANCE)


def test_windows_beyond_the_last_are_cut(encoder):
    predictor = predictor_of(encoder, max_tokens=4, truncation="windows")
    text = " ".join(["good"] * 80)
    found = explain(predictor, [text])[0]
    rows = tokenize_all(predictor.tokenizer, [text])
    assert len(rows) == 32
    assert len(found.words) == 80 - found.tokens_cut
    assert found.cut == ((5 * len(found.words), len(text)),)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("un­likely <br />góod", ["un­likely", "góod"]),
        ("so good\u0301, naïve", ["so", "good\u0301", ",", "naïve"]),
        ("👩🏽‍🦰 good❤️ film", ["👩🏽‍🦰", "good❤️", "film"]),
        ("日本good。", ["日", "本", "good", "。"]),
        ("<b>good</b><BR/>it's", ["<", "b", ">", "good", "<", "/", "b", ">", "it", "'", "s"]),
        ("##good ##", ["#", "#", "good", "#", "#"]),
        ("\ud800good \udffffilm", ["good", "film"]),
    ],
)
def test_spans_cover_the_words_of_the_original_text(of_run, text, words):
    found = explain(of_run, [text])[0]
    assert [text[word.start : word.stop] for word in found.words] == words


@pytest.fixture(scope="module")
def of_many_scripts(encoder):
    """The tokenizer knows many characters; their ids are brought into the tiny table."""
    vocabulary = rich_vocabulary(True)
    return {
        truncation: Tokenizer(TextSpec(True, 8, truncation), vocabulary)
        for truncation in ("head", "tail", "head_tail", "windows")
    }


@settings(max_examples=60, deadline=None)
@given(text=TEXTS)
def test_pieces_stand_where_the_graph_puts_them(of_many_scripts, text):
    for tokenizer in of_many_scripts.values():
        rows, pieces = tokenize_all(tokenizer, [text]), tokenizer.explain(text)
        places = places_of_rows(pieces, tokenizer.spec)
        expected = [[pieces[i].id for i in place] for place in places]
        assert [rows[row][1:-1].tolist() for row in range(len(rows))] == expected


@settings(max_examples=5, deadline=None)
@given(texts=st.lists(TEXTS, max_size=10))
def test_any_text_is_explained(of_run, texts):
    for text, found in zip(texts, explain(of_run, texts), strict=True):
        ends = [0, *(end for word in found.words for end in (word.start, word.stop))]
        assert ends == sorted(ends), "in order, and without overlap"
        assert ends[-1] <= len(text)
        assert all(np.isfinite(word.score) for word in found.words)
        assert 0 <= found.tokens_cut <= found.tokens
        json.dumps(found.to_dict())


def test_the_dict_names_the_words(of_run):
    found = json.loads(json.dumps(explain(of_run, ["good film"])[0].to_dict()))
    assert [word["word"] for word in found["words"]] == ["good", "film"]
    assert set(found["words"][0]) == {"word", "start", "stop", "score"}
    assert set(found["prediction"]) == {"text", "label", "probability", "probabilities"}


def test_a_run_with_a_threshold_explains_what_it_answers(tiny_run):
    predictor = KerasPredictor(tiny_run)
    predictor.decision = Decision(threshold=0.9999999)
    found = explain(predictor, ["superb great film"])[0]
    assert found.label == found.prediction.label == "negative"
    assert found.logit < 0


@pytest.mark.real
def test_a_real_encoder_is_explained(minilm):
    encoder = load_encoder(f"path:{minilm}")
    predictor = predictor_of(encoder, max_tokens=64)
    found = explain(predictor, ["A naïve, café-set mess – unwatchable!<br />👩🏽‍🦰 I loved every minute of it."])[0]
    assert total(found) == pytest.approx(found.logit - found.baseline_logit, abs=2 * explanation.TOLERANCE)
    assert [found.text[w.start : w.stop] for w in found.words][:4] == ["A", "naïve", ",", "café"]
