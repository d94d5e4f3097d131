"""Benchmarks are scripts beside the packages: tests import them by name, with a command line."""

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import a script by name, with a command line."""

    def load(name: str, *arguments: str) -> ModuleType:
        monkeypatch.syspath_prepend(FOLDER)
        monkeypatch.setattr("sys.argv", [f"{name}.py", *arguments])
        return importlib.import_module(name)

    return load
