"""A folder per class: on disk, in a zip and in a tar alike."""

import io
import tarfile
import zipfile

import pytest
from data_files import plain, read, write

from tfsent.errors import DataError


@pytest.fixture(params=["folder", "zip", "tar.gz"])
def make(request, tmp_path):
    """Write files by name below `reviews`, into a folder or an archive; return the path to name."""

    def make(files, inside=""):
        if request.param == "folder":
            for name, content in files.items():
                write(tmp_path / "reviews" / name, content)
            return tmp_path / "reviews" / inside
        path = tmp_path / f"reviews.{request.param}"
        if request.param == "zip":
            with zipfile.ZipFile(path, "w") as archive:
                for name, content in files.items():
                    archive.writestr(name, content)
        else:
            with tarfile.open(path, "w:gz") as archive:
                for name, content in files.items():
                    info = tarfile.TarInfo(name)
                    info.size = len(content)
                    archive.addfile(info, io.BytesIO(content))
        return path / inside

    return make


REVIEWS = {"pos/0.txt": b"good", "pos/1.TXT": b"very\ngood", "neg/0.txt": b"\xef\xbb\xbfbad"}
FOUND = [("bad", "neg"), ("good", "pos"), ("very\ngood", "pos")]


@pytest.mark.parametrize("source", ["files", "folder"])
def test_a_folder_per_class_is_read(make, source):
    path = make(REVIEWS)
    rows = read(path, source)
    assert sorted(plain(rows)) == FOUND
    assert all(str(path) in row.place and row.place.lower().endswith(".txt") for row in rows)


def test_hidden_files_and_folders_are_never_reviews(make, messages):
    hidden = (
        ".ipynb_checkpoints/0.txt",
        "pos/._0.txt",
        "neg/.DS_Store",
        ".git/x/1.txt",
        "__MACOSX/pos/0.txt",
        ".2.txt",
    )
    assert sorted(plain(read(make(REVIEWS | dict.fromkeys(hidden, b"x"))))) == FOUND
    assert "left out" not in messages.text


def test_whatever_else_is_left_out_is_counted(make, messages):
    others = {"labeledBow.feat": b"1:2", "urls_pos.txt": b"http", "pos/notes.md": b"x", "unsup/0.txt": b"who knows"}
    assert sorted(plain(read(make(REVIEWS | others)))) == FOUND
    assert "reviews" in messages.text
    assert ": 4 files are left out, such as " in messages.text


def test_the_recipe_names_the_classes(make, messages):
    path = make(REVIEWS | {"unsup/0.txt": b"who knows"})
    assert sorted(plain(read(path, labels=("unsup", "neg")))) == [("bad", "neg"), ("who knows", "unsup")]
    assert ": 2 files are left out, such as pos/" in messages.text


def test_a_deeper_text_is_refused(make):
    with pytest.raises(
        DataError, match=r"has .txt files below its class folders, such as pos/more/2.txt. Expected them"
    ):
        read(make(REVIEWS | {"pos/more/2.txt": b"good"}))


def test_aclimdb_is_read_by_its_parts(make):
    files = {f"aclImdb/{part}/{name}": text for part in ("train", "test") for name, text in REVIEWS.items()}
    files |= {"aclImdb/README": b"x", "aclImdb/train/unsup/0.txt": b"x", "aclImdb/train/urls_pos.txt": b"http"}
    for part in ("train", "test"):
        assert sorted(plain(read(make(files, f"aclImdb/{part}")))) == FOUND
    with pytest.raises(DataError, match=r"Name the folder that holds .*reviews.*aclImdb/test or .*aclImdb/train\."):
        read(make(files))


def test_an_archive_of_one_wrapped_folder_is_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name, content in REVIEWS.items():
            archive.writestr(f"outer/inner/{name}", content)
        archive.writestr("outer/readme.txt", b"x")
    assert sorted(plain(read(tmp_path / "a.zip"))) == FOUND


@pytest.mark.parametrize("files", [{"1.txt": b"good", "2.txt": b"bad"}, {"pos/1.md": b"good"}])
def test_a_place_without_class_folders_is_refused(make, files):
    with pytest.raises(DataError, match="has no folder with .txt files in it. Expected a folder per class"):
        read(make(files), "folder")


def test_a_file_is_no_folder(tmp_path):
    with pytest.raises(DataError, match="is not a folder. Expected a folder per class, or a .zip or .tar.gz of one"):
        read(write(tmp_path / "a.csv", b""), "folder")


def test_bad_bytes_name_the_file(make):
    with pytest.raises(DataError, match=r"pos/2.txt: byte 2 \(0xff\) is not UTF-8; set data.encoding"):
        read(make(REVIEWS | {"pos/2.txt": b"a\xff"}))
    assert ("aÿ", "pos") in plain(read(make(REVIEWS | {"pos/2.txt": b"a\xff"}), encoding="latin-1"))
