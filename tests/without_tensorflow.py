"""Runs `tfsent` as on a machine where TensorFlow is not installed."""

import sys

for name in ("tensorflow", "tensorflow_text", "tensorflow_datasets", "tensorflow_hub", "tf_keras"):
    sys.modules[name] = None

from tfsent.cli.main import main  # noqa: E402

main()
