"""Runs `tfsent` and kills itself, as by `kill -9`, at the Nth call of a named kind: `killed.py KIND N WORDS…`.

Kinds: `step` (a training step is done), `write` (the arrays of a checkpoint are half written), `flush` (an fsync),
`rename` (a file or folder is about to get its name), `remove` (an old checkpoint is about to go), `publish:NAME` (a
file or folder of that name is half written). `validation` sends SIGTERM instead, at the Nth batch of a validation.
With the variable CPUS TensorFlow sees as many.
"""

import os
import shutil
import signal
import sys
from pathlib import Path

kind, left = sys.argv[1], int(sys.argv[2])


def die_at(call):
    def counted(*words, **options):
        global left
        left -= 1
        if left == 0:
            if kind == "write":  # half of the file is there
                target = Path(words[1])
                call(*words, **options)
                target.write_bytes(target.read_bytes()[: target.stat().st_size // 2])
            os.kill(os.getpid(), signal.SIGTERM if kind == "validation" else signal.SIGKILL)
        return call(*words, **options)

    return counted


def publish_half(staged, target):
    """In the place of `atomic.publish`."""
    if target.name == kind.partition(":")[2]:
        file = staged if staged.is_file() else next(path for path in staged.rglob("*") if path.is_file())
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        os.kill(os.getpid(), signal.SIGKILL)
    publish(staged, target)


def main():
    global publish
    from tfsent.storage import atomic
    from tfsent.training.engine import callbacks, checkpoints

    if cpus := os.environ.get("CPUS"):
        import tensorflow as tf

        logical = [tf.config.LogicalDeviceConfiguration()] * int(cpus)
        tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], logical)
    if kind == "step":
        callbacks.CheckpointCallback.on_train_batch_end = die_at(callbacks.CheckpointCallback.on_train_batch_end)
    elif kind == "validation":
        callbacks.CheckpointCallback.on_test_batch_end = die_at(callbacks.CheckpointCallback.on_test_batch_end)
    elif kind == "write":
        checkpoints.save_file = die_at(checkpoints.save_file)
    elif kind == "flush":
        checkpoints._flush = die_at(checkpoints._flush)
    elif kind == "rename":
        Path.rename = die_at(Path.rename)
    elif kind == "remove":
        shutil.rmtree = die_at(shutil.rmtree)
    elif kind.startswith("publish:"):
        publish, atomic.publish = atomic.publish, publish_half
    sys.argv = ["tfsent", *sys.argv[3:]]
    from tfsent.cli.main import main as command

    command()


main()
