"""The gates in tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tfcaf.warm import WarmGates, warm_gates


@pytest.fixture(scope="session")
def empty_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder in which the processes of candidates make theirs, so that files which they leave are seen."""
    return tmp_path_factory.mktemp("folders")


@pytest.fixture(scope="module")
def warm() -> Iterator[WarmGates]:
    """Gates that verify all candidates of a module in one process."""
    with warm_gates() as made:
        yield made
