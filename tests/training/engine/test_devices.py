"""Several devices, several processes, JAX: the same losses; and what cannot work is refused at once."""

import csv
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from click.testing import CliRunner

from tfsent.cli.main import main
from tfsent.errors import ConfigError
from tfsent.inference.keras_run import KerasPredictor
from tfsent.recipe.loader import load_config
from tfsent.recipe.schema import ExportConfig, TrainConfig
from tfsent.training import finetune as trainer
from tfsent.training.engine import devices
from tfsent.training.engine.devices import Devices, choose_precision, find_devices, load_backend, require_possible
from tfsent.training.engine.interrupts import StopRequest

HERE = Path(__file__).parents[2]
# A rate at which rounding stays rounding: at a higher one, training a tiny model is chaotic.
SAME = ["train.epochs=2", "train.learning_rate=1e-3", "model.dropout=0.0", "model.encoder_dropout=0.0"]
JAX = ["train.backend=jax"]
TEXTS = ["good great superb film", "a bad awful plot", "it was the movie", "dull dull lovely"]


def start(script, *words, **environment):
    command = [sys.executable, str(HERE / script), *map(str, words)]
    environment = {**os.environ, "TF_NUM_INTRAOP_THREADS": "1", **environment}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process, code=0):
    said, _ = process.communicate(timeout=400)
    assert process.returncode == code, said
    return said


def words_of(settings, *more):
    return [word for setting in (*settings, *SAME, *more) for word in ("--set", setting)]


def assert_same(a, b):
    rows = []
    for run in (a, b):
        with (run / "history.csv").open(newline="") as handle:
            rows.append(list(csv.DictReader(handle)))
    assert len(rows[0]) == len(rows[1]) == 2
    for one, other in zip(*rows, strict=True):
        for name, value in one.items():
            assert float(value) == pytest.approx(float(other[name]), abs=2e-4), name
    ours, theirs = (KerasPredictor(run).predict_proba(TEXTS) for run in (a, b))
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    first, last = (float(row["loss"]) for row in rows[0])
    assert last < first - 1e-3  # something was learnt, and more than they may differ by


@pytest.fixture(scope="module")
def on_four(tiny_csv_settings, tmp_path_factory):
    """A run on JAX with four devices."""
    run = tmp_path_factory.mktemp("four") / "run"
    words = words_of(tiny_csv_settings, *JAX)
    said = finish(start("several_devices.py", "jax", 4, "train", "smoke", *words, "--run-dir", run))
    assert "4 × cpu, Keras on jax." in said
    return run


def test_two_mirrored_devices_give_the_losses_of_one(tiny_settings, tmp_path):
    for count in (1, 2):
        words = [*words_of(tiny_settings), "--run-dir", tmp_path / str(count)]
        said = finish(start("several_devices.py", "tensorflow", count, "train", "smoke", *words))
        assert f"{count} × cpu, Keras on tensorflow." in said
    assert_same(tmp_path / "1", tmp_path / "2")


def test_jax_on_four_devices_gives_the_losses_of_one_where_there_is_no_tensorflow(on_four, tiny_csv_settings, tmp_path):
    """The tokens are those that were kept when four devices trained on them."""
    words = [*words_of(tiny_csv_settings, *JAX), "--run-dir", tmp_path / "run"]
    finish(start("without_tensorflow.py", "train", "smoke", *words))
    assert not (tmp_path / "run" / "tensorboard").exists()
    assert_same(on_four, tmp_path / "run")


def test_every_option_gives_on_two_devices_of_jax_what_it_gives_on_one(tiny_csv_settings, tmp_path):
    """Seen with the moving average: on JAX it and the weights were one array, which the next step gave away."""
    options = ["ema_momentum=0.9", "layer_decay=0.9", "label_smoothing=0.1", "accumulation_steps=2", "schedule=cosine"]
    words = words_of(tiny_csv_settings, *JAX, *(f"train.{option}" for option in options))
    for count in (1, 2):
        finish(start("several_devices.py", "jax", count, "train", "smoke", *words, "--run-dir", tmp_path / str(count)))
    assert_same(tmp_path / "1", tmp_path / "2")


def two_processes(*words):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    cluster = {"KERAS_DISTRIBUTION_JOB_ADDRESSES": address, "KERAS_DISTRIBUTION_NUM_PROCESSES": "2"}
    return [
        start("several_devices.py", "jax", 2, *words, **cluster, KERAS_DISTRIBUTION_PROCESS_ID=str(i)) for i in (0, 1)
    ]


def test_two_processes_give_the_losses_of_one_and_one_of_them_writes(on_four, tiny_csv_settings, tmp_path):
    both = two_processes("train", "smoke", *words_of(tiny_csv_settings, *JAX), "--run-dir", tmp_path / "run")
    assert all("4 × cpu in 2 processes, Keras on jax." in finish(process) for process in both)
    assert_same(on_four, tmp_path / "run")


def test_a_signal_to_one_process_ends_both_at_one_step_and_fewer_devices_go_on(tiny_csv_settings, tmp_path):
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


def test_what_was_trained_on_jax_exports_and_verifies(on_four):
    from tfsent.exporting import publish

    budget = {"int8_flips": 0.1, "int8_accuracy_drop": 0.1}
    result = publish.export(on_four, ExportConfig(verify_examples=40, budget=budget), list(publish.TARGETS))
    assert result["passed"], result
    assert {artifact["artifact"] for artifact in result["artifacts"]} == {"savedmodel", "float32", "int8"}


def test_killed_on_jax_it_goes_on_bit_for_bit(tiny_settings, tmp_path):
    words = ["smoke", *words_of(tiny_settings, *JAX, "model.encoder_dropout=0.1", "train.checkpoint_minutes=0")]
    alone = {"KERAS_BACKEND": "jax"}  # killed.py imports Keras before `tfsent` can choose
    finish(start("killed.py", "never", 1, "train", *words, "--run-dir", tmp_path / "whole", **alone))
    finish(start("killed.py", "step", 40, "train", *words, "--run-dir", tmp_path / "run", **alone), -signal.SIGKILL)
    assert "Going on from" in finish(start("killed.py", "never", 1, "train", "--resume", tmp_path / "run", **alone))
    assert (tmp_path / "run" / "history.csv").read_text() == (tmp_path / "whole" / "history.csv").read_text()
    ours, theirs = (KerasPredictor(tmp_path / name).model.get_weights() for name in ("run", "whole"))
    assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize(
    ("settings", "environment", "message"),
    [
        ({}, {"KERAS_DISTRIBUTION_NUM_PROCESSES": "2"}, "Several hosts .* do not work with train.backend=tensorflow"),
        ({}, {"TF_CONFIG": '{"cluster": {"worker": ["a:1", "b:1"]}}'}, "MultiWorkerMirroredStrategy breaks in Keras 3"),
        ({"backend": "jax"}, {}, "this process has loaded Keras on tensorflow already. Train in a process of its own"),
    ],
)
def test_what_cannot_work_is_refused_at_once(monkeypatch, settings, environment, message):
    assert keras.backend.backend() == "tensorflow"
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=message):
        load_backend(TrainConfig(**settings))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["train.devices=tpu"], "train: devices is tpu, and there is no TensorFlow for TPUs .* Set train.backend=jax"),
        (["train.backend=jax", "train.jit_compile=false"], "train: jit_compile is false, and JAX trains through XLA"),
        (["train.devices='gpu:0,0'"], "train: devices names one of them twice. Received: 'gpu:0,0'"),
    ],
)
def test_what_can_never_work_is_a_fault_of_the_recipe(settings, message):
    with pytest.raises(ConfigError, match=message):
        load_config("smoke", settings)


@pytest.mark.parametrize(
    "given",
    [
        {"NUM_PROCESSES": "2"},
        {"NUM_PROCESSES": "2", "PROCESS_ID": "0", "JOB_ADDRESSES": "host0"},
        {"NUM_PROCESSES": "2", "PROCESS_ID": "2", "JOB_ADDRESSES": "host0:1"},
        {"NUM_PROCESSES": "two", "PROCESS_ID": "0", "JOB_ADDRESSES": "host0:1"},
    ],
)
def test_half_a_cluster_is_told(monkeypatch, given):
    monkeypatch.delitem(sys.modules, "keras")
    monkeypatch.setattr(devices, "load_keras", lambda backend: None)
    for name, value in given.items():
        monkeypatch.setenv(f"KERAS_DISTRIBUTION_{name}", value)
    with pytest.raises(ConfigError, match="need the coordinator's address and port, .* Received: "):
        load_backend(TrainConfig(backend="jax"))


@pytest.mark.parametrize("words", ["train smoke --seeds 1,2", "tune smoke --trials 2", "lr-find smoke"])
def test_what_is_for_one_process_is_refused_in_several(monkeypatch, words):
    monkeypatch.setenv("KERAS_DISTRIBUTION_NUM_PROCESSES", "2")
    done = CliRunner().invoke(main, words.split())
    assert done.exit_code == 1
    assert "runs in one process, and KERAS_DISTRIBUTION_NUM_PROCESSES is 2. Unset it" in done.output


def test_a_backend_that_is_not_installed_is_named_with_its_command(monkeypatch):
    monkeypatch.delitem(sys.modules, "keras")
    monkeypatch.setattr(devices.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"not installed. pip install 'tfsent\[jax\]' for a CPU"):
        load_backend(TrainConfig(backend="jax"))


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
        ({"jit_compile": True}, "MirroredStrategy does not work with it. Leave it at auto, go on with one GPU, or set"),
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
        ({"freeze_encoder": True}, "train.freeze_encoder .* does not run in several processes"),
        ({"devices": "gpu:0,1"}, "train.devices is gpu:0,1, and its numbers are those of one host, where 2 processes"),
    ],
)
def test_what_several_processes_cannot_do_is_refused(settings, message):
    found = Devices("jax", "gpu", ("gpu:0", "gpu:1"), 0, 2, False)
    with pytest.raises(ConfigError, match=message):
        require_possible(TrainConfig(backend="jax", **settings), found)
    require_possible(TrainConfig(backend="jax", devices="gpu"), found)


def test_what_auto_was_found_to_mean_on_one_gpu_is_refused_on_two_before_anything_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "set_up", lambda *_: pytest.fail("it read the data"))
    resumed = SimpleNamespace(state={"identity": {"resolved_auto": {"jit_compile": True, "precision": "float32"}}})
    two = Devices("tensorflow", "gpu", ("/device:GPU:0", "/device:GPU:1"), is_default=False)
    with pytest.raises(ConfigError, match="auto found so on the one GPU this training began on"):
        trainer._train(load_config("smoke"), tmp_path, two, StopRequest(), resumed)


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
