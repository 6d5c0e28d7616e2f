"""Rows of bytes in a file."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfsent.errors import DataError
from tfsent.storage import row_store
from tfsent.storage.row_store import RowStore, StoredTexts


@given(st.lists(st.binary(max_size=30), max_size=30), st.randoms(), st.sampled_from([0, 50, 1 << 20]))
def test_rows_read_back_in_any_order_while_others_are_added(rows, random, in_memory):
    with patch.object(row_store, "IN_MEMORY", in_memory):
        check_rows(rows, random)


def check_rows(rows, random):
    store = RowStore()
    for i, row in enumerate(rows):
        store.append(row)
        j = random.randrange(i + 1)
        assert store[j] == rows[j]
    assert list(store) == rows


def test_texts_are_a_sequence_of_strings():
    store = RowStore()
    for text in ("a", "日本", "", "☃"):
        store.append(text.encode("utf-8"))
    texts = StoredTexts(store)
    assert list(texts) == ["a", "日本", "", "☃"]
    assert list(texts[1:3]) == ["日本", ""]
    assert list(texts.take(np.array([3, 0])).take(np.array([1]))) == ["a"]


def test_nothing_is_left_in_the_cache_folder_when_the_process_is_killed(tmp_path):
    fill = "s = RowStore(); [s.append(b'x' * 5_000_000) for _ in range(20)]"
    code = f"from tfsent.storage.row_store import RowStore; import os; {fill}; print(len(s)); os.kill(os.getpid(), 9)"
    environment = {**os.environ, "TFSENT_CACHE": str(tmp_path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == -9
    assert list(tmp_path.rglob("*")) == []


def test_a_cache_folder_that_cannot_be_written_and_a_full_disk(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TFSENT_CACHE", str(tmp_path / "file" / "cache"))
    store = RowStore()
    store.append(b"a few texts need no folder")
    assert store[0].startswith(b"a few")
    monkeypatch.setattr(row_store, "IN_MEMORY", 0)
    with pytest.raises(DataError, match="Cannot write to the cache folder .*: Not a directory. Free some"):
        store.append(b"x")
    monkeypatch.setenv("TFSENT_CACHE", str(tmp_path))
    for buffer in (8, 1000):  # the write fails, or only the flush before a read
        store = RowStore()
        full = Path("/dev/full").open("r+b", buffering=buffer)  # noqa: SIM115
        monkeypatch.setattr(store, "_file", full)
        with pytest.raises(DataError, match="No space left on device. Free some space there, or set TFSENT_CACHE"):
            store.append(b"x" * 100)
            _ = store[0]
        with contextlib.suppress(OSError):
            full.close()
