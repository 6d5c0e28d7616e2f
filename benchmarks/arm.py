"""The golden texts of an export on 64-bit ARM, emulated: do the kernels of a phone's processor answer alike?

    apt-get install qemu-user-static && dpkg --add-architecture arm64 && apt-get update
    python benchmarks/arm.py RUN/export/mobile [FILE.tflite]... [--texts N] [--processor NAME]... [--folder DIR]

On Debian 12 or later, with the three commands of the first line done as root; the second needs no root. An arm64 Python
of Debian is unpacked into a folder, with the aarch64 wheels of what an edge device needs. tfsent itself runs from the
checkout, in that Python, under `qemu-aarch64-static`. Nothing of arm64 is installed.

Each file is asked here and on four processors, because LiteRT has other kernels for each: `cortex-a53` has no dot
products of int8, `cortex-a76` has them (SDOT), `max,sme=off` has products of int8 matrices (SMMLA), and `max` has SME.
What they say about model.tflite is compared with golden.jsonl, and about other files with LiteRT on this machine. Ids
are compared for all texts, also with --texts. MB is by how much a process grows when the file is opened once more and
answers once: the emulator's translation of the code is there by then. Milliseconds of an emulator mean nothing. The
221 texts took 6 minutes a file and processor on 2 cores.

`max` is left out before QEMU 10: with the SME of QEMU 7.2 all answers were about 0.5. The same instructions are right
in QEMU 10.0, and those of SME2 in 11.1, so it is not LiteRT that is wrong there. --qemu takes a newer one. Writes
benchmarks/results/arm.json.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import numpy as np

from tfsent.console import print_table, progress_bar

CHECKOUT = Path(__file__).resolve().parents[1]
PREPARE = "apt-get install qemu-user-static && dpkg --add-architecture arm64 && apt-get update"
PYTHON = ("python3-minimal:arm64", "libpython3-stdlib:arm64", "libstdc++6:arm64", "zlib1g:arm64")
"""Packages that are unpacked with what they depend on: a Python, and what the wheels link to."""
DOT = "atomics fphp asimdhp cpuid asimdrdm asimddp"
PROCESSORS = {
    "cortex-a53": ("0xd03", "cpuid"),
    "cortex-a76": ("0xd0b", DOT),
    "max,sme=off": ("0xd82", DOT),
    "max": ("0xd82", DOT),
}
"""Names for QEMU → part number and features for /proc/cpuinfo. LiteRT believes the part number: a wrong one ends in an
illegal instruction. What the features leave out it asks the kernel, here the emulator."""
SME_SINCE = 10
"""Of Debian's versions of QEMU, 7.2 is wrong, and 10.0 and 11.1 are right."""
HERE = "this machine"
ASK = """
import json, platform, sys
from importlib.metadata import version
import tfsent

def resident():
    with open("/proc/self/status") as status:
        return int(next(line for line in status if line.startswith("VmRSS")).split()[1]) * 1024 / 1e6

path, work = sys.argv[1], json.load(open(sys.argv[2]))
model = tfsent.load(path)
names = ("ai-edge-litert", "numpy", "tokenizers")
print(json.dumps({"machine": platform.machine(), **{name: version(name) for name in names}}))
print(json.dumps([[row.tolist() for row in model.tokenizer([text])[0]] for text in work["texts"]]))
for i in work["asked"]:
    print(json.dumps(model.predict_proba([work["texts"][i]])[0].tolist()), flush=True)
before = resident()
second = tfsent.load(path)
second.predict_proba(work["texts"][:1])
print(resident() - before)
"""


def output(*command: str | Path) -> str:
    """Standard output of a command; empty if it fails."""
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def arm_packages(qemu: str) -> list[str]:
    """Return the Debian packages to unpack.

    Raises:
        click.ClickException: something that must be installed is missing.
    """
    missing = [program for program in (qemu, "apt-get", "apt-cache", "dpkg-deb") if not shutil.which(program)]
    if missing:
        raise click.ClickException(f"{', '.join(missing)} is missing: on Debian, as root, {PREPARE}")
    silent = [f"--no-{kind}" for kind in ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")]
    found = output("apt-cache", "depends", "--recurse", *silent, *PYTHON)
    # Scripts that configure packages need more, such as Perl. Nothing is configured here.
    packages = sorted(set(re.findall(r"^((?:lib|python3|zlib)\S*:arm64)$", found, re.MULTILINE)))
    if "libc6:arm64" not in packages:
        raise click.ClickException(f"apt knows no packages for arm64: on Debian, as root, {PREPARE}")
    return packages


def arm_python(folder: Path, qemu: str) -> tuple[Path, Path]:
    """Unpack an arm64 Python and the wheels, once a folder; return the root of its file system and the wheels."""
    root, site, debs, done = (folder / name for name in ("root", "site", "debs", "done"))
    packages = arm_packages(qemu)
    if not done.exists():
        debs.mkdir(parents=True, exist_ok=True)
        # apt's own user may not write into this folder.
        subprocess.run(["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", *packages], cwd=debs, check=True)
        for package in sorted(debs.glob("*.deb")):
            subprocess.run(["dpkg-deb", "-x", package, root], check=True)
        if not (root / "lib").exists():  # since Debian 13 all of it is in /usr/lib
            (root / "lib").symlink_to("usr/lib")
        wheels = [sys.executable, "-m", "pip", "install", "--quiet", "--upgrade", "--target", str(site)]
        wheels += ["--only-binary=:all:", "--python-version", python_of(root).name.removeprefix("python")]
        wheels += [f"--platform=manylinux_2_{minor}_aarch64" for minor in (17, 24, 26, 27, 28, 31, 34)]
        subprocess.run([*wheels, "-r", CHECKOUT / "export" / "edge" / "requirements.txt"], check=True)
        done.touch()
    return root, site


def python_of(root: Path) -> Path:
    """The Python of a file system, by its full name: `python3` itself is a link."""
    return next(path for path in (root / "usr" / "bin").iterdir() if re.fullmatch(r"python3\.\d+", path.name))


def pretend(root: Path, processor: str) -> None:
    """Write /proc/cpuinfo into the root, where the emulator looks first: LiteRT crashes on that of an x86 machine."""
    part, features = PROCESSORS[processor]
    core = f"processor\t: %d\nFeatures\t: fp asimd evtstrm aes crc32 {features}\nCPU implementer\t: 0x41\n"
    core += f"CPU architecture: 8\nCPU variant\t: 0x1\nCPU part\t: {part}\nCPU revision\t: 0\n\n"
    (root / "proc").mkdir(exist_ok=True)
    (root / "proc" / "cpuinfo").write_text("".join(core % i for i in range(os.cpu_count() or 1)), encoding="ascii")


def ask(python: list[str], path: str, model: Path, work: Path, name: str) -> dict:
    """Ask a file in a process of its own.

    Args:
        python: starts a Python.
        path: its PYTHONPATH.
        model: the file.
        work: JSON, `texts` and the indices `asked`.
        name: of the processor, for people.

    Returns:
        `versions`, `ids` of all texts, `probabilities` of those asked, and `megabytes`.
    """
    # Another minor version of Python leaves no bytecode in the checkout.
    settings = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    asked = json.loads(work.read_text(encoding="utf-8"))["asked"]
    lines = []
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
        command = [*python, "-c", ASK, str(model), str(work)]
        with (
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=settings) as process,
            progress_bar(f"{model.name}, {name}", len(asked)) as bar,
        ):
            for line in process.stdout or ():
                lines.append(json.loads(line))
                bar.update(2 < len(lines) <= 2 + len(asked))
        if process.returncode:
            errors.seek(0)
            said = errors.read().strip()[-2000:]
            raise click.ClickException(f"{model.name} on {name} ended with code {process.returncode}. {said}")
    return {"versions": lines[0], "ids": lines[1], "probabilities": np.array(lines[2:-1]), "megabytes": lines[-1]}


def compared(found: dict, ids: list, reference: np.ndarray) -> dict:
    """What differs from what was expected."""
    probabilities = found["probabilities"]
    return {
        "texts": len(probabilities),
        "texts_of_ids": len(ids),
        "other_ids": sum(a != b for a, b in zip(found["ids"], ids, strict=True)),
        "largest_difference": float(np.abs(probabilities - reference).max()),
        "mean_difference": float(np.abs(probabilities - reference).mean()),
        "other_labels": int((probabilities.argmax(axis=1) != reference.argmax(axis=1)).sum()),
        "megabytes": found["megabytes"],
        "versions": found["versions"],
    }


def report(qemu: str, rows: list[dict]) -> None:
    """Print and write what there is so far: a file takes long."""
    header = ("file", "processor", "texts", "other ids", "largest difference", "mean", "other labels", "MB")
    table = [
        (
            row["file"],
            row["processor"],
            row["texts"],
            row["other_ids"],
            f"{row['largest_difference']:.1e}",
            f"{row['mean_difference']:.1e}",
            row["other_labels"],
            f"{row['megabytes']:.0f}",
        )
        for row in rows
    ]
    versions = {f"LiteRT {row['versions']['ai-edge-litert']} on {row['versions']['machine']}" for row in rows}
    print_table(f"QEMU {qemu}; {', '.join(sorted(versions))}", header, table)
    target = Path(__file__).parent / "results" / "arm.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps({"qemu": qemu, "rows": rows}, indent=2) + "\n", encoding="utf-8")


@click.command()
@click.argument("export", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("others", nargs=-1, metavar="[FILE.tflite]...")
@click.option("--texts", type=click.IntRange(1), default=10**9, help="Ask about so many, evenly spread.")
@click.option("--processor", "processors", multiple=True, type=click.Choice(list(PROCESSORS)), help="Only this one.")
@click.option("--folder", type=click.Path(path_type=Path), help="Keep what is fetched (250 MB) here.")
@click.option("--qemu", default="qemu-aarch64-static", show_default=True, help="The emulator.")
def main(
    export: Path, others: tuple[str, ...], texts: int, processors: tuple[str, ...], folder: Path | None, qemu: str
) -> None:
    """Replay golden.jsonl of EXPORT on emulated ARM processors: model.tflite and other files of that folder."""
    golden = [json.loads(line) for line in (export / "golden.jsonl").read_text(encoding="utf-8").splitlines()]
    ids = [line["ids"] for line in golden]
    count = min(texts, len(golden))
    asked = [i * len(golden) // count for i in range(count)]
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch) / "work.json"
        work.write_text(json.dumps({"texts": [line["text"] for line in golden], "asked": asked}), encoding="utf-8")
        root, site = arm_python((folder or Path(scratch)).resolve(), qemu)
        version = re.findall(r"version ([\d.]+)", output(qemu, "--version"))[0]
        chosen = list(processors or PROCESSORS)
        if not processors and int(version.split(".")[0]) < SME_SINCE:
            chosen.remove("max")
            click.echo(f"max is left out: the SME of QEMU {version} is not to be trusted", err=True)
        rows: list[dict] = []
        for name in dict.fromkeys(("model.tflite", *others)):
            model = (export / name).resolve()
            found = ask([sys.executable], str(CHECKOUT), model, work, HERE)
            reference = found["probabilities"]
            if name == "model.tflite":
                reference = np.array([golden[i]["probabilities"] for i in asked])
            rows.append({"file": name, "processor": HERE, **compared(found, ids, reference)})
            for processor in chosen:
                pretend(root, processor)
                python = [qemu, "-cpu", processor, "-L", str(root), str(python_of(root))]
                found = ask(python, f"{CHECKOUT}{os.pathsep}{site}", model, work, processor)
                rows.append({"file": name, "processor": processor, **compared(found, ids, reference)})
            report(version, rows)


if __name__ == "__main__":
    main()
