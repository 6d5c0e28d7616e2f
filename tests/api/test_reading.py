"""Labelled reviews of the caller's, read for a model."""

import pandas
import pytest

from tfsent.api.reading import read_labelled, reading_of
from tfsent.errors import ConfigError, DataError

FRAME = pandas.DataFrame({"text": ["a", "b", "c"], "label": ["x", "y", "z"], "film": [1, 2, 3]})


def test_a_file_and_a_frame_give_the_same(tmp_path):
    FRAME.to_csv(tmp_path / "new.csv", index=False)
    for data in (tmp_path / "new.csv", str(tmp_path / "new.csv"), FRAME):
        config = reading_of("model.tflite", data, ())
        reviews, unknown = read_labelled(data, config, ("x", "y"), ["film", "film"])
        assert (list(reviews.texts), unknown) == (["a", "b"], {"z": 1})
        assert {name: list(values) for name, values in reviews.columns.items()} == {"film": ["1", "2"]}


def test_a_run_reads_as_its_recipe_says(tiny_run, tmp_path):
    FRAME.to_csv(tmp_path / "new.csv", index=False)
    assert reading_of(tiny_run, tmp_path / "new.csv", ()).text == "text"
    assert reading_of(tiny_run, tmp_path / "new.csv", {"data.text": "film"}).text == "film"
    with pytest.raises(ConfigError, match="only keys below data. can still be set. Received: 'train.epochs=3'"):
        reading_of(tiny_run, FRAME, ["train.epochs=3"])


def test_a_missing_column_is_one_error():
    with pytest.raises(DataError, match="no column 'flim'.* Did you mean 'film'[?] Name yours: --by film"):
        read_labelled(FRAME, reading_of("m", FRAME, ()), ("x", "y"), ["flim"])
