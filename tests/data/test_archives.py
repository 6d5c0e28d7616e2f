"""Packed files are unpacked as they are read. Damaged ones are refused with one message."""

import gzip
import io
import tarfile
import zipfile
from pathlib import PurePosixPath

import pytest

from tfsent.data.archives import open_archive, readable, split_archive
from tfsent.data.formats import open_tables
from tfsent.errors import DataError

CONTENT = b"text,label\ngood film,pos\nbad plot,neg\n"


def drain(path):
    """All that a file holds, member by member."""
    found = {}
    for name, stream in open_tables(path):
        with readable(name):
            found[name] = stream.read()
    return found


def pack(path, contents):
    """Write an archive of the kind that the name says."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in contents.items():
                archive.writestr(name, content)
        return path
    with tarfile.open(path, "w" if path.suffix == ".tar" else "w:gz") as archive:
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "A.CSV.GZ"])
def test_a_file_is_what_was_packed(tmp_path, name):
    (tmp_path / name).write_bytes(gzip.compress(CONTENT) if name.lower().endswith("gz") else CONTENT)
    assert drain(tmp_path / name) == {str(tmp_path / name): CONTENT}


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz", "a.tgz", "a.tar"])
def test_a_member_is_named_with_its_archive(tmp_path, name):
    contents = {"one/a.CSV": CONTENT, "two/b.csv": b"", "notes.txt": b"mine", "__MACOSX/._a.csv": b"", "a/.b.csv": b"x"}
    path = pack(tmp_path / name, contents)
    assert drain(path) == {f"{path}:one/a.CSV": CONTENT, f"{path}:two/b.csv": b""}


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz"])
def test_an_archive_without_such_files(tmp_path, name):
    with pytest.raises(DataError, match="holds no table. Expected a member whose name ends with .csv, .tsv, "):
        drain(pack(tmp_path / name, {"a.txt": b"x", "b.txt": b"y"}))


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz"])
def test_a_truncated_archive(tmp_path, name):
    path = pack(tmp_path / name, {"a.csv": CONTENT * 50})
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match=f"{name} cannot be read: .* Expected a whole file without a password"):
        drain(path)


def test_a_damaged_member_of_a_zip(tmp_path):
    path = pack(tmp_path / "a.zip", {"a.csv": CONTENT * 50})
    damaged = bytearray(path.read_bytes())
    damaged[80] ^= 0xFF
    path.write_bytes(damaged)
    with pytest.raises(DataError, match="a.zip:a.csv cannot be read"):
        drain(path)
    damaged[0] ^= 0xFF
    path.write_bytes(damaged)
    with pytest.raises(DataError, match="a.zip cannot be read: Bad magic number"):
        drain(path)


def test_an_encrypted_zip(tmp_path):
    path = pack(tmp_path / "a.zip", {"a.csv": CONTENT})
    raw = bytearray(path.read_bytes())
    raw[6] |= 1
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(raw)
    with pytest.raises(DataError, match="a.zip cannot be read: .*password required"):
        drain(path)


def test_links_in_a_tar_are_ignored(tmp_path):
    (tmp_path / "secret.csv").write_bytes(b"mine")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        info = tarfile.TarInfo("a.csv")
        info.type, info.linkname = tarfile.SYMTYPE, str(tmp_path / "secret.csv")
        archive.addfile(info)
    with pytest.raises(DataError, match="holds no table"):
        drain(tmp_path / "a.tar")


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz"])
def test_a_folder_inside_an_archive_has_a_path(tmp_path, name):
    path = pack(tmp_path / name, {"top/train/a.csv": CONTENT, "top/test/b.csv": b""})
    assert split_archive(path / "top" / "train") == (path, PurePosixPath("top/train"))
    assert split_archive(tmp_path / "none.zip") is None
    assert list(drain(path / "top" / "train")) == [f"{path / 'top' / 'train'}:a.csv"]
    with (
        pytest.raises(DataError, match=f"{name} has no folder 'top/tain'. It has: 'top', 'top/test', 'top/train'"),
        open_archive(path, PurePosixPath("top/tain")),
    ):
        pass
