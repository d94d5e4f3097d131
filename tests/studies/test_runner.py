"""A study is trained, cut off, continued, edited and shared; its result files do not depend on any of that."""

import json
import math
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from qllm_jax.commands import study
from qllm_jax.errors import UserError
from qllm_jax.program import devices
from qllm_jax.run import folder, functions_used
from qllm_jax.run.loop import Outcome
from qllm_jax.studies import cells, plan, results, runner, status, trainings, work
from qllm_jax.studies.report import measured
from qllm_jax.studies.runner import Choices, Ended
from qllm_jax.studies.work import Work

CONTENT: dict[str, Any] = {
    "title": "A credit function and its control",
    "seed": 7,
    "set": [
        "env.horizon=4", "log_interval=100", "eval_interval=200", "eval_episodes=2", "final_episodes=4",
        "algo.n_envs=2", "algo.batch_episodes=2", "algo.buffer_episodes=8", "algo.hidden_dim=8",
    ],
    "tasks": {"climbing": {"set": ["env=matrix_climbing"], "seeds": 2, "total_steps": 800}},
    "methods": {
        "qllm": {"set": ["algo=matched_qllm"]},
        "shuffled": {"set": ["algo=matched_qllm", "algo.mixer.function=${env.name}:shuffled"]},
    },
    "cells": [{"tasks": ["climbing"], "methods": ["qllm", "shuffled"]}],
}  # fmt: skip
MACHINES = ("wall_s", "provenance")  # what differs between machines
TOGETHER = Path("climbing") / "qllm+shuffled"
pytestmark = [
    pytest.mark.usefixtures("kept_programs"),  # the trainings here are parts of one
    pytest.mark.thorough,
]


def make(path: Path, content: dict[str, Any] | None = None) -> Work:
    """The work on a study in a folder of its own."""
    path.mkdir(exist_ok=True)
    (path / "two.yaml").write_text(yaml.safe_dump(content or CONTENT))
    return work.make(plan.load(str(path / "two.yaml")), str(path / "results"), str(path / "runs"))


def arguments(path: Path) -> list[str]:
    return [str(path / "two.yaml"), f"results={path / 'results'}", f"run_dir={path / 'runs'}"]


def contents(of: Work) -> dict[str, dict[str, Any]]:
    """The result files without what differs between machines."""
    found = {cell.name: results.read(of.results, cell) or {} for cell in of.cells}
    return {name: {key: value for key, value in each.items() if key not in MACHINES} for name, each in found.items()}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that nobody interrupted."""
    path = tmp_path_factory.mktemp("studies") / "whole"
    make(path)
    assert study.study([*arguments(path), "devices=1"]) == 0
    return path


def copy(done: Path, to: Path) -> Path:
    subprocess.run(["cp", "-r", str(done), str(to)], check=True)
    return to


def test_cells_that_differ_in_the_credit_function_are_trained_at_once(done: Path):
    (path,) = (done / "runs" / "climbing").iterdir()
    assert path.name == TOGETHER.name
    for cell in make(done).cells:
        found = results.read(done / "results" / "two", cell)
        assert found is not None
        assert found["runs_at_once"] == 4
        assert found["config_hash"] == cell.hash == cells.hash_of(cell.config)
        assert found["config"] == cells.content(cell.config)


def test_a_result_file_has_what_a_report_needs(done: Path):
    path = done / "results" / "two" / "climbing" / "shuffled.json"
    found = json.loads(path.read_text())
    assert (found["study"], found["task"], found["method"]) == ("two", "climbing", "shuffled")
    assert (found["env_task"], found["n_agents"], found["env_steps"], found["seeds"]) == (
        "matrix_climbing",
        2,
        800,
        [0, 1],
    )
    assert found["evaluations"]["env_steps"] == [0, 200, 400, 600, 800]
    assert [len(curve) for curve in found["evaluations"]["return"]] == [5, 5]
    assert found["final"]["episodes"] == 4
    assert len(found["final"]["return"]) == len(found["final"]["best_checkpoint_env_steps"]) == 2
    assert len(found["random_policy"]["return"]) == 2
    assert list(found["credit_functions"]) == ["matrix:shuffled"]
    assert found["wall_s"] > 0
    assert {"command", "started", "commit", "python", "platform", "devices", "versions"} <= found["provenance"].keys()
    assert all(line.count('":') >= 1 for line in path.read_text().splitlines()[1:-1])  # a key a line


def test_a_result_is_that_of_the_run_folder(done: Path):
    records = [r for r in folder.records(done / "runs" / TOGETHER) if r["configuration"] == "tfcaf=matrix:shuffled"]
    curves = [[r["return"] for r in records if r["event"] == "eval" and r["seed"] == seed] for seed in (0, 1)]
    found = contents(make(done))["climbing/shuffled"]
    assert found["evaluations"]["return"] == results.rounded(curves)
    assert found["final"]["return"] == results.rounded([r["return"] for r in records if r["event"] == "final"])


def test_a_study_that_is_done_trains_nothing(done: Path, capsys: pytest.CaptureFixture):
    before = {path: path.stat().st_mtime_ns for path in (done / "runs").rglob("*") if path.is_file()}
    assert study.study(arguments(done)) == 0
    assert capsys.readouterr().out == "\nall cells are done\n"
    assert {path: path.stat().st_mtime_ns for path in (done / "runs").rglob("*") if path.is_file()} == before


def test_a_damaged_run_folder_is_a_failure_of_its_cells(done: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    path = copy(done, tmp_path / "damaged")
    for file in (path / "results" / "two" / "climbing").iterdir():
        file.write_text('{"config_hash": ')  # damaged: made again, if the run folder is whole
    (path / "runs" / TOGETHER / "timing.jsonl").write_text("damaged\n")
    assert study.study(arguments(path)) == 1
    printed = capsys.readouterr()
    for name in ("qllm", "shuffled"):
        assert (
            f"climbing/{name} failed: {path / 'runs' / TOGETHER / 'timing.jsonl'} is damaged in line 1" in printed.err
        )


def test_lost_results_are_read_again_from_a_finished_folder(done: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    path = copy(done, tmp_path / "lost")
    file = path / "results" / "two" / "climbing" / "qllm.json"
    before = file.read_bytes()
    file.unlink()
    assert study.study(arguments(path)) == 0
    assert "evaluation episodes" not in capsys.readouterr().out
    assert file.read_bytes() == before


NO_NUMBERS = [{"wall_s": "long"}, {"wall_s": float("nan")}, {"runs_at_once": 0}, {"seeds": 5}, {"env_steps": [400]}]


def test_a_result_with_other_values_is_as_good_as_none(done: Path, tmp_path: Path):
    root = copy(done, tmp_path / "odd")
    path = root / "results" / "two" / "climbing" / "qllm.json"
    whole, of = path.read_text(), make(root)
    cell = next(cell for cell in of.cells if cell.method == "qllm")
    for changes in NO_NUMBERS:
        path.write_text(json.dumps(json.loads(whole) | changes))
        assert results.read(of.results, cell) is None
    assert "1 of 2 cells done" in status.describe(of)


def test_a_file_in_the_place_of_a_folder_is_found_before_training(done: Path, tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises((UserError, NotADirectoryError)):
        study.study([arguments(done)[0], f"results={tmp_path / 'file'}", f"run_dir={tmp_path / 'runs'}"])
    assert not (tmp_path / "runs").exists()


def test_stopped_and_continued_equals_never_stopped(done: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    cut = make(tmp_path / "cut")
    machine = plan.configs.load(["devices=1"])
    for _ in range(2):  # a chunk each
        assert runner.run(cut, Choices(stop_at=0.0, machine=machine)).ended is Ended.OUT_OF_TIME
    assert set(status.states(cut).values()) == {"stopped at 25%"}
    assert "time left: about" in status.describe(cut)
    # A method that joins the study does not change what is continued.
    methods = {**CONTENT["methods"], "constant": {"set": ["algo=matched_qllm", "algo.mixer.function=matrix:constant"]}}
    entry = {"tasks": ["climbing"], "methods": ["constant", "qllm", "shuffled"]}
    wider = make(tmp_path / "cut", {**CONTENT, "methods": methods, "cells": [entry]})
    assert runner.run(wider, Choices(only=("*/qllm",), machine=machine)).ended is Ended.FINISHED
    assert contents(cut) == contents(make(done))
    assert status.states(wider) == {
        "climbing/constant": "missing",
        "climbing/qllm": "done",
        "climbing/shuffled": "done",
    }
    assert f"continued in {cut.runs / TOGETHER}" in capsys.readouterr().out


def test_ctrl_c_says_how_to_continue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    make(tmp_path / "stopped")
    monkeypatch.setattr(runner, "train", lambda *_: (Ended.INTERRUPTED, {}))
    assert study.study([*arguments(tmp_path / "stopped"), "only=*/q*"]) == 130
    again = f"continue: python -m qllm_jax.study {' '.join(arguments(tmp_path / 'stopped'))} 'only=*/q*'"
    assert again in capsys.readouterr().out


def test_an_edited_study_is_trained_beside_what_was_there(done: Path, tmp_path: Path):
    path = copy(done, tmp_path / "edited")
    content = {**CONTENT, "set": [*CONTENT["set"], "algo.lr=0.001"]}
    edited = make(path, content)
    assert set(status.states(edited).values()) == {"other configuration"}
    (training,) = trainings.to_do(edited.missing(), {cell.name for cell in edited.cells}, edited.runs)
    assert training.found is None
    assert trainings.new_folder(training, edited.runs) == edited.runs / "climbing" / f"{TOGETHER.name}-2"
    assert set(status.states(make(path)).values()) == {"done"}


def test_an_edited_function_is_another_cell(done: Path, tmp_path: Path):
    edited = make(copy(done, tmp_path / "function"))
    for cell in edited.cells:  # as if results and run folder were of an older text
        result = results.path_of(edited.results, cell)
        content = json.loads(result.read_text())
        assert set(content["credit_functions"].values()) == set(cell.functions) == set(content["functions"])
        assert results.is_of({key: value for key, value in content.items() if key != "functions"}, cell)  # older files
        others = {"credit_functions": {"matrix_climbing": "0" * 64}, "functions": ["0" * 64]}
        result.write_text(json.dumps(content | others))
    for file in (edited.runs / TOGETHER / functions_used.TFCAFS).glob("**/*.py"):
        file.write_text(f"{file.read_text()}# edited\n")
    assert set(status.states(edited).values()) == {"other function"}
    assert measured.read(edited.study, edited.results).edited() == [(cell.task, cell.method) for cell in edited.cells]
    (training,) = trainings.to_do(edited.missing(), {cell.name for cell in edited.cells}, edited.runs)
    assert training.found is None


def test_ctrl_c_in_the_final_evaluation_ends_a_study_with_the_results_of_that_training(
    done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    study_ = make(copy(done, tmp_path / "late"))
    for cell in study_.cells:
        results.path_of(study_.results, cell).unlink()
    monkeypatch.setattr(runner, "open_folder", lambda *_: (None, study_.runs / TOGETHER))
    monkeypatch.setattr(runner, "train_all", lambda *_, **__: Outcome(True, "table", interrupted=True))
    training = trainings.Training(list(study_.cells))
    assert runner.train(study_, training, Choices(("*",), math.inf, None)) == (Ended.INTERRUPTED, {})
    assert set(status.states(study_).values()) == {"done"}


@pytest.mark.parametrize("text", [None, "{", '{"parts": 3}'])
def test_a_run_folder_that_was_cut_off_ends_no_study(text: str | None, done: Path, tmp_path: Path):
    damaged = make(copy(done, tmp_path / "damaged"))
    meta = damaged.runs / TOGETHER / folder.META
    if text is None:
        meta.unlink()
    else:
        meta.write_text(text)
    assert len(list(trainings.found_in(damaged.runs, {"climbing"}))) == 1


@pytest.mark.parametrize("part", ["task function", "mixer"])
def test_a_cell_is_known_by_all_that_it_reads(part: str, tmp_path: Path):
    file = tmp_path / "mine.py"
    if part == "task function":
        given = ["algo=matched_taca", f"algo.learner.task={file}"]
        text = "TASKS = 2\n\n\ndef assign(state):\n    return state['on_duty'].astype(int)\n"
    else:
        given = ["algo=matched_vdn", f"algo.mixer.name={file}:make"]
        text = "def make(*_):\n    raise RuntimeError\n"
    config = cells.compose(("env=duty", *given))
    file.write_text(text)
    before = cells.functions_of(config)
    file.write_text(f"{text}# edited\n")
    after = cells.functions_of(config)
    assert before[:-1] == after[:-1]
    assert before[-1] != after[-1]


def test_a_function_that_does_not_exist_is_named_before_anything_is_trained(tmp_path: Path):
    content = {**CONTENT, "methods": {"qllm": {"set": ["algo=matched_qllm", "algo.mixer.function=nope.py"]}}}
    with pytest.raises(UserError, match=r"two.yaml: climbing with qllm: credit function 'nope.py' does not exist"):
        make(tmp_path / "nope", content | {"cells": [{"tasks": ["climbing"], "methods": ["qllm"]}]})


def test_a_refused_function_fails_its_cell_alone(done: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    path = copy(done, tmp_path / "bad")
    (path / "bad.py").write_text("def credit(state):\n    return state['last_action'] * 1.0 - 5.0, 0.0\n")
    (path / "results" / "two" / "climbing" / "qllm.json").unlink()
    methods = {**CONTENT["methods"], "bad": {"set": ["algo=matched_qllm", f"algo.mixer.function={path / 'bad.py'}"]}}
    content = {
        **CONTENT,
        "methods": methods,
        "cells": [{"tasks": ["climbing"], "methods": ["bad", "qllm", "shuffled"]}],
    }
    failing = make(path, content)
    assert study.study(arguments(path)) == 1
    sentence = f"climbing/bad failed: {path / 'bad.py'}:2: a weight is -"
    assert sentence in capsys.readouterr().out
    assert status.states(failing) == {"climbing/bad": "failed", "climbing/qllm": "done", "climbing/shuffled": "done"}
    assert sentence in status.describe(failing)
    assert study.study([*arguments(path), "only=*/qllm,*/shuffled"]) == 0  # what failed is not this process's
    (path / "bad.py").write_text("def credit(state):\n    return jnp.ones(2), 0.0\n")
    assert status.states(make(path, content))["climbing/bad"] == "missing"  # repaired, it is another cell


def test_an_error_of_the_device_or_of_the_code_fails_the_training_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    broken = make(tmp_path / "broken")

    def train(*_: Any) -> Ended:
        raise ValueError("out of luck\nand more")

    monkeypatch.setattr(runner, "train", train)
    report = runner.run(broken, Choices())
    assert report.ended is Ended.FAILED
    assert report.failed == dict.fromkeys(("climbing/qllm", "climbing/shuffled"), "ValueError: out of luck")


def test_cells_of_another_process_are_left_to_it(tmp_path: Path, capsys: pytest.CaptureFixture):
    shared = make(tmp_path / "shared")
    with ExitStack() as held:
        assert shared.claim(shared.cells[0], held)
        assert shared.claim(shared.cells[1], held)
        assert study.study(arguments(tmp_path / "shared")) == 0
        assert set(status.states(shared).values()) == {"running at 0%"}
    out = capsys.readouterr().out
    assert "in use by other processes, and left to them: climbing/qllm, climbing/shuffled" in out
    assert set(status.states(shared).values()) == {"missing"}


def test_a_folder_of_which_another_process_has_a_cell_is_left_to_it(tmp_path: Path, capsys: pytest.CaptureFixture):
    """A training that is continued has all of its cells, whichever are asked for."""
    shared = make(tmp_path / "shared")
    assert study.study([*arguments(tmp_path / "shared"), "max_hours=1e-9"]) == 0
    (left,) = trainings.to_do(shared.missing_here(), {cell.name for cell in shared.cells}, shared.runs)
    assert left.found
    with ExitStack() as held:
        assert shared.claim(shared.cells[0], held)
        assert study.study([*arguments(tmp_path / "shared"), f"only={shared.cells[1].name}"]) == 0
    assert "left to them: climbing/qllm, climbing/shuffled" in capsys.readouterr().out


def test_cores_become_devices_before_cells_are_composed(monkeypatch: pytest.MonkeyPatch):
    """Composing a battle imports JaxMARL, which uses the first device: after that their number is fixed."""
    calls = []

    def make(*_: object) -> None:
        calls.append("cells")
        raise UserError("enough")

    monkeypatch.setattr(devices, "use_cores", lambda: calls.append("cores"))
    monkeypatch.setattr(work, "make", make)
    with pytest.raises(UserError, match="enough"):
        study.study(["credit"])
    assert calls == ["cores", "cells"]


def test_a_pattern_that_matches_nothing_is_a_mistake(done: Path):
    with pytest.raises(
        UserError, match=r"only=spread/\* matches no cell: choose from climbing/qllm, climbing/shuffled"
    ):
        study.study([*arguments(done), "only=spread/*"])


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("statis", "'statis' cannot follow the name of a study: did you mean 'status'?"),
        ("onyl=x", "unknown key 'onyl': did you mean 'only'?"),
        ("max_hours=-1", "max_hours must be more than 0, got -1.0"),
        ("devices=0", "devices must be auto or an integer of at least 1"),
    ],
)
def test_mistakes_on_the_command_line_are_named(done: Path, word: str, sentence: str):
    with pytest.raises(UserError) as error:
        study.study([*arguments(done), word])
    assert str(error.value).startswith(sentence)


def test_the_list_of_studies_has_titles_and_progress(tmp_path: Path, capsys: pytest.CaptureFixture):
    assert study.study([f"results={tmp_path}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == plan.names()
    assert all("(0 of " in line for line in lines)
    with pytest.raises(UserError, match="only belongs to one study, and none is named: give its name first"):
        study.study(["only=climbing/*", f"results={tmp_path}"])


@pytest.mark.slow
def test_killed_and_continued_equals_never_stopped(done: Path, tmp_path: Path):
    killed = make(tmp_path / "killed")
    log = killed.runs / TOGETHER / folder.METRICS
    command = [sys.executable, "-m", "qllm_jax.study", *arguments(tmp_path / "killed"), "devices=1"]
    for number in (signal.SIGKILL, signal.SIGINT):
        before = lines(log)
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        deadline = time.monotonic() + 120
        while lines(log) < before + 8 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(number)
        output, _ = process.communicate(timeout=120)
        assert process.returncode == (-9 if number == signal.SIGKILL else 130), output
    assert study.study([*arguments(tmp_path / "killed"), "devices=1"]) == 0
    assert contents(killed) == contents(make(done))


def lines(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.is_file() else 0
