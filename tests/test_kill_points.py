"""Every writer of files, killed at every point: what a reader finds is whole."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from kill_points import SCENARIOS

SCRIPT = Path(__file__).with_name("kill_points.py")


@pytest.mark.parametrize("scenario", [scenario.__name__ for scenario in SCENARIOS])
def test_a_writer_killed_anywhere_leaves_whole_files(scenario):
    done = subprocess.run([sys.executable, SCRIPT, scenario], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["events"] >= 3
    assert not found["tensorflow"]
