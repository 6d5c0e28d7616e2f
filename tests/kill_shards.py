"""Kills a sharded prediction at every point: `python kill_shards.py begun|anew`. See `kill_points.py`."""

import hashlib
import json
import sys

from data_files import write
from kill_points import at_every_event
from stub_predictor import Stub

from tfsent.inference import shard_files, shards
from tfsent.recipe.schema import DataConfig

ROWS = [json.dumps({"text": "x" * (9 * i + 1), "id": i}) + "\n" for i in range(7)]
FILES = {"a.jsonl": ROWS[:3], "b.jsonl": ROWS[3:]}
SHARDS = {"a-00000.jsonl": 2, "a-00001.jsonl": 1, "b-00000.jsonl": 2, "b-00001.jsonl": 2}
shard_files.SHARD = 2


class Other(Stub):
    """Calls the classes by other names."""

    label_names = ("no", "yes")


def predict(folder, predictor, model_id, *, overwrite=False):
    sources = sorted(folder.glob("*.jsonl"))
    config = DataConfig(train=str(folder))
    shards.predict_files(predictor, sources, folder / "out", config, model_id=model_id, overwrite=overwrite)


def inputs(folder):
    for name, lines in FILES.items():
        write(folder / name, "".join(lines).encode())


def check(folder):
    """Every file is whole, and the manifest says `complete` only when all shards are there."""
    out = folder / "out"
    for path in out.glob("*-0*.jsonl"):
        found = [json.loads(line) for line in path.read_text().splitlines()]
        assert len(found) == SHARDS[path.name] and all(row["label"] for row in found)
    if (out / "manifest.json").exists():
        held = json.loads((out / "manifest.json").read_text())
        digests = {one["file"]: one["sha256"] for one in held["shards"]}
        if held["complete"]:
            assert digests == {name: hashlib.sha256((out / name).read_bytes()).hexdigest() for name in SHARDS}


def begun():
    """A job that is begun."""
    return at_every_event(inputs, lambda folder: predict(folder, Stub(), "m"), check)


def anew():
    """A job that replaces a finished one of another model: the two are never mixed where it says `complete`."""

    def prepare(folder):
        inputs(folder)
        predict(folder, Stub(), "m")

    def check_one(folder):
        check(folder)
        held = folder / "out" / "manifest.json"
        if held.exists() and json.loads(held.read_text())["complete"]:
            text = "".join(path.read_text() for path in (folder / "out").glob("*-0*.jsonl"))
            assert ("p_yes" in text) != ("p_positive" in text)

    return at_every_event(prepare, lambda folder: predict(folder, Other(), "other", overwrite=True), check_one)


if __name__ == "__main__":
    print(
        json.dumps({"events": {"begun": begun, "anew": anew}[sys.argv[1]](), "tensorflow": "tensorflow" in sys.modules})
    )
