"""Modes: rewards made by hand, how often the rare mode is drawn, what is seen, and when credit reverses the policy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qllm_envs import check_env, make, modes
from qllm_envs.modes import State
from qllm_jax import config
from qllm_jax.program import experiment

KEY = jax.random.key(0)


def place(symbol: list[int], rare: list[int]) -> State:
    return State(jnp.array(symbol), jnp.array(rare, bool), jnp.full((len(rare),), -1), jnp.int32(0))


@pytest.mark.parametrize(
    ("symbol", "actions", "reward"),
    [
        ([0, 0, 0, 0], [0, 0, 0, 0], 0.5),
        ([1, 3, 5, 0], [1, 1, 1, 0], 0.5),
        ([0, 0, 0, 0], [1, 1, 1, 1], 1.5),
        ([0, 1, 2, 3], [0, 1, 1, 0], 2.0),
        ([0, 1, 2, 3], [1, 0, 0, 1], 0.0),
    ],
)
def test_the_right_answer_pays_1_in_the_common_mode_and_the_other_one_more_in_the_rare_mode(
    symbol: list[int], actions: list[int], reward: float
):
    env, rare = make("modes", n_agents=4, pay=3), [0, 0, 1, 1]
    step = env.step(KEY, place(symbol, rare), jnp.array(actions))
    assert float(step.reward) == reward
    assert step.state.paid.tolist() == [
        int((a == k % 2) != mode) for a, k, mode in zip(actions, symbol, rare, strict=True)
    ]


def test_the_rare_mode_is_as_frequent_as_asked_and_drawn_anew():
    env = make("modes", n_agents=5, rare=0.3)
    keys = jax.random.split(KEY, (2, 4000))
    first = jax.jit(jax.vmap(env.reset))(keys[0])
    after = jax.jit(jax.vmap(env.step, (0, 0, None)))(keys[1], first, jnp.zeros(5, jnp.int32)).state
    # Five standard deviations of a mean of 4000 draws.
    np.testing.assert_allclose(first.rare.mean(0), 0.3, atol=0.037)
    np.testing.assert_allclose(after.rare.mean(0), 0.3, atol=0.037)
    np.testing.assert_allclose((first.rare & after.rare).mean(0), 0.09, atol=0.037)


def test_only_the_state_tells_the_modes_unless_agents_see_them():
    dark, bright = (make("modes", n_agents=2, symbols=3, sees=sees) for sees in (False, True))
    state = place([2, 0], [0, 1])
    assert dark.view(state).obs.tolist() == [[0, 0, 1], [1, 0, 0]]
    assert bright.view(state).obs.tolist() == [[0, 0, 0, 1], [1, 1, 0, 0]]
    for env in (dark, bright):
        assert env.view(state).state.tolist() == [0, 0, 0, 1, 1, 1, 0, 0]
        assert env.view(state).fields["rare"].tolist() == [False, True]
        assert env.view(state).fields["symbol"].tolist() == [2, 0]


@pytest.mark.parametrize("options", [{"n_agents": 1, "rare": 1}, {"pay": 0, "rare": 0.5, "sees": True}])
def test_the_contract_is_kept(options: dict):
    check_env(make("modes", **options))


def test_the_scene_frames_agents_in_the_rare_mode_and_marks_who_was_paid():
    env, state = make("modes", n_agents=3), place([4, 5, 6], [0, 1, 0])
    scene = env.scene(state)
    framed = [shape.center for shape in scene.shapes if shape.color == "gold"]
    assert framed == [shape.center for shape in scene.shapes if shape.agent == 1]
    after = env.scene(state._replace(paid=jnp.array([1, 0, 1])))
    marks = [shape.color for shape in after.shapes if shape.color in ("tab:green", "tab:red")]
    assert marks == ["tab:green", "tab:red", "tab:green"]


@pytest.mark.parametrize(
    ("options", "threshold"), [({}, 1.5), ({"rare": 0.5, "pay": 4}, 0.25), ({"rare": 0}, float("inf"))]
)
def test_the_threshold_of_the_docs(options: dict, threshold: float):
    assert modes.threshold(make("modes", **options).spec) == threshold


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"n_agents": 0}, "n_agents must be an integer of at least 1, got 0"),
        ({"symbols": 0}, "symbols must be an integer of at least 1, got 0"),
        ({"rare": 1.5}, "rare must be a number from 0 to 1, got 1.5"),
        ({"pay": -1}, "pay must be a number from 0 to 1000, got -1"),
        ({"horizon": 0}, "horizon must be an integer of at least 1, got 0"),
        ({"sees": "no"}, "sees must be True or False, got 'no'"),
    ],
)
def test_a_bad_value_is_named(options: dict, sentence: str):
    with pytest.raises(ValueError, match=r"^modes: ") as caught:
        make("modes", **options)
    assert str(caught.value) == f"modes: {sentence}"


@pytest.mark.parametrize(
    ("overrides", "task"),
    [("env=modes", "modes_n10"), ("env=modes n_agents=3 env.pay=4 env.sees=true", "modes_n3_rare0.25_pay4_sees")],
)
def test_tasks_are_composed_by_hydra(overrides: str, task: str):
    settings = config.load(overrides.split())
    assert experiment.make_env(settings.env, settings.n_agents).spec.task == task
