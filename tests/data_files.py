"""How the tests of the data wing write files and read them back."""

import csv
import io

from tfsent.data.files import find_files, read_files
from tfsent.data.records import Faults
from tfsent.recipe.schema import DataConfig


def read(path, source="files", **settings):
    """Rows of files, which must be without fault."""
    config = DataConfig(source=source, train=(str(path),), **settings)
    faults = Faults()
    rows = list(read_files(find_files(config.train, "train"), config, faults))
    faults.raise_if_any()
    return rows


def plain(rows):
    return [(row.text, row.label) for row in rows]


def csv_bytes(rows, header=("text", "label"), **options):
    out = io.StringIO()
    writer = csv.writer(out, **options)
    writer.writerows([header, *rows] if header else rows)
    return out.getvalue().encode()


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path
