"""QTRAN: the loss against loops in NumPy, gradients of its penalties, sizes, and a payoff that no sum can represent."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from learning import Trained, batch_of, core_of, count, fresh, hp, sized, train_on, unequal_ends
from probes import probe
from samples import numpy_mlp

import qllm_envs
from qllm_jax import learners
from qllm_jax.errors import UserError
from qllm_jax.learners import batches, qtran
from qllm_jax.program import compiled


@functools.cache
def setting():
    """A method's parts, parameters, target parameters that differ, and a batch in which one episode ends early."""
    env = probe(3, None, lambda state, actions: jnp.sum(actions) + state.cue - 2.0)
    core = core_of(env, 4)
    learner = learners.make("qtran", core, joint_dim=8)
    first, second = fresh(learner, 0), fresh(learner, 1)
    batch = unequal_ends(batch_of(env, 4))
    method = qtran.Method(core, qtran.JointNetwork(env.spec.n_actions, 8), 1.0, 0.1)
    # A lower offset, so that some steps count in the second penalty.
    first.params["joint"]["params"]["value"]["out"]["bias"] -= 3.0
    return method, first.params, second.target_params, batch


@functools.cache
def loss_of(opt_weight: float = 1.0, nopt_weight: float = 0.1):
    method = setting()[0]._replace(opt_weight=opt_weight, nopt_weight=nopt_weight)

    def loss(params: dict, target_params: dict, batch):
        return qtran.loss(method, params, target_params, batch, batches.views(method.core.env, batch), hp())

    return jax.jit(loss)


def by_loops() -> dict[str, float]:
    """The parts of the loss step by step, with the joint networks in NumPy."""
    method, params, target_params, batch = setting()
    env, agent = method.core.env, method.core.agent
    observe = lambda state: jax.vmap(env.view)(state).obs
    networks = (params["agent"], target_params["agent"])
    (hidden, q), (target_hidden, _) = (
        tuple(map(np.asarray, of_one))
        for of_one in agent.unroll_hidden(networks, observe, batch.env_state, batch.action_t)
    )
    states = np.asarray(jax.vmap(jax.vmap(env.view))(batch.env_state).state)

    def joint(networks: dict, state: np.ndarray, hidden: np.ndarray, action: np.ndarray) -> tuple[float, float]:
        network = networks["joint"]["params"]
        one_hot = np.eye(env.spec.n_actions)[action]
        code = sum(numpy_mlp(network["agents"], np.concatenate(pair)) for pair in zip(hidden, one_hot, strict=True))
        value = numpy_mlp(network["joint"], np.concatenate([state, code]))
        return float(value[0]), float(numpy_mlp(network["value"], state)[0])

    found = {"td_loss": 0.0, "opt_loss": 0.0, "nopt_loss": 0.0}
    steps, agents = np.argwhere(np.asarray(batch.mask_t) == 1), np.arange(2)
    for t, b in steps:
        taken, best, after = np.asarray(batch.action_t[t, b]), q[t, b].argmax(-1), q[t + 1, b].argmax(-1)
        following, _ = joint(target_params, states[t + 1, b], target_hidden[t + 1, b], after)
        y = float(batch.reward_t[t, b]) + 0.9 * (1 - float(batch.terminated_t[t, b])) * following
        of_taken, offset = joint(params, states[t, b], hidden[t, b], taken)
        of_best, _ = joint(params, states[t, b], hidden[t, b], best)
        found["td_loss"] += (of_taken - y) ** 2
        found["opt_loss"] += (q[t, b].max(-1).sum() - of_best + offset) ** 2
        found["nopt_loss"] += min(q[t, b, agents, taken].sum() - of_taken + offset, 0.0) ** 2
    return {name: value / len(steps) for name, value in found.items()}


def test_the_loss_equals_loops():
    _, params, target_params, batch = setting()
    loss, (metrics, _) = loss_of()(params, target_params, batch)
    expected = by_loops()
    for name, value in expected.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-4)
        assert value > 0
    np.testing.assert_allclose(
        loss, expected["td_loss"] + expected["opt_loss"] + 0.1 * expected["nopt_loss"], rtol=1e-4
    )


def test_penalties_leave_the_joint_value_alone_and_move_agents_and_offset():
    _, params, target_params, batch = setting()
    both = jax.jit(jax.grad(lambda params: loss_of(1.0, 1.0)(params, target_params, batch)[0]))(params)
    td = jax.jit(jax.grad(lambda params: loss_of(0.0, 0.0)(params, target_params, batch)[0]))(params)
    same = lambda part: all(
        np.allclose(a, b, rtol=1e-4, atol=1e-6)
        for a, b in zip(*(map(jax.tree.leaves, (part(both), part(td)))), strict=True)
    )
    joint = lambda name: lambda grads: grads["joint"]["params"][name]
    assert same(joint("joint"))
    assert same(joint("agents"))
    assert not same(joint("value"))
    assert not same(lambda grads: grads["agent"])


def test_parameters_by_hand_at_the_paper_s_size_of_agents():
    # Spread, N=6, hidden 128, joint networks of 64: the agents' network 105,221, codes of hidden state and action.
    linear = lambda inputs, outputs: (inputs + 1) * outputs
    code = 2 * linear(133, 133)
    joint = linear(216 + 133, 64) + linear(64, 64) + linear(64, 1)
    value = linear(216, 64) + linear(64, 64) + linear(64, 1)
    learner = learners.make("qtran", core_of(sized(6, 36, 216, 5), 128))
    assert count(learner) == 105_221 + code + joint + value == 185_603


@pytest.fixture(scope="module")
def climbing() -> Trained:
    """Two runs of the climbing game, once per episode, all joint actions tried alike."""
    core = core_of(qllm_envs.make("matrix", game="climbing", horizon=1), 16)
    learner = learners.make("qtran", core, joint_dim=32, nopt_weight=1.0)
    sizes = compiled.Sizes(16, 32, 256, 1, True, 0.0)
    return train_on(core, learner, 800, sizes, (0, 1), epsilon_start=1.0, epsilon_end=1.0, lr=3e-3)


@pytest.mark.thorough
def test_the_best_joint_action_of_climbing_is_found_which_no_sum_of_values_represents(climbing: Trained):
    assert (climbing.returns == 11.0).all()  # sums of averages prefer 5 or 7


def test_bad_options_are_refused():
    core = core_of(sized(2, 4, 4, 3), 4)
    for options, sentence in (
        ({"joint_dim": 0}, "joint_dim must be an integer of at least 1, got 0"),
        ({"opt_weight": -1.0}, "opt_weight must be a number of at least 0, got -1.0"),
        ({"nopt_weight": "x"}, "nopt_weight must be a number of at least 0, got 'x'"),
    ):
        with pytest.raises(UserError, match=f"learner 'qtran': {sentence}"):
            learners.make("qtran", core, **options)
    with pytest.raises(UserError, match=r"'qtran' has no mixer: set algo.mixer=\{\}"):
        learners.make("qtran", core_of(sized(2, 4, 4, 3), 4, {"name": "vdn"}))
