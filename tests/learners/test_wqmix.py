"""Weighted QMIX: which errors count in full, the loss against loops in NumPy, and learning a constant reward."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from learning import batch_of, core_of, count, hp, sized, train_on, unequal_ends
from probes import probe
from samples import numpy_mlp

from qllm_jax import learners
from qllm_jax.core.types import Episode
from qllm_jax.errors import UserError
from qllm_jax.learners import base, batches, wqmix
from qllm_jax.program import compiled

QMIX = {"name": "qmix", "embed_dim": 4, "hypernet_dim": 4}


def test_optimistic_weights_by_hand():
    q_tot, returns = jnp.array([1.0, 2.0, 3.0]), jnp.array([2.0, 2.0, 2.0])
    full = wqmix.counts_in_full("ow", q_tot, returns, jnp.zeros(3, bool), jnp.zeros(3))
    assert full.tolist() == [True, False, False]  # only what is underestimated


def test_central_weights_by_hand():
    greedy, greedy_value = jnp.array([True, False, False, False]), jnp.array([5.0, 1.0, 2.0, 3.0])
    full = wqmix.counts_in_full("cw", jnp.zeros(4), jnp.full(4, 2.0), greedy, greedy_value)
    assert full.tolist() == [True, True, False, False]  # the greedy joint action, and what seems better than it


@functools.cache
def setting():
    """A method's parts, parameters, target parameters that differ, and a batch in which one episode ends early."""
    env = probe(3, None, lambda state, actions: jnp.sum(actions) + state.cue - 2.0)
    core = core_of(env, 4, QMIX)
    learner = learners.make("wqmix", core, central_dim=16)
    first, second = (jax.jit(learner.init)(jax.random.key(i)) for i in range(2))
    batch = unequal_ends(batch_of(env, 4))
    return core, first.params, second.target_params, batch


def by_loops(weighting: str, alpha: float) -> float:
    """The loss step by step, with the central network in NumPy."""
    core, params, target_params, batch = setting()
    networks = (params["agent"], params["central_agent"], target_params["central_agent"])
    observe = lambda state: jax.vmap(core.env.view)(state).obs
    q, central_q, target_q = map(np.asarray, core.agent.unroll(networks, observe, batch.env_state, batch.action_t))
    states = np.asarray(jax.vmap(jax.vmap(core.env.view))(batch.env_state).state)

    def central(networks: dict, q: np.ndarray, state: np.ndarray) -> float:
        network = networks["central"]["params"]
        joint = numpy_mlp(network["joint"], np.concatenate([q, state]))
        return float((joint + numpy_mlp(network["value"], state))[0])

    def mixed(t: int, b: int, chosen: np.ndarray) -> float:
        inputs = base.zero_inputs(core.env, jax.random.key(0))
        inputs = inputs._replace(chosen_q=jnp.asarray(chosen), state=jnp.asarray(states[t, b]))
        return float(base.require_mixer(core, "test").apply(params["mixer"], inputs))

    total, steps = 0.0, np.argwhere(np.asarray(batch.mask_t) == 1)
    for t, b in steps:
        taken, agents = np.asarray(batch.action_t[t, b]), np.arange(2)
        best, next_best = q[t, b].argmax(-1), q[t + 1, b].argmax(-1)
        next_value = central(target_params, target_q[t + 1, b, agents, next_best], states[t + 1, b])
        y = float(batch.reward_t[t, b]) + 0.9 * (1 - float(batch.terminated_t[t, b])) * next_value
        q_tot = mixed(t, b, q[t, b, agents, taken])
        q_hat = central(params, central_q[t, b, agents, taken], states[t, b])
        seems_better = y > central(target_params, target_q[t, b, agents, best], states[t, b])
        full = q_tot < y if weighting == "ow" else seems_better or (taken == best).all()
        total += (1.0 if full else alpha) * (q_tot - y) ** 2 + (q_hat - y) ** 2
    return total / len(steps)


@pytest.mark.parametrize(("weighting", "alpha"), [("ow", 0.1), ("cw", 0.1), ("cw", 1.0)])
def test_the_loss_equals_loops(weighting: str, alpha: float):
    _, params, target_params, batch = setting()
    loss, (metrics, _) = loss_of(weighting, alpha)(params, target_params, batch)
    np.testing.assert_allclose(loss, by_loops(weighting, alpha), rtol=1e-4)
    assert alpha < float(metrics["weight"]) < 1.0 or alpha == 1.0  # the batch has errors of both kinds


@functools.cache
def loss_of(weighting: str, alpha: float):
    core = setting()[0]
    network = wqmix.CentralNetwork(16)
    central = wqmix.Mixer(network.init, network.apply)  # pyright: ignore[reportArgumentType]
    method = wqmix.Method(core, central, weighting, alpha)

    def loss(params: dict, target_params: dict, batch: Episode):
        return wqmix.td_loss(method, params, target_params, batch, batches.views(core.env, batch), hp())

    return jax.jit(loss)


def test_with_alpha_1_both_weightings_are_the_two_plain_losses():
    _, params, target_params, batch = setting()
    (plain, (metrics, _)), (optimistic, _) = (loss_of(w, 1.0)(params, target_params, batch) for w in ("cw", "ow"))
    assert float(plain) == float(optimistic)
    assert float(metrics["weight"]) == 1.0


def test_only_the_central_networks_have_targets_and_everything_else_learns():
    _, params, target_params, batch = setting()
    assert set(target_params) == {"central_agent", "central"}
    assert set(params) == {"agent", "mixer", "central_agent", "central"}
    grads = jax.grad(lambda params: loss_of("ow", 0.1)(params, target_params, batch)[0])(params)
    assert all(any(jnp.any(leaf != 0) for leaf in jax.tree.leaves(group)) for group in grads.values())


@pytest.mark.thorough
def test_a_constant_reward_is_learnt_by_mixer_and_central_network():
    core = core_of(probe(1, 1, lambda state, actions: 1.0), 8, QMIX)
    learner = learners.make("wqmix", core, central_dim=16)
    sizes = compiled.Sizes(8, 16, 64, 1, True, 0.0)
    trained = train_on(core, learner, 300, sizes, epsilon_start=1.0, epsilon_end=1.0)
    assert float(trained.last["q_tot"][0]) == pytest.approx(1.0, abs=0.1)
    assert float(trained.last["central_loss"][0]) < 0.01
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(trained.params))


def test_the_original_s_size_with_the_paper_s_agent():
    # By hand for spread, N=6, hidden 128, hypernetworks 64: two agents, a mixer of 56,257, and
    # f 57,088 + 2 x 65,792 + 257, V 55,552 + 257.
    core = core_of(sized(6, 36, 216, 5), 128, {"name": "qmix", "hypernet_dim": 64})
    assert count(learners.make("wqmix", core)) == 2 * 105_221 + 56_257 + 188_929 + 55_809 == 511_437


def test_bad_options_are_refused():
    core = core_of(probe(1, 1, lambda state, actions: 1.0), 4, QMIX)
    for options, sentence in (
        ({"weighting": "ideal"}, "weighting 'ideal' does not exist: choose from cw, ow"),
        ({"alpha": 1.5}, "alpha must be a number from 0 to 1, got 1.5"),
        ({"central_dim": 0}, "central_dim must be an integer of at least 1, got 0"),
    ):
        with pytest.raises(UserError, match=f"learner 'wqmix': {sentence}"):
            learners.make("wqmix", core, **options)
    with pytest.raises(UserError, match="'wqmix' needs a mixer"):
        learners.make("wqmix", core._replace(mixer=None))
