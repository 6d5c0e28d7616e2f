"""`RUN/export/serving/N/`: the SavedModel that ships, chosen by precision, and where its version goes."""

from __future__ import annotations

import contextlib
import errno
import logging
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tfsent.exporting.parity import Budget, Parity, ReferenceAnswers
from tfsent.exporting.record import write_record
from tfsent.exporting.server.proof import verify_savedmodel
from tfsent.exporting.server.savedmodel import write_savedmodel
from tfsent.inference.keras_run import KerasPredictor
from tfsent.inference.saved_model import versions_of
from tfsent.recipe.schema import ExportConfig
from tfsent.storage import atomic

logger = logging.getLogger(__name__)

ARTIFACTS = {"float32": "savedmodel", "bfloat16": "savedmodel-bfloat16"}
FASTER = 0.9
"""bfloat16 ships where it takes at most this share of float32's time. Two runs of one file differed by less."""


def make_server_files(
    predictor: KerasPredictor,
    folder: Path,
    reference: ReferenceAnswers,
    limits: dict[str, Budget],
    config: ExportConfig,
) -> list[Parity]:
    """Make the candidates, prove them, and keep the one that ships."""
    serving = config.serving
    precisions = tuple(ARTIFACTS) if serving.precision == "auto" else (serving.precision,)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        parities = []
        for precision in precisions:
            place, artifact = Path(scratch) / precision, ARTIFACTS[precision]
            write_savedmodel(predictor, place, precision)
            parity = verify_savedmodel(
                *(predictor, place, reference, limits[artifact]), precision=precision, server=serving.min_server
            )
            parities.append(replace(parity, artifact=artifact))
        parities = choose(parities)
        chosen = next((i for i, one in enumerate(parities) if one.not_chosen is None), 0)
        (Path(scratch) / precisions[chosen]).rename(folder)
    write_record(folder, "serving", predictor.folder, config, precision=precisions[chosen])
    return parities


def choose(candidates: Sequence[Parity]) -> list[Parity]:
    """Decide which candidate ships: bfloat16 where it passes and is faster, else float32.

    Args:
        candidates: what each costs: one, or float32 and bfloat16.

    Returns:
        The candidates. All but one have a reason in `not_chosen`.
    """
    if len(candidates) == 1:
        return list(candidates)
    wide, narrow = candidates
    if not narrow.passed and wide.passed:
        return [wide, replace(narrow, not_chosen="; ".join(narrow.faults))]
    if wide.passed and narrow.latency_ms > FASTER * wide.latency_ms:
        return [wide, replace(narrow, not_chosen=f"{wide.artifact} is as fast on this machine, and exact")]
    reason = "; ".join(wide.faults) or f"{narrow.artifact} is faster on this machine"
    return [replace(wide, not_chosen=reason), narrow]


def publish_version(staged: Path, folder: Path, keep: int | None) -> Path:
    """Rename a finished SavedModel to the next free version, and remove old versions.

    A server that polls the folder takes each child whose name is a number: it must never see half of one. Others may
    publish at the same time: a number that is taken is never replaced.

    Args:
        staged: the finished SavedModel, on the file system of `folder`.
        folder: of the versions.
        keep: how many stay, the newest ones; None for all.
    """
    atomic.flush(staged)
    folder.mkdir(parents=True, exist_ok=True)
    version = 1 + max((int(path.name) for path in folder.iterdir() if path.name.isdecimal()), default=0)
    while True:
        try:
            staged.rename(folder / str(version))
            break
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            version += 1
    atomic.flush_folder(folder)
    if keep is not None:
        _remove_old(folder, keep)
    return folder / str(version)


def _remove_old(folder: Path, keep: int) -> None:
    for version in sorted(versions_of(folder))[:-keep]:
        # Under a name that is no number first, so that nobody sees half of it.
        going = folder / f".old-{version}"
        with contextlib.suppress(FileNotFoundError):
            (folder / str(version)).rename(going)
        shutil.rmtree(going, ignore_errors=True)
        logger.info(f"Removed version {version}.")
