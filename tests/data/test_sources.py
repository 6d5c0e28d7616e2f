"""Sources: tensorflow-datasets, the wheel, and what they refuse."""

import sys

import pytest
from tiny import tiny_texts, write_tfds

from tfsent.data.splits import load_splits
from tfsent.errors import DataError
from tfsent.recipe.schema import DataConfig


def test_a_class_without_examples_is_named(tmp_path):
    folder = write_tfds(tmp_path, [(text, 1) for text, _ in tiny_texts(40, 1)], tiny_texts(10, 2))
    with pytest.raises(DataError, match="The IMDb training reviews have one class only, 'positive'. Expected at least"):
        load_splits(DataConfig(dir=str(folder), validation_examples=10))


def test_a_source_without_reviews_is_refused(tmp_path):
    folder = write_tfds(tmp_path, [], tiny_texts(10, 2))
    with pytest.raises(DataError, match="could not load imdb_reviews.*no data"):
        load_splits(DataConfig(dir=str(folder), validation_examples=2))


def test_a_missing_data_folder_is_named(tmp_path):
    with pytest.raises(DataError, match="has no imdb_reviews folder"):
        load_splits(DataConfig(dir=str(tmp_path)))


def test_a_truncated_record_file_is_refused(tmp_path):
    folder = write_tfds(tmp_path, tiny_texts(40, 1), tiny_texts(10, 2))
    record = next(folder.rglob("imdb_reviews-train*"))
    record.write_bytes(record.read_bytes()[:-200])
    with pytest.raises(DataError, match="could not load imdb_reviews/plain_text from"):
        load_splits(DataConfig(dir=str(folder), validation_examples=10))


def test_a_failed_download_says_what_to_do(monkeypatch):
    import tensorflow_datasets as tfds

    class Builder:
        def __init__(self, name, *, data_dir):
            assert (name, data_dir) == ("imdb_reviews/plain_text", None)

        def download_and_prepare(self):
            raise ConnectionError("no route to host")

    monkeypatch.setattr(tfds, "builder", Builder)
    with pytest.raises(DataError, match="could not load imdb_reviews/.*: no route to host\nSet data.dir .*imdb-wheel"):
        load_splits(DataConfig())


def test_offline_without_a_prepared_copy_is_refused(monkeypatch):
    monkeypatch.setenv("TFSENT_OFFLINE", "1")
    with pytest.raises(DataError, match="TFSENT_OFFLINE forbids downloading imdb_reviews/plain_text"):
        load_splits(DataConfig())


def test_tfds_without_tensorflow_is_refused(tiny_reviews, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(
        DataError, match="data.source imdb is read through TensorFlow, which is not installed here. pip"
    ):
        load_splits(DataConfig(dir=str(tiny_reviews)))


def test_any_tfds_text_set_by_name(tiny_reviews):
    config = DataConfig(source="tfds:imdb_reviews/plain_text", dir=str(tiny_reviews))
    splits = load_splits(config)
    assert splits.test.label_names == ("neg", "pos")
    assert splits.test.origin == "test split of tfds:imdb_reviews/plain_text"
    assert [len(part) for part in vars(splits).values()] == [288, 32, 100]
    with pytest.raises(DataError, match="no column 'txt'. .*Did you mean 'text'"):
        load_splits(config.model_copy(update={"text": "txt"}))
    with pytest.raises(DataError, match="has no glue folder"):
        load_splits(config.model_copy(update={"source": "tfds:glue/sst2"}))


def test_a_test_split_without_labels_is_ignored(tmp_path, messages):
    folder = write_tfds(tmp_path, tiny_texts(100, 1), [(text, -1) for text, _ in tiny_texts(20, 2)])
    splits = load_splits(DataConfig(source="tfds:imdb_reviews/plain_text", dir=str(folder)))
    assert "Ignoring the test split of imdb_reviews/plain_text: it has no labels." in messages.text
    assert splits.test.origin == "held out of the training reviews"


@pytest.mark.real
def test_the_wheel_holds_all_training_reviews(imdb):
    assert imdb.class_counts == {"negative": 12500, "positive": 12500}
    assert any("<br />" in text for text in imdb.texts[:100])


@pytest.mark.real
def test_tfds_and_wheel_hold_equal_reviews(imdb, tfds_parts):
    splits = load_splits(DataConfig(), tfds_parts)
    assert [len(part) for part in vars(splits).values()] == [22500, 2500, 25000]
    official = sorted(
        (text, label)
        for part in (splits.train, splits.validation)
        for text, label in zip(part.texts, part.labels, strict=True)
    )
    assert official == sorted(zip(imdb.texts, imdb.labels, strict=True))
