"""TF-Hub handles → folders, through tensorflow-hub and its cache, with downloads that go on where they broke off.

tensorflow-hub downloads in one stream, and takes certificates on trust when `TFHUB_DISABLE_CERT_VALIDATION` is set.
Its resolver for https is replaced here, in its own registry; everything else (its cache, `TFHUB_CACHE_DIR`, gs:// and
local handles) stays its own.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import tarfile
import urllib.error
import urllib.parse
import urllib.request
import zlib
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any

import tensorflow_hub as hub
from tensorflow_hub import compressed_module_resolver, registry, resolver

from tfsent.console import progress_bar
from tfsent.errors import AssetError, first_line
from tfsent.storage import downloads

ATTEMPTS = 4
TIMEOUT_SECONDS = 60
CHUNK = 1 << 20
_HINT = "Is the hub reachable, and the address right? Try again, or use path:DIR with a local copy."


def resolve(handle: str) -> Path:
    """The folder a handle stands for, downloaded if tensorflow-hub's cache has none.

    Args:
        handle: an address (https, gs), a local folder, or the rest of an address after https://tfhub.dev/.

    Raises:
        AssetError: offline, not reachable, not a safe address, or no archive.
    """
    handle = full_handle(handle)
    if handle.startswith("https://") and (kept := cached(handle)):
        return kept
    if "://" in handle:
        _require_safe(handle)
    os.environ.setdefault("TFHUB_CACHE_DIR", str(_cache()))
    try:
        return Path(hub.resolve(handle))
    except AssetError:
        raise
    except Exception as error:
        # urllib, tarfile, TensorFlow's file systems and tensorflow-hub each raise their own kinds.
        raise AssetError(f"tfhub:{handle} could not be fetched: {first_line(error)}. {_HINT}") from error


def full_handle(handle: str) -> str:
    """`google/bert/1` is short for https://tfhub.dev/google/bert/1, unless there is such a folder here."""
    if "://" in handle or Path(handle).expanduser().exists():
        return handle if "://" in handle else str(Path(handle).expanduser())
    return f"https://tfhub.dev/{handle}"


def cached(handle: str) -> Path | None:
    """The folder of a downloaded handle, if tensorflow-hub's cache has it."""
    folder = _cache() / hashlib.sha1(full_handle(handle).encode()).hexdigest()
    return folder if folder.is_dir() and any(folder.iterdir()) else None


def _cache() -> Path:
    # tensorflow-hub's own default is the system's folder of temporary files, which a restart empties.
    return Path(os.environ.get("TFHUB_CACHE_DIR") or downloads.cache_dir() / "tfhub")


def _require_safe(address: str) -> None:
    if os.environ.get("TFHUB_DISABLE_CERT_VALIDATION"):
        raise AssetError(
            "TFHUB_DISABLE_CERT_VALIDATION is set: weights from an unchecked server may be anyone's. Unset it; for a "
            "certificate authority of your own set SSL_CERT_FILE."
        )
    if downloads.offline():
        raise AssetError(f"TFSENT_OFFLINE forbids fetching {address}. Unset it, or use path:DIR with a local copy.")
    parts = urllib.parse.urlsplit(address)
    if parts.scheme == "http" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
        raise AssetError(f"{address} is not encrypted: anyone on the way could change the weights. Expected https.")


class ResumingResolver(compressed_module_resolver.HttpCompressedFileResolver):
    """tensorflow-hub's resolver of https handles, asking for ranges, and unpacking by Python's data filter."""

    def __call__(self, handle: str) -> str:
        """Download and unpack, unless that is done."""
        name = hashlib.sha1(handle.encode()).hexdigest()
        folder = resolver.create_local_module_dir(resolver.tfhub_cache_dir(use_temp=True), name)
        return resolver.atomic_download(handle, self._download, folder, self._lock_file_timeout_sec())

    def _maybe_disable_cert_validation(self) -> None:
        """Not here."""

    def _download(self, handle: str, folder: str) -> None:
        name = hashlib.sha1(handle.encode()).hexdigest()
        partial = Path(folder).parent / f"{name}.tar.gz.partial"
        address = self._append_compressed_format_query(handle)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._continue(address, partial)
                break
            except (OSError, HTTPException) as error:
                refused = isinstance(error, urllib.error.HTTPError) and error.code < 500
                if refused or attempt == ATTEMPTS:
                    have = partial.stat().st_size if partial.is_file() else 0
                    raise AssetError(
                        f"{handle} could not be fetched: {first_line(error)}. "
                        + (f"{have / 1e6:,.1f} MB are kept; the next try goes on from there." if have else _HINT)
                    ) from error
        _unpack(partial, Path(folder), handle)
        partial.unlink()
        partial.with_suffix(".tag").unlink(missing_ok=True)

    def _continue(self, address: str, partial: Path) -> None:
        """Fetch what is missing of a file; from the start when the server's file is another now, or cannot be cut."""
        tag, headers = partial.with_suffix(".tag"), {}
        if partial.is_file() and tag.is_file():
            headers = {"Range": f"bytes={partial.stat().st_size}-", "If-Range": tag.read_text(encoding="utf-8")}
        request = urllib.request.Request(address, headers=headers)
        try:
            response = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS, context=self._context)
        except urllib.error.HTTPError as error:
            if error.code != 416 or not headers:  # 416: the file ends where ours does, or before
                raise
            partial.unlink()
            return self._continue(address, partial)
        with response:
            _require_safe(response.geturl())
            goes_on = response.status == 206
            have = partial.stat().st_size if goes_on else 0
            tag.write_text(response.headers.get("ETag") or response.headers.get("Last-Modified") or "", "utf-8")
            if not tag.stat().st_size:
                tag.unlink()  # nothing to tell one version of the file from another by
            with partial.open("ab" if goes_on else "wb") as out:
                _copy(response, out, have, address)
        return None


def _copy(response: Any, out: IO[bytes], have: int, address: str) -> None:
    length = response.headers.get("Content-Length")
    total = have + int(length) if length else 0
    with progress_bar("MB", max(total // 1_000_000, 1), have // 1_000_000) as bar:
        done = have
        while chunk := response.read(CHUNK):
            out.write(chunk)
            bar.update((done + len(chunk)) // 1_000_000 - done // 1_000_000)
            done += len(chunk)
    if total and done < total:
        raise OSError(f"{address} broke off at {done:,} of {total:,} bytes.")


def _unpack(archive: Path, folder: Path, handle: str) -> None:
    """Unpack files and folders; anything that leads out of the folder, or is a link or a device, is an error."""
    try:
        with tarfile.open(archive) as tar:
            members = tar.getmembers()
            size, free = sum(member.size for member in members), shutil.disk_usage(folder).free
            if size > free:
                raise AssetError(f"{handle} unpacks to {size / 1e6:,.0f} MB; {folder.parent} has {free / 1e6:,.0f} MB.")
            if strange := [member.name for member in members if not (member.isfile() or member.isdir())]:
                raise tarfile.ExtractError(f"it holds {strange[0]!r}, a link or a device")
            tar.extractall(folder, members=members, filter="data")
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        archive.unlink()  # or every later try would go on from it
        raise AssetError(f"{handle} is no sound archive (.tar.gz): {first_line(error)}. Nothing was kept.") from error


registry.resolver.add_implementation(ResumingResolver())
