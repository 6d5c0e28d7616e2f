"""A reader never sees half of a file."""

import errno
import json

import pytest

from tfsent.errors import RunError
from tfsent.storage import atomic
from tfsent.text.spec import read_labels, write_labels


def test_a_file_is_replaced_in_one_step(tmp_path):
    target = tmp_path / "deep" / "a.txt"
    atomic.write_text(target, "one")
    with atomic.replacing(target) as staged:
        staged.write_text("two")
        assert target.read_text() == "one"
    assert target.read_text() == "two"
    assert [p.name for p in target.parent.iterdir()] == ["a.txt"]


def test_a_folder_is_replaced_in_one_step(tmp_path):
    target = tmp_path / "folder"
    for content in ("one", "two"):
        with atomic.replacing(target) as staged:
            staged.mkdir()
            (staged / content).write_text(content)
    assert [p.name for p in tmp_path.rglob("*")] == ["folder", "two"]


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_file_and_no_trace(tmp_path, error):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(type(error)), atomic.replacing(target) as staged:
        staged.write_text("half")
        raise error
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_full_disk_is_reported_and_changes_nothing(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(RunError, match="Cannot write .*a.txt: No space left on device. Nothing was changed."):
        with atomic.replacing(target) as staged:
            staged.write_text("half")
            raise OSError(errno.ENOSPC, "No space left on device")
    assert target.read_text() == "old"


def test_json_and_labels_read_back(tmp_path):
    atomic.write_json(tmp_path / "a.json", {"é": 1})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"é": 1}
    write_labels(tmp_path, ("böse", "a b"))
    assert read_labels(tmp_path) == ("böse", "a b")
