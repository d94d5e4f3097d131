"""Benchmarks are scripts beside the packages: tests import them by name, with a command line."""

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import a script by name, with a command line. Rates of the machine are measured by small calls."""
    monkeypatch.syspath_prepend(FOLDER)
    workload: Any = importlib.import_module("workload")
    monkeypatch.setattr(workload.matmul_rate, "__defaults__", (64, 1, *workload.matmul_rate.__defaults__[2:]))
    monkeypatch.setattr(workload.write_rate, "__defaults__", (2**16, 1))

    def load(name: str, *arguments: str) -> ModuleType:
        monkeypatch.setattr("sys.argv", [f"{name}.py", *arguments])
        return importlib.import_module(name)

    return load


@pytest.fixture
def mistake_of(load: Any, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a script with a command line that it has to refuse, and return what it then says."""

    def mistake_of(name: str, *arguments: str) -> str:
        module, common = load(name, *arguments), importlib.import_module("common")
        with pytest.raises(SystemExit) as stop:
            common.run(module.main)
        assert stop.value.code == common.MISTAKE
        return capsys.readouterr().err

    return mistake_of


@pytest.fixture
def fake_loops(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loops that are built and counted as always, but neither compiled nor trained: test_reports.py has real ones."""
    loops: Any = load("loops")

    def start(exp: Any) -> Any:
        flops = loops.workload.iteration_flops(exp)
        facts = {"compile_s": 1.0, "temporary_bytes": 1, "state_bytes": 1, "iteration_flops": flops}
        return loops.Loop(lambda *state_and_rest: (*state_and_rest[:2], {}), [(), ()], exp.hp, exp.n_runs, facts)

    monkeypatch.setattr(loops, "start", start)
