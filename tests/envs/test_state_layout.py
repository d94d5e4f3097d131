"""The declared layout of the flat state gives that state from the named arrays, in states of play and for any size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qllm_envs import Entries, StateBlock, make
from qllm_envs.layout import flat_state, size

TASKS = {
    "spread alone": ("mpe_spread", {"n_agents": 1}),
    "spread of 15": ("mpe_spread", {"n_agents": 15}),
    "tag alone": ("mpe_tag", {"n_agents": 1, "opponent": "random"}),
    "tag of 6": ("mpe_tag", {"n_agents": 6, "opponent": "random"}),
    "adversary alone": ("mpe_adversary", {"n_agents": 1, "opponent": "random"}),
    "adversary of 4": ("mpe_adversary", {"n_agents": 4, "opponent": "random"}),
    "foraging": ("lbf", {"n_agents": 4, "rows": 6, "cols": 9, "n_foods": 3, "fix_overlap": True}),
    "three in a matrix game": ("matrix", {"game": "climbing-3p"}),
    "smacv2": ("smax", {"scenario": "smacv2_5_units", "fidelity": "smax"}),
}


@pytest.mark.parametrize("task", TASKS)
def test_the_layout_gives_the_flat_state(task: str):
    """In 30 steps of random available actions; `check_env` compares the default tasks in the same way."""
    name, options = TASKS[task]
    env = make(name, **options)
    assert size(env.spec.state_layout) == env.spec.state_dim

    def turn(state, key):
        key_act, key_step = jax.random.split(key)
        view = env.view(state)
        actions = jax.random.categorical(key_act, jnp.where(view.avail, 0.0, -jnp.inf)).astype(jnp.int32)
        return env.step(key_step, state, actions).state, (view.state, view.fields)

    key_reset, key_turns = jax.random.split(jax.random.key(0))
    play = jax.jit(lambda state, keys: jax.lax.scan(turn, state, keys)[1])
    states, fields = jax.device_get(play(env.reset(key_reset), jax.random.split(key_turns, 30)))
    assert len(np.unique(states, axis=0)) > 10
    for t, state in enumerate(states):
        declared = flat_state(env.spec.state_layout, {field: x[t] for field, x in fields.items()})
        np.testing.assert_allclose(declared, state, rtol=0, atol=1e-5)


def test_entries_of_spread_by_hand():
    env = make("mpe_spread")
    state = env.reset(jax.random.key(7))
    declared = flat_state(env.spec.state_layout, env.view(state).fields)
    agents, landmarks = np.asarray(state.agent_pos), np.asarray(state.landmark_pos)
    assert declared[18 + 4] == landmarks[0, 0] - agents[1, 0]
    assert declared[18 + 9] == landmarks[2, 1] - agents[1, 1]
    assert declared[18 + 10 : 18 + 12].tolist() == (agents[0] - agents[1]).tolist()
    assert declared[18 + 14 : 36].tolist() == [0] * 4


def test_numbers_fill_their_entries_and_arrays_are_read_row_by_row():
    layout = (
        StateBlock((Entries("x", 4), Entries("-1", 2))),
        StateBlock((Entries("[x[i, j] for j in range(2)]", 2), Entries("n[i]", 1)), "i", 2),
    )
    fields = {"x": np.array([[1.0, 2.0], [3.0, 4.0]]), "n": np.array([5, 6])}
    assert flat_state(layout, fields).tolist() == [1, 2, 3, 4, -1, -1, 1, 2, 5, 3, 4, 6]
    assert flat_state((), {}).shape == (0,)


@pytest.mark.parametrize(
    ("formula", "sentence"),
    [
        ("x", r"^the formula 'x' gives 4 numbers, not 3$"),
        ("y[0]", r"^the formula 'y\[0\]' fails with NameError: name 'y' is not defined$"),
        ("open('f')", r"^the formula \"open\('f'\)\" fails with NameError"),
    ],
)
def test_a_formula_that_does_not_fit_is_named(formula: str, sentence: str):
    with pytest.raises(ValueError, match=sentence):
        flat_state((StateBlock((Entries(formula, 3),)),), {"x": np.zeros((2, 2))})
