"""What Keras reads, with TensorFlow and without, and how often it traces.

Training itself is tested in test_finetune, test_resume and test_devices.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfsent.recipe.loader import load_config
from tfsent.text.batch_plan import BatchPlan, Shapes
from tfsent.text.feed import BatchLoader
from tfsent.training.engine import loop
from tfsent.training.finetune import train


@pytest.mark.parametrize("process", [0, 1])
def test_a_host_reads_the_same_part_with_and_without_tensorflow(monkeypatch, process):
    def inputs(rows, length, total):
        ids = np.zeros((total, length), np.int32)
        ids[: len(rows)] = rows[:, None]
        return {"token_ids": ids, "padding_mask": ids > 3}

    lengths = np.random.default_rng(0).integers(2, 20, 40)
    plan = BatchPlan(lengths, 96, seed=0, shapes=Shapes((8, 20), full=True, rows_multiple=2))
    loader = BatchLoader(inputs, np.arange(40, dtype=np.int32), plan, position=lambda: (0, 2), shard=(process, 2))
    through_tf_data = loop._reader(loader)()
    assert isinstance(through_tf_data, tf.data.Dataset)
    monkeypatch.setattr(loop.importlib.util, "find_spec", lambda name: None)
    without = loop._reader(loader)()
    assert isinstance(without, keras.utils.PyDataset)
    pairs = list(zip(through_tf_data.as_numpy_iterator(), without, strict=True))
    assert len(pairs) == plan.steps - 2 > 0
    for ours, theirs in pairs:
        keras.tree.map_structure(np.testing.assert_array_equal, ours, theirs)
        assert [a.dtype for a in keras.tree.flatten(ours)] == [a.dtype for a in keras.tree.flatten(theirs)]
    labels = np.concatenate([labels for _, labels, _ in without])
    assert len(labels) == sum(plan.shapes.rows(len(rows), length, 96) for rows, length in plan.epoch(0)[2:]) // 2


def test_the_training_step_is_traced_once(tiny_settings, tmp_path, monkeypatch):
    """Variables that Keras makes inside the first trace would make it trace again."""
    traced = []
    step = keras.Model.train_step

    def counted(self, data):
        traced.append(1)
        return step(self, data)

    monkeypatch.setattr(keras.Model, "train_step", counted)
    train(load_config("smoke", [*tiny_settings, "train.epochs=2"]), tmp_path / "run")
    assert len(traced) == 1
