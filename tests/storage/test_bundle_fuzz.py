"""A thousand bundles that are damaged or hostile: each is refused with one message, and nothing of it is left.

Every attack is given the small bundle and a generator of random numbers, so that its next case is another one.
"""

import io
import json
import random
import resource
import shutil
import struct
import tracemalloc
import zipfile

import pytest
from bundles import CONTENTS, Lie, lies, manifest, write_small, zip_bytes

from tfsent.errors import ArtifactError, RunError
from tfsent.storage import bundle

CASES = 1000
MOST_BYTES_OF_MEMORY = 32 << 20
"""At any opening. A manifest may have 1 MB, and one line of it costs about 1 kB."""

EVIL_NAMES = (
    *("../evil", "a/../../evil", "..", ".", "./evil", "a//b", "a/", "/evil", "//evil/share", "/etc/cron.d/evil"),
    *("C:evil", "C:\\evil", "\\evil", "..\\evil", "a\\b", "a\0b", "evil\n", "\x1b[2Jevil", "evil.", "evil ", " evil"),
    *("", "evil./b", ".hidden", "a/.hidden", "~/evil", "$HOME/evil", "ü", "\u202eevil", "\ud800", "a" * 201, "-evil"),
    *("model", "config.yaml/evil", "CONFIG.yaml", "Model/labels.txt/x", "MANIFEST.json", "manifest.json/x"),
    *("seeds.json", "SEEDS.json", "checkpoints/step-1/evil", "evil:stream", "a/\u2215..\u2215b", "evil\u2028"),
)
ANYTHING = (None, True, -1, 1.0, 1e308, 10**40, "1", "", [], {}, [[]], 2**64, 8_000_000_001)


def flipped(small, rng):
    raw = bytearray(small)
    raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
    return bytes(raw)


def overwritten(small, rng):
    at = rng.randrange(len(small))
    return small[:at] + rng.randbytes(rng.randrange(1, 60)) + small[at + 30 :]


def cut_off(small, rng):
    return small[: rng.randrange(len(small))]


def cut_out(small, rng):
    at = rng.randrange(len(small) - 1)
    return small[:at] + small[at + rng.randrange(1, 500) :]


def lengthened(small, rng):
    more = rng.randbytes(rng.randrange(1, 300))
    return rng.choice([more + small, small + more, small + small, small[:4000] + more + small[4000:]])


def swapped(small, rng):
    """Entries in another order, or with the content of another."""
    entries = lies(CONTENTS)
    i, j = rng.sample(range(len(entries)), 2)
    if rng.random() < 0.5:
        entries[i], entries[j] = entries[j], entries[i]
    else:
        entries[i].content, entries[j].content = entries[j].content, entries[i].content
    return zip_bytes(entries)


def renamed(small, rng):
    """A bundle that agrees with itself, with a name that leads out of it or cannot be a file."""
    name = rng.choice(EVIL_NAMES)
    return zip_bytes(lies({**CONTENTS, name: b"evil"}))


def renamed_in_one_place(small, rng):
    name, entries = rng.choice(EVIL_NAMES).encode("utf-8", "surrogatepass"), lies(CONTENTS)
    setattr(rng.choice(entries), rng.choice(["name", "local_name"]), name)
    return zip_bytes(entries)


def special_file(small, rng):
    """A link, a device, a pipe, a folder, a program."""
    entries = lies(CONTENTS)
    one = rng.choice(entries)
    one.mode = rng.choice([0o120777, 0o020666, 0o060666, 0o010666, 0o140777, 0o040755, 0o104755, 0o100755])
    if rng.random() < 0.5:
        one.content = b"/etc/passwd"
    return zip_bytes(entries)


def twice(small, rng):
    entries = lies(CONTENTS)
    again = rng.choice(entries)
    entries.insert(rng.randrange(len(entries) + 1), Lie(again.name, rng.choice([again.content, b"evil"])))
    return zip_bytes(entries)


def lacking(small, rng):
    entries = lies(CONTENTS)
    del entries[rng.randrange(len(entries))]
    return zip_bytes(entries)


def unlisted(small, rng):
    entries = lies(CONTENTS)
    entries.insert(rng.randrange(1, len(entries) + 1), Lie(b"export/evil.txt", b"evil"))
    return zip_bytes(entries)


def bomb(small, rng):
    """Deflated zeros that claim to be few, or honestly many."""
    entries = lies({**CONTENTS, "export/zeros": bytes(2_000_000)})
    one = entries[rng.randrange(len(entries))]
    one.method, one.content = 8, bytes(2_000_000)
    if rng.random() < 0.5:
        one.local_size = one.central_size = 10
    return zip_bytes(entries)


def lying_sizes(small, rng):
    entries = lies(CONTENTS)
    one = rng.choice(entries)
    lie = rng.choice([0, 1, len(one.content) + 1, 2**31, 2**32 - 1])
    for name in rng.sample(["local_size", "central_size", "packed_size"], rng.randrange(1, 4)):
        setattr(one, name, lie)
    one.crc = rng.choice([None, 0]) if lie != len(one.content) else 0
    return zip_bytes(entries)


def encrypted(small, rng):
    entries = lies(CONTENTS)
    rng.choice(entries).flags = rng.choice([1, 0x41, 8, 0x800, 0x2000])
    return zip_bytes(entries)


def overlapping(small, rng):
    """Fifield's bomb: the directory points many names at one content."""
    entries = lies({**CONTENTS, **{f"export/{i}": bytes(1000) for i in range(rng.randrange(2, 50))}})
    first = next(i for i, one in enumerate(entries) if one.name == b"export/0")
    for i, one in enumerate(entries):
        if one.name.startswith(b"export/") and one.name[7:].isdigit() and i != first:
            one.same_as = first
    return zip_bytes(entries)


def quoted(small, rng):
    """Fifield's bomb without compression: a content that holds the header of the next entry."""
    entries = lies(CONTENTS)
    whole = zip_bytes(entries[1:])
    return zip_bytes([*entries, Lie(b"export/quoted", whole, same_as=rng.randrange(len(entries)))])


def many(small, rng):
    """Entries without end, or their number alone."""
    if rng.random() < 0.2:
        entries = lies(CONTENTS) + [Lie(b"a%d" % i, b"") for i in range(20_000)]
        return zip_bytes(entries)
    return zip_bytes(lies(CONTENTS), count=rng.choice([0, 1, 8, 10, 65_535]))


def nested(small, rng):
    inner = small
    for _ in range(rng.randrange(1, 4)):
        inner = zip_bytes([Lie(rng.choice([b"manifest.json", b"inner.zip"]), inner)])
    return inner


def wide(small, rng):
    """Records of zip64 that lie."""
    numbers = [rng.choice([0, 9, 2**32, 2**63, 2**64 - 1]) for _ in range(4)]
    record = struct.pack("<4sQ2H2I4Q", b"PK\6\6", rng.choice([44, 0, 2**64 - 1]), 0x031E, 45, 0, 0, *numbers)
    record += struct.pack("<4sIQI", b"PK\6\7", 0, rng.choice([len(small), 0, 2**63]), 1)
    entries = lies(CONTENTS)
    one = rng.choice(entries)
    if rng.random() < 0.5:
        one.local_size = one.central_size = one.packed_size = 0xFFFFFFFF
        one.extra = struct.pack("<2H2Q", 1, 16, *rng.choices([3, 2**40, 2**64 - 1], k=2))
    return zip_bytes(entries, end64=record, count=rng.choice([None, 65_535]))


def extra_fields(small, rng):
    entries = lies(CONTENTS)
    rng.choice(entries).extra = rng.choice([b"\x75\x70\x05\0\1evil", b"UT\5\0\3aaaa", rng.randbytes(30)])
    return zip_bytes(entries)


def strange_manifest(small, rng):
    """JSON that is not what it should be, in an archive that agrees with it."""
    files = json.loads(manifest(CONTENTS))["files"]
    name = rng.choice(sorted(files))
    wrong = rng.choice(ANYTHING)
    choice = rng.randrange(4)
    if choice == 0:
        files[name] = wrong
    elif choice == 1:
        files[name][rng.choice(["bytes", "sha256"])] = wrong
    elif choice == 2:
        files[name]["sha256"] = rng.choice([files[name]["sha256"].upper(), "0" * 64, "0" * 63, "g" * 64])
    changes = {"files": files if choice < 3 else wrong}
    if rng.random() < 0.3:
        changes |= {rng.choice(["format", "kind"]): wrong}
    return zip_bytes(lies(CONTENTS, **changes))


def other_format(small, rng):
    number = rng.choice([0, 2, 3, 10**30, -1, "1", None, 1.5, True, [1]])
    return zip_bytes(lies(CONTENTS, format=number, tfsent=rng.choice(["9.9", "\x1b[31m", None, 5, "x" * 10_000])))


def no_json(small, rng):
    raw = [b"", b"{", b"null", b"[" * 200_000, b'{"a":' * 100_000, b'{"format": NaN}', b"\xff\xfe{", b"9" * 900_000]
    raw += [b'{"files": {}, "files": {}}', rng.randbytes(400), b'"\\ud800"', b"-Infinity", b"{}" * 9, b" " * 900_000]
    return zip_bytes(lies(CONTENTS, rng.choice(raw)))


def no_manifest(small, rng):
    entries = lies(CONTENTS)[1:]
    if rng.random() < 0.5:
        entries.insert(rng.randrange(1, len(entries)), Lie(b"manifest.json", manifest(CONTENTS)))
    return zip_bytes(entries)


def large_manifest(small, rng):
    """A manifest of 100 MB, in words; or one just above the limit, in fact."""
    if rng.random() < 0.8:
        lie = rng.choice([100_000_000, 1_000_001, 2**32 - 1])
        return zip_bytes([Lie(b"manifest.json", b"{}", local_size=lie, packed_size=lie), *lies(CONTENTS)[1:]])
    return zip_bytes(lies(CONTENTS, manifest(CONTENTS) + b" " * 1_000_000))


def packed_anew(small, rng):
    """By Python's zipfile, as somebody does who has changed something in it."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])) as archive:
        for entry in lies(CONTENTS):
            archive.writestr(entry.name.decode(), entry.content)
    return out.getvalue()


def no_zip(small, rng):
    return rng.choice([b"", b"PK", b"PK\5\6" + bytes(18), b"%PDF-1.7", rng.randbytes(3000), bytes(5000), b"\x1f\x8b"])


ATTACKS = [value for value in list(globals().values()) if callable(value) and value.__module__ == __name__]
OF_THE_FORMAT = (RunError, ArtifactError)


def left(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_thousand_bad_bundles_are_refused_and_leave_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("TFSENT_CACHE", str(tmp_path / "cache"))
    small = write_small(tmp_path / "small.zip").read_bytes()
    good = bundle.opened(tmp_path / "small.zip")  # the cache holds it: nobody is given it in place of a damaged one
    theirs, expected = tmp_path / "theirs.zip", None
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rng = random.Random(0)
    for case in range(CASES):
        attack = ATTACKS[case % len(ATTACKS)]
        raw = attack(small, rng)
        if raw == small:
            continue
        theirs.write_bytes(raw)
        expected = expected or left(tmp_path)
        tracemalloc.start()
        with pytest.raises(OF_THE_FORMAT) as found:
            bundle.opened(theirs)
        assert tracemalloc.get_traced_memory()[1] < MOST_BYTES_OF_MEMORY, (attack, case)
        tracemalloc.stop()
        message = str(found.value)
        assert message.startswith(f"{theirs} cannot be opened as a bundle: it "), (attack, case, message)
        assert len(message) < len(str(theirs)) + 400 and message.isprintable(), (attack, case, message)
        assert left(tmp_path) == expected, (attack, case, message)
    assert (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000
    )  # kB, with what the attacks are made of
    assert bundle.opened(tmp_path / "small.zip") == good
    assert not [path for path in tmp_path.parent.iterdir() if path.name.startswith("evil")]


def test_a_manifest_of_a_hundred_megabytes_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setenv("TFSENT_CACHE", str(tmp_path / "cache"))
    size = 100_000_000
    with (tmp_path / "large.zip").open("wb") as out:
        out.write(struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 0, 0, 33, 0, size, size, 13, 0) + b"manifest.json")
        out.truncate(size + 1000)  # zeros that take no room
    tracemalloc.start()
    with pytest.raises(ArtifactError, match="it has a manifest of 100,000,000 bytes. Expected at most 1,000,000"):
        bundle.opened(tmp_path / "large.zip")
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_a_large_file_in_a_bundle_takes_no_memory(tmp_path, monkeypatch):
    monkeypatch.setenv("TFSENT_CACHE", str(tmp_path / "cache"))
    path = write_small(tmp_path / "large.zip", **{"model/model.keras": bytes(100_000_000)})
    tracemalloc.start()
    folder = bundle.opened(path)
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()
    bundle._release(folder)
    shutil.rmtree(tmp_path / "cache")
