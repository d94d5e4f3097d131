"""Cells that another study trains: which are accepted, where their results are, and what is said of them."""

from pathlib import Path
from typing import Any

import pytest
from made_up_study import content, study, write

from qllm_jax.commands import study as command
from qllm_jax.errors import UserError
from qllm_jax.studies import cells, plan, results, runner, status, work
from qllm_jax.studies.plan import Study
from qllm_jax.studies.report import measured, page
from qllm_jax.studies.runner import Choices
from qllm_jax.studies.work import Work

METHODS = {"vdn": "VDN", "qllm": "QLLM"}
DUTY: dict[str, Any] = {"duty": {"label": "duty"}}
BOTH = {**DUTY, "relay": {"label": "relay", "n_agents": 4}}
TASKS: dict[str, Any] = content(BOTH, METHODS)["tasks"]
OWN = {"tasks": ["relay"], "methods": ["vdn", "qllm"]}
SHARED = {"tasks": ["duty"], "methods": ["vdn", "qllm"], "trained_by": "first"}
DIFFERS = "its overrides differ: here algo.lr=0.1, there none of its own"


def second(folder: Path, **changes: Any) -> Study:
    return study("second", content(BOTH, METHODS, seed=2000, cells=[OWN, SHARED]) | changes, folder)


@pytest.fixture
def first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """The study that trains the shared cells; both can be loaded by their names."""
    known = {"first": study("first", content(DUTY, METHODS), tmp_path), "second": second(tmp_path)}
    load = plan.load
    monkeypatch.setattr(plan, "load", lambda name: known.get(name) or load(name))
    return known["first"]


def work_on(found: Study, folder: Path) -> Work:
    return work.make(found, str(folder / "results"), str(folder / "runs"))


def test_a_shared_cell_is_the_other_studys_with_its_seed(first: Study, tmp_path: Path):
    found = {cell.name: cell for cell in cells.all_cells(second(tmp_path))}
    there = {cell.name: cell for cell in cells.all_cells(first)}
    for name in ("duty/vdn", "duty/qllm"):
        assert (found[name].hash, found[name].overrides) == (there[name].hash, there[name].overrides)
        assert (found[name].config.seed, found[name].trained_by) == (1000, "first")
    assert (found["relay/vdn"].config.seed, found["relay/vdn"].trained_by) == (2000, None)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"cells": [{**SHARED, "trained_by": "creditt"}]},
            "second.yaml: trained_by creditt: study 'creditt' does not exist: did you mean 'credit'?",
        ),
        (
            {"cells": [{**SHARED, "tasks": ["relay"]}]},
            "second.yaml: relay with vdn, trained_by first: that study trains no such cell",
        ),
        (
            {"set": ["algo.lr=0.1"]},
            f"second.yaml: duty with vdn, trained_by first: {DIFFERS}",
        ),
        (
            {"cells": [{**SHARED, "set": ["algo.lr=0.1"]}]},
            f"second.yaml: duty with vdn, trained_by first: {DIFFERS}",
        ),
        (
            {"tasks": {**TASKS, "duty": {**TASKS["duty"], "set": TASKS["duty"]["set"][::-1]}}},
            "second.yaml: duty with vdn, trained_by first: its overrides differ: they are in another order",
        ),
    ],
)
@pytest.mark.usefixtures("first")
def test_a_cell_that_is_not_the_other_studys_is_refused(changes: dict[str, Any], sentence: str, tmp_path: Path):
    with pytest.raises(UserError) as error:
        cells.all_cells(second(tmp_path, **changes))
    assert str(error.value).removeprefix(f"{tmp_path}/").startswith(sentence)


def test_a_study_that_only_shares_a_cell_does_not_train_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    both = {name: study(name, content(DUTY, METHODS), tmp_path) for name in ("a", "b")}
    for one, other in (("a", "b"), ("b", "a")):
        entries = [{"tasks": ["duty"], "methods": ["vdn"], "trained_by": other}]
        both[one] = study(one, content(DUTY, METHODS, cells=entries), tmp_path)
    monkeypatch.setattr(plan, "load", both.__getitem__)
    with pytest.raises(UserError, match="trained_by b: that study trains no such cell"):
        cells.all_cells(both["a"])


def test_shared_cells_are_left_to_the_other_study(first: Study, tmp_path: Path):
    found = work_on(second(tmp_path), tmp_path)
    words = status.states(found)
    assert (words["duty/vdn"], words["relay/vdn"]) == ("not yet in first", "missing")
    left = "left to study first (python -m qllm_jax.study first): duty/vdn, duty/qllm"
    assert left in status.describe(found).splitlines()
    assert [cell.name for cell in found.missing_here()] == ["relay/vdn", "relay/qllm"]
    with pytest.raises(UserError, match=r"only=duty/\* matches only cells that study first trains"):
        runner.run(found, Choices(("duty/*",)))
    with pytest.raises(UserError, match=r"only=x matches no cell: choose from relay/vdn, relay/qllm$"):
        runner.run(found, Choices(("x",)))
    write(first, tmp_path / "results" / "first", {("duty", "vdn"): (5.0, 0.3)})
    assert status.progress(found.study, str(tmp_path / "results")) == "1 of 4 cells have results"
    (cell,) = (cell for cell in found.cells if cell.name == "duty/vdn")
    assert results.path_of(found.results, cell) == tmp_path / "results" / "first" / "duty" / "vdn.json"


def test_the_report_reads_shared_results_and_says_whose_they_are(first: Study, tmp_path: Path):
    write(first, tmp_path / "results" / "first", {("duty", "vdn"): (5.0, 0.3)})
    found = second(tmp_path)
    write(found, tmp_path / "results" / "second", {("relay", "vdn"): (3.0, 0.3)})
    written = page.text(measured.read(found, tmp_path / "results" / "second"), "", [])
    assert "These cells are those of study `first`, in `results/first`, with its seed: duty with VDN.\n" in written
    assert "- duty: QLLM (priority 1, trained by study first)\n" in written
    assert "- relay: QLLM (priority 1)\n" in written


@pytest.mark.usefixtures("first")
def test_the_command_says_what_is_left_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    monkeypatch.setattr(runner, "run", lambda *_: runner.Report(runner.Ended.FINISHED, {}, []))
    assert command.study(["second", f"results={tmp_path}", f"run_dir={tmp_path / 'runs'}"]) == 0
    assert "left to study first (python -m qllm_jax.study first): duty/vdn, duty/qllm" in capsys.readouterr().out
