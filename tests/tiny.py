"""A tiny BERT in the layout of a real checkpoint, and tiny reviews in the layout of a prepared TFDS data set."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

GOOD = ["good", "great", "superb", "lovely", "fine"]
BAD = ["bad", "awful", "dull", "poor", "worse"]
PLAIN = ["a", "the", "film", "was", "it", "and", "plot", "actor", "scene", "i", "saw", "this", "movie"]
VOCABULARY = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *GOOD,
    *BAD,
    *PLAIN,
    "un",
    "##like",
    "##ly",
    "##s",
    ",",
    ".",
]


def tiny_weights(config: dict, seed: int = 0) -> dict[str, np.ndarray]:
    """Random weights under the names of a Hugging Face BERT."""
    rng = np.random.default_rng(seed)
    h, i = config["hidden_size"], config["intermediate_size"]

    def normal(*shape: int) -> np.ndarray:
        return rng.normal(0, 0.3, shape).astype(np.float32)

    weights = {
        "embeddings.word_embeddings.weight": normal(config["vocab_size"], h),
        "embeddings.position_embeddings.weight": normal(config["max_position_embeddings"], h),
        "embeddings.token_type_embeddings.weight": normal(config["type_vocab_size"], h),
        "pooler.dense.weight": normal(h, h),
        "pooler.dense.bias": normal(h),
    }
    norms = ["embeddings.LayerNorm"]
    for layer in range(config["num_hidden_layers"]):
        prefix = f"encoder.layer.{layer}"
        for name in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
            weights[f"{prefix}.{name}.weight"], weights[f"{prefix}.{name}.bias"] = normal(h, h), normal(h)
        weights[f"{prefix}.intermediate.dense.weight"] = normal(i, h)
        weights[f"{prefix}.intermediate.dense.bias"] = normal(i)
        weights[f"{prefix}.output.dense.weight"] = normal(h, i)
        weights[f"{prefix}.output.dense.bias"] = normal(h)
        norms += [f"{prefix}.attention.output.LayerNorm", f"{prefix}.output.LayerNorm"]
    for name in norms:
        weights[f"{name}.weight"], weights[f"{name}.bias"] = 1 + normal(h), normal(h)
    return weights


def write_encoder(folder: Path, vocabulary: list[str] = VOCABULARY, **changes: object) -> Path:
    """A Hugging Face folder of a BERT with 2 layers, hidden 8."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "model_type": "bert",
        "architectures": ["BertModel"],
        "vocab_size": len(vocabulary),
        "hidden_size": 8,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "max_position_embeddings": 40,
        "type_vocab_size": 2,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        **changes,
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"do_lower_case": True, "tokenizer_class": "BertTokenizer"})
    )
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    save_file(tiny_weights(config), folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def write_electra(folder: Path, **changes: object) -> Path:
    """A Hugging Face folder of an ELECTRA whose embeddings are narrower than its layers, as in ELECTRA small."""
    from safetensors.numpy import load_file, save_file

    write_encoder(folder, model_type="electra", architectures=["ElectraModel"], **changes)
    rng = np.random.default_rng(5)
    arrays = {k: v for k, v in load_file(folder / "model.safetensors").items() if "pooler" not in k}
    arrays |= {name: array[..., :4].copy() for name, array in arrays.items() if name.startswith("embeddings.")}
    arrays["embeddings_project.weight"] = rng.normal(size=(8, 4)).astype(np.float32)
    arrays["embeddings_project.bias"] = rng.normal(size=8).astype(np.float32)
    save_file(arrays, folder / "model.safetensors")
    return folder


def tiny_texts(count: int, seed: int) -> list[tuple[str, int]]:
    """Reviews a tiny model can learn: the label is whether the praise is praise. Some are long, some have HTML."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(count):
        words = rng.choice(PLAIN, int(rng.integers(2, 36))).tolist()
        for _ in range(6):
            words.insert(int(rng.integers(len(words))), str(rng.choice(GOOD if i % 2 else BAD)))
        rows.append(("<br />".join([" ".join(words), f"it was {i}."]), i % 2))
    return rows


def write_tfds(folder: Path, train: list[tuple[str, int]], test: list[tuple[str, int]]) -> Path:
    """What tensorflow-datasets writes when it prepares imdb_reviews, with other reviews in it."""
    import tensorflow as tf

    prepared = folder / "imdb_reviews" / "plain_text" / "1.0.0"
    prepared.mkdir(parents=True)
    splits = []
    for name, rows in {"train": train, "test": test, "unsupervised": [("nothing", -1)]}.items():
        with tf.io.TFRecordWriter(str(prepared / f"imdb_reviews-{name}.tfrecord-00000-of-00001")) as writer:
            for text, label in rows:
                feature = {
                    "text": tf.train.Feature(bytes_list=tf.train.BytesList(value=[text.encode()])),
                    "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
                }
                writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
        template = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
        splits.append({"name": name, "filepathTemplate": template, "numBytes": "1", "shardLengths": [str(len(rows))]})
    (prepared / "dataset_info.json").write_text(
        json.dumps({"fileFormat": "tfrecord", "name": "imdb_reviews", "splits": splits, "version": "1.0.0"})
    )
    python = "tensorflow_datasets.core.features"
    features = {
        "label": {
            "pythonClassName": f"{python}.class_label_feature.ClassLabel",
            "classLabel": {"numClasses": "2"},
        },
        "text": {"pythonClassName": f"{python}.text_feature.Text", "text": {}},
    }
    (prepared / "features.json").write_text(
        json.dumps({"pythonClassName": f"{python}.features_dict.FeaturesDict", "featuresDict": {"features": features}})
    )
    (prepared / "label.labels.txt").write_text("neg\npos\n")
    return folder


def write_preset(folder, kind, **sizes):
    """A KerasHub preset; returns the backbone that wrote it."""
    import keras_hub

    backbone = getattr(keras_hub.models, f"{kind}Backbone")(num_layers=2, num_heads=2, intermediate_dim=16, **sizes)
    for variable in backbone.weights:  # biases and norms start as zeros and ones, which would hide a mistake
        variable.assign(np.random.default_rng(len(variable.path)).normal(0, 0.3, variable.shape))
    backbone.save_to_preset(str(folder))
    getattr(keras_hub.models, f"{kind}Tokenizer")(vocabulary=VOCABULARY, lowercase=True).save_to_preset(str(folder))
    return backbone
