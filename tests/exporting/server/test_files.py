"""Which SavedModel ships, and where it is published."""

import contextlib
import dataclasses
import itertools
import multiprocessing
import os
import stat
import time

from tfsent.exporting.parity import Parity
from tfsent.exporting.server.files import choose, publish_version


def parity(artifact, latency_ms, faults=()):
    return Parity(artifact, 90.0, 1e-6, 0.0, 0.9, 0.0, 1.0, latency_ms, faults)


def candidates(wide=None, narrow=None):
    return [
        parity("savedmodel", **{"latency_ms": 10.0, **(wide or {})}),
        parity("savedmodel-bfloat16", **{"latency_ms": 6.0, **(narrow or {})}),
    ]


def shipped(found):
    return [one.artifact for one in found if one.not_chosen is None]


def test_bfloat16_ships_where_it_passes_and_is_faster():
    found = choose(candidates())
    assert shipped(found) == ["savedmodel-bfloat16"]
    assert found[0].not_chosen == "savedmodel-bfloat16 is faster on this machine"


def test_float32_ships_where_bfloat16_is_no_faster():
    found = choose(candidates(narrow={"latency_ms": 9.5}))
    assert shipped(found) == ["savedmodel"]
    assert found[1].not_chosen == "savedmodel is as fast on this machine, and exact"


def test_float32_ships_where_bfloat16_is_over_budget():
    found = choose(candidates(narrow={"faults": ("3.00% of labels flip, budget 1.00%",)}))
    assert shipped(found) == ["savedmodel"]
    assert found[1].not_chosen == "3.00% of labels flip, budget 1.00%"


def test_where_both_fail_one_is_left_to_fail_the_export():
    found = choose(candidates({"faults": ("a",)}, {"faults": ("b",)}))
    assert len(shipped(found)) == 1
    assert not next(one for one in found if one.not_chosen is None).passed


def test_one_candidate_is_taken_as_it_is():
    (only,) = choose(candidates()[1:])
    assert only.not_chosen is None


def model(folder, name="staged"):
    staged = folder / name
    (staged / "variables").mkdir(parents=True)
    for file in ("saved_model.pb", "variables/variables.index"):
        (staged / file).write_text(name * 1000)
    return staged


def test_a_version_follows_the_highest_and_takes_no_place_of_another(tmp_path):
    versions = tmp_path / "serving"
    for name in ("1", "7", "notes", ".half"):
        (versions / name).mkdir(parents=True)
    assert publish_version(model(tmp_path), versions, None).name == "8"
    assert sorted(path.name for path in versions.iterdir()) == [".half", "1", "7", "8", "notes"]


def publish_many(folder, start):
    for i in range(start, start + 10):
        publish_version(model(folder, f"staged{i}"), folder / "serving", None)


def test_exports_at_the_same_time_have_versions_of_their_own(tmp_path):
    with multiprocessing.get_context("fork").Pool(3) as pool:
        pool.starmap(publish_many, [(tmp_path, 0), (tmp_path, 10), (tmp_path, 20)])
    found = {path.name: (path / "saved_model.pb").read_text() for path in (tmp_path / "serving").iterdir()}
    assert sorted(map(int, found)) == list(range(1, 31))
    assert len(set(found.values())) == 30


def test_old_versions_are_removed(tmp_path):
    versions = tmp_path / "serving"
    for i in range(4):
        publish_version(model(tmp_path, f"staged{i}"), versions, 2)
    assert sorted(path.name for path in versions.iterdir()) == ["3", "4"]


def test_others_may_read_the_files(exported):
    for path in (exported / "export" / "serving" / "1").rglob("*"):
        mode = path.stat().st_mode
        assert mode & stat.S_IROTH, path
        assert path.is_file() or mode & stat.S_IXOTH, path
    assert (exported / "export" / "serving" / "1").stat().st_mode & stat.S_IXOTH


def publish_until_killed(folder):
    for i in itertools.count():
        publish_version(model(folder, f"staged-{os.getpid()}-{i}"), folder / "serving", 3)


def test_a_poller_never_sees_half_a_version_whenever_the_exporter_is_killed(tmp_path):
    """A server lists the folder and opens what is there, all the time; exporters are killed at any moment."""
    context = multiprocessing.get_context("fork")
    whole = 0
    for i in range(12):
        exporter = context.Process(target=publish_until_killed, args=(tmp_path,))
        exporter.start()
        seen = -1
        end = time.monotonic() + 0.05 + 0.01 * i
        while time.monotonic() < end or seen < 1:
            seen = 0
            for path in (tmp_path / "serving").glob("[0-9]*"):
                with contextlib.suppress(FileNotFoundError):
                    names = {file.name for file in path.iterdir()}
                if path.is_dir():  # else it was removed, as a whole, since it was listed
                    assert names == {"saved_model.pb", "variables"}
                    seen += 1
        exporter.kill()
        exporter.join()
        whole += seen
    assert whole >= 12


def test_a_choice_changes_nothing_else():
    before = candidates()
    for old, new in zip(before, choose(before), strict=True):
        assert dataclasses.replace(new, not_chosen=None) == old
