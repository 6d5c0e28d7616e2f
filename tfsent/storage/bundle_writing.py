"""Writes a bundle; see `bundle_format.py`."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from tfsent.console import progress_bar
from tfsent.errors import RunError
from tfsent.storage import atomic
from tfsent.storage.bundle_format import MANIFEST, Fault, File, Layout, lay_out, manifest_bytes, parse_manifest

BLOCK = 1 << 20


def write(target: Path, sources: Mapping[str, Path | bytes], version: str) -> str:
    """Write a bundle in one step. The same sources give the same bytes.

    Args:
        target: the file.
        sources: what each file of the bundle holds: a file, or bytes.
        version: of this tfsent.

    Returns:
        The SHA-256 of the bundle.

    Raises:
        RunError: a name or the size is none that a bundle may have, a file changed while it was read, or the target
            cannot be written.
    """
    total = sum(len(source) if isinstance(source, bytes) else source.stat().st_size for source in sources.values())
    with progress_bar("bundling", 2 * total) as bar:
        bar.unit, bar.unit_scale = "B", True
        files, crcs = zip(*(_hash(name, source, bar) for name, source in sorted(sources.items())), strict=True)
        manifest = manifest_bytes(list(files), version)
        try:
            parse_manifest(manifest)
        except Fault as fault:
            raise RunError(f"{target} cannot be made: the bundle {fault}.") from fault
        layout = lay_out([File(MANIFEST, len(manifest), ""), *files], [zlib.crc32(manifest), *crcs])
        with atomic.replacing(target) as staged, staged.open("wb") as out:
            return _write(out, layout, {**sources, MANIFEST: manifest}, bar)


def _hash(name: str, source: Path | bytes, bar: Any) -> tuple[File, int]:
    """Return what the manifest says of a source, and its CRC-32."""
    digest, crc, size = hashlib.sha256(), 0, 0
    for block in _blocks(source):
        digest.update(block)
        crc, size = zlib.crc32(block, crc), size + len(block)
        bar.update(len(block))
    return File(name, size, digest.hexdigest()), crc


def _blocks(source: Path | bytes) -> Iterator[bytes]:
    with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as handle:
        while block := handle.read(BLOCK):
            yield block


def _write(out: BinaryIO, layout: Layout, sources: Mapping[str, Path | bytes], bar: Any) -> str:
    """Write an archive and return its SHA-256."""
    whole = hashlib.sha256()
    for entry in layout.entries:
        out.write(entry.header)
        whole.update(entry.header)
        digest = hashlib.sha256()
        for block in _blocks(sources[entry.file.name]):
            out.write(block)
            whole.update(block)
            digest.update(block)
            bar.update(len(block))
        if digest.hexdigest() != entry.file.sha256 and entry.file.name != MANIFEST:
            raise RunError(f"{entry.file.name} changed while it was bundled. Wait until nothing writes to the run.")
    out.write(layout.tail)
    whole.update(layout.tail)
    return whole.hexdigest()


def stored_gzip(content: bytes) -> bytes:
    """Return a gzip file (RFC 1952) of stored blocks: the same bytes with any zlib, and larger than its content."""
    blocks = [content[i : i + 0xFFFF] for i in range(0, len(content), 0xFFFF)] or [b""]
    packed = [
        struct.pack("<B2H", i == len(blocks) - 1, len(block), len(block) ^ 0xFFFF) + block
        for i, block in enumerate(blocks)
    ]
    end = struct.pack("<2I", zlib.crc32(content), len(content) & 0xFFFF_FFFF)
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + b"".join(packed) + end
