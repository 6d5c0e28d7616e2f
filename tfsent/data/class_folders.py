"""A folder per class with a `.txt` file per review, on disk or in an archive → rows.

The class folders are the first level below the folder that is named; in an archive, below the folders that hold all the
others. Hidden files are never reviews. A message counts whatever else is left out.
"""

from __future__ import annotations

import contextlib
import functools
import io
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO

from tfsent.data.archives import is_hidden, open_archive, open_file, readable, split_archive
from tfsent.data.formats import SUFFIXES
from tfsent.data.records import MAX_LINE, Faults, Row, decoded
from tfsent.errors import DataError
from tfsent.recipe.schema import DataConfig

logger = logging.getLogger(__name__)

UNLABELLED = "unsup"
"""aclImdb's folder of reviews without labels."""


def holds_class_folders(path: Path) -> bool:
    """Return whether a path is a folder, or an archive with texts in folders and without a table."""
    return path.is_dir() or any(len(name.parts) > 1 for name in _texts_of_archive(path))


def read_class_folders(path: Path, config: DataConfig, faults: Faults) -> Iterator[Row]:
    """Read the reviews of each class: the folders in `data.labels`, else all but `unsup`.

    Raises:
        DataError: there are no class folders, a text lies deeper than in one, or the path is a file.
    """
    with _files_below(path) as files:
        texts = [name for name in files if _is_text(name)]
        depth = _class_level(texts) if split_archive(path) else 0
        _require_class_folders(path, texts, depth)
        known = [name for name in texts if len(name.parts) == depth + 2 and _is_class(name.parts[depth], config)]
        _count_others(path, set(files) - set(known))
        for name in known:
            place = f"{path}{':' if split_archive(path) else '/'}{name}"
            with files[name]() as stream:
                yield Row(_read_text(place, stream, config, faults), name.parts[depth], "", place)


def holds_texts(path: Path) -> bool:
    """Return whether a path is a folder, or an archive with several `.txt` files and without a table."""
    return path.is_dir() or len(_texts_of_archive(path)) > 1


def _texts_of_archive(path: Path) -> list[PurePosixPath]:
    """Return the `.txt` files in an archive that has no table; none where the path is no archive."""
    if (inside := split_archive(path)) is None:
        return []
    with open_archive(*inside) as members:
        tables = any(name.name.lower().endswith((*SUFFIXES, ".parquet")) for name in members)
        return [] if tables else [name for name in members if _is_text(name)]


def read_text_folder(path: Path, config: DataConfig, faults: Faults) -> Iterator[tuple[str, str]]:
    """Read the `.txt` files of one folder. Yield the text and the place of each.

    Raises:
        DataError: there is no `.txt` file, they lie in several folders, or the path is a file.
    """
    with _files_below(path) as files:
        texts = [name for name in files if _is_text(name)]
        folders = sorted({name.parent for name in texts})
        if not folders:
            raise DataError(f"{path} has no .txt files. Expected a text a file; or name tables, such as {path}/*.csv.")
        if len(folders) > 1:
            named = ", ".join(str(path / folder) for folder in folders[:5])
            raise DataError(f"{path} has .txt files in several folders: {named}. Name those that are meant.")
        for name in texts:
            place = f"{path}{':' if split_archive(path) else '/'}{name}"
            with files[name]() as stream:
                yield _read_text(place, stream, config, faults), place


@contextlib.contextmanager
def _files_below(path: Path) -> Iterator[Mapping[PurePosixPath, Callable[[], IO[bytes]]]]:
    """Give a function for each file below a folder that opens it, but for hidden files."""
    if (inside := split_archive(path)) is not None:
        with open_archive(*inside) as members:
            yield members
        return
    if not path.is_dir():
        raise DataError(f"{path} is not a folder. Expected a folder per class, or a .zip or .tar.gz of one.")
    files = (PurePosixPath(file.relative_to(path)) for file in sorted(path.rglob("*")) if file.is_file())
    yield {name: functools.partial(open_file, path / name) for name in files if not is_hidden(name)}


def _is_text(name: PurePosixPath) -> bool:
    return name.suffix.lower() == ".txt"


def _class_level(texts: Iterable[PurePosixPath]) -> int:
    """Return how many folders of an archive hold all the others."""
    depth, inside = 0, [name for name in texts if len(name.parts) > 1]
    while inside and len({name.parts[depth] for name in inside}) == 1:
        depth += 1
        inside = [name for name in inside if len(name.parts) > depth + 1]
    return depth if inside else 0


def _require_class_folders(path: Path, texts: list[PurePosixPath], depth: int) -> None:
    if deep := [name for name in texts if len(name.parts) > depth + 2]:
        deepest = max(len(name.parts) for name in deep)
        places = sorted({str(path / name.parent.parent) for name in deep if len(name.parts) == deepest})
        raise DataError(
            f"{path} has .txt files below its class folders, such as {deep[0]}. Expected them right in the class "
            f"folders. Name the folder that holds the class folders, such as {' or '.join(places[:2])}."
        )
    if not any(len(name.parts) == depth + 2 for name in texts):
        raise DataError(
            f"{path} has no folder with .txt files in it. Expected a folder per class, as aclImdb/train has."
        )


def _is_class(folder: str, config: DataConfig) -> bool:
    return folder != UNLABELLED if config.labels is None else folder in config.labels


def _count_others(path: Path, others: set[PurePosixPath]) -> None:
    """Say how many files are not read."""
    if others:
        logger.info(
            f"{path}: {len(others):,} files are left out, such as {min(others)}: they are not .txt files, or not in a "
            "class folder."
        )


def _read_text(place: str, stream: IO[bytes], config: DataConfig, faults: Faults) -> str:
    with readable(place):
        raw = stream.read(MAX_LINE)
    if len(raw) == MAX_LINE:
        raise DataError(f"{place} is longer than {MAX_LINE >> 20} MB. Is it a text file?")
    text = io.TextIOWrapper(io.BytesIO(raw), config.encoding, "surrogateescape", newline="").read()
    return decoded(text.removeprefix("\ufeff"), place, config, faults)
