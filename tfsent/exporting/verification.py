"""`tfsent verify`: the contract that what was exported from a run is what its model says, and may ship.

Each file goes through its own runtime on held-out reviews and golden texts, and is held to the budgets that it was
exported with. Hashes say whether a file changed, and whether the model did since.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from tfsent.data.reviews import load_reviews
from tfsent.errors import ExportError, TfsentError, first_line
from tfsent.exporting.faults import (
    companion_faults,
    golden_lines,
    graph_faults,
    hash_faults,
    replay_faults,
    review_faults,
    variable_faults,
)
from tfsent.exporting.parity import Parity, ReferenceAnswers, ask_trained_model, budgets, compare
from tfsent.exporting.phone.mediapipe_proof import verify_mediapipe
from tfsent.exporting.phone.tflite import ask_in_turns
from tfsent.exporting.record import changed_files, digests_of_model, read_record
from tfsent.exporting.sample import verification_sample
from tfsent.exporting.server.files import ARTIFACTS
from tfsent.exporting.server.proof import verify_savedmodel
from tfsent.inference.keras_run import KerasPredictor
from tfsent.inference.tflite_file import MEDIAPIPE, MODEL
from tfsent.recipe.schema import ExportConfig
from tfsent.storage import run_directory

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Check:
    """One question, and its answer."""

    artifact: str
    """`model`, `heldout`, or the folder or file of an export, below the run."""
    name: str
    """Such as `hashes`."""
    faults: tuple[str, ...]
    """What was expected and what was found; none where it passed."""

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults


@dataclass(frozen=True)
class Verification:
    """What `tfsent verify` found."""

    run: str
    reviews: int
    """Held-out reviews that each file answered."""
    golden: int
    """Golden texts that each file answered."""
    checks: tuple[Check, ...]
    files: tuple[Parity, ...]
    """What each exported file costs against the trained model."""

    @property
    def faults(self) -> tuple[str, ...]:
        """A sentence for each fault, with the artifact and the check."""
        return tuple(f"{check.artifact}, {check.name}: {fault}" for check in self.checks for fault in check.faults)

    @property
    def passed(self) -> bool:
        """Whether all may ship."""
        return not self.faults

    def to_dict(self) -> dict[str, Any]:
        """Return the verification ready for JSON."""
        checks = [{**asdict(check), "passed": check.passed} for check in self.checks]
        return json.loads(json.dumps({**asdict(self), "checks": checks, "passed": self.passed}))


def verify(run: Path) -> Verification:
    """Verify a run and everything that is exported from it.

    Args:
        run: the run directory, or one of several seeds.

    Raises:
        ExportError: nothing is exported.
        RunError: the directory holds no finished run.
    """
    run = run_directory.require_run(run)
    if not (folders := exported_folders(run)):
        raise ExportError(f"Nothing is exported from {run}, so there is nothing to ship. Next: tfsent export {run}")
    bench = _Bench(run)
    bench.check("model", "hashes", lambda: hash_faults(run / "model"))
    bench.check("heldout", "reviews and classes", lambda: review_faults(run))
    bench.check("model", "opens in Keras's safe mode", bench.open_model)
    for target, folder in folders:
        logger.info(f"Verifying {folder.relative_to(run)} …")
        record = _look(bench, target, folder)
        sound = all(check.passed for check in bench.checks if check.artifact in ("model", "heldout"))
        if record is not None and sound:
            _PROOFS[target](bench, folder, record)
        else:
            bench.check(folder, "answers", lambda: ["not asked, because of a fault above. Mend that, and verify again"])
    return Verification(str(run), bench.asked, len(bench.golden), tuple(bench.checks), tuple(bench.parities))


def require_complete(predictor: KerasPredictor, target: str, folder: Path) -> None:
    """Check an exported folder before it is published. Its answers have been proved already.

    Args:
        predictor: the run's model.
        target: `serving` or `mobile`.
        folder: inside the run.

    Raises:
        ExportError: it is not what `verify` would accept.
    """
    bench = _Bench(predictor.folder.parent)
    bench.predictor = predictor
    record = _look(bench, target, folder)
    if record is not None and target == "mobile":
        bench.check(
            folder / MODEL, "golden texts", lambda: replay_faults(bench.predictor, folder, record["quantization"])
        )
    if faults := [f"{check.name}: {fault}" for check in bench.checks for fault in check.faults]:
        raise ExportError(f"Nothing was published: the files for {target} are not complete.\n  " + "\n  ".join(faults))


def exported_folders(run: Path) -> list[tuple[str, Path]]:
    """Return the target and the folder of what is exported: of SavedModels the newest version."""
    serving, mobile = run / "export" / "serving", run / "export" / "mobile"
    found = []
    # A damaged SavedModel is one, too.
    if serving.is_dir() and any(path.name.isdecimal() for path in serving.iterdir()):
        newest = max((path for path in serving.iterdir() if path.name.isdecimal()), key=lambda path: int(path.name))
        found.append(("serving", newest))
    if mobile.is_dir():
        found.append(("mobile", mobile))
    return found


class _Bench:
    """What all checks share: the run, its model, its answers, and the checks so far."""

    def __init__(self, run: Path):
        self.run = run
        self.checks: list[Check] = []
        self.parities: list[Parity] = []
        self.asked = 0
        self._references: dict[int, ReferenceAnswers] = {}

    @cached_property
    def predictor(self) -> KerasPredictor:
        return KerasPredictor(self.run)

    @cached_property
    def golden(self) -> list[dict[str, Any]]:
        return golden_lines(self.run / "export" / "mobile")

    def open_model(self) -> Sequence[str]:
        """Open the run's model."""
        self.predictor.predict_proba(["a text"])
        return ()

    def reference(self, config: ExportConfig) -> ReferenceAnswers:
        """The trained model's answers to the reviews that an export is proved with."""
        count = config.verify_examples
        if count not in self._references:
            reviews = verification_sample(load_reviews(self.run / "heldout" / "test.jsonl.gz"), count)
            self._references[count] = ask_trained_model(self.predictor, reviews)
            self.asked = max(self.asked, len(reviews))
        return self._references[count]

    def check(self, artifact: str | Path, name: str, find: Callable[[], Sequence[str]]) -> bool:
        """Make a check; what it raises is a fault."""
        where = artifact if isinstance(artifact, str) else artifact.relative_to(self.run).as_posix()
        try:
            faults = tuple(find())
        except Exception as error:  # a file that somebody else wrote may fail in any way
            named = "" if isinstance(error, TfsentError | ValueError) else f"{type(error).__name__}: "
            faults = (named + first_line(error),)
        self.checks.append(Check(where, name, faults))
        return not faults


def _look(bench: _Bench, target: str, folder: Path) -> dict[str, Any] | None:
    """Check what can be told without asking the files: hashes, staleness, companions, operators.

    Returns:
        The record of the folder; None where it cannot be used.
    """
    found: dict[str, Any] = {}

    def read() -> Sequence[str]:
        found.update(read_record(folder, target))
        return changed_files(folder, target, found)

    def fresh() -> Sequence[str]:
        now, then = digests_of_model(bench.run / "model"), found["model"]
        changed = sorted(name for name in {*now, *then} if now.get(name) != then.get(name))
        return [f"it was made from another {', '.join(changed)}. Next: tfsent export {bench.run}"] if changed else []

    bench.check(folder, "hashes", read)
    if not found:
        return None
    bench.check(folder, "is of this model", fresh)
    beside, whole = (folder / "assets.extra", True) if target == "serving" else (folder, _whole(found))
    bench.check(folder, "text, labels, decision", lambda: companion_faults(bench.run / "model", beside, whole))
    if target == "mobile":
        path = folder / MODEL
        return found if bench.check(path, "operators and lengths", lambda: graph_faults(path, found)) else None
    return found if bench.check(folder, "has its variables", lambda: variable_faults(folder)) else None


def _whole(record: dict[str, Any]) -> bool:
    return ExportConfig(**record["export"]).mobile.vocabulary == "all"


def _prove_serving(bench: _Bench, folder: Path, record: dict[str, Any]) -> None:
    def prove() -> Sequence[str]:
        config, precision = ExportConfig(**record["export"]), record["precision"]
        artifact = ARTIFACTS[precision]
        parity = verify_savedmodel(
            *(bench.predictor, folder, bench.reference(config), budgets(config)[artifact]),
            precision=precision,
            server=config.serving.min_server,
            golden=[line["text"] for line in bench.golden],
        )
        bench.parities.append(replace(parity, artifact=artifact))
        return parity.faults

    bench.check(folder, "answers, signatures, operators", prove)


def _prove_mobile(bench: _Bench, folder: Path, record: dict[str, Any]) -> None:
    config, kind, path = ExportConfig(**record["export"]), record["quantization"], folder / MODEL
    limits = budgets(config)

    def prove() -> Sequence[str]:
        reference = bench.reference(config)
        answers = ask_in_turns({kind: path}, reference)[kind]
        parity = compare(kind, path, answers, reference, limits.get(kind, limits["mobile"]))
        bench.parities.append(parity)
        return parity.faults

    def prove_mediapipe() -> Sequence[str]:
        parity = verify_mediapipe(bench.predictor, folder, bench.reference(config), limits["mobile"])
        bench.parities.append(parity)
        return parity.faults

    bench.check(path, "answers", prove)
    bench.check(path, "golden texts", lambda: replay_faults(bench.predictor, folder, kind))
    bench.check(folder / MEDIAPIPE, "answers", prove_mediapipe)


_PROOFS = {"serving": _prove_serving, "mobile": _prove_mobile}
