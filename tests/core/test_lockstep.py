"""Vmapped runs in step: flags of all of them, loops and updates that end with the longest, and an axis of length 1."""

import functools
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qllm_jax import config
from qllm_jax.core import lockstep
from qllm_jax.core.rollout import epsilon_greedy
from qllm_jax.core.types import Episode
from qllm_jax.learners.base import Update
from qllm_jax.program import experiment, one_run
from qllm_jax.program.experiment import Experiment
from qllm_jax.program.one_run import Parts, Sizes, play_episodes

LENGTH = 6


def test_a_flag_that_is_set_in_any_run_is_set_for_all_and_is_not_batched():
    flags = jnp.array([[[False, False], [False, True]], [[False, False], [False, False]]])
    # out_axes=None refuses a result that is batched.
    asked = jax.vmap(jax.vmap(lockstep.any_of_batch, out_axes=None), out_axes=None)(flags)
    np.testing.assert_array_equal(asked, [False, True])
    np.testing.assert_array_equal(lockstep.any_of_batch(flags[0]), flags[0])


@jax.jit
def counted(ends: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Scans that go on for `ends` steps: the number of steps of each, and t + 1 of each step, -1 for padding."""

    def one(end: jax.Array):
        body = lambda t, x: (t + 1, x)
        return lockstep.scan_while_any(
            lambda t: t < end, body, lambda t: jnp.int32(-1), jnp.int32(0), 1 + jnp.arange(LENGTH)
        )

    return jax.vmap(one)(ends)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, LENGTH + 3), min_size=3, max_size=3))
def test_a_scan_ends_with_the_last_run_or_its_inputs(ends: list[int]):
    taken, out = counted(jnp.array(ends))
    longest = min(max(ends), LENGTH)
    assert taken.tolist() == [longest] * 3
    expected = [t + 1 if t < longest else -1 for t in range(LENGTH)]
    np.testing.assert_array_equal(out, [expected] * 3)


@pytest.mark.parametrize(("horizon", "found"), [(25, (25,)), (63, (63,)), (64, (32, 64)), (250, (63, 125, 250))])
def test_lengths_are_halves_of_the_horizon(horizon: int, found: tuple[int, ...]):
    assert lockstep.prefix_lengths(horizon) == found


def batch_of(lengths: list[int], horizon: int = 128) -> Episode:
    mask = (jnp.arange(horizon)[:, None] < jnp.array(lengths)[None]).astype(jnp.float32)
    return Episode(jnp.zeros((horizon + 1, len(lengths))), mask, mask, mask > 0, mask)


@pytest.mark.parametrize(
    ("runs", "length"),
    [
        ([[1, 32], [5, 6]], 32),
        ([[1, 33], [5, 6]], 64),
        ([[1, 1], [5, 64]], 64),
        ([[1, 1], [65, 2]], 128),
        ([[128]], 128),
    ],
)
def test_a_batch_is_cut_where_all_episodes_of_all_runs_have_ended(runs: list[list[int]], length: int):
    seen = lambda batch: (jnp.int32(len(batch.mask_t)), jnp.int32(len(batch.env_state)), jnp.sum(batch.mask_t))
    batches = jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(batch_of, runs))
    steps, slots, happened = jax.vmap(lambda batch: lockstep.call_on_prefix(seen, batch))(batches)
    assert steps.tolist() == [length] * len(runs)
    assert slots.tolist() == [length + 1] * len(runs)
    assert happened.tolist() == [sum(lengths) for lengths in runs]


@pytest.mark.parametrize(("lengths", "length"), [((5, 20), 32), ((5, 33), 64), ((65, 20), 128)])
def test_two_batches_are_cut_after_the_last_step_of_both(lengths: tuple[int, int], length: int):
    seen = lambda *batches: jnp.array([len(batch.env_state) for batch in batches])
    slots = lockstep.call_on_prefix(seen, *(batch_of([n]) for n in lengths))
    assert slots.tolist() == [length + 1] * 2


@pytest.mark.parametrize(
    ("algo", "option"), [("coma", "bootstrap_end"), ("maddpg", "released_mask")], ids=["coma", "maddpg"]
)
def test_a_method_that_learns_from_padding_gets_all_of_it(algo: str, option: str):
    reads = lambda value: experiment_of(algo, f"algo.learner.{option}={value}").learner.reads_padding
    assert reads("true")
    assert not reads("false")


def test_steps_are_cut_unless_they_are_learned_from():
    exp, slots, nothing = experiment_of("iql"), [], cast(Any, None)
    update = lambda state, batch, recent, hp, copy_target: (state, slots.append(len(batch.mask_t)) or {})
    for reads_padding, expected in ((False, [32, 64]), (True, [64])):
        slots.clear()
        learner = exp.learner._replace(update=update, reads_padding=reads_padding)
        parts = Parts(exp.env, exp.agent, learner, Sizes(2, 3, 4, 1, True, 0.0))
        one_run.update(parts, nothing, (short_episodes(), None), nothing, nothing)
        assert slots == expected


@pytest.mark.parametrize("n_runs", [1, 3])
def test_vmap_is_that_of_jax_for_one_run_too(n_runs: int):
    keys = jax.random.split(jax.random.key(0), n_runs)
    draw = lambda scale, tree: {"x": scale * jax.random.normal(tree["key"], (2,))}
    found = lockstep.vmap(draw, (None, 0))(2.0, {"key": keys})
    np.testing.assert_array_equal(found["x"], jax.vmap(draw, (None, 0))(2.0, {"key": keys})["x"])


def experiment_of(algo: str, *settings: str) -> Experiment:
    overrides = ["env=lbf_8x8_2p_2f_coop", f"algo=matched_{algo}", "env.horizon=64", "algo.hidden_dim=8", *settings]
    return experiment.build(config.load(overrides))


@functools.cache
def short_episodes() -> Episode:
    """Random play of 64 steps in each of three episodes, masked as if they had ended early."""
    exp = experiment_of("iql")
    parts = Parts(exp.env, exp.agent, exp.learner, Sizes(2, 3, 4, 1, True, 0.0))
    play = lambda key: play_episodes(parts, epsilon_greedy, {"agent": exp.agent.init(key)}, key, 3, jnp.ones(()))
    batch = jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1), jax.jit(play)(jax.random.key(0)))
    t, end = jnp.arange(64)[:, None], jnp.array([[20, 7, 31]]) - 1
    return batch._replace(
        mask_t=(t <= end).astype(jnp.float32), terminated_t=t == end, reward_t=jnp.where(t <= end, 1.0, 0.0)
    )


# One method for each loss, of which one is tried in every run; other methods that share the loss of QLLM are slow.
@pytest.mark.parametrize(
    "algo",
    [
        "qllm",
        *(pytest.param(x, marks=pytest.mark.thorough) for x in ("iql", "owqmix", "maser", "riit", "maddpg", "mappo")),
        *(
            pytest.param(x, marks=pytest.mark.slow)
            for x in ("qmix", "qplex", "qtran", "coma", "lica", "vmix", "pqn_vdn")
        ),
    ],
)
def test_an_update_from_a_prefix_is_the_update_from_all_steps(algo: str, monkeypatch: pytest.MonkeyPatch):
    sizes = ["algo.n_envs=3", "algo.batch_episodes=3", "algo.buffer_episodes=3", "algo.learner.minibatches=3"]
    exp, batch = experiment_of(algo, *(sizes if algo == "pqn_vdn" else [])), short_episodes()
    hp = jax.tree.map(lambda x: x[0], exp.hp)
    parts = Parts(exp.env, exp.agent, exp.learner, Sizes(2, 3, 4, 1, True, 0.0))
    state = jax.jit(exp.learner.init)(jax.random.key(0))

    def update(batch: Episode) -> Update:
        recent = batch if exp.learner.n_recent else None
        return one_run.update(parts, state, (batch, recent), hp, jnp.bool_(True))

    short = jax.jit(update)(batch)
    monkeypatch.setattr(lockstep, "SHORTEST", 64)
    whole = jax.jit(lambda batch: update(batch))(batch)  # a new function, as that one is compiled
    # Without the suspect, which while all is finite is of a step that happened or not.
    numbers = lambda found: jax.tree.leaves((found.state._replace(key=None), found.metrics))
    for some, all_of_them in zip(numbers(short), numbers(whole), strict=True):
        np.testing.assert_allclose(some, all_of_them, rtol=2e-4, atol=1e-6)
