"""XLA where it pays."""

import keras
import pytest

from tfsent.recipe.loader import load_config
from tfsent.text.batch_plan import bucket_lengths, xla_bucket_lengths
from tfsent.training.engine import setup as setup_module
from tfsent.training.engine.devices import Devices
from tfsent.training.engine.setup import choose_jit

CPU = Devices("tensorflow", "cpu", ("/device:CPU:0",))
GPU = Devices("tensorflow", "gpu", ("/device:GPU:0",))
GPUS = Devices("tensorflow", "gpu", ("/device:GPU:0", "/device:GPU:1"))
TPU = Devices("jax", "tpu", ("tpu:0",))


def unmeasured(jit):
    pytest.fail("it was measured")


@pytest.mark.parametrize(
    ("wanted", "devices", "found"),
    [("auto", CPU, False), (True, CPU, True), (False, GPU, False), ("auto", GPUS, False), ("auto", TPU, True)],
)
def test_what_is_known_is_not_measured(wanted, devices, found):
    assert choose_jit(wanted, devices, unmeasured) is found


@pytest.mark.parametrize(("without", "with_xla", "found"), [(0.03, 0.01, True), (0.01, 0.03, False)])
def test_on_a_gpu_the_faster_one_is_taken(monkeypatch, capsys, without, with_xla, found):
    clock = [0.0]
    monkeypatch.setattr(setup_module.time, "perf_counter", lambda: clock[0])

    def step(jit):
        def take():
            clock[0] += with_xla if jit else without

        return take

    assert choose_jit("auto", GPU, step) is found
    said = f"A step takes {1000 * without:.0f} ms, and {1000 * with_xla:.0f} ms with XLA."
    assert said in capsys.readouterr().err


def test_a_step_is_a_step_of_training_with_and_without(tiny_settings):
    setup = setup_module.set_up(load_config("smoke", tiny_settings), CPU)
    for jit in (False, True):
        keras.utils.set_random_seed(0)
        take = setup.step(jit)
        first = take()
        assert [take()[0] for _ in range(60)][-1] < first[0] - 0.01


def test_the_step_that_is_timed_has_a_full_batch(tiny_encoder, tmp_path, monkeypatch):
    """Where texts are short, hardly any has the greatest length."""
    rows = [f"{'good' if i % 2 else 'bad'} film,{i % 2}" for i in range(60)]
    (tmp_path / "short.csv").write_text("\n".join(["text,label", *rows, f"{'good ' * 30},1"]))
    words = ["data.source=csv", f"data.train={tmp_path / 'short.csv'}", f"encoder=path:{tiny_encoder}"]
    words += ["data.train_examples=null", "data.validation_examples=10", "data.test_examples=10"]
    config = load_config("smoke", [*words, "text.max_tokens=40", "train.batch_tokens=256", "data.seed=2"])
    setup = setup_module.set_up(config, CPU)
    assert sorted(setup.tokens.lengths)[-2:] == [4, 32]
    seen = []
    monkeypatch.setattr("keras.Model.train_on_batch", lambda self, x, y: seen.append((x["token_ids"].shape, len(y))))
    for jit in (False, True):
        setup.step(jit)()
    assert seen == [((8, 32), 8), ((8, 32), 8)]


def test_no_batch_is_longer_than_the_encoder_has_positions(tiny_settings):
    """40 would be the next length, and the encoder has 39 positions here."""
    for jit in ("true", "false"):
        words = ["text.max_tokens=39", f"train.jit_compile={jit}"]
        setup = setup_module.set_up(load_config("smoke", [*tiny_settings, *words]), CPU)
        feeds = setup.feed(setup.plan(), lambda: (0, 0)), setup.validation_feed()
        assert max(make()[0]["token_ids"].shape[1] for feed in feeds for make in feed.batches()) == 39


def test_xla_compiles_a_program_for_each_of_few_lengths(tiny_settings):
    setup = setup_module.set_up(load_config("smoke", [*tiny_settings, "train.jit_compile=true"]), CPU)
    assert setup.jit
    shapes = {make()[0]["token_ids"].shape for make in setup.feed(setup.plan(), lambda: (0, 0)).batches()}
    few = xla_bucket_lengths(setup.tokens.lengths, setup.spec.max_tokens)
    assert {length for _, length in shapes} <= set(few)
    assert len(shapes) <= len(few) < len(bucket_lengths(setup.spec.max_tokens))
