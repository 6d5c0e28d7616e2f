"""Bundles: the same bytes from the same files, and nothing is used of one that is not whole."""

import gzip
import hashlib
import io
import json
import multiprocessing
import os
import shutil
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import pytest
from bundles import CONTENTS, Lie, lies, manifest, write_small, zip_bytes

from tfsent.errors import ArtifactError, RunError
from tfsent.storage import bundle, bundle_format, bundle_writing


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TFSENT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(bundle, "_known", {})
    monkeypatch.setattr(bundle, "_held", {})
    return tmp_path / "cache" / "bundles"


@pytest.fixture
def small(tmp_path):
    return write_small(tmp_path / "small.tfsent.zip")


def contents_of(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_what_was_bundled_comes_out(cache, small):
    folder = bundle.opened(small)
    found = contents_of(folder)
    assert {name: found[name] for name in CONTENTS} == CONTENTS
    assert set(found) == {*CONTENTS, "manifest.json", ".unpacked.json"}
    assert folder.name == hashlib.sha256(small.read_bytes()).hexdigest()
    assert {p.stat().st_mode & 0o222 for p in folder.rglob("*") if p.is_file() and p.name[0] != "."} == {0}


def test_other_programs_read_it(small, tmp_path):
    with zipfile.ZipFile(small) as archive:
        assert archive.testzip() is None
        infos = archive.infolist()
        assert [info.filename for info in infos] == ["manifest.json", *sorted(CONTENTS)]
        assert {info.compress_type for info in infos} == {zipfile.ZIP_STORED}
        assert {info.date_time for info in infos} == {(1980, 1, 1, 0, 0, 0)}
        assert {(info.external_attr >> 16, info.extra, info.flag_bits) for info in infos} == {(0o100644, b"", 0)}
        listed = json.loads(archive.read("manifest.json"))
    assert (listed["format"], listed["kind"], listed["tfsent"]) == (1, "tfsent bundle", "0.2.0")
    assert listed["files"]["data.json"] == {"sha256": hashlib.sha256(b"{}\n").hexdigest(), "bytes": 3}
    if shutil.which("unzip"):
        done = subprocess.run(["unzip", "-tq", small], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def test_an_honest_archive_by_another_writer_is_the_same_bytes(small):
    """The writer of the hostile archives of these tests tells the truth when it is asked to."""
    with zipfile.ZipFile(small) as archive:
        said = archive.read("manifest.json")
    assert zip_bytes(lies(CONTENTS, said)) == small.read_bytes()


def test_the_same_files_give_the_same_bytes(small, tmp_path):
    for name, content in CONTENTS.items():
        (tmp_path / "files" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "files" / name).write_bytes(content)
        os.utime(tmp_path / "files" / name, (1, 1))
    sources = {name: tmp_path / "files" / name for name in reversed(sorted(CONTENTS))}
    digest = bundle_writing.write(tmp_path / "again.zip", sources, "0.2.0")
    assert (tmp_path / "again.zip").read_bytes() == small.read_bytes()
    assert digest == hashlib.sha256(small.read_bytes()).hexdigest()


def test_a_file_that_changes_meanwhile_leaves_no_bundle(tmp_path, monkeypatch):
    changing = tmp_path / "data.json"
    changing.write_text("{}")
    laid_out = bundle_writing.lay_out
    monkeypatch.setattr(bundle_writing, "lay_out", lambda *a: (changing.write_text("[]"), laid_out(*a))[1])
    with pytest.raises(RunError, match="data.json changed while it was bundled. Wait until nothing writes to the run."):
        bundle_writing.write(tmp_path / "a.zip", {**CONTENTS, "data.json": changing}, "0.2.0")
    assert [p.name for p in tmp_path.iterdir()] == ["data.json"]


def test_a_name_that_could_not_be_read_is_not_written(tmp_path):
    with pytest.raises(RunError, match=r"cannot be made: the bundle has a file named 'model/my notes.txt'. Expected"):
        bundle_writing.write(tmp_path / "a.zip", {**CONTENTS, "model/my notes.txt": b""}, "0.2.0")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", [2_294_967_295, 5_294_967_295])
def test_more_than_four_gigabytes_need_wide_records(tmp_path, monkeypatch, size):
    """A sparse file: the headers are written, the zeros are not. Python's zipfile finds all of it."""
    monkeypatch.setattr(bundle_format, "MOST_BYTES", 10_000_000_000)
    sizes = {"config.yaml": 1, "model/labels.txt": 4_294_967_294, "model/model.keras": size, "model/text.json": 5}
    files = [bundle_format.File(name, one, "0" * 64) for name, one in {**sizes, "model/vocab.txt": 0}.items()]
    said = bundle_format.manifest_bytes(files, "0.2.0")
    files.insert(0, bundle_format.File("manifest.json", len(said), ""))
    layout = bundle_format.lay_out(files, [zlib.crc32(said), 0, 0, 0, zlib.crc32(bytes(5)), 0])
    path = tmp_path / "wide.zip"
    with path.open("wb") as out:
        for entry in layout.entries:
            out.seek(entry.start - len(entry.header))
            out.write(entry.header + (said if entry.file.name == "manifest.json" else b""))
        out.write(layout.tail)
    with path.open("rb") as archive:
        assert bundle_format.read_layout(archive, path.stat().st_size) == layout
    with zipfile.ZipFile(path) as archive:
        assert [info.file_size for info in archive.infolist()] == [file.size for file in files]
        assert archive.read("model/text.json") == bytes(5)
    monkeypatch.setattr(bundle_format, "MOST_BYTES", 6_000_000_000)
    with (
        path.open("rb") as archive,
        pytest.raises(bundle_format.Fault, match=r"unpacks to \d.\d GB. Expected at most 6"),
    ):
        bundle_format.read_layout(archive, path.stat().st_size)


def test_gzip_without_compression_is_read_by_others():
    for size in (0, 1, 65_535, 65_536, 200_000):
        content = os.urandom(size)
        packed = bundle_writing.stored_gzip(content)
        assert gzip.decompress(packed) == content
        assert len(packed) > size


def test_a_second_opening_unpacks_nothing(cache, small, monkeypatch):
    folder = bundle.opened(small)
    monkeypatch.setattr(bundle, "_copy_all", None)
    assert bundle.opened(small) == folder
    monkeypatch.setattr(bundle, "_known", {})  # another process
    assert bundle.opened(small) == folder
    assert bundle.opened(Path(shutil.copy(small, small.with_name("copy.zip")))) == folder


def flip(path, at):
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1
    path.write_bytes(raw)


def test_a_bundle_that_was_damaged_after_it_was_opened_is_refused(cache, small):
    bundle.opened(small)
    before = small.stat()
    at = small.read_bytes().index(CONTENTS["model/model.keras"]) + 100
    flip(small, at)
    os.utime(small, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(ArtifactError, match="it is damaged: model/model.keras is not what its manifest says"):
        bundle.opened(small)
    assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize("spoil", ["change", "add", "remove", "replace", "record", "link"])
def test_an_unpacked_bundle_that_was_changed_is_unpacked_again(cache, small, spoil, messages):
    folder = bundle.opened(small)
    file = folder / "model/vocab.txt"
    if spoil == "change":  # the same size and time
        before = file.stat()
        file.chmod(0o644)
        file.write_bytes(b"[PAD]\n[UNX]\n")
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    elif spoil == "add":
        (folder / "seeds.json").write_text('{"best_run": "/"}')
    elif spoil == "remove":
        file.unlink()
    elif spoil == "record":
        (folder / ".unpacked.json").write_text("{")
    else:
        file.rename(folder.parent / "elsewhere")
        if spoil == "link":
            file.symlink_to(folder.parent / "elsewhere")
        else:
            shutil.copy2(folder.parent / "elsewhere", file)
        (folder.parent / "elsewhere").rename(cache.parent / "elsewhere")
    assert bundle.opened(small) == folder
    assert {name: content for name, content in contents_of(folder).items() if name in CONTENTS} == CONTENTS
    assert not (folder / "seeds.json").exists() and not file.is_symlink()
    assert "is not as it was unpacked: unpacking it again." in messages.text
    assert [p.name for p in cache.iterdir()] == [folder.name]


OPEN = (
    "import sys; from pathlib import Path; from tfsent.storage import bundle; print(bundle.opened(Path(sys.argv[1])))"
)


def test_four_processes_open_one_bundle_at_once(cache, small):
    began = [subprocess.Popen([sys.executable, "-c", OPEN, small], stdout=subprocess.PIPE, text=True) for _ in range(4)]
    found = {process.communicate(timeout=300)[0].strip() for process in began}
    assert found == {str(bundle.opened(small))}
    assert len(list(cache.iterdir())) == 1


KILLED = """
import os, sys
from pathlib import Path
from tfsent.storage import bundle
bundle.atomic.flush = lambda folder: os.kill(os.getpid(), 9)
bundle.opened(Path(sys.argv[1]))
"""


def test_a_process_that_was_killed_while_it_unpacked_is_no_harm(cache, small):
    assert subprocess.run([sys.executable, "-c", KILLED, small], check=False).returncode == -9
    [half] = cache.iterdir()
    assert half.name.startswith(".")
    folder = bundle.opened(small)
    assert folder.is_dir()
    os.utime(half, (1, 1))  # the remains go with the next bundle, a day later
    bundle.opened(write_small(small.with_name("other.zip"), **{"data.json": b"[]"}))
    assert not half.exists()


def hold(path, ready, done):
    bundle.opened(path)
    ready.set()
    done.wait(300)


def test_the_least_recently_used_make_room_but_not_those_in_use(cache, tmp_path, monkeypatch):
    each = [write_small(tmp_path / f"{i}.zip", **{"data.json": b"%d" % i}) for i in range(4)]
    size = sum(map(len, CONTENTS.values())) + 1000
    spawn = multiprocessing.get_context("spawn")
    ready, done = spawn.Event(), spawn.Event()
    other = spawn.Process(target=hold, args=(each[0], ready, done))
    other.start()
    try:
        assert ready.wait(300)
        folders = [bundle.opened(path) for path in each[:3]]
        for i, folder in enumerate(folders):
            os.utime(folder / ".unpacked.json", (i, i))
            bundle._release(folder)
        monkeypatch.setattr(bundle, "LIMIT_BYTES", 3 * (size + 2000))
        newest = bundle.opened(each[3])
        assert [folder.exists() for folder in folders] == [True, False, True]  # the first is used by the other process
        assert newest.is_dir()
        monkeypatch.setattr(bundle, "LIMIT_BYTES", 0)
        assert bundle.opened(each[1]) == folders[1]
        assert newest.is_dir(), "this process uses it"
        assert not folders[2].exists()
    finally:
        done.set()
        other.join(300)


def test_without_room_nothing_is_written(cache, small, monkeypatch):
    monkeypatch.setattr(bundle, "SPARE_BYTES", 10**18)
    with pytest.raises(RunError, match=r"The disk of .* has [\d,]+ MB free, and the bundle needs [\d,]+ MB. Free some"):
        bundle.opened(small)
    assert not list(cache.iterdir())


def test_a_cache_that_is_a_file_says_so(cache, small):
    cache.parent.write_text("")
    with pytest.raises(RunError, match="Cannot unpack into .*bundles: .*set TFSENT_CACHE to another folder."):
        bundle.opened(small)


def test_only_zip_files_are_taken_for_bundles(cache, small, tmp_path):
    assert bundle.inside(small) == bundle.opened(small)
    for other in (tmp_path, tmp_path / "none.zip", tmp_path / "model.tflite"):
        assert bundle.inside(other) == other


def test_a_newer_format_is_refused_whatever_follows(cache, tmp_path):
    path = tmp_path / "new.zip"
    path.write_bytes(zip_bytes([Lie(b"manifest.json", manifest({}, format=2, tfsent="1.4.0")), Lie(b"what", b"ever")]))
    message = "it was made by tfsent 1.4.0, format 2; this tfsent reads format 1: pip install --upgrade tfsent. Nothing"
    with pytest.raises(ArtifactError, match=f"{message} of it was used.$"):
        bundle.opened(path)


def test_a_version_cannot_steer_a_terminal(cache, tmp_path):
    path = tmp_path / "new.zip"
    path.write_bytes(zip_bytes([Lie(b"manifest.json", manifest({}, format=2, tfsent="\x1b[31m1.4"))]))
    with pytest.raises(ArtifactError, match=r"was made by tfsent \(unknown\), format 2") as found:
        bundle.opened(path)
    assert "\x1b" not in str(found.value)


def honest(**changes):
    return zip_bytes(lies({**CONTENTS, **changes}))


def spoilt(at, **lie):
    entries = lies(CONTENTS)
    [one] = [entry for entry in entries if entry.name == at.encode()]
    for key, value in lie.items():
        setattr(one, key, value)
    return zip_bytes(entries)


def zipped_again():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", manifest(CONTENTS))
        for name, content in CONTENTS.items():
            archive.writestr(name, content)
    return out.getvalue()


BOMB = gzip.compress(b" " * 50_000_000, mtime=0)
MESSAGES = [
    (b"", "it is not a zip archive"),
    (b"PK\3\4", "it is not a zip archive"),
    (b"%PDF-1.7" * 100, "it is not a zip archive"),
    (zip_bytes([Lie(b"metadata.json", b"{}")]), "it begins with 'metadata.json', and a bundle of tfsent with manifest"),
    (zip_bytes([Lie(b"\x1b[2J", b"{}")]), r"it begins with '\\x1b\[2J', and a bundle of tfsent with manifest.json"),
    (zipped_again(), "it was packed by another program than tfsent: its first entry is packed or encrypted"),
    (zip_bytes([Lie(b"manifest.json", b"{}", local_size=10**8, packed_size=10**8)]),
     "it has a manifest of 100,000,000 bytes. Expected at most 1,000,000"),
    (honest()[:200], "it was cut off within its manifest"),
    (honest()[:-1], r"it has 7,\d+ bytes, and by its manifest it would have 7,\d+: it was cut off"),
    (honest() + b"x", "something was added to it"),
    (zip_bytes(lies(CONTENTS), comment=b"hello"), "something was added to it"),
    (zip_bytes([Lie(b"manifest.json", b"[" * 100_000)]), "it has a manifest that is not JSON"),
    (zip_bytes([Lie(b"manifest.json", b'{"format": NaN}')]), "it has a manifest that is not JSON"),
    (zip_bytes([Lie(b"manifest.json", b'{"kind": "a", "kind": "b"}')]), "or names something twice"),
    (zip_bytes([Lie(b"manifest.json", b"[]")]), "it has a manifest of something else. Expected "),
    (zip_bytes(lies(CONTENTS, files=[])), "it has a manifest without files"),
    (zip_bytes(lies(CONTENTS, files={"config.yaml": 5})), "it has a manifest that gives no size of config.yaml"),
    (zip_bytes(lies(CONTENTS, files={"config.yaml": {"bytes": 5, "sha256": "a"}})), "gives no SHA-256 of config.yaml"),
    (honest(**{"../evil": b""}), "it has a file named '../evil'. Expected folders and a name of letters"),
    (honest(**{"model/MODEL.keras": b""}), "it has model/model.keras twice, or in upper and in lower case"),
    (honest(**{"manifest.json": b"{}"}), "it has manifest.json twice"),
    (honest(**{"model/model.keras/x": b""}), "it has a file and a folder of one name, above model/model.keras/x"),
    (honest(**{"seeds.json": b"{}"}), "it has seeds.json, which a bundle never has"),
    (zip_bytes(lies({n: c for n, c in CONTENTS.items() if n != "model/model.keras"})), "it has no model/model.keras"),
    (honest(**{"heldout/test.jsonl.gz": BOMB}), "it has a packed test.jsonl.gz. tfsent stores all files as they are"),
    (honest(**{"heldout/test.jsonl.gz": b"no gzip"}), "it is damaged: test.jsonl.gz is no gzip file"),
    (spoilt("data.json", flags=1), "it has an encrypted entry, data.json"),
    (spoilt("data.json", content=b"{}\n", method=12), "it has a compressed entry, data.json. tfsent stores"),
    (spoilt("data.json", name=b"data.jsom"), "it has 'data.jsom' where data.json must be"),
    (spoilt("data.json", local_size=4, packed_size=4), "says of data.json that it has 4 bytes, and in its manifest 3"),
    (spoilt("data.json", central_size=4), "it has a directory .* that does not agree with its entries"),
    (spoilt("data.json", mode=0o120777), "it has a directory .* that does not agree with its entries"),
    (spoilt("data.json", local_name=b"data.jsom"), "it has 'data.jsom' where data.json must be"),
    (spoilt("data.json", crc=7), "it is damaged: data.json is not what its manifest says"),
    (spoilt("data.json", content=b"[]\n"), "it is damaged: data.json is not what its manifest says"),
    (spoilt("manifest.json", crc=7), "it has a damaged manifest"),
    (zip_bytes(lies(CONTENTS), offset_lie=1), "it has a directory .* that does not agree with its entries"),
]  # fmt: skip


@pytest.mark.parametrize(("raw", "message"), MESSAGES, ids=range(len(MESSAGES)))
def test_what_is_no_bundle_says_why(cache, tmp_path, raw, message):
    path = tmp_path / "theirs.tfsent.zip"
    path.write_bytes(raw)
    with pytest.raises(ArtifactError, match=f"^{path} cannot be opened as a bundle: .*{message}") as found:
        bundle.opened(path)
    assert str(found.value).endswith(
        ". Nothing of it was used. Fetch it again: it must be the unchanged file that tfsent bundle wrote."
    )
    assert not cache.exists() or not list(cache.iterdir())


def test_a_bundle_that_is_a_folder_or_unreadable_says_so(cache, tmp_path):
    with pytest.raises(ArtifactError, match="cannot be read: Is a directory."):
        bundle.opened(tmp_path)
    with pytest.raises(ArtifactError, match="cannot be read: No such file or directory."):
        bundle.opened(tmp_path / "none.zip")


def test_a_bundle_that_changes_while_it_is_read_is_refused(cache, small, monkeypatch):
    other = write_small(small.with_name("other.zip"), **{"data.json": b"[]\n"})

    def swap(folder, needed):
        small.write_bytes(other.read_bytes())  # in place: the open file has other content now

    monkeypatch.setattr(bundle, "_make_room", swap)
    with pytest.raises(ArtifactError, match="it changed while it was read|it is damaged: "):
        bundle.opened(small)
    assert not list(cache.iterdir())


def test_struct_sizes_are_those_of_the_standard():
    sizes = [one.size for one in (bundle_format._LOCAL, bundle_format._CENTRAL, bundle_format._END)]
    assert [*sizes, bundle_format._END64.size, bundle_format._LOCATOR64.size] == [30, 46, 22, 56, 20]
    assert struct.calcsize("<2H2Q") == 20
