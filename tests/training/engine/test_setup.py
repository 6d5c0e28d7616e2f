"""What a recipe resolves to: XLA, batch lengths, the majority class."""

from collections import Counter

import pytest

from tfsent.recipe.loader import load_config
from tfsent.recipe.schema import TrainConfig
from tfsent.text.batch_plan import bucket_lengths, xla_bucket_lengths
from tfsent.training.engine.devices import Devices, find_devices
from tfsent.training.engine.setup import choose_jit, set_up

CPU = Devices("tensorflow", "cpu", ("/device:CPU:0",))
GPU = Devices("tensorflow", "gpu", ("/device:GPU:0",))
GPUS = Devices("tensorflow", "gpu", ("/device:GPU:0", "/device:GPU:1"))
TPU = Devices("jax", "tpu", ("tpu:0",))
JAX = Devices("jax", "cpu", ("cpu:0",))


@pytest.mark.parametrize(
    ("wanted", "devices", "found"),
    [
        ("auto", CPU, False),
        ("auto", GPU, True),
        ("auto", GPUS, False),
        ("auto", TPU, True),
        ("auto", JAX, True),
        (True, CPU, True),
        (False, GPU, False),
    ],
)
def test_xla_is_chosen_by_rule(wanted, devices, found):
    assert choose_jit(wanted, devices) is found


@pytest.mark.parametrize("jit", ["true", "false"])
def test_no_batch_is_longer_than_the_positions(tiny_settings, jit):
    """40 would be the next length, and the encoder has 39 positions here."""
    words = ["text.max_tokens=39", f"train.jit_compile={jit}"]
    setup = set_up(load_config("smoke", [*tiny_settings, *words]), CPU)
    loaders = setup.train_loader(lambda: (0, 0)), setup.validation_loader()
    assert max(make()[0]["token_ids"].shape[1] for loader in loaders for make in loader.batches()) == 39


def test_xla_gets_few_lengths(tiny_settings):
    setup = set_up(load_config("smoke", [*tiny_settings, "train.jit_compile=true"]), CPU)
    assert setup.jit
    shapes = {make()[0]["token_ids"].shape for make in setup.train_loader(lambda: (0, 0)).batches()}
    few = xla_bucket_lengths(setup.tokens.lengths, setup.spec.max_tokens)
    assert {length for _, length in shapes} <= set(few)
    assert len(shapes) <= len(few) < len(bucket_lengths(setup.spec.max_tokens))


def test_with_windows_the_majority_is_of_windows(tiny_csv_settings):
    """Where the long reviews are of one class, a model that always predicts it is right on most windows."""
    settings = [*tiny_csv_settings, "text.max_tokens=6", "text.truncation=windows"]
    setup = set_up(load_config("smoke", settings), find_devices(TrainConfig()))
    tokens, labels = setup.validation_tokens, setup.splits.validation.labels
    windows = Counter(labels[owner] for owner in tokens.owner)
    assert sum(windows.values()) == len(tokens) > len(labels)
    assert setup.majority == max(windows.values()) / len(tokens)
