"""The golden texts of an export on 64-bit ARM, emulated: do the kernels of a phone's processor answer alike?

    apt-get install qemu-user-static && dpkg --add-architecture arm64 && apt-get update
    python benchmarks/arm.py RUN/export/mobile [--model FILE]... [--texts N] [--work DIR]

On Debian, as root or with the three commands done. An arm64 Python and its libraries are unpacked into a folder, with
the aarch64 wheels of the four packages that an edge device needs; tfsent itself runs from the checkout, under
`qemu-aarch64-static`. The same process runs here, too. Two processors are emulated: one with the dot products of int8
that phones have had since about 2018 (`cortex-a76`), and one without (`cortex-a53`). Kernels differ between them.
Answers are compared with LiteRT on this machine. The emulator's own processor, `max`, answers like the first with SVE
switched off (`max,sve=off`). With SVE, QEMU 7.2 gave other answers to every text. Whether its SVE or LiteRT's kernels
for SVE are wrong cannot be told without such a phone.
Milliseconds of an emulator mean nothing and are not measured. Writes
benchmarks/results/arm.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

CHECKOUT = Path(__file__).resolve().parents[1]
PACKAGES = (
    *("python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib", "libc6", "libgcc-s1", "libstdc++6"),
    *("zlib1g", "libexpat1", "libssl3", "libffi8", "libbz2-1.0", "liblzma5", "libsqlite3-0", "libuuid1"),
)
PROCESSORS = {"cortex-a76": ("0xd0b", "atomics fphp asimdhp cpuid asimdrdm asimddp"), "cortex-a53": ("0xd03", "cpuid")}
"""Part number and features, for a /proc/cpuinfo of its own: that of this machine makes LiteRT crash."""
ASK = """
import json, sys
import tfsent
model = tfsent.load(sys.argv[1])
for line in sys.stdin:
    text = json.loads(line)
    rows, _ = model.tokenizer([text])
    print(json.dumps([[row.tolist() for row in rows], model.predict_proba([text])[0].tolist()]), flush=True)
"""


def arm_python(work: Path) -> tuple[Path, Path]:
    """Unpack an arm64 Python and the wheels; return the root of its file system and the folder of the packages."""
    root, site = work / "root", work / "site"
    if not (work / "done").exists():
        downloads = work / "debs"
        downloads.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", *(f"{name}:arm64" for name in PACKAGES)], cwd=downloads, check=True)
        for package in downloads.glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", package, root], check=True)
        wheels = [sys.executable, "-m", "pip", "install", "--quiet", "--target", site, "--only-binary=:all:"]
        wheels += ["--python-version", "3.11", "--implementation", "cp", "--no-deps"]
        wheels += [f"--platform=manylinux_2_{minor}_aarch64" for minor in (17, 27, 28, 34)]
        needed = (CHECKOUT / "export" / "edge" / "requirements.txt").read_text().splitlines()
        needed = [line for line in needed if line and not line.startswith("#")]
        # What these four import, and pip would fetch for this machine.
        subprocess.run(
            [*wheels, *needed, "flatbuffers", "protobuf", "backports.strenum", "typing-extensions"], check=True
        )
        (work / "done").touch()
    return root, site


def pretend(root: Path, processor: str) -> None:
    """Write /proc/cpuinfo into the root, where the emulator looks first."""
    part, features = PROCESSORS[processor]
    core = f"processor\t: %d\nFeatures\t: fp asimd evtstrm aes crc32 {features}\nCPU implementer\t: 0x41\n"
    core += f"CPU architecture: 8\nCPU variant\t: 0x1\nCPU part\t: {part}\nCPU revision\t: 0\n\n"
    (root / "proc").mkdir(exist_ok=True)
    (root / "proc" / "cpuinfo").write_text("".join(core % i for i in range(os.cpu_count() or 1)))


def ask(command: list[str], path: str, model: Path, texts: list[str]) -> tuple[list, np.ndarray]:
    """Ids and probabilities of each text, out of a process."""
    lines = "".join(json.dumps(text) + "\n" for text in texts)
    settings = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(
        [*command, "-c", ASK, str(model)], input=lines, capture_output=True, text=True, env=settings, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    return [rows for rows, _ in answers], np.array([found for _, found in answers])


def main(folder: Path, models: list[str], count: int, work: Path) -> None:
    """Replay, compare, print, write."""
    from tfsent.console import print_table

    golden = [json.loads(line) for line in (folder / "golden.jsonl").read_text(encoding="utf-8").splitlines()]
    golden = [*golden[-21:], *golden[:-21]][:count]  # the nasty ones first
    texts = [line["text"] for line in golden]
    root, site = arm_python(work)
    results = []
    for name in models:
        _, here = ask([sys.executable], str(CHECKOUT), folder / name, texts)
        for processor in PROCESSORS:
            pretend(root, processor)
            python = ["qemu-aarch64-static", "-cpu", processor, "-L", str(root), str(root / "usr/bin/python3.11")]
            rows, found = ask(python, f"{CHECKOUT}{os.pathsep}{site}", folder / name, texts)
            results.append(
                {
                    "model": name,
                    "processor": processor,
                    "texts": len(texts),
                    "other_ids": sum(a != line["ids"] for a, line in zip(rows, golden, strict=True)),
                    "largest_difference": float(np.abs(found - here).max()),
                    "other_labels": int((found.argmax(axis=1) != here.argmax(axis=1)).sum()),
                }
            )
            print_table("", list(results[0]), [list(one.values()) for one in results])
    target = Path(__file__).parent / "results" / "arm.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("folder", type=Path)
    words.add_argument("--model", action="append", help="A file in the folder; may be repeated.  [model.tflite]")
    words.add_argument("--texts", type=int, default=221)
    words.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "tfsent-arm")
    given = words.parse_args()
    main(given.folder.resolve(), given.model or ["model.tflite"], given.texts, given.work)
