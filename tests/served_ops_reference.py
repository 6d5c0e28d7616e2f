"""Makes tfsent/exporting/server/served_ops.json: the ops that each release of TensorFlow Serving can run.

    python tests/served_ops_reference.py FOLDER

FOLDER gets the wheels of TensorFlow for Python 3.11 (2 GB, with pip), and each library is asked for its ops. A server
is built with the TensorFlow of its number, and with tensorflow-text 2.12.1 up to 2.19, and 2.20.0 in 2.20.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

RELEASES = ("2.12.1", "2.13.1", "2.14.1", "2.15.1", "2.16.2", "2.17.1", "2.18.1", "2.19.1", "2.20.0")
TEXT = {"2.12.1": "2.12.1", "2.20.0": "2.20.0"}
"""The tensorflow-text that came with a release; those after it keep it."""
TARGET = Path(__file__).parents[1] / "tfsent" / "exporting" / "server" / "served_ops.json"
ASK = """
import ctypes, glob, sys
folder, target = sys.argv[1:]
class Buffer(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("length", ctypes.c_size_t), ("free", ctypes.c_void_p)]
ctypes.CDLL(folder + "/tensorflow/libtensorflow_framework.so.2", ctypes.RTLD_GLOBAL)
api = ctypes.CDLL(folder + "/tensorflow/libtensorflow_cc.so.2", ctypes.RTLD_GLOBAL)
api.TF_NewStatus.restype = api.TF_LoadLibrary.restype = ctypes.c_void_p
api.TF_LoadLibrary.argtypes = [ctypes.c_char_p, ctypes.c_void_p]
api.TF_GetAllOpList.restype = ctypes.POINTER(Buffer)
for path in sorted(glob.glob(folder + "/tensorflow_text/python/ops/_*.so")):
    api.TF_LoadLibrary(path.encode(), api.TF_NewStatus())
found = api.TF_GetAllOpList().contents
open(target, "wb").write(ctypes.string_at(found.data, found.length))
"""


def wheel(name, release, folder):
    pattern = f"{name.replace('-', '_')}-{release}-*.whl"
    if not list(Path(folder).glob(pattern)):
        platforms = ["--platform=manylinux_2_17_x86_64", "--platform=manylinux2014_x86_64"]
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--python-version=3.11"]
        subprocess.run([*command, *platforms, "-d", folder, f"{name}=={release}"], check=True)
    return next(Path(folder).glob(pattern))


def ops_of(release, text, folder):
    """Each op of a release with its attributes."""
    from tensorflow.core.framework.op_def_pb2 import OpList

    with tempfile.TemporaryDirectory() as there:
        for path in (wheel("tensorflow-cpu", release, folder), wheel("tensorflow-text", text, folder)):
            wanted = ["tensorflow/libtensorflow_*", "tensorflow_text/*"]
            subprocess.run(["unzip", "-q", "-o", path, *wanted, "-d", there], check=False)  # 11: one is not in it
        subprocess.run([sys.executable, "-c", ASK, there, f"{there}/ops"], check=True, capture_output=True)
        found = OpList.FromString(Path(there, "ops").read_bytes())
    return {op.name: {attribute.name for attribute in op.attr} for op in found.op if not op.name.startswith("_")}


def main(folder):
    ops, attributes, before, text = {}, {}, {}, ""
    for release in RELEASES:
        text = TEXT.get(release, text)
        version = release.rpartition(".")[0]
        now = ops_of(release, text, folder)
        ops[version] = sorted(now.keys() - before.keys())
        for name in sorted(now.keys() & before.keys()):
            for attribute in sorted(now[name] - before[name]):
                attributes.setdefault(name, {})[attribute] = version
        before = {**before, **now}
        print(version, len(ops[version]))
    lines = ",\n".join(f"  {json.dumps(version)}: {json.dumps(' '.join(names))}" for version, names in ops.items())
    TARGET.write_text(f'{{"ops": {{\n{lines}\n}},\n"attributes": {json.dumps(attributes)}}}\n', encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
