"""Packed files: unpacked as they are read, and refused when they want something else."""

import gzip
import zipfile

import pytest

from tfsent.data import archives
from tfsent.data.archives import open_streams
from tfsent.errors import DataError

CONTENT = b"text,label\ngood film,pos\nbad plot,neg\n"


def drain(path):
    """All that a file holds, member by member."""
    return {
        name: b"".join(iter(lambda stream=stream: stream.read(1 << 16), b""))
        for name, stream in open_streams(path, "csv")
    }


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "A.CSV.GZ"])
def test_a_file_is_what_was_packed(tmp_path, name):
    (tmp_path / name).write_bytes(gzip.compress(CONTENT) if name.lower().endswith("gz") else CONTENT)
    assert drain(tmp_path / name) == {str(tmp_path / name): CONTENT}


def test_a_member_is_named_with_its_archive(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("one/a.CSV", CONTENT)
        archive.writestr("./", b"")
        archive.writestr("notes.txt", b"mine")
    assert drain(tmp_path / "a.zip") == {f"{tmp_path}/a.zip:one/a.CSV": CONTENT}


@pytest.mark.parametrize("name", ["../evil.csv", "/etc/evil.csv", "a/../../evil.csv", "C:/evil.csv", "..\\evil.csv"])
def test_a_zip_that_points_outside_itself_is_refused(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(name, CONTENT)
    with pytest.raises(DataError, match="points outside the archive. Refused"):
        drain(tmp_path / "a.zip")


def test_a_zip_without_such_files_or_with_a_damaged_one(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.txt", b"x")
    with pytest.raises(DataError, match="holds no .csv file"):
        drain(tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", CONTENT * 50)
    damaged = bytearray((tmp_path / "b.zip").read_bytes())
    damaged[80] ^= 0xFF
    (tmp_path / "b.zip").write_bytes(damaged)
    with pytest.raises(DataError, match="b.zip is damaged"):
        drain(tmp_path / "b.zip")
    damaged[0] ^= 0xFF
    (tmp_path / "b.zip").write_bytes(damaged)
    with pytest.raises(DataError, match="b.zip: a.csv cannot be unpacked: Bad magic number"):
        drain(tmp_path / "b.zip")


@pytest.mark.parametrize("kind", ["gz", "zip"])
def test_an_archive_bomb_is_refused(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(archives, "ALWAYS_ALLOWED", 100_000)
    content = b"text,label\n" + b"a,b\n" * 1_000_000
    if kind == "gz":
        path = tmp_path / "bomb.csv.gz"
        path.write_bytes(gzip.compress(content))
    else:
        path = tmp_path / "bomb.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("bomb.csv", content)
    with pytest.raises(DataError, match="unpacks to more than 200 times its size. Refused as an archive bomb"):
        drain(path)
