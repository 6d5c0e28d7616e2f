"""TF-Hub handles → folders, through tensorflow-hub and its cache.

tensorflow-hub downloads, unpacks and caches. It unpacks safely: version 0.16.1 refuses links, devices and names that
lead out of the folder. It does not check addresses, so `resolve` refuses unsafe ones first.
"""

from __future__ import annotations

import os
import urllib.parse
from pathlib import Path

from tfsent.errors import AssetError, first_line
from tfsent.storage import downloads


def resolve(handle: str) -> Path:
    """Return the folder of a handle, downloaded where tensorflow-hub's cache does not have it.

    Args:
        handle: an address (https, gs), a local folder, or the part of an address after https://tfhub.dev/.

    Raises:
        AssetError: offline, not reachable, not a safe address, or not an archive.
    """
    import tensorflow_hub as hub

    handle = full_handle(handle)
    os.environ.setdefault("TFHUB_CACHE_DIR", str(_cache()))
    if "://" in handle:
        _require_safe(handle)
    try:
        folder = Path(hub.resolve(handle))
    except Exception as error:
        # urllib, tarfile, TensorFlow's file systems and tensorflow-hub each raise their own kinds.
        reason = first_line(error).rstrip(".")
        raise AssetError(
            f"tfhub:{handle} could not be fetched: {reason}. Is the hub reachable, and the address right? "
            "Try again, or use path:DIR with a local copy."
        ) from error
    if not folder.is_dir():
        raise AssetError(
            f"tfhub:{handle} was not downloaded: tensorflow-hub reads it where it is. Expected the address of an "
            "archive (.tar.gz), and TFHUB_MODEL_LOAD_FORMAT unset."
        )
    return folder


def full_handle(handle: str) -> str:
    """Return the whole address of a handle: `google/bert/1` is short for https://tfhub.dev/google/bert/1."""
    if "://" in handle:
        return handle
    folder = Path(handle).expanduser()
    return str(folder) if folder.exists() else f"https://tfhub.dev/{handle}"


def _cache() -> Path:
    # tensorflow-hub's own default is a folder of temporary files, which a restart empties.
    return downloads.cache_dir() / "tfhub"


def _require_safe(address: str) -> None:
    if os.environ.get("TFHUB_DISABLE_CERT_VALIDATION"):
        raise AssetError(
            "TFHUB_DISABLE_CERT_VALIDATION is set: the weights could come from anyone. Unset it; for a certificate "
            "authority of your own set SSL_CERT_FILE."
        )
    if downloads.offline():
        raise AssetError(f"TFSENT_OFFLINE forbids fetching {address}. Unset it, or use path:DIR with a local copy.")
    parts = urllib.parse.urlsplit(address)
    if parts.scheme == "http" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
        raise AssetError(f"{address} is not encrypted: anyone on the way could change the weights. Expected https.")
