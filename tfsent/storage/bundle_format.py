"""The bytes of a bundle: a zip archive whose every byte follows from its first entry, `manifest.json`.

    manifest.json     {"format": 1, "kind": "tfsent bundle", "tfsent": version, "files": {name: {"sha256", "bytes"}}}
    the files         in the order of their names
    the directory     of the zip archive

Entries are stored without compression, one after the other, all with one date and one mode. So a manifest allows one
archive and no other: a reader works out where each header must lie and what it must say, and compares. Overlapping
entries, entries that only one of the two lists has, links and lying sizes are no cases of their own.

The records are those of PKWARE's APPNOTE.TXT 6.3.10, sections 4.3.7 to 4.3.16; those of zip64 stand where a number does
not fit into 32 bits.
"""

from __future__ import annotations

import json
import re
import struct
import zlib
from dataclasses import dataclass
from typing import Any, BinaryIO, NoReturn

FORMAT = 1
"""Raise it when a reader of an earlier tfsent would misread a bundle."""
KIND = "tfsent bundle"
MANIFEST = "manifest.json"
MOST_MANIFEST_BYTES = 1_000_000
MOST_BYTES = 8_000_000_000
"""Of all files of a bundle together."""
NEEDED = ("config.yaml", "model/labels.txt", "model/model.keras", "model/text.json", "model/vocab.txt")
"""Without these it is no model."""
FORBIDDEN = ("checkpoints", "seeds.json")
"""Names that lead a reader of a run out of it, to another run or to a training that goes on."""

_LOCAL, _CENTRAL, _END = struct.Struct("<4s5H3I2H"), struct.Struct("<4s6H3I5H2I"), struct.Struct("<4s4H2IH")
_END64, _LOCATOR64 = struct.Struct("<4sQ2H2I4Q"), struct.Struct("<4sIQI")
_DATE, _MODE, _UNIX = 33, 0o100644, 3
"""1 January 1980; a plain file that its owner may write; the system whose modes these are."""
_WIDE, _MANY = 0xFFFF_FFFF, 0xFFFF
"""From these on a number is in a zip64 record, and they stand in its place."""
_PART = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_-])?")
_VERSION = re.compile(r"[0-9A-Za-z.+!-]{1,40}")


class Fault(Exception):  # noqa: N818 - `opened` makes an error of it
    """What is wrong with a bundle, in words that follow `it`."""


class Newer(Fault):
    """A newer tfsent made it."""


@dataclass(frozen=True)
class File:
    """A file of a bundle, as its manifest lists it."""

    name: str
    size: int
    """Bytes."""
    sha256: str


@dataclass(frozen=True)
class Entry:
    """A file with its place in the archive."""

    file: File
    header: bytes
    """What lies before its content."""
    start: int
    """The offset of its content."""
    crc: int


@dataclass(frozen=True)
class Layout:
    """An archive that is laid out as a bundle. Its contents have not been looked at, but for the manifest."""

    entries: tuple[Entry, ...]
    """The manifest is the first one. Its `sha256` is empty."""
    tail: bytes
    """What lies behind the last content."""

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(entry.file.size for entry in self.entries)


def manifest_bytes(files: list[File], version: str) -> bytes:
    """Return the manifest of files.

    Args:
        files: of the bundle, without the manifest.
        version: of the tfsent that makes it.
    """
    listed = {file.name: {"sha256": file.sha256, "bytes": file.size} for file in sorted(files, key=lambda f: f.name)}
    whole = {"format": FORMAT, "kind": KIND, "tfsent": version, "files": listed}
    return (json.dumps(whole, indent=1) + "\n").encode()


def lay_out(files: list[File], crcs: list[int]) -> Layout:
    """Return the archive of files.

    Args:
        files: the manifest, then the others by name.
        crcs: CRC-32 of each.
    """
    entries, offset = [], 0
    for file, crc in zip(files, crcs, strict=True):
        header = local_header(file, crc)
        entries.append(Entry(file, header, offset + len(header), crc))
        offset += len(header) + file.size
    return Layout(tuple(entries), _tail(entries, offset))


def local_header(file: File, crc: int) -> bytes:
    """Return what lies before the content of a file."""
    name, size, extra, needed = file.name.encode("ascii"), file.size, b"", 20
    if size >= _WIDE:
        extra, size, needed = struct.pack("<2H2Q", 1, 16, size, size), _WIDE, 45
    head = _LOCAL.pack(b"PK\3\4", needed, 0, 0, 0, _DATE, crc, size, size, len(name), len(extra))
    return head + name + extra


def _tail(entries: list[Entry], offset: int) -> bytes:
    """Return the directory and the records that end the archive, which begin at an offset."""
    directory = b"".join(map(_central_header, entries))
    count, size = len(entries), len(directory)
    wide = b""
    if count >= _MANY or max(size, offset) >= _WIDE:
        wide = _END64.pack(b"PK\6\6", 44, _UNIX << 8 | 45, 45, 0, 0, count, count, size, offset)
        wide += _LOCATOR64.pack(b"PK\6\7", 0, offset + size, 1)
    few = min(count, _MANY)
    end = _END.pack(b"PK\5\6", 0, 0, few, few, min(size, _WIDE), min(offset, _WIDE), 0)
    return directory + wide + end


def _central_header(entry: Entry) -> bytes:
    name, size, offset = entry.file.name.encode("ascii"), entry.file.size, entry.start - len(entry.header)
    numbers = [size, size] * (size >= _WIDE) + [offset] * (offset >= _WIDE)
    extra = struct.pack(f"<2H{len(numbers)}Q", 1, 8 * len(numbers), *numbers) if numbers else b""
    needed, size, offset = 45 if numbers else 20, min(size, _WIDE), min(offset, _WIDE)
    about = (_UNIX << 8 | needed, needed, 0, 0, 0, _DATE, entry.crc, size, size)
    return _CENTRAL.pack(b"PK\1\2", *about, len(name), len(extra), 0, 0, 0, _MODE << 16, offset) + name + extra


def read_layout(archive: BinaryIO, size: int) -> Layout:
    """Check everything of a bundle but the contents of its files, which are not read.

    Args:
        archive: open for reading.
        size: its bytes.

    Raises:
        Fault: it is not a bundle, or not one that this tfsent reads.
    """
    raw, crc = _read_manifest(archive)
    files = [File(MANIFEST, len(raw), ""), *parse_manifest(raw)]
    expected = lay_out(files, [0] * len(files))  # no length depends on a CRC
    length = expected.entries[-1].start + expected.entries[-1].file.size + len(expected.tail)
    if size != length:
        what = "it was cut off" if size < length else "something was added to it"
        raise Fault(f"has {size:,} bytes, and by its manifest it would have {length:,}: {what}")
    crcs = [_read_crc(archive, entry) for entry in expected.entries]
    if crcs[0] != crc:
        raise Fault("has a damaged manifest")
    found = lay_out(files, crcs)
    archive.seek(size - len(found.tail))
    if archive.read(len(found.tail)) != found.tail:
        raise Fault("has a directory (of names, sizes, modes and places) that does not agree with its entries")
    return found


def _read_manifest(archive: BinaryIO) -> tuple[bytes, int]:
    """Return the content of the first entry and its CRC."""
    head = archive.read(_LOCAL.size)
    if len(head) < _LOCAL.size or not head.startswith(b"PK\3\4"):
        raise Fault("is not a zip archive")
    _, _, flags, method, _, _, _, packed, size, name_length, extra_length = _LOCAL.unpack(head)
    name = archive.read(name_length)
    if name != MANIFEST.encode():
        raise Fault(f"begins with {_shown(name)}, and a bundle of tfsent with {MANIFEST}")
    if flags or method or packed != size or extra_length:
        raise Fault("was packed by another program than tfsent: its first entry is packed or encrypted")
    if size > MOST_MANIFEST_BYTES:
        raise Fault(f"has a manifest of {size:,} bytes. Expected at most {MOST_MANIFEST_BYTES:,}")
    raw = archive.read(size)
    if len(raw) < size:
        raise Fault("was cut off within its manifest")
    return raw, zlib.crc32(raw)


def _read_crc(archive: BinaryIO, entry: Entry) -> int:
    """Compare the header of an entry with the one that it must have; return its CRC."""
    archive.seek(entry.start - len(entry.header))
    raw = archive.read(len(entry.header))
    if len(raw) < len(entry.header):
        raise Fault("changed while it was read")
    crc = int.from_bytes(raw[14:18], "little")
    if raw != local_header(entry.file, crc):
        _explain(raw, entry.file)
    return crc


def _explain(raw: bytes, file: File) -> NoReturn:
    """Say what is wrong with a local header."""
    signature, _, flags, method, _, _, _, packed, size, name_length, _ = _LOCAL.unpack(raw[: _LOCAL.size])
    name = raw[_LOCAL.size : _LOCAL.size + name_length]
    if signature != b"PK\3\4":
        raise Fault(f"has no entry where {file.name} must begin")
    if name != file.name.encode():
        raise Fault(f"has {_shown(name)} where {file.name} must be")
    if flags & 1:
        raise Fault(f"has an encrypted entry, {file.name}")
    if method:
        raise Fault(f"has a compressed entry, {file.name}. tfsent stores all of them as they are")
    if (packed, size) != (min(file.size, _WIDE),) * 2:
        raise Fault(f"says of {file.name} that it has {packed:,} bytes, and in its manifest {file.size:,}")
    raise Fault(f"has a damaged header before {file.name}")


def parse_manifest(raw: bytes) -> list[File]:
    """Return the files of a manifest by name.

    Raises:
        Fault: it is no manifest, another tfsent's, or lists what cannot be unpacked safely.
    """
    try:
        whole = json.loads(raw, parse_constant=_refuse, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise Fault("has a manifest that is not JSON, or names something twice") from error
    if not isinstance(whole, dict) or whole.get("kind") != KIND:
        raise Fault(f'has a manifest of something else. Expected "kind": "{KIND}"')
    if type(found := whole.get("format")) is not int or found != FORMAT:
        version = str(whole.get("tfsent"))
        maker = version if _VERSION.fullmatch(version) else "(unknown)"
        number = f"{found}" if isinstance(found, int) and 0 <= found < 1000 else "unknown"
        raise Newer(
            f"was made by tfsent {maker}, format {number}; this tfsent reads format {FORMAT}: pip install --upgrade "
            "tfsent"
        )
    if not isinstance(whole.get("files"), dict):
        raise Fault("has a manifest without files")
    files = [_file(name, about) for name, about in sorted(whole["files"].items())]
    _check_together(files)
    return files


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key occurs twice")
    return found


def _file(name: str, about: Any) -> File:
    """Check what a manifest says of one file."""
    if len(name) > 200 or not all(_PART.fullmatch(part) for part in name.split("/")):
        raise Fault(
            f"has a file named {_shown(name.encode('utf-8', 'replace'))}. Expected folders and a name of letters, "
            "digits, dots, hyphens and underscores"
        )
    size, digest = (about.get("bytes"), about.get("sha256")) if isinstance(about, dict) else (None, None)
    if type(size) is not int or not 0 <= size <= MOST_BYTES:
        raise Fault(f"has a manifest that gives no size of {name}, or one above {MOST_BYTES / 1e9:.0f} GB")
    if not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{64}", digest):
        raise Fault(f"has a manifest that gives no SHA-256 of {name}")
    return File(name, size, digest)


def _check_together(files: list[File]) -> None:
    """Check that the files are a model, fit into a folder, and are not too many bytes."""
    if (total := sum(file.size for file in files)) > MOST_BYTES:
        raise Fault(f"unpacks to {total / 1e9:.1f} GB. Expected at most {MOST_BYTES / 1e9:.0f} GB")
    names = [file.name for file in files]
    if missing := [name for name in NEEDED if name not in names]:
        raise Fault(f"has no {missing[0]}")
    folded: set[str] = {MANIFEST}
    for name in names:
        if name.lower() in folded:
            raise Fault(f"has {name} twice, or in upper and in lower case")
        folded.add(name.lower())
    for name in sorted(folded):
        first, *rest = name.split("/")
        if first in FORBIDDEN:
            raise Fault(f"has {name}, which a bundle never has")
        for i in range(len(rest)):
            if "/".join([first, *rest[:i]]) in folded:
                raise Fault(f"has a file and a folder of one name, above {name}")


def _shown(name: bytes) -> str:
    """Return a name for a message: short, and without characters that steer a terminal."""
    return ascii(name[:60].decode("utf-8", "replace"))
