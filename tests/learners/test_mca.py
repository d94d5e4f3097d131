"""Reward credit: what each agent learns from, by hand; the team's reward for all is independent Q-learning."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from learning import batch_of, core_of, count, fresh, hp, sized

from qllm_envs import Env, make
from qllm_jax import learners
from qllm_jax.core import rewards
from qllm_jax.core.types import Episode
from qllm_jax.errors import UserError
from qllm_jax.learners import mca, reward_controls, reward_credit
from qllm_jax.learners.base import Core, Learner, LearnerState

DUTY = make("duty", n_agents=3, symbols=2, actions=2, horizon=4)
ENDS = make("lbf", n_agents=2, rows=5, cols=5, n_foods=1, horizon=6)
ON_DUTY = """
import jax.numpy as jnp


def credit(state, actions, reward, next_state):
    return state["on_duty"] * reward + 0.5 * next_state["on_duty"] + 0.25 * actions
"""
FACTORS = """
import jax.numpy as jnp


def credit(state, actions, reward, next_state):
    return jnp.stack([state["on_duty"] * reward, state["on_duty"]], -1)
"""


@pytest.fixture
def written(tmp_path: Path) -> str:
    file = tmp_path / "mine.py"
    file.write_text(ON_DUTY)
    return str(file)


@functools.cache
def batch_by_name(name: str) -> Episode:
    return batch_of({"duty": DUTY, "lbf": ENDS}[name], 8)


def batches(env: Env) -> Episode:
    return batch_by_name(env.spec.name)


def updated(learner: Learner, batch, n: int = 3) -> tuple[LearnerState, dict]:
    state, metrics = fresh(learner), {}
    update = jax.jit(learner.update)
    for _ in range(n):
        state, metrics, _ = update(state, batch, None, hp(), jnp.bool_(True))
    return state, metrics


def credited_by(core: Core, function: str):
    """Batches with the credit of a function, as it is given."""
    method = mca.Method(core, reward_credit.load(core.env.spec, [function]), None)
    state = LearnerState({}, {}, None, rewards.initial())
    return jax.jit(lambda batch: mca.with_credit(method, state, batch)[1])


@pytest.mark.thorough
@pytest.mark.parametrize(("env", "standardize"), [(DUTY, False), (ENDS, True)], ids=["as paid", "standardized"])
def test_the_team_s_reward_for_all_is_independent_q_learning(env, standardize: bool):
    core, batch = core_of(env, 4)._replace(standardize=standardize), batches(env)
    state, metrics = updated(learners.make("mca", core, function=f"{env.spec.name}:team"), batch)
    of_iql, iql_metrics = updated(learners.make("iql", core), batch)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-6), state.params, of_iql.params)
    for name, value in iql_metrics.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-4, atol=1e-6)


def test_each_agent_learns_from_what_the_function_gives_it(written: str):
    core, batch = core_of(DUTY, 4), batches(DUTY)
    with_credit = credited_by(core, written)
    credited = with_credit(batch)
    on_duty = np.asarray(batch.env_state.on_duty, np.float32)  # (T+1, B, N)
    by_hand = on_duty[:-1] * np.asarray(batch.reward_t)[..., None] + 0.5 * on_duty[1:] + 0.25 * batch.action_t
    np.testing.assert_allclose(credited.credit_t, by_hand, rtol=1e-6)
    # Credit that a batch has already is learned from as it is: nothing is computed.
    again = with_credit(batch._replace(credit_t=jnp.full_like(credited.credit_t, 2.0)))
    np.testing.assert_array_equal(again.credit_t, 2.0)


def test_credit_after_the_end_counts_as_the_team_s_reward_does(tmp_path: Path):
    file = tmp_path / "ones.py"
    file.write_text("import jax.numpy as jnp\n\n\ndef credit(state, actions, reward, next_state):\n"
                    "    return jnp.ones(actions.shape[0])\n")  # fmt: skip
    batch = batches(ENDS)
    batch = batch._replace(mask_t=batch.mask_t.at[2:, 0].set(0.0))
    credited = credited_by(core_of(ENDS, 4), str(file))(batch)
    np.testing.assert_array_equal(credited.credit_t, np.repeat(np.asarray(batch.mask_t)[..., None], 2, -1))


def test_moments_of_credit_are_those_of_the_reward_where_all_agents_have_one():
    reward = jax.random.normal(jax.random.key(0), (5, 4))
    each = jnp.repeat(reward[..., None], 3, -1)
    counted = jnp.array([True, True, True, False, False])
    for steps in (None, counted):
        of_team = rewards.update(rewards.initial(), reward, steps)
        of_agents = rewards.update(rewards.initial(), each, steps)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), of_team, of_agents)


def test_controls_by_hand():
    factors, fields = jnp.array([[3.0], [0.0], [1.0]]), {"x": jnp.arange(4.0)}
    drawn = lambda name, key=0: reward_controls.find(name).init(jax.random.key(key), 3)
    spoiled = lambda name, key=0: np.asarray(
        reward_controls.find(name).apply(drawn(name, key), factors, jnp.float32(6.0), fields)
    )
    np.testing.assert_array_equal(spoiled("team"), np.full((3, 1), 6.0))
    np.testing.assert_array_equal(spoiled("equal"), np.full((3, 1), 2.0))
    shuffled = spoiled("shuffled")
    assert sorted(shuffled.ravel()) == [0.0, 1.0, 3.0]
    assert (np.asarray(drawn("shuffled")["source"]) != np.arange(3)).all()
    random, size = spoiled("random"), np.sqrt(10.0 / 3.0)
    np.testing.assert_array_equal(random, spoiled("random"))  # of one run and state: the same
    assert (random != spoiled("random", key=1)).all()
    assert np.abs(random).max() < 5.0 * size
    nothing = reward_controls.random(drawn("random"), jnp.zeros((3, 1)), jnp.float32(6.0), fields)
    np.testing.assert_array_equal(nothing, np.zeros((3, 1)))


def test_a_network_of_factors_is_fitted_to_the_team_s_return(tmp_path: Path):
    file = tmp_path / "factors.py"
    file.write_text(FACTORS)
    core, batch = core_of(DUTY, 4), batches(DUTY)
    learner = learners.make("mca", core, function=str(file), decoder_dim=8)
    _, first = updated(learner, batch, 1)
    state, last = updated(learner, batch, 150)
    assert last["return_error"] < 0.3 * first["return_error"]
    # The first factor says whether the agent brought the reward about.
    method = mca.Method(core, reward_credit.load(DUTY.spec, [str(file)]), mca.Mlp((8,), 1))
    right, wrong = mca.credit_of(method, state.params, jnp.array([[1.0, 1.0], [0.0, 1.0]]))
    assert right > wrong + 0.5


def test_factors_that_are_infinite_after_the_end_are_not_learned_from(tmp_path: Path):
    file = tmp_path / "factors.py"
    # The last food is gone in steps after termination alone.
    file.write_text(
        "def credit(state, actions, reward, next_state):\n"
        "    gone = jnp.sum(state['food_level']) == 0\n"
        "    return jnp.where(gone, jnp.inf, jnp.ones((2, 2)) * reward)\n"
    )
    batch = batches(ENDS)
    assert not batch.mask_t.all()
    state, metrics = updated(learners.make("mca", core_of(ENDS, 4), function=str(file), decoder_dim=4), batch, 2)
    assert jnp.isfinite(metrics["loss"])
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params))


def test_parameters_by_hand(tmp_path: Path):
    core = core_of(sized(2, 5, 4, 3), 8)
    # Input and two ids to 8, a GRU of 8 with two biases, 3 values.
    agent = (5 + 2) * 8 + 8 + 2 * (8 * 24 + 24) + 8 * 3 + 3
    assert count(learners.make("iql", core)) == agent
    on_duty, factors = core_of(DUTY, 8), tmp_path / "factors.py"
    factors.write_text(FACTORS)
    shared = count(learners.make("iql", on_duty))
    assert count(learners.make("mca", on_duty, function="duty:team")) == shared
    assert count(learners.make("mca", on_duty, function="duty:shuffled")) == shared + 3  # which agent's credit each has
    with_network = learners.make("mca", on_duty, function=str(factors), decoder_dim=4, decoder_layers=2)
    assert count(with_network) == shared + (2 * 4 + 4) + (4 * 4 + 4) + (4 + 1)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"function": "duty:nothing"}, "control 'nothing' of reward credit does not exist"),
        ({"function": "dutty"}, "function of reward credit 'dutty' does not exist: did you mean 'duty'?"),
        ({"decoder_dim": 0}, "learner 'mca': decoder_dim must be an integer of at least 1, got 0"),
    ],
)
def test_mistakes_are_one_sentence(options: dict, sentence: str):
    with pytest.raises(UserError, match=sentence):
        learners.make("mca", core_of(DUTY), **options)


def test_a_mixer_is_refused():
    core = core_of(DUTY, mixer={"name": "vdn"})
    with pytest.raises(UserError, match="'mca' mixes nothing"):
        learners.make("mca", core)


def test_a_function_of_another_kind_is_refused(tmp_path: Path):
    file = tmp_path / "value.py"
    file.write_text("def credit(state):\n    return state['on_duty'], 0.0\n")
    with pytest.raises(UserError, match="of kind reward is asked for, and this is one of kind value"):
        learners.make("mca", core_of(DUTY), function=str(file))


def test_runs_of_a_sweep_choose_among_functions(written: str):
    credit = reward_credit.load(DUTY.spec, ["duty", written, "duty:team"])
    view = DUTY.view(DUTY.reset(jax.random.key(0)))
    step = reward_credit.Transition(view.fields, jnp.zeros(3, jnp.int32), jnp.float32(1.0), view.fields)
    for i, name in enumerate(("duty", written, "duty:team")):
        chosen = credit.apply(credit.init(jax.random.key(1), jnp.eye(3)[i]), step)
        alone = reward_credit.load(DUTY.spec, [name])
        np.testing.assert_allclose(chosen, alone.apply(alone.init(jax.random.key(1), None), step))
    assert len(credit.sources) == 3
