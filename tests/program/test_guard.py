"""Updates that are not finite: the run learns no more, its neighbors are untouched, and what it saw is kept."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from learning import core_of, hp
from probes import probe

from qllm_jax import config, learners
from qllm_jax.commands.report import report
from qllm_jax.core.types import Scores
from qllm_jax.learners import Update
from qllm_jax.mixers import tfcaf
from qllm_jax.program import compiled, experiment, guard
from qllm_jax.program.one_run import Sizes
from qllm_jax.run import checkpoint, finish, folder, gated, load, nonfinite, results, stored_logs
from qllm_jax.run.nonfinite import FILE, NonFiniteError
from qllm_jax.run.session import Session
from qllm_jax.tfcaf import from_source
from qllm_jax.train import train

GOOD = "def credit(state):\n    return jnp.ones(2), 0.0\n"
# Not finite in one state: after the first step of an episode with the cue 1.
BAD = "def credit(state):\n    bad = (state['cue'] > 0) & (state['t'] == 1)\n    return {}\n"
BAD_WEIGHTS = BAD.format("jnp.where(bad, jnp.array([1.0, jnp.inf]), jnp.ones(2)), 0.0")


@pytest.fixture(scope="module")
def program() -> tuple[compiled.Program, Any]:
    """Two credit functions, of which each run has one; a batch is the newest episode."""
    env = probe(3, None, lambda state, actions: jnp.mean(actions.astype(jnp.float32)))
    functions = [from_source(text, f"{i}.py", env.spec) for i, text in enumerate((GOOD, BAD_WEIGHTS))]
    core = core_of(env, 8)._replace(mixer=tfcaf.from_credits(functions, 1.0))
    return compiled.make(env, core.agent, learners.make("value", core), Sizes(1, 1, 1, 1, True, 0.0)), env


def trained(program: compiled.Program, choice: list[int], iterations: int, seeds: tuple[int, ...] = (5, 5)) -> Any:
    state = program.init(jax.random.key(0), jnp.asarray(seeds), jnp.eye(2)[jnp.asarray(choice)])
    each = hp(len(seeds))
    return program.chunk(*program.warmup(*state, each), each, jnp.asarray(iterations))[1:]


def leaves_equal(one: Any, other: Any) -> bool:
    return all(np.array_equal(x, y, equal_nan=True) for x, y in zip(*map(jax.tree.leaves, (one, other)), strict=True))


def test_a_run_that_is_not_finite_stops_learning_and_its_neighbor_does_not_notice(program):
    compiled_, env = program
    both_good, _ = trained(compiled_, [0, 0], 12)
    mixed, metrics = trained(compiled_, [0, 1], 12)
    run = lambda tree, i: jax.tree.map(lambda x: x[i], tree)
    strip = lambda state: (state.learner.params["agent"], state.learner.opt_state[0].mu["agent"], state.fault)
    assert leaves_equal(strip(run(mixed, 0)), strip(run(both_good, 0)))
    assert np.isfinite(metrics["loss"][0])
    assert not np.isfinite(metrics["loss"][1])

    steps = int(mixed.fault.env_steps[1])
    n = steps // env.spec.horizon  # the update that was not made
    assert 1 < n < 12  # the first episodes of seed 5 have the cue -1
    before, _ = trained(compiled_, [0, 1], n - 1)
    assert int(before.fault.env_steps[1]) == guard.NONE
    assert leaves_equal(run(before, 1).learner.params, run(mixed, 1).learner.params)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(mixed.learner))
    assert bool(mixed.fault.of_loss[1])
    seen = run(mixed, 1).fault.env_state
    assert (float(seen.cue), int(seen.t)) == (1.0, 1)


SMALL = [
    "env=matrix_climbing", "algo=matched_qllm", "seeds=2", "total_steps=300", "log_interval=100", "eval_interval=100",
    "eval_episodes=4", "final_episodes=4", "algo.buffer_episodes=32", "algo.n_envs=2", "algo.batch_episodes=4",
    "algo.hidden_dim=8", "devices=1",
]  # fmt: skip


@pytest.fixture
def functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """A good function, and one that is infinite after one joint action. The gates, which refuse it, are left open."""
    monkeypatch.setattr(gated, "require", lambda config: {})
    monkeypatch.setattr(gated, "verify_programs", lambda mixer, verdicts: None)
    files = [tmp_path / "good.py", tmp_path / "bad.py"]
    files[0].write_text(GOOD)
    files[1].write_text(
        "def credit(state):\n    both = jnp.sum(state['last_action']) == 4\n"
        "    return jnp.where(both, jnp.array([1.0, jnp.inf]), jnp.ones(2)), 0.0\n"
    )
    return files


@pytest.mark.thorough
def test_a_group_whose_runs_all_fail_ends_and_the_others_go_on(
    functions: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = tmp_path / "run"
    assert train([*SMALL, f"sweep.tfcaf=[{','.join(map(str, functions))}]", "group=2", f"run_dir={path}"]) == 0
    out, err = capsys.readouterr()
    sentence = "tfcaf=bad seed 0 at step 100: the weights that credit function"
    assert f"{sentence} {str(functions[1])!r} gives to agent 1 are inf; tfcaf=bad seed 1" in err
    assert out.index("tfcaf=good   ") < out.index("tfcaf=bad    ")
    assert "tfcaf=bad      2 of 2 seeds failed, first at step 100 (weights not finite)" in out

    group = folder.group_folder(path, 1)
    records = stored_logs.metrics(group)
    failed = [record for record in records if "failed" in record]
    assert {record["event"] for record in failed} == {"train", "final"}
    assert all(record["failed"] == {"env_steps": 100, "cause": "weights"} for record in failed)
    assert all(record["return"] is None for record in failed)
    assert "NaN" not in (group / folder.METRICS).read_text() + (path / folder.RESULT).read_text()
    kept = np.load(group / FILE)
    np.testing.assert_array_equal(kept["state"], [[2.0, 2.0]] * 2)
    np.testing.assert_array_equal(kept["weights"], [[2.0, np.inf]] * 2)
    assert '"last_action": [2, 2]' in kept["fields"][0]

    found = checkpoint.latest(group / folder.CHECKPOINTS)
    assert found is not None
    opened = load.load_run(str(group), "last")
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(opened.params))
    assert "tfcaf=bad seed 0 at step 100" in capsys.readouterr().err

    result = results.read(path)
    good, bad = result["configurations"]
    assert good["return"]["mean"] is not None
    assert "failed" not in good
    assert bad["return"]["mean"] is None
    assert bad["failed"] == [{"env_steps": 100, "cause": "weights"}] * 2
    assert "bad" not in (path / folder.MARL_EVAL).read_text()
    assert report([str(path), f"out={tmp_path / 'curves.png'}"]) == 0
    assert "matched_qllm tfcaf=bad (2 of 2 seeds failed) | 2 | 100 | - |" in capsys.readouterr().out

    with pytest.raises(NonFiniteError, match=r"training of .*group_001 has stopped, as tfcaf=bad seed 0 at step 100"):
        train([f"resume={group}"])
    before = (group / folder.METRICS).stat().st_mtime_ns
    assert train([f"resume={path}"]) == 0  # nothing is left to do
    assert (group / folder.METRICS).stat().st_mtime_ns == before


@pytest.mark.thorough
def test_a_group_that_fails_after_it_was_continued_is_finished_whatever_is_killed(
    functions: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Its seeds first learn from the joint action of which the weights are infinite after a result was written."""
    path = tmp_path / "run"
    sweep = [*SMALL, f"sweep.tfcaf=[{','.join(map(str, functions))}]", "group=2", f"run_dir={path}"]
    assert train([*sweep, "total_steps=1"]) == 0  # ends before the first update
    assert all("failed" not in each for each in results.read(path)["configurations"])
    group = folder.group_folder(path, 1)
    save, killed = Session.save, []

    def killed_once(session: Session) -> None:
        if session.path == group and session.failures and not killed:
            killed.append(session.env_steps)
            raise KeyboardInterrupt
        save(session)

    monkeypatch.setattr(Session, "save", killed_once)
    with pytest.raises(KeyboardInterrupt):
        train([f"resume={path}", "total_steps=300"])
    assert killed
    assert train([f"resume={path}"]) == 0
    assert "failed" in results.read(path)["configurations"][1]
    # Without a checkpoint, too, there is nothing left to do.
    shutil.rmtree(group / folder.CHECKPOINTS)
    assert train([f"resume={path}"]) == 0


def test_a_failed_seed_leaves_its_configuration_without_a_mean():
    scores = results.nan_where_failed(Scores(np.arange(8.0).reshape(4, 2)), [3])
    final = results.Final(8, scores, Scores(np.zeros(4)), [4] * 4, {3: {"env_steps": 6, "cause": "loss"}})
    settings = config.load(["seeds=2", "sweep.lr=[0.1,0.2]"])
    rows = finish.table(settings, final).splitlines()
    assert rows[1].split()[:3] == ["0", "lr=0.1", "1.500"]
    assert "1 of 2 seeds failed, first at step 6 (loss not finite)" in rows[2]
    one = config.load(["seeds=4"])
    rows = finish.table(one, final).splitlines()
    assert rows[4].split() == ["3", "4", "failed"]
    assert "no mean, as 1 of 4 seeds failed" in rows[5]
    block = results.no_nan(results.result(one, final))
    assert block["return"]["mean"] is None
    assert block["return_per_seed"] == [0.5, 2.5, 4.5, None]


def failure_of(overrides: list[str], of_loss: bool, located: bool = True, reward: float = 0.0) -> nonfinite.Failure:
    """The failure of the first run, made up: it failed at step 75 in the state after both agents chose action 2."""
    exp = experiment.build(config.load([*SMALL, *overrides]))
    state = exp.env.reset(jax.random.key(0))._replace(last_action=jnp.full(2, 2, jnp.int32))
    every = lambda x: jnp.stack([x] * exp.n_runs)
    fault = guard.Fault(jnp.int32(75), jnp.bool_(of_loss), jnp.bool_(located), state)
    rewards = jnp.full((exp.n_runs, 4, 2), reward)
    (found, _) = nonfinite.find(exp, jax.tree.map(every, fault), rewards).values()
    return found


def test_a_learned_mixer_that_diverges_and_a_method_without_one_are_named():
    found = failure_of(["algo=matched_qmix"], of_loss=False)
    assert found.text == "the gradient of matched_qmix (mixer 'qmix') is not finite"
    assert found.mark == {"env_steps": 75, "cause": "gradient"}
    assert found.state.tolist() == [2.0, 2.0]
    assert np.isnan(found.weights).all()
    found = failure_of(["algo=matched_iql", "algo.mixer={}"], of_loss=True, located=False)
    assert found.text == "the loss of matched_iql is not finite"
    assert np.isnan(found.state).all()


def test_a_reward_that_is_not_finite_is_named():
    found = failure_of(["algo=matched_vdn"], of_loss=True, reward=np.nan)
    assert (found.cause, found.text) == ("reward", "a reward of matrix_climbing is not finite")


def test_a_function_that_the_run_does_not_use_is_only_mentioned(functions: list[Path]):
    found = failure_of([f"sweep.tfcaf=[{functions[0]},{functions[1]}]", "seeds=1"], of_loss=True)
    assert found.cause == "loss"
    assert found.text == (
        "the loss of matched_qllm (mixer 'tfcaf') is not finite (in the same state, "
        f"{str(functions[1])!r} would not be finite either)"
    )
    assert found.weights.tolist() == [2.0, 2.0]


@pytest.mark.parametrize(("loss", "norm", "of_loss"), [(1.0, np.inf, False), (np.nan, np.nan, True)])
def test_a_fault_is_the_first_and_tells_a_loss_from_a_gradient(loss: float, norm: float, of_loss: bool):
    metrics = {"loss": jnp.float32(loss), "grad_norm": jnp.float32(norm)}
    clock: Any = SimpleNamespace(env_steps=jnp.int32(75))
    found = guard.after_update(guard.none(jnp.zeros(2)), clock, Update(cast(Any, None), metrics))
    assert (int(found.env_steps), bool(found.of_loss), bool(found.located)) == (75, of_loss, False)
    later: Any = SimpleNamespace(env_steps=jnp.int32(100))
    worse = {"loss": jnp.float32(np.nan), "grad_norm": jnp.float32(1.0)}
    again = guard.after_update(found, later, Update(cast(Any, None), worse, cast(Any, jnp.ones(2))))
    assert (int(again.env_steps), bool(again.of_loss)) == (75, of_loss)
