"""Runs `tfsent WORDS` and kills itself, as by `kill -9`, after the Nth training step: `killed.py N WORDS…`. 0: never.

With the variable CPUS, TensorFlow sees that many.
"""

import os
import signal
import sys


def main() -> None:
    left = int(sys.argv[1])
    if cpus := os.environ.get("CPUS"):
        import tensorflow as tf

        logical = [tf.config.LogicalDeviceConfiguration()] * int(cpus)
        tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], logical)
    from tfsent.training.engine import callbacks

    count = callbacks.CheckpointCallback.on_train_batch_end

    def counted(*words, **options):
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return count(*words, **options)

    callbacks.CheckpointCallback.on_train_batch_end = counted
    sys.argv = ["tfsent", *sys.argv[2:]]
    from tfsent.cli.main import main as command

    command()


main()
