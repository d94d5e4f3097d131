"""Duty: rewards made by hand, who is on duty and how often, what is seen with and without `sees`, picture, options."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qllm_envs import Env, check_env, make
from qllm_envs.duty import IDLE, RIGHT, UNKNOWN, WRONG, State
from qllm_jax import config
from qllm_jax.program import experiment

KEY = jax.random.key(0)


def place(symbol: list[int], on_duty: list[int]) -> State:
    return State(jnp.array(symbol), jnp.array(on_duty, bool), jnp.zeros(len(symbol), jnp.int32), jnp.int32(0))


@pytest.mark.parametrize(
    ("symbol", "on_duty", "actions", "reward"),
    [
        ([3, 1, 2], [1, 0, 0], [3, 0, 0], 1.0),
        ([3, 1, 2], [1, 0, 0], [1, 1, 2], 0.0),  # the others are right, and nobody asked them
        ([3, 1, 2], [0, 1, 1], [0, 1, 1], 0.5),
        ([3, 1, 2], [1, 1, 1], [3, 1, 2], 1.0),
        ([3, 1, 2], [1, 1, 1], [0, 0, 2], 1 / 3),
    ],
)
def test_the_reward_is_the_share_of_those_on_duty_who_are_right(
    symbol: list[int], on_duty: list[int], actions: list[int], reward: float
):
    env = make("duty", n_agents=3, symbols=4, actions=4, active=sum(on_duty))
    step = env.step(KEY, place(symbol, on_duty), jnp.array(actions))
    np.testing.assert_allclose(step.reward, reward, rtol=1e-6)
    answers = [RIGHT if a == k else WRONG for a, k in zip(actions, symbol, strict=True)]
    wanted = [mark if duty else IDLE for mark, duty in zip(answers, on_duty, strict=True)]
    assert step.state.marked.tolist() == wanted


def test_a_symbol_is_answered_by_its_number_modulo_the_actions():
    env = make("duty", n_agents=1, symbols=5, actions=3)
    paid = [[float(env.step(KEY, place([k], [1]), jnp.array([a])).reward) for a in range(3)] for k in range(5)]
    assert np.argmax(paid, axis=1).tolist() == [0, 1, 2, 0, 1]
    assert np.sum(paid, axis=1).tolist() == [1] * 5


@pytest.mark.parametrize("active", [1, 2, 4])
def test_all_agents_are_on_duty_equally_often_and_always_as_many_as_asked(active: int):
    env = make("duty", n_agents=4, symbols=3, active=active)
    states = jax.jit(jax.vmap(env.reset))(jax.random.split(KEY, 4000))
    assert (states.on_duty.sum(1) == active).all()
    # Five standard deviations of a mean of 4000 draws are at most 0.04.
    np.testing.assert_allclose(states.on_duty.mean(0), active / 4, atol=0.04)
    np.testing.assert_allclose([(states.symbol == k).mean(0) for k in range(3)], np.full((3, 4), 1 / 3), atol=0.04)


def play(env: Env, n_plays: int = 200) -> tuple[State, jax.Array]:
    """States (B, T+1, ...) and rewards (B, T) of episodes in which all agents are right."""

    def episode(key: jax.Array) -> tuple[State, jax.Array]:
        def turn(state: State, key: jax.Array):
            step = env.step(key, state, state.symbol % env.spec.n_actions)
            return step.state, (step.state, step.reward)

        key_reset, key_turns = jax.random.split(key)
        first = env.reset(key_reset)
        _, (states, rewards) = jax.lax.scan(turn, first, jax.random.split(key_turns, env.spec.horizon))
        return jax.tree.map(lambda one, rest: jnp.concatenate([one[None], rest]), first, states), rewards

    return jax.jit(jax.vmap(episode))(jax.random.split(KEY, n_plays))


def test_symbols_and_duty_are_drawn_anew_at_every_step_and_the_best_return_is_the_horizon():
    states, rewards = play(make("duty", n_agents=5))
    assert (rewards.sum(1) == 10).all()
    again = lambda x: float((x[:, 1:] == x[:, :-1]).all(-1).mean())
    # One of five is on duty again with probability 0.2: 2000 pairs, five standard deviations.
    assert abs(again(states.on_duty) - 0.2) < 0.045
    assert abs(float((states.symbol[:, 1:] == states.symbol[:, :-1]).mean()) - 1 / 8) < 0.02


def test_an_agent_sees_its_symbol_and_the_state_tells_who_is_on_duty():
    env, state = make("duty", n_agents=2, symbols=3, actions=2), place([2, 0], [0, 1])
    view = env.view(state)
    assert view.obs.tolist() == [[0, 0, 1], [1, 0, 0]]
    assert view.state.tolist() == [0, 0, 0, 1, 1, 1, 0, 0]
    assert view.fields["on_duty"].tolist() == [False, True]
    assert view.fields["symbol"].tolist() == [2, 0]
    assert env.view(place([2, 0], [1, 0])).obs.tolist() == view.obs.tolist()


def test_with_sees_an_agent_sees_whether_it_is_on_duty_and_only_then_its_symbol():
    env = make("duty", n_agents=2, symbols=3, sees=True)
    view = env.view(place([2, 0], [0, 1]))
    assert view.obs.tolist() == [[0, 0, 0, 0], [1, 1, 0, 0]]
    assert view.state.tolist() == [0, 0, 0, 1, 1, 1, 0, 0]
    assert view.avail.tolist() == [[True] + [False] * 7, [True] * 8]
    assert "an agent sees its own entry" in env.spec.fields["on_duty"].meaning
    assert "no agent sees it" in make("duty").spec.fields["on_duty"].meaning


@pytest.mark.thorough
@pytest.mark.parametrize("options", [{"n_agents": 1}, {"n_agents": 25, "active": 2, "sees": True, "actions": 3}])
def test_the_contract_is_kept(options: dict):
    check_env(make("duty", **options))


def test_the_scene_frames_who_is_on_duty_and_marks_answers_that_were_paid():
    env = make("duty", n_agents=3, symbols=4, active=2)
    state = place([3, 1, 2], [1, 0, 1])
    scene = env.scene(state)
    framed = [shape.center for shape in scene.shapes if shape.color == "gold"]
    assert framed == [shape.center for shape in scene.shapes if shape.agent in (0, 2)]
    assert [shape.label for shape in scene.shapes if shape.agent is None and shape.label] == ["3", "1", "2"]
    after = env.scene(state._replace(marked=jnp.array([RIGHT, IDLE, WRONG])))
    assert [s.color for s in after.shapes if s.color in ("tab:green", "tab:red")] == ["tab:green", "tab:red"]
    assert UNKNOWN not in (RIGHT, IDLE, WRONG)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"n_agents": 0}, "n_agents must be an integer of at least 1, got 0"),
        ({"symbols": 0}, "symbols must be an integer of at least 1, got 0"),
        ({"actions": 1.5}, "actions must be an integer of at least 1, got 1.5"),
        ({"active": 0}, "active must be an integer of at least 1, got 0"),
        ({"active": 11}, "active must be at most the number of agents, 10, got 11"),
        ({"horizon": True}, "horizon must be an integer of at least 1, got True"),
        ({"sees": 1}, "sees must be True or False, got 1"),
    ],
)
def test_a_bad_value_is_named(options: dict, sentence: str):
    with pytest.raises(ValueError, match=r"^duty: ") as caught:
        make("duty", **options)
    assert str(caught.value) == f"duty: {sentence}"


@pytest.mark.parametrize(
    ("overrides", "task"),
    [
        ("env=duty", "duty_n10"),
        ("env=duty n_agents=25 env.active=2", "duty_n25_active2"),
        ("env=duty n_agents=3 env.sees=true", "duty_n3_sees"),
    ],
)
def test_tasks_are_composed_by_hydra(overrides: str, task: str):
    settings = config.load(overrides.split())
    assert experiment.make_env(settings.env, settings.n_agents).spec.task == task
