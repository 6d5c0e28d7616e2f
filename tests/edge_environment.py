"""Runs `tfsent` as where only tfsent and four packages are installed: `pip install --no-deps tfsent`, and
export/edge/requirements.txt. The variable ALSO names more packages."""

import importlib.abc
import os
import sys

ALLOWED = {"tfsent", "numpy", "tokenizers", "ai_edge_litert", "click", *os.environ.get("ALSO", "").split()}
OF_THEIR_OWN = {"flatbuffers", "backports", "google", "typing_extensions", "tqdm", "huggingface_hub"}
"""What those four install with themselves."""


class OnlyThese(importlib.abc.MetaPathFinder):
    """Finds no other package."""

    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top in ALLOWED or top in OF_THEIR_OWN or top in sys.stdlib_module_names:
            return None
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)


if __name__ == "__main__":
    sys.meta_path.insert(0, OnlyThese())
    from tfsent.cli.main import main

    main()
