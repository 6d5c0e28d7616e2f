"""What MODEL on the command line is: which file or folder is served, by what, and when there is a newer one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tfsent.errors import ArtifactError
from tfsent.inference.saved_model import versions_of
from tfsent.inference.tflite_file import MODEL
from tfsent.storage import bundle
from tfsent.storage.manifest import NAME

GRAPH = "saved_model.pb"


@dataclass(frozen=True)
class Place:
    """Where a model lies.

    Attributes:
        kind: `litert` or `tensorflow`.
        path: the `.tflite` file, the SavedModel, or the folder of its versions.
    """

    kind: Literal["litert", "tensorflow"]
    path: Path

    @property
    def folder(self) -> Path:
        """The folder that is watched."""
        return self.path.parent if self.kind == "litert" else self.path

    def newest(self) -> tuple[Path, str] | None:
        """Return the model that is served now and a stamp that differs when it is another; None where there is none.

        A folder of versions gives the highest number. A `.tflite` file is another when its `manifest.json` is.
        """
        if self.kind == "tensorflow":
            try:
                versions = versions_of(self.path)
            except OSError:
                return None
            if versions:
                return self.path / str(max(versions)), str(max(versions))
            return (self.path, "as it is") if (self.path / GRAPH).is_file() else None
        try:
            manifest = self.folder / NAME
            if manifest.is_file():
                return self.path, hashlib.sha256(manifest.read_bytes()).hexdigest()
            facts = self.path.stat()
            return self.path, f"{facts.st_ino} {facts.st_mtime_ns} {facts.st_size}"
        except OSError:  # the folder is being replaced
            return None


def find(path: Path) -> Place:
    """Return the place of a model.

    Args:
        path: a `.tflite` file, a SavedModel, the folder of its versions, a run, a bundle of one, or a folder of its
            export. Where there are both, the `.tflite` file is served: it needs no TensorFlow.

    Raises:
        ArtifactError: there is no exported model, or the bundle is damaged.
    """
    path = bundle.inside(path)
    if path.suffix == ".tflite" and path.is_file():
        return Place("litert", path.absolute())
    if (path / GRAPH).is_file() or (path.is_dir() and versions_of(path)):
        return Place("tensorflow", path.absolute())
    for folder in (path, path / "export"):
        for mobile in (folder / MODEL, folder / "mobile" / MODEL):
            if mobile.is_file():
                return Place("litert", mobile.absolute())
        serving = folder / "serving"
        if serving.is_dir() and versions_of(serving):
            return Place("tensorflow", serving.absolute())
    expected = "Expected a .tflite file, a SavedModel folder, or a run that was exported"
    if not path.exists():
        raise ArtifactError(f"There is nothing at {path}. {expected}.")
    if (path / "config.yaml").is_file() or (path / "seeds.json").is_file():
        raise ArtifactError(f"{path} has no export. Make one: tfsent export {path}")
    raise ArtifactError(f"{path} cannot be served: it is {'a folder' if path.is_dir() else 'a file'}. {expected}.")
