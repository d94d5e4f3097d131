"""Matrix games: every payoff against numbers written by hand, what is seen, the optimum, any tensor, bad options."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from qllm_envs import check_env, make, matrix
from qllm_jax import config
from qllm_jax.core.agents import Agent
from qllm_jax.program import experiment
from qllm_jax.tfcaf import load

KEY = jax.random.key(0)

# Rows are agent 0's actions, columns agent 1's: Claus and Boutilier 1998, and matrix-games 0.0.2 for the rest.
BY_HAND = {
    "climbing": "11 -30 0 | -30 7 0 | 0 6 5",
    "linear": "1 4 2 | 0 3 1 | 2 5 3",
    "linear-2p": "1 5 | 5 9",
    "nonlinear": "0 3 1 | 0 0 0 | 0 6 2",
    "nonlinear-2p": "0 0 | 0 10",
    "trivial": "11 8 0 | 8 7 0 | 0 0 0",
}
PENALTIES = {
    0: "0 0 10 | 0 2 0 | 10 0 0",
    9.5: "-9.5 0 10 | 0 2 0 | 10 0 -9.5",
    100: "-100 0 10 | 0 2 0 | 10 0 -100",
}
PAID_3P = {(0, 0, 0): 11, (0, 0, 1): -30, (0, 1, 0): -30, (1, 0, 0): -30, (1, 1, 1): 7, (2, 2, 1): 6, (2, 2, 2): 5}


@functools.cache
def player(shape, horizon=25):
    """(payoff, actions (T, N)) -> steps and views, time first; compiled once for all payoffs of a shape."""

    def play(payoff, actions):
        rules = matrix.Game("any", "a test", payoff.reshape(shape), horizon)

        def turn(state, action):
            step = matrix._step(rules, KEY, state, action)
            return step.state, (step, matrix._view(rules, step.state))

        return jax.lax.scan(turn, matrix._reset(rules, KEY), actions)[1]

    return jax.jit(play)


def joint_actions(env):
    return np.array(list(itertools.product(range(env.spec.n_actions), repeat=env.spec.n_agents)), np.int32)


def rewards(env):
    """The reward of every joint action, (A,) * N."""
    one = jax.jit(jax.vmap(lambda actions: env.step(KEY, env.reset(KEY), actions).reward))
    return np.asarray(one(joint_actions(env))).reshape((env.spec.n_actions,) * env.spec.n_agents)


def table(text):
    return np.array([[float(number) for number in row.split()] for row in text.split("|")])


@pytest.mark.parametrize("game", BY_HAND)
def test_every_joint_action_pays_what_the_game_says(game):
    np.testing.assert_array_equal(rewards(make("matrix", game=game)), table(BY_HAND[game]))


@pytest.mark.parametrize("k", PENALTIES)
def test_penalty_pays_minus_k_in_two_corners(k):
    np.testing.assert_array_equal(rewards(make("matrix", game="penalty", k=k)), table(PENALTIES[k]))


def test_climbing_with_three_agents_pays_0_but_for_seven_joint_actions():
    wanted = np.zeros((3, 3, 3))
    for actions, paid in PAID_3P.items():
        wanted[actions] = paid
    np.testing.assert_array_equal(rewards(make("matrix", game="climbing-3p")), wanted)


@pytest.mark.parametrize(
    ("options", "task", "best"),
    [
        ({}, "matrix_climbing", 275.0),
        ({"game": "penalty"}, "matrix_penalty_k100", 250.0),
        ({"game": "penalty", "k": 0}, "matrix_penalty_k0", 250.0),
        ({"game": "penalty", "k": 12.5, "horizon": 3}, "matrix_penalty_k12.5", 30.0),
        ({"game": "climbing-3p"}, "matrix_climbing-3p", 275.0),
        ({"payoff": [[1, 2], [3, 4]]}, "matrix_n2_a2", 100.0),
        ({"payoff": [-1.5, -2.5, -4], "horizon": 2}, "matrix_n1_a3", -3.0),
    ],
)
def test_the_best_return_is_that_of_the_best_joint_action_at_every_step(options, task, best):
    env = make("matrix", **options)
    assert (env.spec.task, matrix.best_return(env.spec)) == (task, best)
    horizon, paid = env.spec.horizon, rewards(env)
    actions = jnp.tile(joint_actions(env)[paid.argmax()][None], (horizon, 1))
    steps, _ = player(paid.shape, horizon)(jnp.asarray(paid), actions)
    assert float(steps.reward.sum()) == best
    assert steps.truncated.tolist() == [False] * (horizon - 1) + [True]
    assert not steps.terminated.any()


def test_the_best_joint_action_is_among_notable_states_of_many():
    payoff = np.zeros((2,) * 9)
    payoff[(0, 1, 0, 1, 1, 0, 1, 1, 1)] = 1.0
    env = make("matrix", payoff=payoff.tolist())
    assert env.notable is not None
    found = env.notable(KEY)
    assert 128 <= len(found) <= 129
    assert "after the joint action (0, 1, 0, 1, 1, 0, 1, 1, 1)" in found
    for phrase, state in list(found.items())[::32]:
        assert phrase.endswith(f"({', '.join(map(str, state.last_action.tolist()))})")


def test_sizes_are_those_of_the_paper():
    spec = make("matrix").spec
    assert (spec.n_agents, spec.obs_dim, spec.state_dim, spec.n_actions, spec.horizon) == (2, 2, 2, 3, 25)
    params = jax.eval_shape(Agent(spec, hidden_dim=128).init, KEY)
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 100_099  # 100.099K in the table of the paper's v1


def test_before_the_first_step_the_last_actions_are_minus_1():
    env = make("matrix", game="climbing-3p")
    view = env.view(env.reset(KEY))
    assert view.obs.tolist() == [[-1, 0]] * 3
    assert view.state.tolist() == view.fields["last_action"].tolist() == [-1, -1, -1]


@st.composite
def plays(draw):
    """A payoff of 1 to 4 agents with 2 to 4 actions (not all sizes, as each compiles), and five joint actions."""
    shape = draw(st.sampled_from([(3,), (2, 2), (4, 4), (3, 3, 3), (2, 2, 2, 2)]))
    number = st.floats(-1e6, 1e6, width=32)
    payoff = draw(hnp.arrays(np.float32, shape, elements=number))
    return payoff, draw(hnp.arrays(np.int32, (5, len(shape)), elements=st.integers(0, shape[0] - 1)))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(plays())
def test_any_payoff_is_paid_as_it_stands_and_last_actions_are_seen(play):
    payoff, actions = play
    env = make("matrix", payoff=payoff.tolist(), horizon=5)
    np.testing.assert_array_equal(env.view(env.reset(KEY)).fields["payoff"], payoff)
    assert (env.spec.fields["payoff"].low, env.spec.fields["payoff"].high) == (payoff.min(), payoff.max())
    steps, views = player(payoff.shape, 5)(payoff, actions)
    # The oracle, in plain Python.
    for t, joint in enumerate(actions.tolist()):
        paid = payoff.tolist()
        for action in joint:
            paid = paid[action]
        assert float(steps.reward[t]) == paid
        assert views.obs[t].tolist() == [[action, 0] for action in joint]
        assert views.state[t].tolist() == views.fields["last_action"][t].tolist() == joint


@pytest.mark.parametrize(
    "options", [{"game": "penalty", "k": 50}, {"game": "climbing-3p"}, {"payoff": [1.0, 2.0]}, {"payoff": [[[7]]]}]
)
def test_the_contract_is_kept(options):
    check_env(make("matrix", **options))


GAMES = "climbing, climbing-3p, linear, linear-2p, nonlinear, nonlinear-2p, penalty, trivial"
AXES = "payoff must have one axis an agent, all as long as there are actions, got shape"
SIZE = "must be a number of at most 1e+06 in size, got"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"game": "climb"}, f"game 'climb' does not exist: did you mean 'climbing'? choose from {GAMES}"),
        ({"game": [1]}, f"game [1] does not exist: choose from {GAMES}"),
        ({"game": "trivial", "payoff": [1, 2]}, "give a game or a payoff, not both; got game='trivial' and a payoff"),
        ({"k": 5}, "k is an option of game='penalty' alone, got k=5 and game='climbing'"),
        ({"k": 5, "payoff": [1, 2]}, "k is an option of game='penalty' alone, got k=5 and a payoff"),
        ({"game": "penalty", "k": -1}, "k must be a number from 0 to 1e+06, got -1"),
        ({"game": "penalty", "k": float("nan")}, "k must be a number from 0 to 1e+06, got nan"),
        ({"game": "penalty", "k": "50"}, "k must be a number from 0 to 1e+06, got '50'"),
        ({"horizon": 0}, "horizon must be an integer of at least 1, got 0"),
        ({"payoff": 3}, "payoff must be a nested list of numbers, got 3"),
        ({"payoff": "[[1, 2], [3, 4]]"}, "payoff must be a nested list of numbers, got '[[1, 2], [3, 4]]'"),
        ({"payoff": []}, f"{AXES} (0,)"),
        ({"payoff": [[], []]}, f"{AXES} (2, 0)"),
        ({"payoff": [[1, 2, 3], [4, 5, 6]]}, f"{AXES} (2, 3)"),
        ({"payoff": [[1, 2], [3]]}, "payoff must be a full tensor, got lists of different lengths or depths"),
        ({"payoff": [[1, [2]], [3, 4]]}, "payoff must be a full tensor, got lists of different lengths or depths"),
        (
            {"payoff": [np.zeros((2, 3)), np.zeros((2, 4))]},
            "payoff must be a full tensor, got lists of different lengths or depths",
        ),
        ({"payoff": [[1, "b"], [3, 4]]}, f"payoff[0][1] {SIZE} 'b'"),
        ({"payoff": [[1, 2], [None, 4]]}, f"payoff[1][0] {SIZE} None"),
        ({"payoff": [1, True]}, f"payoff[1] {SIZE} True"),
        ({"payoff": [1, float("nan")]}, f"payoff[1] {SIZE} nan"),
        ({"payoff": [-(10**400), 1]}, f"payoff[0] {SIZE} -1{'0' * 400}"),
    ],
)
def test_a_bad_value_is_named(options, sentence):
    with pytest.raises(ValueError, match=r"^matrix: ") as caught:
        make("matrix", **options)
    assert str(caught.value) == f"matrix: {sentence}"


@pytest.mark.parametrize(
    ("overrides", "task"),
    [
        ("env=matrix_climbing", "matrix_climbing"),
        ("env=matrix_penalty", "matrix_penalty_k100"),
        ("env=matrix_penalty env.k=50", "matrix_penalty_k50"),
        ("env=matrix env.game=nonlinear-2p", "matrix_nonlinear-2p"),
        ("env=matrix env.payoff=[[1,-2.5],[3,4]]", "matrix_n2_a2"),
    ],
)
def test_games_are_composed_by_hydra(overrides, task):
    settings = config.load(overrides.split())
    spec = experiment.make_env(settings.env, settings.n_agents).spec
    assert (spec.name, spec.task, spec.horizon) == ("matrix", task, 25)


def shown(env, actions):
    """Labels and centers of agents, and labels of highlighted squares, after one step or none."""
    state = env.reset(KEY) if actions is None else env.step(KEY, env.reset(KEY), jnp.array(actions)).state
    scene = env.scene(state)
    x0, y0, x1, y1 = scene.bounds
    for shape in scene.shapes:
        (x, y), r = shape.center, shape.radius
        assert x0 <= x - r <= x + r <= x1
        assert y0 <= y - r <= y + r <= y1
    agents = {shape.agent: shape.center for shape in scene.shapes if shape.agent is not None}
    return agents, [shape.label for shape in scene.shapes if shape.color == "gold"]


def test_the_scene_of_two_agents_is_the_table_with_the_last_joint_action():
    env = make("matrix")
    assert len(env.scene(env.reset(KEY)).shapes) == 9 + 2
    assert shown(env, None)[1] == []
    agents, chosen = shown(env, [2, 1])
    assert agents == {0: (-1.0, -2.0), 1: (1.0, 1.0)}  # beside the third row, above the second column
    assert chosen == ["6"]


def test_the_scene_of_any_other_number_of_agents_has_a_row_for_each():
    env = make("matrix", game="climbing-3p")
    assert len(env.scene(env.reset(KEY)).shapes) == 9 + 3
    agents, chosen = shown(env, [0, 1, 0])
    assert agents == {0: (-1.0, 0.0), 1: (-1.0, -1.0), 2: (-1.0, -2.0)}
    assert chosen == ["0", "1", "0", "pays -30"]


@functools.cache
def credit(game):
    spec = make("matrix", game=game).spec
    return jax.jit(load("matrix_by_hand", spec).credit), jnp.zeros(spec.state_dim)


def weights(game, last_action):
    """Of the credit function written by hand, in one state."""
    function, state = credit(game)
    payoff = make("matrix", game=game).view(make("matrix", game=game).reset(KEY)).fields["payoff"]
    found, bias = function({"last_action": jnp.array(last_action), "payoff": payoff}, state)
    assert bias == 0
    return np.asarray(found)


@pytest.mark.parametrize(
    ("game", "last_action", "by_hand"),
    [
        # Stakes of agents 0 and 1: 11 + 30 in column 0, 30 + 7 in row 1; half of the credit is shared out equally.
        ("climbing", [1, 0], [0.25 + 0.5 * 41 / 78, 0.25 + 0.5 * 37 / 78]),
        # Means of rows are -19/3, -23/3, 11/3, of columns -19/3, -17/3, 5/3: stakes 34/3 and 8.
        ("climbing", [-1, -1], [0.25 + 0.5 * 34 / 58, 0.25 + 0.5 * 24 / 58]),
        # Nothing is at stake: equal shares.
        ("trivial", [2, 2], [0.5, 0.5]),
        # With (2, 2, 0) before, agent 2 chooses among 0, 6, 5; each of the others can change nothing.
        ("climbing-3p", [2, 2, 0], [1 / 6, 1 / 6, 2 / 3]),
    ],
)
def test_the_credit_function_by_hand_weighs_by_what_is_at_stake(game, last_action, by_hand):
    np.testing.assert_allclose(weights(game, last_action), by_hand, rtol=1e-6)
