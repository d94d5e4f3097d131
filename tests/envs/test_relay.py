"""Relay: when and for what it pays, by hand; what agents and state keep; what may be done; picture and options."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qllm_envs import Env, Step, View, check_env, make
from qllm_envs.relay import State
from qllm_jax import config
from qllm_jax.program import experiment

KEY = jax.random.key(0)
WAIT = 4


def place(symbol: list[int], on_duty: list[int]) -> State:
    return State(jnp.array(symbol), jnp.array(on_duty, bool), jnp.full((len(symbol),), -1), jnp.int32(0))


def play(env: Env, state: State, actions: list[list[int]]) -> tuple[list[Step], list[View]]:
    """Steps, and the views after them."""
    steps = []
    for joint in actions:
        steps.append(env.step(KEY, state, jnp.array(joint)))
        state = steps[-1].state
    return steps, [env.view(step.state) for step in steps]


def test_an_answer_is_paid_in_the_last_step_of_its_round():
    env = make("relay", n_agents=3, symbols=4, actions=4, active=2, delay=2, rounds=2)
    steps, views = play(env, place([3, 1, 2], [1, 0, 1]), [[3, 0, 0], [WAIT] * 3, [WAIT] * 3, [0, 0, 0]])
    assert [float(step.reward) for step in steps] == [0, 0, 0.5, 0]
    assert [int(view.fields["steps_to_pay"]) for view in views] == [1, 0, 2, 1]
    assert [view.fields["answer"].tolist() for view in views] == [[3, 0, 0], [3, 0, 0], [-1, -1, -1], [0, 0, 0]]
    for view in views[:2]:
        assert view.fields["on_duty"].tolist() == [True, False, True]
        assert view.fields["symbol"].tolist() == [3, 1, 2]


@pytest.mark.parametrize(("actions", "reward"), [([1, 0, 0], 1.0), ([0, 1, 1], 0.0), ([1, 1, 1], 1.0)])
def test_only_the_answer_on_duty_counts(actions: list[int], reward: float):
    env = make("relay", n_agents=3, symbols=4, actions=4, delay=1, rounds=1)
    steps, _ = play(env, place([1, 1, 1], [1, 0, 0]), [actions, [WAIT] * 3])
    assert [float(step.reward) for step in steps] == [0, reward]
    assert [bool(step.truncated) for step in steps] == [False, True]


def test_without_delay_every_step_is_a_round():
    env = make("relay", n_agents=2, symbols=3, actions=3, delay=0, rounds=3)
    steps, views = play(env, place([2, 0], [1, 0]), [[2, 1], [0, 0], [0, 0]])
    assert float(steps[0].reward) == 1
    assert [bool(step.truncated) for step in steps] == [False, False, True]
    for view in views:
        assert view.fields["answer"].tolist() == [-1, -1]


def test_every_round_draws_anew_and_answers_that_are_right_earn_1_a_round():
    env = make("relay", n_agents=4, symbols=3, actions=3, delay=1, rounds=5)

    def turn(state: State, key: jax.Array):
        step = env.step(key, state, state.symbol)
        return step.state, (step.state, step.reward)

    def episode(key: jax.Array):
        return jax.lax.scan(turn, env.reset(key), jax.random.split(jax.random.fold_in(key, 1), 10))[1]

    states, rewards = jax.jit(jax.vmap(episode))(jax.random.split(KEY, 1000))
    assert (rewards.sum(1) == 5).all()
    assert (states.on_duty.sum(-1) == 1).all()
    starts = jax.tree.map(lambda x: x[:, 1::2], states)  # of the rounds after the first
    # 5000 draws; five standard deviations.
    np.testing.assert_allclose(starts.on_duty.mean((0, 1)), 0.25, atol=0.031)
    again = (starts.on_duty[:, 1:] == starts.on_duty[:, :-1]).all(-1).mean()
    assert abs(float(again) - 0.25) < 0.035


def test_an_agent_sees_its_own_symbol_answer_and_the_step_of_the_round():
    env = make("relay", n_agents=2, symbols=3, actions=2, delay=1, rounds=2)
    state = place([2, 0], [0, 1])
    before, after = env.view(state), env.view(env.step(KEY, state, jnp.array([1, 0])).state)
    #                              symbol   answer clock
    assert before.obs.tolist() == [[0, 0, 1, 0, 0, 1, 0], [1, 0, 0, 0, 0, 1, 0]]
    assert after.obs.tolist() == [[0, 0, 1, 0, 1, 0, 1], [1, 0, 0, 1, 0, 0, 1]]
    #                             duty symbol   answer duty symbol answer clock
    assert after.state.tolist() == [0, 0, 0, 1, 0, 1, 1, 1, 0, 0, 1, 0, 0, 1]
    other = env.view(place([2, 0], [1, 0]))
    assert other.obs.tolist() == before.obs.tolist()
    assert other.state.tolist() != before.state.tolist()


def test_with_sees_an_agent_sees_whether_it_is_on_duty_and_only_then_its_symbol_and_answer():
    dark, bright = (make("relay", n_agents=2, symbols=3, actions=2, delay=1, sees=sees) for sees in (False, True))
    state = place([2, 0], [0, 1])
    after = dark.step(KEY, state, jnp.array([1, 0])).state
    #                                           duty symbol answer clock
    assert bright.view(state).obs.tolist() == [[0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 0, 0, 0, 0, 1, 0]]
    assert bright.view(after).obs.tolist() == [[0, 0, 0, 0, 0, 0, 0, 1], [1, 1, 0, 0, 1, 0, 0, 1]]
    assert bright.view(state).avail.tolist() == [[True, False, False], [True, True, False]]
    assert bright.view(after).avail.tolist() == [[False, False, True]] * 2
    np.testing.assert_array_equal(bright.view(after).state, dark.view(after).state)


def test_agents_answer_in_the_first_step_of_a_round_and_wait_in_the_others():
    env = make("relay", n_agents=2, symbols=3, actions=3, delay=1)
    state = place([0, 1], [1, 0])
    assert env.view(state).avail.tolist() == [[True, True, True, False]] * 2
    assert env.view(env.step(KEY, state, jnp.array([0, 0])).state).avail.tolist() == [[False, False, False, True]] * 2
    assert env.spec.action_names == ("0", "1", "2", "wait")


@pytest.mark.thorough
@pytest.mark.parametrize("options", [{"n_agents": 1, "delay": 0}, {"n_agents": 12, "active": 2, "sees": True}])
def test_the_contract_is_kept(options: dict):
    check_env(make("relay", **options))


def test_the_scene_shows_the_clock_who_is_on_duty_and_what_waits_for_its_payment():
    env = make("relay", n_agents=3, symbols=4, actions=4, active=2, delay=2)
    state = place([3, 1, 2], [1, 0, 1])
    colors = lambda scene, *wanted: [s.color for s in scene.shapes if s.color in wanted and s.agent is None]
    before, after = env.scene(state), env.scene(env.step(KEY, state, jnp.array([3, 1, 0])).state)
    assert colors(before, "tab:green", "tab:red") == []
    assert colors(after, "tab:green", "tab:red") == ["tab:green", "tab:red"]
    # A step of the clock is gold once it has begun, and two agents are framed.
    assert (len(colors(before, "gold")), len(colors(after, "gold"))) == (1 + 2, 2 + 2)
    assert [s.label for s in after.shapes if s.color in ("tab:green", "tab:red", "lightgray") and s.label] == [
        "3", "3", "1", "1", "2", "0",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"n_agents": 0}, "n_agents must be an integer of at least 1, got 0"),
        ({"symbols": 0}, "symbols must be an integer of at least 1, got 0"),
        ({"actions": 0}, "actions must be an integer of at least 1, got 0"),
        ({"active": 11}, "active must be at most the number of agents, 10, got 11"),
        ({"delay": -1}, "delay must be an integer of at least 0, got -1"),
        ({"rounds": 0}, "rounds must be an integer of at least 1, got 0"),
        ({"sees": None}, "sees must be True or False, got None"),
    ],
)
def test_a_bad_value_is_named(options: dict, sentence: str):
    with pytest.raises(ValueError, match=r"^relay: ") as caught:
        make("relay", **options)
    assert str(caught.value) == f"relay: {sentence}"


@pytest.mark.parametrize(
    ("overrides", "task"),
    [
        ("env=relay", "relay_n10"),
        ("env=relay n_agents=25 env.delay=1 env.active=2 env.sees=true", "relay_n25_delay1_active2_sees"),
    ],
)
def test_tasks_are_composed_by_hydra(overrides: str, task: str):
    settings = config.load(overrides.split())
    assert experiment.make_env(settings.env, settings.n_agents).spec.task == task
