"""Runs `tfsent` with several devices that a machine with one CPU has not: `several_devices.py BACKEND COUNT WORDS…`."""

import os
import sys

backend, count = sys.argv[1], int(sys.argv[2])

if backend == "jax":
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={count}"
else:
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)

sys.argv = ["tfsent", *sys.argv[3:]]
from tfsent.cli.main import main  # noqa: E402

main()
