"""A sweep is its configurations trained alone: at once or in groups, killed or not, and in every command."""

import copy
import dataclasses
import json
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import TINY_RUN

from qllm_jax import config
from qllm_jax.commands import train
from qllm_jax.commands.evaluate import evaluate
from qllm_jax.commands.render import render
from qllm_jax.commands.report import report
from qllm_jax.core.types import Hp, Scores
from qllm_jax.errors import UserError
from qllm_jax.program import devices, experiment, run_axis
from qllm_jax.program.experiment import Experiment
from qllm_jax.program.run_axis import Run
from qllm_jax.reporting import comparison
from qllm_jax.run import finish, folder, functions_used, load, results, wandb_log
from qllm_jax.run.load import LoadedRun
from qllm_jax.run.loop import Outcome
from qllm_jax.scaling import train_groups
from qllm_jax.tfcaf import find

pytestmark = pytest.mark.usefixtures("kept_programs")  # a command that opens a run has its programs
FUNCTIONS = ("mpe_spread_paper", "mpe_spread")
GRID = ["sweep.lr=[0.003,0.0005]", f"sweep.tfcaf=[{','.join(FUNCTIONS)}]"]  # the last one is that of `tiny_run`
LABELS = [f"lr={lr} tfcaf={function}" for lr in ("0.003", "0.0005") for function in FUNCTIONS]


def arguments(path: Path, *more: str) -> list[str]:
    return [*TINY_RUN.split(), *more, f"run_dir={path}"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four configurations of two seeds, all at once."""
    path = tmp_path_factory.mktemp("runs") / "whole"
    assert train.train(arguments(path, *GRID)) == 0
    return path


@pytest.fixture(scope="module")
def grouped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in groups of two runs, the program compiled once."""
    path = tmp_path_factory.mktemp("runs") / "grouped"
    exp = experiment.build(config.load(arguments(path, *GRID)))
    assert exp.mixer is not None
    folder.create(path, exp.config, exp.mixer.sources, {"groups": {"runs": [[0, 2], [2, 4], [4, 6], [6, 8]]}})
    assert train.train_all(exp, path).finished
    assert exp.program.chunk._cache_size() == 1  # pyright: ignore[reportFunctionMemberAccess]
    return path


def without(record: dict, *keys: str) -> dict:
    return {key: value for key, value in record.items() if key not in keys}


def assert_alike(found: list[dict], expected: list[dict]) -> None:
    """The same records up to rounding: programs of other sizes add in another order."""
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for key, value in one.items():
            np.testing.assert_allclose(value, other[key], rtol=1e-3, atol=1e-5, err_msg=key) if key != "event" else None


def test_a_run_of_a_sweep_is_its_configuration_trained_alone(whole: Path, tiny_run: Path):
    algo = folder.load(str(tiny_run))[1].algo
    assert (algo.lr, (tiny_run / functions_used.TFCAF).read_text()) == (0.0005, find("mpe_spread").text)
    records = [r for r in folder.records(whole) if r["configuration"] == LABELS[3]]
    assert {r["seed"] for r in records} == {0, 1}
    assert_alike([without(r, "configuration") for r in records], folder.records(tiny_run))
    swept, single = (json.loads((path / folder.RESULT).read_text()) for path in (whole, tiny_run))
    np.testing.assert_allclose(swept["configurations"][3]["returns"], single["returns"], rtol=1e-3)
    assert swept["random_policy"] == pytest.approx(single["random_policy"])


def test_configurations_differ_and_seeds_begin_alike(whole: Path):
    losses = {(r["configuration"], r["seed"]): r["loss"] for r in folder.records(whole) if r["event"] == "train"}
    assert len(set(losses.values())) == 8
    first = [r["return"] for r in folder.records(whole) if r["env_steps"] == 0]
    assert first == first[:2] * 4


@pytest.mark.thorough
def test_groups_are_whole_runs_and_together_the_same_sweep(whole: Path, grouped: Path):
    in_order = lambda path: sorted(folder.records(path), key=lambda r: (results.run_of(r), r["env_steps"], r["event"]))
    assert_alike(*([without(r, "configuration") for r in in_order(path)] for path in (grouped, whole)))
    of_groups, of_whole = (json.loads((path / folder.RESULT).read_text()) for path in (grouped, whole))
    assert [c["configuration"] for c in of_groups["configurations"]] == LABELS
    for one, other in zip(of_groups["configurations"], of_whole["configurations"], strict=True):
        np.testing.assert_allclose(one["returns"], other["returns"], rtol=1e-3)
    marl = [
        json.loads((path / folder.MARL_EVAL).read_text())["mpe_spread"]["mpe_spread_n3"] for path in (grouped, whole)
    ]
    assert list(marl[0]) == list(marl[1]) == [f"matched_qllm {label}" for label in LABELS]
    assert all(set(runs) == {"seed_0", "seed_1"} for runs in marl[0].values())


@pytest.mark.thorough
def test_a_resumed_sweep_skips_what_is_finished(grouped: Path, capsys: pytest.CaptureFixture[str]):
    before = {path: path.stat().st_mtime_ns for path in grouped.rglob("metrics.jsonl")}
    assert train.train([f"resume={grouped}"]) == 0
    assert "group 0 (" not in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in grouped.rglob("metrics.jsonl")} == before


@pytest.mark.slow
def test_killed_in_its_second_group_and_resumed_equals_never_stopped(tmp_path: Path):
    small = ["sweep.lr=[0.003,0.0005]", "seeds=1", "group=1", "algo=matched_vdn", "log_interval=40"]
    small += ["total_steps=2000", "eval_interval=400"]
    never, killed = tmp_path / "never", tmp_path / "killed"
    assert train.train(arguments(never, *small)) == 0
    second = killed / "group_001" / folder.METRICS
    lines = lambda: len(second.read_text().splitlines()) if second.is_file() else 0
    command = [sys.executable, "-m", "qllm_jax.train", *arguments(killed, *small)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while lines() < 30 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.kill()
    process.wait()
    assert 30 <= lines() < 57
    first = (killed / "group_000" / folder.METRICS).stat().st_mtime_ns
    assert train.train([f"resume={killed}"]) == 0
    assert (killed / "group_000" / folder.METRICS).stat().st_mtime_ns == first
    for group in ("group_000", "group_001"):
        assert (killed / group / folder.METRICS).read_bytes() == (never / group / folder.METRICS).read_bytes()
    assert (killed / folder.RESULT).read_bytes() == (never / folder.RESULT).read_bytes()


def test_an_old_sweep_keeps_its_own_credit_functions(whole: Path):
    _, recorded = folder.load(str(whole))
    copies = recorded.sweep.tfcaf or []
    assert copies == [str(whole / "tfcaf" / f"{name}.py") for name in FUNCTIONS]
    assert all(Path(copy).read_text() == find(Path(copy).stem).text for copy in copies)
    assert list(run_axis.indices_by_label(run_axis.runs(recorded))) == LABELS
    with pytest.raises(UserError, match="must not hold two functions called 'mine'"):
        config.load(["sweep.tfcaf=[a/mine.py,b/mine.py]"])


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["whole", "grouped"])
def test_commands_know_the_configurations(
    name: str, request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = request.getfixturevalue(name)
    result = json.loads((path / folder.RESULT).read_text())
    assert evaluate([str(path), "episodes=16", f"out={tmp_path / 'numbers.json'}"]) == 0
    found = json.loads((tmp_path / "numbers.json").read_text())
    for one, other in zip(found["configurations"], result["configurations"], strict=True):
        assert one["returns"] == other["returns"]
        assert one["params_env_steps"] == other["best_checkpoint_env_steps"]
    opened = load.load_run(str(path))
    assert opened.index_of("3", 1) == opened.index_of(LABELS[3], 1) == 7
    if name == "grouped":
        assert render([str(path), f"configuration={LABELS[3]}", "seed=1", f"out={tmp_path / 'film.gif'}"]) == 0
        assert (tmp_path / "film.gif").is_file()
    with pytest.raises(
        UserError, match=r"configuration=4 is not in this run: it has 0 \(lr=0.003 tfcaf=mpe_spread_paper\); 1 \("
    ):
        render([str(path), "configuration=4", f"out={tmp_path / 'none.gif'}"])
    capsys.readouterr()
    assert report([str(path), f"out={tmp_path / 'curves.svg'}"]) == 0
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| mpe_spread_n3")]
    table, differences = rows[: len(LABELS)], rows[len(LABELS) :]
    assert [row[2] for row in table] == [f"matched_qllm {label}" for label in LABELS]
    assert [row[5] for row in table] == [f"{c['return']['mean']:.1f}" for c in result["configurations"]]
    first, *others = (f"matched_qllm {label}" for label in LABELS)
    assert [row[1:3] for row in differences] == [[other, first] for other in others]


def test_a_group_is_a_run_of_its_own(grouped: Path, capsys: pytest.CaptureFixture[str]):
    group = grouped / "group_003"
    assert evaluate([str(group), "episodes=16"]) == 0
    assert LABELS[3] in (printed := capsys.readouterr().out)
    assert LABELS[1] not in printed
    (entry,) = comparison.read(str(group))
    assert (entry.configuration, entry.returns.shape) == (LABELS[3], (2, 3))


def test_wandb_groups_the_runs_of_a_configuration(whole: Path):
    _, settings = folder.load(str(whole))
    started = []
    fake = SimpleNamespace(
        init=lambda **given: started.append(given) or SimpleNamespace(define_metric=lambda *a, **k: 0)
    )
    for i, run in enumerate(run_axis.runs(settings)):
        wandb_log.start(fake, settings, whole, i, run)
    assert [given["group"] for given in started] == [f"whole {label}" for label in LABELS for _ in range(2)]
    assert len({given["id"] for given in started}) == len({given["name"] for given in started}) == 8
    algo = started[7]["config"]["algo"]
    assert (algo["lr"], algo["mixer"]["function"], started[7]["config"]["run"]) == (0.0005, "mpe_spread", 1)


def test_all_numbers_that_change_no_shape_can_be_swept_under_the_rules_of_their_key():
    keys = [item.name for item in dataclasses.fields(config.Sweep)]
    valid = config.compose(config.ROOT, [])
    assert keys == [*Hp._fields, "tfcaf"] == list(valid.sweep)
    for key in Hp._fields:
        for bad in (-1, "one", True):
            sentences = []
            for group, value in (("algo", bad), ("sweep", [bad])):
                composed = copy.deepcopy(valid)
                composed[group][key] = value
                with pytest.raises(UserError) as error:
                    config.from_dict(composed)
                sentences.append(str(error.value).partition(" ")[2])
            assert sentences[0] == sentences[1]


@pytest.mark.parametrize("name", config.group_names("sweep"))
def test_stored_sweeps_load(name: str):
    settings = config.load([f"sweep={name}"])
    assert len(run_axis.runs(settings)) == 5 * len(run_axis.configurations(settings))
    assert (name == "none") == (run_axis.configurations(settings) == [{}])


def test_functions_are_swept_with_their_mixer_alone():
    with pytest.raises(
        UserError, match=r"sweep.tfcaf needs algo.mixer.name=tfcaf, as algo=matched_qllm has it, not 'qmix'"
    ):
        experiment.build(config.load(["algo=matched_qmix", "sweep.tfcaf=[mpe_spread]"]))
    with pytest.raises(UserError, match="credit function 'none' does not exist"):
        experiment.build(config.load(["sweep.tfcaf=[mpe_spread,none]"]))


@pytest.mark.parametrize("told", [(), ("won",), ("crashed",), ("won", "crashed")], ids="-".join)
def test_groups_of_seeds_without_a_sweep_end_as_one_run(tmp_path: Path, told: tuple[str, ...]):
    settings = config.load(["seeds=3", f"run_dir={tmp_path}"])
    scores = Scores(np.arange(6.0).reshape(3, 2), **dict.fromkeys(told, np.eye(3, 2, dtype=bool)))
    final = results.Final(8, scores, results.means(scores), [4, 8, 8])
    folder.create(tmp_path, settings, (), {"groups": {"runs": [[0, 2], [2, 3]]}})
    for i, (start, stop) in enumerate(folder.group_ranges(tmp_path)):
        part = dataclasses.replace(settings, part=(start, stop))
        folder.create(group := folder.group_folder(tmp_path, i), part, ())
        some = slice(start, stop)
        of_some = lambda tree: jax.tree.map(lambda x: x[some], tree)  # noqa: B023
        own = results.Final(8, of_some(final.scores), of_some(final.random), final.best_steps[some])
        (group / folder.RESULT).write_text(json.dumps(results.result(part, own)))
    collected = results.collect_groups(tmp_path)
    assert results.result(settings, collected) == results.result(settings, final)
    assert finish.table(settings, collected) == finish.table(settings, final)
    for name, rate in results.RATES.items():
        assert (f"; {name}: 33.3% (95% CI" in finish.table(settings, final)) == (name in told)
        assert results.result(settings, final).get(f"{rate}_per_seed") == ([0.5, 0.5, 0.0] if name in told else None)


def test_a_result_from_before_crashes_were_counted_is_read(tmp_path: Path):
    settings, share = config.load(["seeds=2", f"run_dir={tmp_path}"]), np.eye(2, dtype=bool)
    scores = Scores(np.arange(4.0).reshape(2, 2), won=share, crashed=share)
    content = results.result(settings, results.Final(8, scores, results.means(scores), [4, 8]))
    older = {key: value for key, value in content.items() if "crash" not in key}
    del older["random_policy_per_run"]["crashed"]
    folder.create(tmp_path, settings, (), {})
    (tmp_path / folder.RESULT).write_text(json.dumps(older))
    collected = results.collect_groups(tmp_path)
    assert collected.scores.crashed is None
    assert results.result(settings, collected) == older


def test_the_best_step_is_the_first_of_the_highest():
    record = lambda step, value: {"event": "eval", "env_steps": step, "seed": 0, "return": value}
    assert results.best_steps([record(0, 1.0), record(10, 2.0), record(20, 2.0)], [Run({}, 0)]) == [10]


def test_returns_are_logged_as_the_program_compared_them():
    """Its sum may differ in the last bit: an equal return must not look like a better one."""
    mean, best = np.array([2.0 + 1e-6, 2.0 - 1e-6, 1.5]), np.array([2.0, 1.0, 2.0])
    np.testing.assert_array_equal(results.as_compared(mean, best, np.array([2.0, 2.0, 2.0])), [2.0, 2.0, 1.5])


def test_the_table_of_a_sweep_has_the_best_configuration_first():
    settings = config.load(["seeds=2", "sweep.lr=[0.1,0.2]"])
    scores = Scores(np.array([[1.0], [2.0], [5.0], [6.0]]))
    rows = finish.table(settings, results.Final(8, scores, Scores(np.zeros(4)), [4] * 4)).splitlines()
    assert [row.split()[:2] for row in rows[1:3]] == [["1", "lr=0.2"], ["0", "lr=0.1"]]


def unbuilt(*overrides: str) -> Experiment:
    """An experiment of which there is a configuration alone."""
    parts = dict.fromkeys(Experiment._fields[1:]) | {
        "program": SimpleNamespace(pool=devices.ONE_DEVICE),
        "mixer": SimpleNamespace(sources=()),
        "learner": SimpleNamespace(sources=()),
    }
    return Experiment(config.load([*overrides]), **cast(Any, parts))


def test_a_run_of_several_groups_is_as_far_as_the_last_of_them(monkeypatch: pytest.MonkeyPatch):
    exp, steps = unbuilt("seeds=2"), {"group_000": 400, "group_001": 200}

    def load_group(exp: Experiment, path: Path, which: str) -> LoadedRun:
        n = steps[path.name]
        return LoadedRun(path, exp, which, {"w": jnp.full(1, n)}, [n], n, 1)

    monkeypatch.setattr(folder, "load", lambda _: (Path("run"), exp.config))
    monkeypatch.setattr(folder, "check_parts", lambda *_: None)
    monkeypatch.setattr(folder, "group_ranges", lambda _: [(0, 1), (1, 2)])
    monkeypatch.setattr(experiment, "build", lambda _: exp)
    monkeypatch.setattr(load, "load_group", load_group)
    found = load.load_run("run")
    assert (found.env_steps, found.params_steps, found.params["w"].tolist()) == (200, [400, 200], [400, 200])


def test_a_slice_of_a_slice_has_the_runs_of_the_whole():
    inner = experiment.slice_runs(experiment.slice_runs(unbuilt("seeds=6"), 2, 6), 1, 3)
    assert inner.config.part == (3, 5)
    assert inner.seeds.tolist() == [3, 4]


@pytest.mark.parametrize(("indices", "outcome"), [((0, 1), (False, "group 0 is finished")), ((1,), (True, ""))])
def test_ctrl_c_in_the_final_evaluation_of_a_group_starts_no_other_group(
    indices: tuple[int, ...], outcome: tuple[bool, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    trained: list[str] = []

    def train(_: Experiment, path: Path, *more: float) -> Outcome:
        del more
        trained.append(path.name)
        return Outcome(True, "table", interrupted=True)

    monkeypatch.setattr(folder, "group_ranges", lambda _: [(0, 1), (1, 2)])
    monkeypatch.setattr(folder, "create", lambda *_: None)
    monkeypatch.setattr(train_groups.loop, "train", train)
    exp = unbuilt("algo=matched_vdn", "seeds=2")
    found = train_groups.train_groups(exp, tmp_path, indices)
    assert (found.finished, found.text, found.interrupted) == (*outcome, True)
    assert trained == [f"group_00{indices[0]}"]
