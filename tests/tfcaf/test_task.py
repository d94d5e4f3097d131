"""Tasks: the probe states of an environment hold what is rare in rollouts, too, and survive the way to a process."""

import jax.numpy as jnp
import numpy as np

import qllm_envs
from qllm_envs.core import Field
from qllm_jax.tfcaf.semantics import probes, rollouts, steps, task

BATTLE = {"name": "smax", "scenario": "3s_vs_5z"}


def test_every_last_action_of_a_battle_is_tried():
    found = rollouts.from_config(BATTLE)
    low, high = found.state_range
    assert (low <= found.seen_state.min(0)).all()
    assert (high >= found.seen_state.max(0)).all()
    n_last = found.spec.n_agents * found.spec.n_actions
    assert found.seen_state[:, -n_last:].max(0).min() == 0.0  # the kept states alone do not show them all
    np.testing.assert_array_equal(high[-n_last:], 1.0)
    box = probes.flat_box(np.concatenate([found.seen_state, found.state_range]), bounded=True)
    np.testing.assert_array_equal(box.high[-n_last:], 1.0)
    assert box.whole[-n_last:].all()


def test_a_setting_that_crosses_to_another_process_stays_what_it_is():
    found = rollouts.from_config(BATTLE)
    there = task.unpack(*task.pack(found))
    for name in ("seen_state", "state_range"):
        np.testing.assert_array_equal(getattr(there, name), getattr(found, name))
    assert list(there.seen) == list(found.seen)


def test_an_environment_that_cannot_be_made_again_has_no_states():
    bare = rollouts.without_rollouts(qllm_envs.make("mpe_spread", n_agents=3).spec)
    assert bare.seen_state.shape == bare.state_range.shape == (0, 54)


def test_a_task_survives_packing():
    given = rollouts.from_config({"name": "mpe_spread", "n_agents": 3})
    copy = task.unpack(*task.pack(given))
    shapes = lambda spec: {name: (f.shape, f.low, f.high) for name, f in spec.fields.items()}
    assert shapes(copy.spec) == shapes(given.spec)
    assert {n: shapes(spec) for n, spec in copy.others.items()} == {n: shapes(spec) for n, spec in given.others.items()}
    assert all((copy.seen[name] == given.seen[name]).all() for name in given.seen)


def test_a_field_called_state_is_not_taken_for_the_flat_state():
    state, flat = np.ones((2, 3), np.float32), np.zeros((2, 5), np.float32)
    spec = qllm_envs.make("mpe_spread", n_agents=3).spec
    phrases = ("of good play",) * 2
    given = task.Task(spec, {}, "value", {"state": state}, {"state": 2 * state}, phrases, flat, flat, flat)
    copy = task.unpack(*task.pack(given))
    np.testing.assert_array_equal(copy.notable["state"], 2 * state)
    np.testing.assert_array_equal(copy.seen["state"], state)
    np.testing.assert_array_equal(copy.notable_state, flat)


def test_tasks_are_deterministic_and_follow_the_environment():
    first = rollouts.from_config({"name": "mpe_spread", "n_agents": 3})
    rollouts._make.cache_clear()
    again = rollouts.from_config({"n_agents": 3, "name": "mpe_spread", "time_limit_is_terminal": True})
    assert all((again.seen[name] == first.seen[name]).all() for name in first.seen)
    assert sorted(first.others) == [2, 6, 25]
    assert first.spec == qllm_envs.make("mpe_spread", n_agents=3).spec


def test_no_state_or_step_after_the_end_of_an_episode_is_tried():
    env = qllm_envs.make("matrix", horizon=6)
    spec = env.spec._replace(fields={"t": Field((), "steps taken", "steps", 0.0, 6.0)})

    def step(key, state, actions):
        out = env.step(key, state, actions)
        return out._replace(terminated=out.state.t >= 2)

    view = lambda state: env.view(state)._replace(fields={"t": state.t.astype(jnp.float32)})
    short = env._replace(spec=spec, step=step, view=view, notable=None)
    assert set(rollouts._rollouts(short)[0]["t"].tolist()) == {0.0, 1.0}
    played = steps.of_play(short).seen
    assert set(zip(played["t"].tolist(), played["next.t"].tolist(), strict=True)) == {(0.0, 1.0), (1.0, 2.0)}
