"""The real reviews, read once for all tests of a worker."""

import pytest


@pytest.fixture(scope="session")
def tfds_parts(tfds_folder):
    from tfsent.data.reading import load_parts
    from tfsent.recipe.schema import DataConfig

    return load_parts(DataConfig(dir=str(tfds_folder)))
