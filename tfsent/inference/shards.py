"""Any number of tables → a folder of shards with the model's answers, in constant memory.

    OUT/manifest.json        the job: model, inputs, settings; at the end each shard with its SHA-256, and `complete`
        NAME-00000.jsonl, …  see `shard_files.py`

The same command continues a job. Another one is refused, and nothing that tfsent did not write is touched.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tfsent.console import progress_bar
from tfsent.data.formats import is_parquet
from tfsent.errors import ConfigError, RunError
from tfsent.inference import shard_files, tables_out
from tfsent.inference.bulk import BulkResult, Scan, added_names, answer, identity, texts_of
from tfsent.inference.predictor import Predictor
from tfsent.inference.shard_files import (
    RECORDS,
    TYPES,
    Job,
    Source,
    is_whole,
    read_shards,
    shard_name,
    write_shard,
    write_types,
)
from tfsent.recipe.schema import DataConfig
from tfsent.storage import atomic, manifest

logger = logging.getLogger(__name__)

FORMATS = ("jsonl", "csv", "parquet")
WORDS = {
    "model": "model",
    "files": "input files",
    "config": "columns or settings",
    "format": "--format",
    "size": "size",
}
"""The parts of a job, as its user calls them."""
NAME_LENGTH = 48
"""Letters of an input's name that the names of its shards have."""


def predict_files(
    predictor: Predictor,
    sources: Sequence[Path],
    folder: Path,
    config: DataConfig,
    *,
    model_id: str,
    form: str | None = None,
    overwrite: bool = False,
) -> BulkResult:
    """Classify every row of any number of tables. The same call continues what was interrupted.

    Args:
        predictor: the model.
        sources: see `bulk.predict_file`.
        folder: OUT; it is made.
        config: names the column of the texts, and how to read the files.
        model_id: differs where the model differs.
        form: one of `FORMATS`; None takes that of the first file.
        overwrite: make OUT anew where it is finished, or of another job.

    Raises:
        DataError: a file cannot be read, rows are faulty, or they do not fit into one Parquet table.
        RunError: OUT is of something else, cannot be written, or another process writes it.
    """
    with opened(sources, folder, config, model_id=model_id, form=form, overwrite=overwrite, predictor=predictor) as job:
        undone, done = undone_sources(job)
        names = added_names(predictor.label_names, job.columns)
        with progress_bar("classifying", job.result(0).rows, done) as bar:
            for index in undone:
                for shard, rows, table in read_shards(job, index, tables=True):
                    write_shard(job, shard, rows, answer(predictor, texts_of(rows, config), names, bar.update), table)
        return finish(job, done)


def undone_sources(job: Job) -> tuple[list[int], int]:
    """Return the inputs with shards that are not done, and the number of rows that are."""
    if job.complete:
        return [], job.result(0).rows
    undone, done = dict[int, None](), 0
    for shard in job.shards():
        if job.record(shard) is None:
            undone[shard.source] = None
        else:
            done += shard.rows
    if done:
        logger.info(f"Continuing after {done:,} rows.")
    return list(undone), done


def finish(job: Job, continued_at: int) -> BulkResult:
    """Say in the manifest that all is done; return what was done.

    Args:
        job: the job.
        continued_at: rows that were done before.

    Raises:
        RunError: a shard is missing.
    """
    if job.complete:
        logger.info(f"{job.folder} holds all answers already.")
        return job.result(continued_at)
    records = []
    for shard in job.shards():
        if (record := job.record(shard)) is None:
            raise RunError(f"{job.folder / shard.name} is missing or not as it was written. Give the command again.")
        records.append(record)
    held = _read_manifest(job.folder) or {}
    atomic.write_json(job.folder / manifest.NAME, held | {"complete": True, "shards": records})
    shutil.rmtree(job.folder / RECORDS, ignore_errors=True)
    return job.result(continued_at)


@contextlib.contextmanager
def opened(
    sources: Sequence[Path],
    folder: Path,
    config: DataConfig,
    *,
    model_id: str,
    form: str | None,
    overwrite: bool,
    predictor: Predictor | None = None,
) -> Iterator[Job]:
    """Begin a job or continue it, and keep OUT to this process.

    Args:
        sources: see `predict_files`, as the others.
        folder: OUT.
        config: how to read.
        model_id: of the model.
        form: of the shards.
        overwrite: begin anew.
        predictor: warns of unknown words; None where no model is at hand.

    Raises:
        DataError: a file cannot be read, or rows are faulty: nothing is written then.
        RunError: see `predict_files`.
    """
    form = form or _form_of(sources[0])
    described = {
        "model": model_id,
        "files": [identity(source) for source in sources],
        "config": config.model_dump(mode="json", exclude={"train"}),
        "format": form,
        "size": shard_files.SHARD,
    }
    with _kept(folder):
        held = _held(folder, described, overwrite=overwrite)
        if held is None:
            held = _begin(folder, described, sources, config, predictor)
        inputs = zip(held["job"]["files"], held["inputs"], strict=True)
        found = tuple(Source(tuple(own), **counted) for own, counted in inputs)
        yield Job(folder, form, config, held["job"]["size"], found, tuple(held["columns"]), held["complete"])


def _form_of(source: Path) -> str:
    """Return the format of an input, where a folder can have it; else JSON lines."""
    return "parquet" if is_parquet(source) else "csv" if tables_out.ending_of(source)[0] == ".csv" else "jsonl"


@contextlib.contextmanager
def _kept(folder: Path) -> Iterator[None]:
    """Make a folder and keep it to this process. Where it is still empty at the end, it is removed."""
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file. Expected a folder for the answers to several files, or a new name.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"Cannot make {folder}: {error.strerror}. Nothing was changed.") from error
    with atomic.in_use(folder):
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # it holds something
                folder.rmdir()


def _held(folder: Path, described: Mapping[str, Any], *, overwrite: bool) -> dict[str, Any] | None:
    """Return the manifest of the same job; None where the job is to begin.

    Raises:
        RunError: the folder is of something else, or of another job.
    """
    held = _read_manifest(folder)
    if held is None:
        # What a killed process leaves before there is a manifest begins so.
        if any(not path.name.startswith((".", "_")) for path in folder.iterdir()):
            raise RunError(f"{folder} exists, and is not of `tfsent predict`. Empty it, or name another --output.")
        return None
    different = [word for key, word in WORDS.items() if held["job"].get(key) != described[key]]
    damaged = [record["file"] for record in held["shards"] if not is_whole(folder, record)]
    if not different and not damaged and not (overwrite and held["complete"]):
        return held
    if overwrite:
        return None
    if different:
        raise RunError(
            f"{folder} is of another job: the {' and the '.join(different)} differ. Give the same command to continue "
            "that one, pass --overwrite to begin anew, or name another --output."
        )
    raise RunError(f"{folder / damaged[0]} is not what was written. Pass --overwrite to begin anew.")


def _begin(
    folder: Path, described: dict[str, Any], sources: Sequence[Path], config: DataConfig, predictor: Predictor | None
) -> dict[str, Any]:
    """Read the inputs once, and write the manifest of a new job; remove the shards of an old one."""
    scan, types = Scan(config), tables_out.ColumnTypes() if described["format"] == "parquet" else None
    inputs: list[dict[str, Any]] = []
    with progress_bar("counting rows of file", len(sources)) as bar:
        for source, name in zip(sources, _names(sources), strict=True):
            rows, without_text = scan.read(source, _watch(source, types))
            inputs.append({"name": name, "rows": rows, "without_text": without_text})
            bar.update(1)
    scan.report(predictor)
    schema = types.schema(scan.columns) if types else None
    _clear(folder)
    if schema is not None:
        write_types(folder, schema)
    held = {"complete": False, "job": described, "columns": scan.columns, "inputs": inputs, "shards": []}
    totals = {key: sum(one[key] for one in inputs) for key in ("rows", "without_text")}
    atomic.write_json(folder / manifest.NAME, held | totals)
    return json.loads(json.dumps(held))  # type: ignore[no-any-return]


def _watch(source: Path, types: tables_out.ColumnTypes | None) -> Callable[[Mapping[str, Any]], Any]:
    """Return what is to be told of each row of a file, so that the types of the columns are found."""
    if types is None:
        return len
    if is_parquet(source):
        types.add_file(source)
        return len
    return types.add


def _names(sources: Sequence[Path]) -> Iterator[str]:
    """Yield what the names of each input's shards begin with: its own name, made different where two are alike."""
    taken = set[str]()
    for source in sources:
        # A reader of folders skips what begins with a dot or an underscore.
        own = re.sub(r"(\.(csv|tsv|jsonl|ndjson|json|parquet|txt|gz|zip|tar|tgz))+$", "", source.name, flags=re.I)
        own = own.lstrip("._")[:NAME_LENGTH] or "rows"
        alike = itertools.chain([own], (f"{own}.{number}" for number in itertools.count(2)))
        name = next(name for name in alike if name.casefold() not in taken)
        taken.add(name.casefold())
        yield name


def _clear(folder: Path) -> None:
    """Remove what an earlier job wrote. Until the end, its manifest says that it is not complete."""
    held = _read_manifest(folder)
    if held is None:
        return
    atomic.write_json(folder / manifest.NAME, held | {"complete": False, "shards": []})
    shutil.rmtree(folder / RECORDS, ignore_errors=True)
    (folder / TYPES).unlink(missing_ok=True)
    for one in held["inputs"]:
        for number in range(-(-one["rows"] // held["job"]["size"])):
            (folder / shard_name(one["name"], number, held["job"]["format"])).unlink(missing_ok=True)
    (folder / manifest.NAME).unlink()


def _read_manifest(folder: Path) -> dict[str, Any] | None:
    """Return a manifest of ours; None where there is none."""
    try:
        held = json.loads((folder / manifest.NAME).read_bytes())
    except (OSError, ValueError):
        return None
    return (
        held if isinstance(held, dict) and {"complete", "job", "inputs", "columns", "shards"} <= held.keys() else None
    )
