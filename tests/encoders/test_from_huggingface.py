"""Checkpoints of transformers, compared with BERT in NumPy. benchmarks/encoder_parity.py compares transformers."""

import json

import numpy as np
import pytest
from numpy_bert import numpy_bert
from safetensors.numpy import load_file, save_file
from tiny import VOCABULARY, write_electra, write_encoder

from tfsent.encoders.loader import load_encoder
from tfsent.errors import EncoderError


def rewrite(folder, change_name, extra=(), drop=(), **config):
    """Rewrite a checkpoint as another model of transformers would save it."""
    arrays = load_file(folder / "model.safetensors")
    arrays = {change_name(k): v for k, v in arrays.items() if not any(word in k for word in drop)}
    arrays |= {name: np.ones((3, 3), np.float32) for name in extra}
    save_file(arrays, folder / "model.safetensors")
    old = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**old, **config}))
    return folder


def difference(folder, expected):
    token_ids = np.random.default_rng(1).integers(0, len(VOCABULARY), (2, 7))
    mask = np.arange(7) < np.array([[7], [3]])
    inputs = {"token_ids": token_ids, "segment_ids": np.zeros_like(token_ids), "padding_mask": mask}
    found = load_encoder(f"path:{folder}").backbone(inputs)["sequence_output"].numpy()
    return np.abs((found - expected(token_ids, mask)) * mask[..., None]).max()


@pytest.fixture
def folder(tmp_path):
    return write_encoder(tmp_path / "bert")


@pytest.fixture
def expected(tmp_path):
    kept = write_encoder(tmp_path / "kept")
    return lambda token_ids, mask: numpy_bert(kept, token_ids, mask)[0]


def test_task_heads_are_left_out(folder, expected):
    heads = ["cls.predictions.bias", "cls.seq_relationship.weight", "classifier.weight", "qa_outputs.bias"]
    rewrite(folder, lambda name: f"bert.{name}", [*heads, "bert.embeddings.position_ids"])
    assert difference(folder, expected) < 2e-5


def test_layer_norms_may_be_called_gamma_and_beta(folder, expected):
    def old(name):
        name = name.replace("LayerNorm.weight", "LayerNorm.gamma")
        return name.replace("LayerNorm.bias", "LayerNorm.beta")

    rewrite(folder, old)
    assert difference(folder, expected) < 2e-5


def test_electra_has_no_pooler(folder, expected):
    heads = ["discriminator_predictions.dense.weight", "generator_lm_head.bias"]
    rewrite(folder, lambda name: f"electra.{name}", heads, drop=["pooler"], model_type="electra")
    assert difference(folder, expected) < 2e-5


DISTILBERT = {
    "encoder.layer": "transformer.layer",
    "attention.self.query": "attention.q_lin",
    "attention.self.key": "attention.k_lin",
    "attention.self.value": "attention.v_lin",
    "attention.output.dense": "attention.out_lin",
    "attention.output.LayerNorm": "sa_layer_norm",
    "intermediate.dense": "ffn.lin1",
    "output.dense": "ffn.lin2",
    "output.LayerNorm": "output_layer_norm",
}


def test_distilbert_is_bert_without_segments(folder, tmp_path):
    arrays = load_file(folder / "model.safetensors")
    arrays["embeddings.token_type_embeddings.weight"] *= 0
    plain = write_encoder(tmp_path / "plain")
    save_file(arrays, plain / "model.safetensors")

    def distil(name):
        for ours, theirs in DISTILBERT.items():
            name = name.replace(ours, theirs)
        return f"distilbert.{name}"

    heads = ["vocab_transform.weight", "vocab_layer_norm.bias", "vocab_projector.weight", "pre_classifier.bias"]
    sizes = {"n_heads": 2, "activation": "gelu", "model_type": "distilbert"}
    rewrite(folder, distil, heads, drop=["pooler", "token_type"], **sizes)
    assert difference(folder, lambda ids, mask: numpy_bert(plain, ids, mask)[0]) < 2e-5


def test_narrow_embeddings_are_projected(tmp_path):
    """In ELECTRA small a projection follows the layer norm of the embeddings."""
    folder = write_electra(tmp_path / "electra")
    w = load_file(folder / "model.safetensors")

    def expected(token_ids, mask):
        words, places, kinds = (w[f"embeddings.{n}_embeddings.weight"] for n in ("word", "position", "token_type"))
        x = words[token_ids] + places[: token_ids.shape[1]] + kinds[0]
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-12)
        x = x * w["embeddings.LayerNorm.weight"] + w["embeddings.LayerNorm.bias"]
        projected = x @ w["embeddings_project.weight"].T + w["embeddings_project.bias"]
        return numpy_bert(folder, token_ids, mask, embedded=projected)[0]

    assert difference(folder, expected) < 2e-5
    encoder = load_encoder(f"path:{folder}").rebuilt(dropout=0.2, dtype="float32")
    assert (encoder.embedding_dim, encoder.hidden_dim, encoder.activation) == (4, 8, "gelu_exact")


def test_sharded_half_precision_weights_are_read(folder, expected):
    arrays = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(arrays)
    parts = {"model-00001-of-00002.safetensors": names[:9], "model-00002-of-00002.safetensors": names[9:]}
    for part, own in parts.items():
        save_file({name: arrays[name].astype(np.float16) for name in own}, folder / part)
    index = {"weight_map": {name: part for part, own in parts.items() for name in own}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert difference(folder, expected) < 2e-2
    assert set(parts) < set(load_encoder(f"path:{folder}").provenance["files"])


def test_bfloat16_is_read(folder, expected):
    import ml_dtypes

    arrays = load_file(folder / "model.safetensors")
    save_file({name: a.astype(ml_dtypes.bfloat16) for name, a in arrays.items()}, folder / "model.safetensors")
    assert difference(folder, expected) < 0.2


def tokenizer_json(**changes):
    vocabulary = {token: i for i, token in enumerate(VOCABULARY)}
    normalizer = {"type": "BertNormalizer", "lowercase": True, "strip_accents": None}
    return json.dumps({"model": {"type": "WordPiece", "vocab": vocabulary}, "normalizer": normalizer, **changes})


def test_vocabulary_is_read_from_tokenizer_json(folder):
    (folder / "vocab.txt").unlink()
    (folder / "tokenizer_config.json").unlink()
    (folder / "tokenizer.json").write_text(tokenizer_json())
    encoder = load_encoder(f"path:{folder}")
    assert (encoder.vocabulary, encoder.lowercase) == (tuple(VOCABULARY), True)


@pytest.mark.parametrize(
    ("name", "content", "strange"),
    [
        ("tokenizer_config.json", {"tokenize_chinese_chars": False}, "tokenize_chinese_chars=False"),
        ("tokenizer_config.json", {"word_tokenizer_type": "mecab"}, "word_tokenizer_type='mecab'"),
        ("tokenizer_config.json", {"do_basic_tokenize": False}, "do_basic_tokenize=False"),
        ("tokenizer.json", {"normalizer": {"type": "Lowercase"}}, "type='Lowercase'"),
        ("tokenizer.json", {"normalizer": {"type": "BertNormalizer", "clean_text": False}}, "clean_text=False"),
    ],
)
def test_tokenizer_settings_that_change_ids_are_refused(folder, name, content, strange):
    (folder / name).write_text(json.dumps(content))
    with pytest.raises(EncoderError, match=f"its tokenizer has {strange}, which changes ids. Expected the settings of"):
        load_encoder(f"path:{folder}")


def test_vocabulary_of_another_kind_is_refused(folder):
    (folder / "vocab.txt").unlink()
    (folder / "tokenizer.json").write_text(tokenizer_json(model={"type": "BPE", "vocab": {}}))
    with pytest.raises(EncoderError, match="has neither a vocab.txt nor a WordPiece tokenizer.json"):
        load_encoder(f"path:{folder}")
    gap = {"[PAD]": 0, "[UNK]": 2}
    (folder / "tokenizer.json").write_text(tokenizer_json(model={"type": "WordPiece", "vocab": gap}))
    with pytest.raises(EncoderError, match="its ids have gaps. Expected 0 to 1"):
        load_encoder(f"path:{folder}")
