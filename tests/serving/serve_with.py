"""Runs the server with settings that the command has no words for: serve_with.py MODEL SETTINGS, which are JSON.

`slow` is how many seconds each batch takes more. At its end it prints which of some modules were loaded.
"""

import json
import sys
import time
from pathlib import Path

from tfsent.serving import places, server
from tfsent.serving.litert import LiteRTEngine
from tfsent.serving.settings import Limits, Settings


def slower(seconds):
    worker = LiteRTEngine.worker

    def slow_worker(self):
        run = worker(self)

        def slow_run(texts):
            time.sleep(seconds)
            if "fail" in texts:
                raise RuntimeError("this text breaks the model")
            return run(texts)

        return slow_run

    LiteRTEngine.worker = slow_worker


if __name__ == "__main__":
    words = json.loads(sys.argv[2])
    if "slow" in words:
        slower(words.pop("slow"))
    limits = Limits(**words.pop("limits", {}))
    place = places.find(Path(sys.argv[1]))
    server.serve(place, Settings(port=0, limits=limits, **words), lambda said: print(said, flush=True))
    print([name for name in ("tensorflow", "keras", "jax", "scipy", "pandas") if name in sys.modules], flush=True)
