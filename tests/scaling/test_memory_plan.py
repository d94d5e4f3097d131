"""The memory plan agrees with what XLA plans, and runs that do not fit or do not pay together become groups."""

import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import pytest

from qllm_jax import config, process
from qllm_jax.errors import UserError
from qllm_jax.program import devices, experiment
from qllm_jax.program.experiment import Experiment
from qllm_jax.scaling import grouping, jaxpr_memory, memory_plan


def build(*overrides: str) -> Experiment:
    return experiment.build(config.load(["n_agents=3", "seeds=2", "algo.buffer_episodes=64", *overrides]))


@pytest.mark.thorough
@pytest.mark.usefixtures("full_compile")
@pytest.mark.parametrize("algo", ["matched_qllm", pytest.param("matched_riit", marks=pytest.mark.slow)])
def test_estimates_are_what_xla_plans(algo: str):
    exp = build(f"algo={algo}")
    found = memory_plan.make(exp)
    state = jax.eval_shape(exp.program.init, exp.root, exp.seeds, exp.choice)
    traced = exp.program.chunk.trace(*state, exp.hp, jnp.asarray(1))  # pyright: ignore[reportFunctionMemberAccess]
    planned = traced.lower().compile().memory_analysis()
    working = found.items["batch"] + found.items["rest of an update"]
    assert 0.75 < working / planned.temp_size_in_bytes < 1.75
    assert (found.total - working) / planned.argument_size_in_bytes == pytest.approx(1, rel=0.01)


@pytest.mark.thorough
@pytest.mark.usefixtures("full_compile")
def test_evaluations_count_where_they_take_more_than_updates():
    exp = build("final_episodes=20000")
    state = jax.eval_shape(exp.program.init, exp.root, exp.seeds, exp.choice)[1]
    traced = exp.program.play.trace(state.best_params, state.key, 20000, jnp.asarray(0.0))  # pyright: ignore
    planned = traced.lower().compile().memory_analysis()
    assert 0.75 < memory_plan.make(exp).items["an evaluation"] / planned.temp_size_in_bytes < 2


def test_values_count_while_they_are_needed():
    def program(x):
        y = jnp.sin(x)  # 4,000 bytes, read last by the sum
        z = jnp.outer(y, y)  # 4,000,000
        return jnp.sum(y) + jnp.sum(z)

    x = jax.ShapeDtypeStruct((1000,), jnp.float32)
    assert 4_004_000 <= jaxpr_memory.peak_bytes(jax.make_jaxpr(program)(x).jaxpr) < 4_100_000
    in_place = jax.make_jaxpr(lambda x: x.at[0].set(1.0))(x)
    assert jaxpr_memory.peak_bytes(in_place.jaxpr) < 100


def test_limits_of_a_job_and_of_what_is_around_it_count(tmp_path: Path):
    (own := tmp_path / "own").write_text("0::/slurm/job\n")
    (job := tmp_path / "slurm" / "job").mkdir(parents=True)
    for path, limit, used in ((job, "max", 10), (job.parent, "1000", 300)):
        (path / "memory.max").write_text(f"{limit}\n")
        (path / "memory.current").write_text(f"{used}\n")
        (path / "memory.stat").write_text("anon 200\ninactive_file 100\n")
    assert memory_plan.cgroup_limits(own, tmp_path) == [1000 - 300 + 100]
    assert memory_plan.cgroup_limits(tmp_path / "none", tmp_path) == []


@pytest.mark.parametrize(
    ("n_runs", "size", "groups"),
    [(20, 20, [20]), (20, 99, [20]), (20, 6, [5, 5, 5, 5]), (8, 3, [2, 2, 2, 2]), (7, 3, [3, 3, 1]), (3, 1, [1, 1, 1])],
)
def test_groups_are_equal_where_that_is_cheap(n_runs: int, size: int, groups: list[int]):
    found = memory_plan.split_runs(n_runs, size)
    assert [stop - start for start, stop in found] == groups
    assert [run for bounds in found for run in range(*bounds)] == list(range(n_runs))


@pytest.mark.parametrize(
    ("n_runs", "size", "processes", "groups"),
    [(25, 7, 4, [6, 6, 6, 7]), (9, 5, 2, [4, 5]), (30, 5, 7, [4] * 5 + [5] * 2), (50, 7, 8, [6] * 6 + [7] * 2),
     (9, 2, 2, [1, 2, 1, 2, 1, 2]), (3, 1, 3, [1, 1, 1])],
)  # fmt: skip
def test_processes_get_equally_many_groups(n_runs: int, size: int, processes: int, groups: list[int]):
    found = memory_plan.split_runs(n_runs, size, processes)
    sizes = [stop - start for start, stop in found]
    assert sorted(sizes) == sorted(groups)
    assert max(sizes) <= size
    assert len(found) % processes == 0
    assert [run for bounds in found for run in range(*bounds)] == list(range(n_runs))


@pytest.mark.parametrize(
    ("runs", "devices", "available", "is_shared", "fit"),
    [
        (24, 4, 17.0, False, 4),  # GiB of an accelerator, which holds whole runs of 10 GiB each
        (24, 4, 24.0, False, 8),
        (8, 4, 24.0, False, 8),  # all
        (4, 4, 8.0, False, 0),
        (5, 4, 24.0, False, 8),  # two rows on each device, of which three are spare
        (4, 4, 8.0, True, 2),  # the cores of a CPU share 32 GiB
    ],
)
def test_a_device_holds_whole_runs(runs: int, devices: int, available: float, is_shared: bool, fit: int):
    rows = -(-runs // devices)
    items = {"replay": 10 * rows * memory_plan.GIB}
    plan = memory_plan.Plan(runs, items, int(available * memory_plan.GIB), devices, is_shared)
    assert plan.per_run == 10 * memory_plan.GIB
    assert plan.max_runs == fit
    assert memory_plan.describe(plan).endswith(f"{runs} runs; {fit} runs fit" if fit < runs else f"{runs} runs")
    if not fit:
        with pytest.raises(UserError, match=r"one run takes about 10\.0 GiB, and there are 8\.0 GiB"):
            memory_plan.runs_that_fit(plan)


@pytest.mark.thorough
def test_runs_that_do_not_fit_become_groups(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(grouping, "measure", lambda exp, largest: {})
    few = ["sweep.lr=[0.1,0.2,0.3]"]
    needed = memory_plan.make(build(*few, "memory_gib=3"))
    assert needed.available == 3 * memory_plan.GIB
    half = f"memory_gib={needed.total / memory_plan.GIB / 2}"
    assert grouping.choose(build(*few, half)).meta["groups"]["runs"] == [(0, 2), (2, 4), (4, 6)]
    assert "; 2 runs fit" in capsys.readouterr().out
    assert grouping.choose(build(*few, half, "group=4")).ranges == [(0, 3), (3, 6)]
    sentence = r"one run takes about .* MiB, and there are 1\.0 KiB: lower algo.buffer_episodes"
    with pytest.raises(UserError, match=sentence):
        memory_plan.runs_that_fit(needed._replace(available=1024))


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("seconds", "total_steps", "groups", "timed"),
    [
        ({8: 1.0, 2: 0.5, 1: 0.6}, 10**9, [(0, 2), (2, 4), (4, 6), (6, 8)], {8, 2, 1}),
        ({8: 1.0, 2: 0.97, 1: 2.0}, 10**9, [(0, 8)], {8, 2, 1}),  # not worth three more groups
        ({8: 1e-9}, 100, [(0, 8)], set()),  # training is too short for a measurement to pay
    ],
)
def test_the_faster_width_is_chosen_where_measuring_pays(seconds, total_steps, groups, timed, monkeypatch):
    monkeypatch.setattr(grouping, "seconds_per_run", lambda exp, size, iterations: seconds[size])
    found = grouping.choose(build("sweep.lr=[0.1,0.2,0.3,0.4]", f"total_steps={total_steps}"))
    assert found.ranges == groups
    assert set(found.seconds) == timed
    assert bool(found.meta) == bool(timed)  # without a measurement and groups the folder is as without a sweep


def test_ctrl_c_while_groups_are_timed_is_answered(monkeypatch: pytest.MonkeyPatch):
    timed = []

    def interrupted(exp: Experiment, size: int, iterations: int) -> float:
        del exp, iterations
        timed.append(size)
        os.kill(os.getpid(), signal.SIGINT)
        return 1.0  # as after XLA, in whose time no handler runs

    monkeypatch.setattr(grouping, "seconds_per_run", interrupted)
    monkeypatch.setattr(process, "owns_signals", lambda: True)  # as in the command
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        grouping.measure(build("sweep.lr=[0.1,0.2,0.3,0.4]", "total_steps=100000"), 8)
    assert timed == [8]
    assert signal.getsignal(signal.SIGINT) is handler


def test_the_least_of_all_limits_is_what_there_is(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(memory_plan, "free_memory", lambda: 80)
    for limits, available in (([], 80), ([70, 90], 70), ([90], 80)):
        monkeypatch.setattr(memory_plan, "cgroup_limits", lambda limits=limits: limits)
        assert memory_plan.available(None) == available
    assert memory_plan.available(0.5) == memory_plan.GIB // 2


def test_an_accelerator_has_the_limit_that_it_tells(monkeypatch: pytest.MonkeyPatch):
    told = {"bytes_limit": 70, "bytes_in_use": 3}
    gpu = SimpleNamespace(platform="gpu", memory_stats=lambda: told)
    monkeypatch.setattr(memory_plan.jax, "local_devices", lambda: [gpu])
    monkeypatch.setattr(memory_plan, "free_memory", lambda: 80)
    monkeypatch.setattr(memory_plan, "cgroup_limits", list)
    assert memory_plan.available(None) == 70
    told.clear()  # some backends tell nothing
    assert memory_plan.available(None) == 80


class OfLearner(NamedTuple):
    """Parts of a learner's state that a plan reads."""

    params: jax.Array
    target_params: jax.Array
    opt_state: jax.Array


class OfRuns(NamedTuple):
    """Parts of the state of all runs that a plan reads."""

    learner: OfLearner
    storage: jax.Array
    best_params: jax.Array


@pytest.mark.parametrize(("platform", "gib"), [("cpu", 2), ("gpu", 8)])
def test_devices_hold_their_share_and_those_of_a_cpu_share_its_memory(
    platform: str, gib: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(memory_plan.jax, "local_devices", lambda: [SimpleNamespace(platform=platform)])
    monkeypatch.setattr(memory_plan, "working_memory", lambda exp, replay, shapes: {"batch": 7})
    rows = lambda n: jnp.zeros((4, n), jnp.uint8)
    init = lambda *_: (0, OfRuns(OfLearner(rows(20), rows(30), rows(40)), rows(10), rows(50)))
    program = SimpleNamespace(pool=devices.Pool(4, 4), init=init, has_data=False)
    settings = SimpleNamespace(memory_gib=8.0)
    given: Any = SimpleNamespace(program=program, config=settings, n_runs=4, root=0, seeds=0, choice=None)
    found = memory_plan.make(given)
    assert list(found.items.values()) == [10, 20, 30, 40, 50, 7]
    assert (found.available, found.devices, found.is_shared) == (gib * memory_plan.GIB, 4, platform == "cpu")


def test_a_batch_is_its_share_of_the_episodes_that_there_are(monkeypatch: pytest.MonkeyPatch):
    traced = SimpleNamespace(trace=lambda *_: SimpleNamespace(jaxpr=SimpleNamespace(jaxpr=None)))
    monkeypatch.setattr(jaxpr_memory, "per_device", lambda jaxpr: jaxpr)
    monkeypatch.setattr(jaxpr_memory, "peak_bytes", lambda jaxpr: 1000)
    algo = SimpleNamespace(batch_episodes=10, buffer_episodes=5000, eval_epsilon=0.0)  # a dataset has 40
    settings = SimpleNamespace(algo=algo, final_episodes=1, eval_episodes=1)
    given: Any = SimpleNamespace(config=settings, n_runs=2, hp=None)
    for has_data, episodes, size in [(False, (2, 40, 3), 400), (True, (40, 3), 200)]:
        given.program = SimpleNamespace(play=traced, chunk=traced, has_data=has_data, pool=devices.ONE_DEVICE)
        state: Any = (None, SimpleNamespace(key=None, best_params=None, storage=jnp.zeros(episodes)))
        assert memory_plan.working_memory(given, size, state) == {"batch": 100, "rest of an update": 1400}


def test_small_groups_are_timed_for_as_many_iterations_of_runs(monkeypatch: pytest.MonkeyPatch):
    timed = []
    of_run = lambda exp, size, iterations: timed.append((size, iterations)) or 1.0
    monkeypatch.setattr(grouping, "seconds_per_run", of_run)
    given: Any = SimpleNamespace(n_runs=8, steps_per_iteration=1, config=SimpleNamespace(total_steps=10**9))
    assert grouping.measure(given, 8) == {8: 1.0, 2: 1.0, 1: 1.0}
    assert timed == [(8, 2), (2, 8), (1, 16)]


def test_seconds_are_those_of_one_iteration_of_one_run(monkeypatch: pytest.MonkeyPatch):
    asked, times = [], iter([10.0, 22.0])
    chunk = lambda clock, runs, hp, n: asked.append(int(n)) or (clock, runs, {})
    group = SimpleNamespace(program=SimpleNamespace(warmup=lambda *state: state[:2], chunk=chunk), hp=0.0)
    monkeypatch.setattr(experiment, "slice_runs", lambda exp, start, stop: group)
    monkeypatch.setattr(experiment, "init", lambda exp: (0.0, 0.0))
    monkeypatch.setattr(grouping, "time", SimpleNamespace(monotonic=lambda: next(times)))
    given: Any = None
    assert grouping.seconds_per_run(given, 3, 4) == 1.0
    assert asked == [1, 4]  # the first compiles
