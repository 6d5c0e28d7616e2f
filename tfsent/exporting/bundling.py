"""A run that was exported → `model.tfsent.zip`, one file that a person hands on. `docs/bundles.md` explains it."""

from __future__ import annotations

import gzip
import json
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tfsent import __version__
from tfsent.data.reviews import Reviews, load_reviews, save_reviews
from tfsent.errors import ConfigError, RunError
from tfsent.exporting import sbom
from tfsent.exporting.sample import verification_sample
from tfsent.inference.saved_model import newest_version, versions_of
from tfsent.inference.tflite_file import MODEL
from tfsent.model.decision import read_decision
from tfsent.recipe.loader import load_config
from tfsent.recipe.schema import Config
from tfsent.storage import manifest, run_directory
from tfsent.storage.bundle import SUFFIX
from tfsent.storage.bundle_writing import stored_gzip, write

TEXTS = (
    *("config.yaml", "environment.json", "history.csv", "metrics.json", "verify.json", "report.html", "README.md"),
    "LICENSES.md",
)
"""Of these a run may lack some. `data.json` and the held-out reviews are made anew."""


@dataclass(frozen=True)
class BundleResult:
    """What `tfsent bundle` wrote."""

    path: str
    bytes: int
    files: int
    """Without the manifest."""
    sha256: str
    """Of the bundle."""
    unknown_licences: tuple[str, ...]
    """Of `encoder` and `data`, those whose licence the bundle cannot state."""

    def to_dict(self) -> dict[str, Any]:
        """Return the result ready for JSON."""
        return {**asdict(self), "unknown_licences": list(self.unknown_licences)}


def bundle(run: Path, output: Path, *, overwrite: bool = False) -> BundleResult:
    """Write a bundle of a run that was exported; see `tfsent.bundle`."""
    if output.suffix != SUFFIX:
        raise ConfigError(f"Expected a name that ends with .tfsent.zip. Received: {output}")
    if output.is_dir():
        raise RunError(f"{output} is a folder. Name a file, such as {output / 'model.tfsent.zip'}.")
    if output.exists() and not overwrite:
        raise RunError(f"{output} exists already. Pass --overwrite to replace it.")
    run = run_directory.require_run(run)
    proof = _proof(run)
    run_directory.warn_if_interrupted(run)
    config, origin = load_config(run / "config.yaml"), _read_json(run / "data.json")
    places = [run / "model", *_exported(run)]
    sample = _sample(run, proof)
    described = json.dumps(_describe(origin, sample), indent=2, ensure_ascii=False) + "\n"
    private = _private(config, origin)
    sources: dict[str, Path | bytes] = {
        str(path.relative_to(run)): path for place in places for path in sorted(place.rglob("*")) if path.is_file()
    }
    texts = {name: (run / name).read_text(encoding="utf-8") for name in TEXTS if (run / name).is_file()}
    texts["data.json"] = described
    taught = config.distil.teacher is not None
    texts.setdefault("LICENSES.md", sbom.licences(config.encoder, config.data.source, taught=taught))
    for name, text in texts.items():
        sources[name] = _without(private, text).encode()
    sources["heldout/test.jsonl.gz"] = _packed(sample)
    digests = {path.name: manifest.sha256(path) for path in (run / "model").iterdir() if path.is_file()}
    sources["sbom.cdx.json"] = sbom.bill_of_materials(
        _without(private, config.encoder), config.data.source, json.loads(_without(private, described)), digests
    )
    digest = write(output, sources, __version__)
    unknown = sbom.unknown_licences(config.encoder, config.data.source, taught=taught)
    unknown = () if (run / "LICENSES.md").is_file() else unknown
    return BundleResult(str(output), output.stat().st_size, len(sources), digest, unknown)


def _proof(run: Path) -> dict[str, Any]:
    """Return `verify.json`.

    Raises:
        RunError: the run was not exported, or a file did not agree with its model.
    """
    if not (run / "verify.json").is_file():
        raise RunError(f"{run} was not exported, and a bundle holds what was proved. First: tfsent export {run}")
    proof = _read_json(run / "verify.json")
    if not proof.get("passed") or not proof.get("published"):
        raise RunError(
            f"The last export of {run} did not pass: verify.json says what strays from the trained model. A bundle "
            f"holds what was proved. First: tfsent export {run}"
        )
    return proof


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read: {error}.") from error
    if not isinstance(found, dict):
        raise RunError(f"{path} cannot be read: expected a JSON object.")
    return found


def _exported(run: Path) -> list[Path]:
    """Return the folders of the exported files that ship: the newest SavedModel, and what is for phones.

    Raises:
        RunError: there are none, or they are not those of the model as it is.
    """
    serving, mobile = run / "export" / "serving", run / "export" / "mobile"
    decision, found = read_decision(run / "model"), []
    if serving.is_dir() and versions_of(serving):
        found.append(newest_version(serving))
    if (mobile / MODEL).is_file():
        found.append(mobile)
    if not found:
        raise RunError(f"{run} has no exported files any more. First: tfsent export {run}")
    for folder in (run / "model", *found):
        extra = folder / "assets.extra"
        if read_decision(extra if extra.is_dir() else folder) != decision:
            raise RunError(
                f"{folder} was exported before the model got its present decision.json. First: tfsent export {run}"
            )
        if fault := _fault(folder):
            raise RunError(f"{folder} is damaged: {fault}. Train or export the run again.")
    return found


def _fault(folder: Path) -> str | None:
    """Return what differs from the manifest of a folder. A SavedModel has none, nor have models of earlier versions."""
    if not (folder / manifest.NAME).is_file():
        return None
    listed = _read_json(folder / manifest.NAME)
    digests = {name: about["sha256"] for name, about in listed["files"].items()} if "files" in listed else listed
    changed = [name for name, digest in digests.items() if not _is(folder / name, digest)]
    return f"{changed[0]} is not what was written" if changed else None


def _is(path: Path, digest: str) -> bool:
    return path.is_file() and manifest.sha256(path) == digest


def _sample(run: Path, proof: dict[str, Any]) -> Reviews:
    """Return the held-out reviews that the export was proved on."""
    reviews = load_reviews(run / "heldout" / "test.jsonl.gz")
    sample = verification_sample(reviews, proof["reviews"])
    return replace(sample, origin=f"{len(sample):,} of {len(reviews):,} reviews ({reviews.origin})")


def _describe(origin: dict[str, Any], sample: Reviews) -> dict[str, Any]:
    """Return `data.json` of the bundle: without places on this machine, and with the test reviews that it holds."""
    own = {
        "reviews": len(sample),
        "classes": sample.class_counts,
        "origin": sample.origin,
        "fingerprint": sample.fingerprint,
        "drawn_from": origin["splits"]["test"],
    }
    encoder = {key: value for key, value in origin.get("encoder", {}).items() if key not in ("folder", "record")}
    return {**origin, "splits": {**origin["splits"], "test": own}, "encoder": encoder}


def _packed(reviews: Reviews) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        save_reviews(reviews, Path(folder) / "reviews")
        with gzip.open(Path(folder) / "reviews") as lines:
            return stored_gzip(lines.read())


def _private(config: Config, origin: dict[str, Any]) -> list[str]:
    """Return the paths of this machine that files of the run name, the longest first."""
    data, kind_and_place = config.data, config.encoder.partition(":")
    named = [data.dir, *(data.train or ()), *(data.validation or ()), *(data.test or ())]
    named += [origin.get("encoder", {}).get("folder"), kind_and_place[2]]
    named += [*(config.distil.teacher or ()), *(config.distil.unlabelled or ())]
    return sorted({path for path in named if path and Path(path).is_absolute()}, key=len, reverse=True)


def _without(private: list[str], text: str) -> str:
    """Return a text in which the last name of a path stands for the path."""
    for path in private:
        text = text.replace(path, Path(path).name)
    return text
