"""Small bundles, and archives that lie, written byte by byte without tfsent's own writer."""

import hashlib
import json
import struct
import zlib
from dataclasses import dataclass

from tfsent.storage import bundle_writing

CONTENTS = {
    "config.yaml": b"encoder: pypi:minilm-l6\n",
    "data.json": b"{}\n",
    "export/mobile/model.tflite": bytes(range(256)) * 8,
    "heldout/test.jsonl.gz": bundle_writing.stored_gzip(b'{"text": "good film"}\n' * 40),
    "model/labels.txt": b"negative\npositive\n",
    "model/model.keras": b"PK" + bytes(range(255, 0, -1)) * 9,
    "model/text.json": b'{"lowercase": true}\n',
    "model/vocab.txt": b"[PAD]\n[UNK]\n",
}


def write_small(path, **changes):
    """A valid bundle of CONTENTS, but for changes; None leaves a file out."""
    sources = {name: content for name, content in {**CONTENTS, **changes}.items() if content is not None}
    bundle_writing.write(path, sources, "0.2.0")
    return path


@dataclass
class Lie:
    """An entry of a zip archive, and what its headers say of it. None says the truth."""

    name: bytes
    content: bytes
    method: int = 0
    flags: int = 0
    mode: int = 0o100644
    crc: int | None = None
    local_size: int | None = None
    central_size: int | None = None
    packed_size: int | None = None
    local_name: bytes | None = None
    same_as: int | None = None
    """Point the directory at the local header of another entry, and write none."""
    extra: bytes = b""


def zip_bytes(entries, *, count=None, end64=b"", comment=b"", offset_lie=0):
    """A zip archive of entries that may lie."""
    body, directory, offsets = bytearray(), bytearray(), []
    for one in entries:
        stored = deflated(one.content) if one.method == 8 else one.content
        crc = zlib.crc32(one.content) if one.crc is None else one.crc
        packed = len(stored) if one.packed_size is None else one.packed_size
        sizes = [len(one.content) if size is None else size for size in (one.local_size, one.central_size)]
        name, offset = one.name if one.local_name is None else one.local_name, len(body)
        if one.same_as is None:
            head = (20, one.flags, one.method, 0, 33, crc, packed, sizes[0], len(name), len(one.extra))
            body += struct.pack("<4s5H3I2H", b"PK\3\4", *head) + name + one.extra + stored
        else:
            offset = offsets[one.same_as]
        offsets.append(offset)
        head = (0x0314, 20, one.flags, one.method, 0, 33, crc, packed, sizes[1], len(one.name), len(one.extra))
        directory += struct.pack("<4s6H3I5H2I", b"PK\1\2", *head, 0, 0, 0, one.mode << 16, offset)
        directory += one.name + one.extra
    there = len(entries) if count is None else count
    numbers = (0, 0, there & 0xFFFF, there & 0xFFFF, len(directory), len(body) + offset_lie, len(comment))
    return bytes(body + directory) + end64 + struct.pack("<4s4H2IH", b"PK\5\6", *numbers) + comment


def deflated(content):
    packer = zlib.compressobj(9, wbits=-15)
    return packer.compress(content) + packer.flush()


def manifest(contents, **changes):
    """The manifest of contents, by name; keys of it may be replaced."""
    files = {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        for name, content in sorted(contents.items())
    }
    return json.dumps({"format": 1, "kind": "tfsent bundle", "tfsent": "0.2.0", "files": files} | changes).encode()


def lies(contents, said=None, **changes):
    """The entries of an honest bundle of contents, to be spoilt; of bundles that are honest but for the manifest."""
    said = manifest(contents, **changes) if said is None else said
    names = sorted(contents, key=lambda name: name.encode("utf-8", "surrogatepass"))
    return [
        Lie(b"manifest.json", said),
        *(Lie(name.encode("utf-8", "surrogatepass"), contents[name]) for name in names),
    ]
