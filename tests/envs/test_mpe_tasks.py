"""Facts of all tasks of the particle world: contract, sizes, the end of an episode, sentences about bad options."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from playing import KEY, LEFT, NONE, STILL, close, compiled, player

from qllm_envs import check_env, make

OPPOSED = ("mpe_tag", "mpe_adversary")


@pytest.mark.thorough
@pytest.mark.parametrize("opponent", ["heuristic", "random", "still"])
@pytest.mark.parametrize("name", OPPOSED)
def test_it_keeps_the_contract_against_any_opponent(name, opponent):
    # test_check_env has the trained one, which is the default.
    check_env(make(name, opponent=opponent))


@pytest.mark.thorough
@pytest.mark.parametrize("name", OPPOSED)
def test_it_keeps_the_contract_with_the_papers_options(name):
    check_env(make(name, opponent_action_order="paper", drop_last_reward=True))


@pytest.mark.parametrize(
    ("name", "n_agents", "obs_dim", "state_dim"),
    [
        *(("mpe_spread", *sizes) for sizes in ((1, 6, 6), (6, 36, 216), (15, 90, 1350), (25, 150, 3750))),
        *(("mpe_tag", *sizes) for sizes in ((1, 12, 12), (3, 16, 48), (6, 22, 132))),
        *(("mpe_adversary", *sizes) for sizes in ((1, 6, 6), (2, 10, 20), (4, 18, 72))),
    ],
)
def test_sizes_are_those_that_the_papers_parameter_counts_give(name, n_agents, obs_dim, state_dim):
    spec = make(name, n_agents=n_agents, **STILL[name]).spec
    assert (spec.obs_dim, spec.state_dim, spec.n_actions, spec.horizon) == (obs_dim, state_dim, 5, 25)
    assert spec.task == f"{name}_n{n_agents}"


@pytest.mark.parametrize("name", STILL)
def test_nothing_starts_where_something_else_does(name):
    states = jax.device_get(jax.jit(jax.vmap(make(name, n_agents=3, **STILL[name]).reset))(jax.random.split(KEY, 200)))
    things = [getattr(states, part).reshape(200, -1, 2) for part in states._fields if part.endswith("_pos")]
    things = np.concatenate(things, 1)  # (200, things, 2)
    gaps = np.abs(things[:, :, None] - things[:, None]).max(-1) + 9 * np.eye(things.shape[1])
    # Not from one key: what two arrays share would be equal in each entry, or scaled alike.
    assert gaps.min() > 1e-5
    a, b = np.triu_indices(things.shape[1], 1)
    for axis in (0, 1):
        correlation = np.corrcoef(things[:, :, axis].T)[a, b]
        assert np.abs(correlation).max() < 0.4  # more than five standard deviations of 200 draws


@pytest.mark.parametrize("horizon", [1, 25])
@pytest.mark.parametrize("name", STILL)
def test_the_last_of_horizon_steps_is_truncated(name, horizon):
    start = compiled(name, 2).reset(KEY)
    steps, _ = player(name, 2, horizon=horizon)(start, jnp.full((horizon, 2), LEFT))
    assert steps.truncated.tolist() == [False] * (horizon - 1) + [True]
    assert not steps.terminated.any()


@pytest.mark.parametrize(
    ("name", "opponent"),
    [("mpe_spread", {}), ("mpe_tag", STILL["mpe_tag"]), ("mpe_adversary", {"opponent": "trained"})],
)
def test_drop_last_reward_pays_24_of_25_steps_and_stays_where_it_was(name, opponent):
    start = compiled(name, 2).reset(KEY)
    if name == "mpe_tag":
        # A predator sits in the prey, which lets itself be caught, so that each step pays; obstacles are far.
        start = start._replace(agent_pos=jnp.array([[0.0, 0], [3, 3]]), prey_pos=jnp.zeros(2))
        start = start._replace(obstacle_pos=jnp.array([[5.0, 5], [6, 6]]))
    start = start._replace(agent_vel=jnp.array([[0.0, 0], [1, 0]]))
    actions = jnp.full((25, 2), NONE)
    full, _ = player(name, 2, **opponent)(start, actions)
    dropped, views = player(name, 2, **opponent, drop_last_reward=True)(start, actions)
    assert (full.reward != 0).all()
    close(dropped.reward[:24], full.reward[:24])  # of two programs, each of which rounds in its own order
    assert dropped.reward[24] == 0
    np.testing.assert_array_equal(dropped.truncated, full.truncated)
    assert dropped.state.t.tolist() == list(range(1, 26))
    for kept in jax.tree.leaves((dropped.state._replace(t=()), views)):
        np.testing.assert_array_equal(kept[24], kept[23])
    assert (full.state.agent_pos[24] != full.state.agent_pos[23]).any()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"n_agents": 0}, "n_agents must be an integer of at least 1, got 0"),
        ({"n_agents": "six"}, "n_agents must be an integer of at least 1, got 'six'"),
        ({"n_agents": True}, "n_agents must be an integer of at least 1, got True"),
        ({"n_agents": 3.0}, "n_agents must be an integer of at least 1, got 3.0"),
        ({"horizon": -1}, "horizon must be an integer of at least 1, got -1"),
        ({"horizon": None}, "horizon must be an integer of at least 1, got None"),
        ({"drop_last_reward": "yes"}, "drop_last_reward must be True or False, got 'yes'"),
        ({"drop_last_reward": 1}, "drop_last_reward must be True or False, got 1"),
    ],
)
@pytest.mark.parametrize("name", STILL)
def test_a_bad_value_is_named(name, options, sentence):
    with pytest.raises(ValueError, match=f"^{name}: {sentence}$"):
        make(name, **options)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"opponent": "stil"}, "opponent 'stil' does not exist: did you mean 'still'? choose from heuristic, random, "),
        ({"opponent": "paper"}, "opponent 'paper' does not exist: choose from heuristic, random, still, trained"),
        ({"opponent": None}, "opponent None does not exist: choose from heuristic, random, still, trained"),
        (
            {"opponent_action_order": "swapped"},
            "opponent_action_order 'swapped' does not exist: choose from corrected, paper",
        ),
        (
            {"opponent": "random", "opponent_action_order": "paper"},
            "opponent_action_order 'paper' needs opponent 'trained', got 'random'",
        ),
        (
            {"n_agents": 4},
            "opponent 'trained' was trained for n_agents=TRAINED, not 4: choose opponent from heuristic",
        ),
    ],
)
@pytest.mark.parametrize(("name", "trained"), [("mpe_tag", 3), ("mpe_adversary", 2)])
def test_a_bad_opponent_is_named(name, trained, options, sentence):
    with pytest.raises(ValueError, match=f"^{name}: ") as caught:
        make(name, **options)
    assert str(caught.value).startswith(f"{name}: {sentence.replace('TRAINED', str(trained))}")
