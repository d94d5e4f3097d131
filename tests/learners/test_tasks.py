"""Tasks told in training: what agents see, when they are told none, and what is stored of it for replay."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from learning import core_of, count, hp

from qllm_envs import make
from qllm_jax import learners
from qllm_jax.core.agents import Agent
from qllm_jax.errors import UserError
from qllm_jax.learners import tasks
from qllm_jax.program import compiled, one_run

ENV = make("duty", n_agents=3, symbols=2, actions=2, horizon=4)
SOURCE = """
import jax.numpy as jnp

TASKS = 3


def assign(state):
    return state["on_duty"].astype(jnp.int32) + 1
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("tasks") / "mine.py"
    file.write_text(SOURCE)
    return str(file)


@pytest.fixture(scope="module")
def function(written: str):
    return tasks.load(ENV.spec, written)


def test_an_agent_sees_its_task_in_one_hot_and_else_zeros(function):
    env = tasks.with_tasks(ENV, function)
    told = tasks.in_training(env, function, jnp.float32(1.0))
    assert env.spec.obs_dim == ENV.spec.obs_dim + 4
    for made, seen in ((env, 0.0), (told, 1.0)):
        state = made.reset(jax.random.key(0))
        for _ in range(2):
            view, inner = made.view(state), ENV.view(state.inner)
            np.testing.assert_array_equal(view.obs[:, :-4], inner.obs)
            by_hand = np.concatenate([np.ones((3, 1)), np.eye(3)[np.asarray(inner.fields["on_duty"], int) + 1]], -1)
            np.testing.assert_array_equal(view.obs[:, -4:], seen * by_hand)
            state = made.step(jax.random.key(1), state, jnp.zeros(3, jnp.int32)).state


def test_a_team_with_tasks_wins_and_crashes_as_without(function):
    ends = ENV._replace(won=lambda state: state.t == 1, crashed=lambda state: state.t == 0)
    env = tasks.with_tasks(ends, function)
    state = env.reset(jax.random.key(0))
    assert env.won is not None
    assert env.crashed is not None
    assert (bool(env.won(state)), bool(env.crashed(state))) == (False, True)
    assert (tasks.with_tasks(ENV, function).won, tasks.with_tasks(ENV, function).crashed) == (None, None)


@pytest.mark.parametrize(
    ("kept", "told_in"), [(0.0, None), (0.04, 1.0 - tasks.MOST_DROPPED), (0.25, 0.25), (0.75, 0.75)]
)
def test_tasks_are_told_in_a_share_of_episodes_and_steps(kept: float, told_in: float | None, function):
    env = tasks.in_training(tasks.with_tasks(ENV, function), function, jnp.float32(kept))
    states = jax.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(0), 20_000))
    assert np.mean(states.has_tasks) == pytest.approx(kept, abs=0.01)
    told = np.asarray(states.told != tasks.NONE)[np.asarray(states.has_tasks)]
    if told_in is not None:
        assert told.mean() == pytest.approx(told_in, abs=0.02)
    assert not np.asarray(states.told != tasks.NONE)[~np.asarray(states.has_tasks)].any()


def test_training_tells_tasks_up_to_a_step_and_evaluation_never(written: str, function):
    env = tasks.with_tasks(ENV, function)
    learner = learners.make("mca", core_of(env, 4), function="duty:team", task=written, task_steps=64)
    assert learner.n_task_inputs == 4
    assert len(learner.sources) == len(learner.programs) == 2
    sizes = compiled.Sizes(8, 8, 24, 1, True, 0.0)
    parts = one_run.Parts(env, core_of(env, 4).agent, learner, sizes)
    run = jax.jit(lambda: one_run.init(parts, jax.random.key(0), jnp.int32(0)))()
    collect = jax.jit(lambda clock, run: one_run.collect(parts, clock, run, hp())[0])
    zero = jnp.int32(0)
    for steps in (0, 32, 64):
        clock = compiled.Clock(jnp.int32(steps), zero + steps // 4, zero)
        run = collect(clock, run)
    told = np.asarray(run.storage.env_state.told != tasks.NONE)  # (C, T+1, N), as it is replayed
    assert told[:8].all()
    assert 0 < told[8:16].mean() < 1
    assert not told[16:].any()
    play = lambda: one_run.play_episodes(parts, learner.act, run.learner.params, jax.random.key(0), 8, jnp.ones(()))
    assert (np.asarray(jax.jit(play)().env_state.told) == tasks.NONE).all()


@pytest.mark.thorough
def test_each_agent_can_have_a_network_of_its_own():
    own = Agent(ENV.spec, 4, shared=False)
    params = own.init(jax.random.key(0))
    alone = Agent(ENV.spec._replace(n_agents=1), 4, agent_id=False)
    obs = jax.random.normal(jax.random.key(1), (5, 3, ENV.spec.obs_dim))
    hidden, last = 0.5 * jnp.ones((5, 3, 4)), jnp.zeros((5, 3), jnp.int32)
    new_hidden, q = own.step(params, hidden, obs, last)
    for i in range(3):
        own_params = jax.tree.map(lambda x, i=i: x[i], params)
        its = lambda x, i=i: x[:, i : i + 1]
        one = alone.step(own_params, its(hidden), its(obs), its(last))
        np.testing.assert_allclose(its(new_hidden), one[0], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(its(q), one[1], rtol=1e-5, atol=1e-6)
    core = core_of(ENV, 4)
    # Layer of 4, a GRU of 4 with two biases, and the values of 2 actions, for each of 3 agents; no ids.
    each = ENV.spec.obs_dim * 4 + 4 + 2 * (4 * 12 + 12) + 4 * 2 + 2
    assert count(learners.make("iql", core._replace(agent=own))) == 3 * each
    assert count(learners.make("iql", core)) == each + 3 * 4


def test_a_task_function_that_does_not_exist_is_named(tmp_path: Path):
    with pytest.raises(UserError, match="task function 'nobody' does not exist"):
        tasks.load(ENV.spec, "nobody")
    file = tmp_path / "mine.py"
    file.write_text("def credit(state):\n    return state['on_duty'], 0.0\n")
    with pytest.raises(UserError, match="a function of kind task is asked for"):
        tasks.load(ENV.spec, str(file))
