"""Trainings of a study without training: which are to do, and what is left of those that fail."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from qllm_jax import config
from qllm_jax.run.loop import Outcome
from qllm_jax.studies import results, runner, status, trainings
from qllm_jax.studies.cells import Cell
from qllm_jax.studies.plan import CellsEntry, Plan, Study
from qllm_jax.studies.runner import Choices, Ended
from qllm_jax.studies.trainings import Trained, Training
from qllm_jax.studies.work import FAILED, Work

CONFIG = config.load(["algo=matched_vdn", "seeds=2", "total_steps=1000", "wandb.group=mine"])
CELL = Cell("spread", "vdn", 1, (), CONFIG, "")


def work_on(path: Path) -> Work:
    entries = Plan("s", 1, {}, {}, [CellsEntry(["spread"], ["vdn"])])
    return Work(Study("s", path, entries), [CELL], path / "results", path / "runs")


def begun(done: int, run_steps: int, **others: Any) -> Trained:
    """A run folder whose training has taken 10 s."""
    given = {"progress": lambda: (done, 10.0), "run_steps": run_steps, "finished": done >= run_steps, **others}
    return cast(Trained, SimpleNamespace(**given))


def test_methods_of_one_configuration_are_read_from_one_folder(monkeypatch: pytest.MonkeyPatch):
    both = [CELL, CELL._replace(method="other")]
    done = begun(800, 800, path=Path("runs/spread/vdn"), identities={"": CELL.identity})
    monkeypatch.setattr(trainings, "found_in", lambda *_: iter([done]))
    for wanted in ({"spread/vdn", "spread/other"}, {"spread/vdn"}, {"spread/other"}):
        assert trainings.to_do(both, wanted, Path("runs")) == [Training(both, done)]


def test_a_failure_is_of_the_present_configuration_and_function_and_ends_with_a_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    work = work_on(tmp_path)
    work.folder_of(CELL).mkdir(parents=True)
    work.record_failure(CELL, "out of memory")
    assert work.failure(CELL) == "out of memory"
    assert work.failure(CELL._replace(hash="0" * 64)) == ""
    assert work.failure(CELL._replace(functions=("0" * 64,))) == ""
    monkeypatch.setattr(results, "write", lambda *_: tmp_path)
    assert runner.train(work, Training([CELL], begun(1, 1)), Choices()) == (Ended.FINISHED, {})
    assert work.failure(CELL) == ""
    (work.folder_of(CELL) / FAILED).write_text('{"config_hash": "", "error": "of an older version"}')
    assert work.failure(CELL) == ""


def test_a_training_that_was_started_again_and_stopped_has_not_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    work = work_on(tmp_path)
    work.folder_of(CELL).mkdir(parents=True)
    work.record_failure(CELL, "out of memory")
    assert status.unfinished(work, CELL, 0.1) == "failed"
    monkeypatch.setattr(runner, "open_folder", lambda *_: (None, tmp_path))
    monkeypatch.setattr(runner, "train_all", lambda *_, **__: Outcome(False, "is stopped", interrupted=True))
    assert runner.train(work, Training([CELL]), Choices()) == (Ended.INTERRUPTED, {})
    assert status.unfinished(work, CELL, 0.4) == "stopped at 40%"
