"""The gates in tests."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def empty_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the processes of candidates make their folders, so that what they leave behind is seen."""
    return tmp_path_factory.mktemp("folders")
