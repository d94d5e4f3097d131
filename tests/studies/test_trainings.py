"""Trainings of a study without training: which are to do, how long they take, and what is left of those that fail."""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from qllm_jax import config
from qllm_jax.run import folder
from qllm_jax.run.loop import Outcome
from qllm_jax.studies import estimate, results, runner, status, trainings
from qllm_jax.studies.cells import Cell
from qllm_jax.studies.estimate import Rate
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


def test_a_training_that_is_continued_takes_the_rest_of_its_time():
    rates = [Rate("spread", "vdn", 1.0)]
    of = lambda found: estimate.of_training(Training([CELL], found), rates)
    assert of(begun(500, 2000)) == pytest.approx(10.0 / 500 * 1500)
    assert of(begun(2000, 2000)) == 0.0
    assert of(begun(0, 2000)) == of(None) == 2000.0


def test_a_result_costs_its_share_of_the_training_that_it_was_a_part_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    made = {"config_hash": CELL.hash, "functions": [], "env_steps": 1000, "seeds": [0, 1], "runs_at_once": 4}
    monkeypatch.setattr(results, "read", lambda *_: {**made, "wall_s": 8.0})
    assert estimate.rates(work_on(tmp_path)) == [Rate("spread", "vdn", 8.0 / (1000 * 4))]
    assert list(status.times(work_on(tmp_path))) == ["time used: about 4 s"]


def test_progress_does_not_count_the_steps_of_a_last_rollout_beyond_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / folder.META).write_text("{}")
    (tmp_path / folder.TIMING).write_text('{"event": "eval", "env_steps": 1075, "elapsed_s": 3.0}\n')
    monkeypatch.setattr(trainings, "recorded", lambda _: CONFIG)
    assert Trained(tmp_path, CONFIG, {}).measured() == (2 * 1000, 3.0)


def test_of_two_folders_with_a_cell_the_one_that_is_nearer_to_its_end_is_continued():
    fresh, far, near = begun(0, 100), begun(90, 300), begun(60, 100)
    assert trainings.furthest_first(iter([fresh, far, near])) == [near, far, fresh]


def test_finished_folders_are_read_before_anything_is_trained(monkeypatch: pytest.MonkeyPatch):
    missing = [CELL._replace(method="qmix", hash="b"), CELL._replace(priority=2)]
    done = begun(800, 800, path=Path("runs/spread/vdn"), identities={"": CELL.identity})
    monkeypatch.setattr(trainings, "found_in", lambda *_: iter([done]))
    found = trainings.to_do(missing, {cell.name for cell in missing}, Path("runs"))
    assert [training.name for training in found] == ["spread/vdn", "spread/qmix"]


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


def test_a_training_uses_the_machine_that_it_is_told():
    of_machine = lambda machine: runner.on(machine, CONFIG, "study/task/method")
    keys = {"devices": 1, "unroll": "scan", "group": 3, "memory_gib": 2.0}
    told = [*(f"{key}={value}" for key, value in keys.items()), "wandb.mode=offline", "wandb.group=mine"]
    machine = config.load([*told, "seeds=9"])
    found = of_machine(machine)
    assert {key: getattr(found, key) for key in keys} == keys
    assert (found.wandb, found.seeds) == (machine.wandb, CONFIG.seeds)
    assert of_machine(None) == CONFIG
    without = replace(machine, wandb=replace(machine.wandb, group=None))
    assert of_machine(without).wandb.group == "study/task/method"


def three_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, done: set[str]) -> Work:
    """Work on the cells spread/a, spread/b and spread/c, a training each; nothing is composed, compiled or printed."""
    missing = [CELL._replace(method=name, hash=name) for name in "abc"]
    to_do = lambda _, wanted, root: [Training([each]) for each in missing if each.name in wanted - done]
    monkeypatch.setattr(trainings, "to_do", to_do)
    monkeypatch.setattr(runner, "forget_programs", lambda: None)
    return work_on(tmp_path)._replace(cells=missing)


def test_a_study_goes_on_after_a_failure_and_not_after_an_interrupt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    done, numbers = set(), []
    ends = {"spread/a": (Ended.FAILED, {"spread/a": "no"}), "spread/b": (Ended.FINISHED, {})}

    def attempt(_: Work, training: Training, *more: Choices) -> Any:
        del more
        done.update({training.name} - {"spread/a"})
        return ends.get(training.name, (Ended.INTERRUPTED, {}))

    work = three_cells(tmp_path, monkeypatch, done)
    monkeypatch.setattr(runner, "attempt", attempt)
    monkeypatch.setattr(runner, "announce", lambda work, left, number, stop_at: numbers.append(number) or True)
    assert runner.run(work, Choices()) == (Ended.INTERRUPTED, {"spread/a": "no"}, [])
    assert numbers == [1, 1, 2]  # trainings that failed are not counted


def test_a_cell_of_a_process_that_has_ended_is_trained_after_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    done: list[str] = []
    trained: set[str] = set()
    work = three_cells(tmp_path, monkeypatch, trained)
    monkeypatch.setattr(runner, "announce", lambda *_: True)
    with ExitStack() as other_process:
        assert work.claim(work.cells[0], other_process)

        def attempt(_: Work, training: Training, *more: Choices) -> Any:
            del more
            done.append(training.name)
            trained.add(training.name)
            other_process.close()  # it ends in that time
            return Ended.FINISHED, {}

        monkeypatch.setattr(runner, "attempt", attempt)
        assert runner.run(work, Choices()) == (Ended.FINISHED, {}, [])
    assert done == ["spread/b", "spread/a", "spread/c"]


def test_a_result_names_no_folder_of_the_machine():
    command = "study.py credit 'results=/home/me/my results' only=duty_n3/qllm run_dir=/scratch/me wandb.mode=disabled"
    meta = {"command": command, "commit": "abc", "dataset": {"file": "/home/me/x.npz", "sha256": "1"}, "id": "2"}
    expected = {"command": "study.py credit only=duty_n3/qllm wandb.mode=disabled", "commit": "abc"}
    expected |= {"dataset": {"sha256": "1"}}
    assert results.provenance(meta) == expected
    resumed = {"command": "study.py credit run_dir=/scratch/me", "commit": "d"}
    found = results.provenance(meta | {"resumed": [resumed]})
    assert found == expected | {"resumed": [{"command": "study.py credit", "commit": "d"}]}
