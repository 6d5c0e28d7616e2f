"""Several devices, several processes, JAX: the same losses as one device; and what cannot work is refused at once.

Each set of devices trains the same recipe once, and the tests compare the runs.
"""

import csv
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tfsent.errors import ConfigError
from tfsent.exporting import publish
from tfsent.inference.keras_run import KerasPredictor
from tfsent.recipe.loader import load_config
from tfsent.recipe.schema import ExportConfig, TrainConfig
from tfsent.training import finetune
from tfsent.training.engine import devices
from tfsent.training.engine.devices import Devices, choose_precision, find_devices, require_possible
from tfsent.training.engine.interrupts import StopRequest

HERE = Path(__file__).parents[2]
# A rate at which rounding stays rounding: at a higher one, training a tiny model is chaotic. Few lengths, for JAX
# compiles a program for each.
SAME = ["train.epochs=2", "train.learning_rate=2e-3", "model.dropout=0.0", "model.encoder_dropout=0.0"]
SAME += ["text.max_tokens=16", "train.checkpoint_minutes=60"]
JAX = ["train.backend=jax"]
TEXTS = ["good great superb film", "a bad awful plot", "it was the movie", "dull dull lovely"]


def start(script, *words, **environment):
    command = [sys.executable, str(HERE / script), *map(str, words)]
    clean = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    environment = {**clean, "TF_NUM_INTRAOP_THREADS": "1", **environment}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process, code=0):
    said, _ = process.communicate(timeout=600)
    assert process.returncode == code, said
    return said


def words_of(settings, *more):
    return [word for setting in (*settings, *SAME, *more) for word in ("--set", setting)]


def history_of(run):
    with (run / "history.csv").open(newline="") as handle:
        return list(csv.DictReader(handle))


def assert_same(a, b):
    rows = [history_of(run) for run in (a, b)]
    assert len(rows[0]) == len(rows[1]) == 2
    for one, other in zip(*rows, strict=True):
        for name, value in one.items():
            assert float(value) == pytest.approx(float(other[name]), abs=2e-4), name
    ours, theirs = (KerasPredictor(run).predict_proba(TEXTS) for run in (a, b))
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    first, last = (float(row["loss"]) for row in rows[0])
    assert last < first - 1e-3  # something was learnt, and more than they may differ by


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("devices")


@pytest.fixture(scope="module")
def mirrored(folder, tiny_csv_settings):
    """A run on two mirrored devices of TensorFlow."""
    words = words_of(tiny_csv_settings)
    said = finish(start("several_devices.py", "tensorflow", 2, "train", "smoke", *words, "--run-dir", folder / "two"))
    assert "2 × cpu, Keras on tensorflow." in said
    return folder / "two"


@pytest.fixture(scope="module")
def single(folder, tiny_csv_settings):
    """The same on one device, in this process."""
    finetune.train(load_config("smoke", [*tiny_csv_settings, *SAME]), folder / "one")
    return folder / "one"


@pytest.fixture(scope="module")
def on_four(folder, tiny_csv_settings):
    """A run on JAX with four devices."""
    words = words_of(tiny_csv_settings, *JAX)
    said = finish(start("several_devices.py", "jax", 4, "train", "smoke", *words, "--run-dir", folder / "four"))
    assert "4 × cpu, Keras on jax." in said
    return folder / "four"


@pytest.fixture(scope="module")
def without_tensorflow(folder, on_four, tiny_csv_settings):
    """The same on one device of JAX, where TensorFlow is not installed. Its tokens are in the cache of `on_four`."""
    words = [*words_of(tiny_csv_settings, *JAX), "--run-dir", folder / "jax"]
    finish(start("without_tensorflow.py", "train", "smoke", *words))
    return folder / "jax"


def test_two_mirrored_devices_train_as_one(mirrored, single):
    assert_same(mirrored, single)


def test_jax_trains_as_tensorflow(without_tensorflow, single):
    """Their batches differ, for XLA has few lengths: the validation of what was learnt is nearly the same."""
    ours, theirs = (KerasPredictor(run).predict_proba(TEXTS) for run in (without_tensorflow, single))
    np.testing.assert_allclose(ours, theirs, atol=0.05)


def test_four_devices_of_jax_train_as_one_without_tensorflow(on_four, without_tensorflow):
    assert not (without_tensorflow / "tensorboard").exists()
    assert_same(on_four, without_tensorflow)


def test_two_devices_of_jax_learn_from_a_teacher_as_one(folder, tiny_csv_settings, single):
    own = ["distil.hidden_weight=0.1", "train.epochs=2"]
    words = ["distil", "smoke", "--teacher", single, *words_of(tiny_csv_settings, *JAX, *own), "--run-dir"]
    for count, name in ((1, "taught"), (2, "taught by two")):
        said = finish(start("several_devices.py", "jax", count, *words, folder / name))
        assert "Layers of the student imitate layers of the teacher: 0 ← 0, 1 ← 1." in said
    assert_same(folder / "taught", folder / "taught by two")


def two_processes(*words):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    cluster = {"KERAS_DISTRIBUTION_JOB_ADDRESSES": address, "KERAS_DISTRIBUTION_NUM_PROCESSES": "2"}
    return [
        start("several_devices.py", "jax", 2, *words, **cluster, KERAS_DISTRIBUTION_PROCESS_ID=str(i)) for i in (0, 1)
    ]


def test_two_processes_train_as_one_and_one_writes(on_four, tiny_csv_settings, tmp_path):
    both = two_processes("train", "smoke", *words_of(tiny_csv_settings, *JAX), "--run-dir", tmp_path / "run")
    assert all("4 × cpu in 2 processes, Keras on jax." in finish(process) for process in both)
    assert_same(on_four, tmp_path / "run")


def test_a_signal_to_one_process_stops_both_and_one_resumes(tiny_csv_settings, tmp_path):
    run = tmp_path / "run"
    words = words_of(tiny_csv_settings, *JAX, "train.checkpoint_minutes=0", "train.epochs=4")
    both = two_processes("train", "smoke", *words, "--run-dir", run)
    while not any((run / "checkpoints").glob("step-*[0-9]")):
        assert both[0].poll() is None, both[0].communicate()
        time.sleep(0.05)
    both[1].send_signal(signal.SIGTERM)
    assert all("SIGTERM came. A checkpoint was written" in finish(process, 75) for process in both)
    said = finish(start("several_devices.py", "jax", 1, "train", "--resume", run))
    assert "devices was '4 × cpu in 2 processes, Keras on jax' and is '1 × cpu, Keras on jax'" in said
    assert (run / "model" / "model.keras").is_file()


def test_a_run_trained_on_jax_exports_and_verifies(on_four):
    limits = {"max_flips": 0.1, "max_accuracy_drop": 0.1}
    report = publish.export(on_four, ExportConfig(verify_examples=40, mobile=limits), list(publish.TARGETS))
    assert report.passed, report
    assert {parity.artifact for parity in report.artifacts} == {"savedmodel", "float32", "float16", "int8", "mediapipe"}


def test_kill_9_on_jax_changes_no_bit(folder, tiny_csv_settings):
    """With every option of training that has variables of its own."""
    more = ["model.encoder_dropout=0.1", "train.checkpoint_minutes=0", "train.accumulation_steps=2"]
    words = ["smoke", *words_of(tiny_csv_settings, *JAX, *more, "train.label_smoothing=0.1", "train.epochs=1")]
    alone = {"KERAS_BACKEND": "jax"}  # killed.py imports Keras before `tfsent` can choose
    whole, run = folder / "whole", folder / "killed"
    finish(start("killed.py", 0, "train", *words, "--run-dir", whole, **alone))
    finish(start("killed.py", 9, "train", *words, "--run-dir", run, **alone), -signal.SIGKILL)
    assert "Resuming from" in finish(start("killed.py", 0, "train", "--resume", run, **alone))
    assert (run / "history.csv").read_text() == (whole / "history.csv").read_text()
    ours, theirs = (KerasPredictor(place).model.get_weights() for place in (run, whole))
    assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["train.devices=tpu"], "train: devices is tpu, and there is no TensorFlow for TPUs .* Set train.backend=jax"),
        (
            ["train.backend=jax", "train.jit_compile=false"],
            "train: jit_compile is false, and JAX always trains through XLA",
        ),
        (["train.devices='gpu:0,0'"], "train: devices names a device twice. Received: 'gpu:0,0'"),
    ],
)
def test_what_can_never_work_is_a_fault_of_the_recipe(settings, message):
    with pytest.raises(ConfigError, match=message):
        load_config("smoke", settings)


def test_devices_that_are_not_here_are_told():
    with pytest.raises(ConfigError, match="train.devices is gpu, and Keras on tensorflow sees 1 cpu here"):
        find_devices(TrainConfig(devices="gpu"))
    assert find_devices(TrainConfig()) == Devices("tensorflow", "cpu", ("/device:CPU:0",))


def test_of_several_gpus_the_named_ones_are_taken(monkeypatch):
    here = {"gpu": ("/device:GPU:0", "/device:GPU:1", "/device:GPU:2"), "cpu": ("/device:CPU:0",)}
    monkeypatch.setattr(devices, "_tensorflow_devices", lambda: here)
    assert find_devices(TrainConfig()).names == here["gpu"]
    assert find_devices(TrainConfig(devices="gpu:0,2")).names == ("/device:GPU:0", "/device:GPU:2")
    assert find_devices(TrainConfig(devices="gpu:0")).is_default
    assert not find_devices(TrainConfig(devices="gpu:1")).is_default
    assert not find_devices(TrainConfig(devices="cpu")).is_default
    with pytest.raises(ConfigError, match="train.devices is gpu:1,5, and Keras on tensorflow sees 3 gpu, 1 cpu here"):
        find_devices(TrainConfig(devices="gpu:1,5"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"accumulation_steps": 4}, "accumulation_steps is 4, and on 2 devices .* set train.backend=jax"),
        ({"jit_compile": True}, "MirroredStrategy does not work with it. Leave it at auto, continue on one GPU, or"),
    ],
)
def test_what_mirrored_devices_cannot_do_is_refused(monkeypatch, settings, message):
    monkeypatch.setattr(devices, "_tensorflow_devices", lambda: {"gpu": ("/device:GPU:0", "/device:GPU:1")})
    with pytest.raises(ConfigError, match=message):
        find_devices(TrainConfig(**settings))
    assert find_devices(TrainConfig(**settings, devices="gpu:0"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"freeze_encoder": True}, "train.freeze_encoder does not run in several processes"),
        ({"devices": "gpu:0,1"}, "train.devices is gpu:0,1, which numbers the devices of one host, and 2 processes"),
    ],
)
def test_what_several_processes_cannot_do_is_refused(settings, message):
    found = Devices("jax", "gpu", ("gpu:0", "gpu:1"), 0, 2, False)
    with pytest.raises(ConfigError, match=message):
        require_possible(TrainConfig(backend="jax", **settings), found)
    require_possible(TrainConfig(backend="jax", devices="gpu"), found)


def test_what_auto_was_found_to_mean_on_one_gpu_is_refused_on_two_before_anything_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(finetune, "set_up", lambda *_: pytest.fail("it read the data"))
    resumed = SimpleNamespace(state={"identity": {"resolved_auto": {"jit_compile": True, "precision": "float32"}}})
    two = Devices("tensorflow", "gpu", ("/device:GPU:0", "/device:GPU:1"), is_default=False)
    with pytest.raises(ConfigError, match="or auto, in a training that began on one GPU"):
        finetune._train(load_config("smoke"), tmp_path, two, StopRequest(), resumed, None, ())


@pytest.mark.parametrize("word", ["gpus", "gpu:", "gpu:a", "cpu:0", "tpu:1"])
def test_a_word_that_names_no_device_is_refused(word):
    with pytest.raises(
        ConfigError, match=f"train.devices: Expected auto, cpu, gpu, gpu:0,1 or tpu. Received: '{word}'"
    ):
        load_config("smoke", [f"train.devices={word!r}"])


def test_precision_follows_the_hardware(monkeypatch):
    cpu = Devices("tensorflow", "cpu", ("/device:CPU:0",))
    assert choose_precision("float32", cpu) == "float32"
    for flags, expected in [("fma avx512_bf16", "mixed_bfloat16"), ("amx_bf16", "mixed_bfloat16"), ("avx2", "float32")]:
        monkeypatch.setattr(devices.Path, "read_text", lambda *_, flags=flags, **__: flags)
        assert choose_precision("auto", cpu) == expected
    assert choose_precision("auto", Devices("jax", "tpu", ("tpu:0",))) == "mixed_bfloat16"
    for capability, expected in [((7, 5), "float32"), ((8, 0), "mixed_bfloat16")]:
        monkeypatch.setattr(devices, "_gpu_capability", lambda _, found=capability: found)
        assert choose_precision("auto", Devices("tensorflow", "gpu", ("/device:GPU:0",))) == expected
    assert TrainConfig().precision == "auto"
