"""Use of the credit in a training: shares of the gradient and evenness of the weights, against numbers by hand."""

from types import SimpleNamespace
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from learning import hp

import qllm_envs
from qllm_jax.core.agents import Agent
from qllm_jax.core.types import Episode
from qllm_jax.generation import credit_use
from qllm_jax.learners import Core
from qllm_jax.mixers import Mixer, MixerInputs

ENV = qllm_envs.make("matrix", payoff=[[1.0, 0.0], [0.0, 4.0]], horizon=2)
Q = jnp.array([[[1.0, 0.0], [2.0, 0.0]], [[0.0, 3.0], [0.0, 1.0]], [[9.0, 9.0], [9.0, 9.0]]])[:, None]  # (T+1, 1, N, A)
ACTIONS = jnp.array([[0, 0], [1, 1]])[:, None]  # (T, 1, N)


def weighted(params: dict, inputs: MixerInputs) -> jnp.ndarray:
    """Weights (1, 3) in the first state of an episode, (2, 1) in all others."""
    del params
    is_first = inputs.fields["last_action"][0] < 0
    return jnp.where(is_first, jnp.array([1.0, 3.0]), jnp.array([2.0, 1.0])) @ inputs.chosen_q


def core() -> Core:
    agent = SimpleNamespace(unroll=lambda networks, *_: (Q,) * len(networks))
    return Core(
        ENV, cast(Agent, agent), Mixer(lambda key, inputs: {}, weighted), "adam", standardize=False, reward_scale=1.0
    )


def batch(mask: list[float]) -> Episode:
    last_action = jnp.concatenate([jnp.full_like(ACTIONS[:1], -1), ACTIONS])
    state = ENV.reset(jax.random.key(0))._replace(last_action=last_action, t=jnp.arange(3)[:, None])
    terminated = jnp.zeros((2, 1), bool)
    return Episode(state, ACTIONS, jnp.array([[5.0], [8.0]]), terminated, jnp.array(mask)[:, None])


def evenness(*weights: float) -> float:
    shares = np.array(weights) / sum(weights)
    return float(-np.sum(shares * np.log2(shares)))  # of two agents: log N is one bit


# Errors without a future: 1 x 1 + 3 x 2 - 5 = 2 in the first step, 2 x 3 + 1 x 1 - 8 = -1 in the second. The gradient
# 2 error w / steps is (2, 6) and (-2, -1): squares 4 + 4 and 36 + 1. With the first step alone it is (4, 12).
@pytest.mark.parametrize(
    ("mask", "shares", "even"),
    [
        ([1.0, 1.0], [8 / 45, 37 / 45], (evenness(1, 3) + evenness(2, 1)) / 2),
        ([1.0, 0.0], [0.1, 0.9], evenness(1, 3)),
    ],
)
def test_shares_and_evenness_by_hand(mask: list[float], shares: list[float], even: float):
    params = {"agent": {}, "mixer": {}}
    found = credit_use.of_batch(core(), (params, params), batch(mask), hp(gamma=0.0))
    np.testing.assert_allclose(found.gradient_shares, shares, rtol=1e-6)
    np.testing.assert_allclose(found.evenness, even, rtol=1e-6)


def test_without_an_error_no_agent_has_a_share():
    params = {"agent": {}, "mixer": {}}
    exact = batch([1.0, 1.0])._replace(reward_t=jnp.array([[7.0], [7.0]]))
    found = credit_use.of_batch(core(), (params, params), exact, hp(gamma=0.0))
    np.testing.assert_array_equal(found.gradient_shares, [0.0, 0.0])
