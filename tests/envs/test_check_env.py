"""`check_env` accepts every environment of the package and names the fault of one that is broken on purpose."""

import re
from typing import NamedTuple

import jax
import jax.numpy as jnp
import pytest
from jax.core import Tracer

from qllm_envs import (
    Entries,
    Env,
    EnvContractError,
    Field,
    Scene,
    Shape,
    Spec,
    StateBlock,
    Step,
    View,
    check_env,
    make,
    names,
)
from qllm_envs.core import Bar, Line

HORIZON = 4
SPEC = Spec(
    name="toy",
    n_agents=2,
    n_actions=3,
    obs_dim=1,
    state_dim=2,
    horizon=HORIZON,
    fields={"height": Field((2,), "height of each agent", "meter", 0.0, float(HORIZON))},
    action_names=("stay", "climb", "never"),
    reward="The sum of heights.",
    source="this test",
    task="toy",
    state_layout=(StateBlock((Entries("height[i]", 1),), "i", 2),),
)


class State(NamedTuple):
    height: jax.Array  # (N,)
    t: jax.Array


def reset(key):
    del key
    return State(jnp.zeros(2), jnp.int32(0))


def step(key, state, actions):
    del key
    # The third action is never available: that it is not taken shows in a reward that stays finite.
    height, t_tp1 = state.height + (actions == 1), state.t + 1
    reward = jnp.where((actions == 2).any(), jnp.nan, height.sum())
    return Step(State(height, t_tp1), reward, jnp.bool_(False), t_tp1 >= HORIZON)


def view(state):
    avail = jnp.broadcast_to(jnp.array([[True, True, False]]), (2, 3))
    return View(state.height[:, None], avail, state.height, {"height": state.height})


def scene(state):
    del state
    return Scene((Shape("circle", (0.0, 0.0), 0.1, "tab:blue", "0", agent=0),), (-1.0, -1.0, 1.0, 1.0))


TOY = Env(SPEC, reset, step, view, scene)


def after_step(**changes):
    """The toy with parts of each step replaced; each change is a function of the step."""

    def changed(key, state, actions):
        sound = step(key, state, actions)
        return sound._replace(**{name: change(sound) for name, change in changes.items()})

    return TOY._replace(step=changed)


def in_view(**changes):
    """The toy with parts of what is seen replaced; each change is a function of the state."""
    return TOY._replace(view=lambda state: view(state)._replace(**{name: f(state) for name, f in changes.items()}))


def in_spec(**changes):
    return TOY._replace(spec=SPEC._replace(**changes))


def in_scene(bounds=(-1.0, -1.0, 1.0, 1.0), **changes):
    sound = scene(None).shapes[0]
    return TOY._replace(scene=lambda _: Scene((sound._replace(**changes),), bounds))


def with_key(key, state, actions):
    sound = step(key, state[0], actions)
    return sound._replace(state=(sound.state, state[1]))


def traced(array):
    return isinstance(array, Tracer)


def late(state, value):
    """`value` once two steps are done, else the heights."""
    return jnp.where(state.t < 2, state.height, value)


BROKEN = {
    "a crash of each agent": (
        TOY._replace(crashed=lambda state: jnp.zeros(3, bool)),
        "toy: crashed: expected bool(), got bool(3,)",
    ),
    "a number for who won": (
        TOY._replace(won=lambda state: state.height.sum()),
        "toy: won: expected bool(), got float32()",
    ),
    "wrong dtype of obs": (
        in_view(obs=lambda s: s.height[:, None].astype(jnp.float16)),
        "toy: view.obs: expected float32(2, 1), got float16(2, 1)",
    ),
    "wrong shape of obs": (
        in_view(obs=lambda s: s.height),
        "toy: view.obs: expected float32(2, 1), got float32(2,)",
    ),
    "wrong dtype of avail": (
        in_view(avail=lambda _: jnp.ones((2, 3))),
        "toy: view.avail: expected bool(2, 3), got float32(2, 3)",
    ),
    "wrong length of the flat state": (
        in_view(state=lambda s: s.height[:1]),
        "toy: view.state: expected float32(2,), got float32(1,)",
    ),
    "one reward for each agent": (
        after_step(reward=lambda sound: sound.state.height),
        "toy: step.reward: expected float32(), got float32(2,)",
    ),
    "integer for a flag": (
        after_step(terminated=lambda _: jnp.int32(0)),
        "toy: step.terminated: expected bool(), got int32()",
    ),
    "missing field": (
        in_view(fields=lambda _: {}),
        "toy: names in view.fields: expected ['height'], got []",
    ),
    "wrong shape of a field": (
        in_view(fields=lambda s: {"height": s.height[:, None]}),
        "toy: view.fields['height']: expected float32(2,) or int32(2,) or bool(2,), got float32(2, 1)",
    ),
    "state changes its dtype": (
        after_step(state=lambda sound: sound.state._replace(t=sound.state.t.astype(jnp.float32))),
        "toy: step.state: expected the shapes and dtypes of reset",
    ),
    "python branch on an array": (
        TOY._replace(step=lambda key, state, actions: step(key, state, actions if state.t < 2 else 0 * actions)),
        "toy: step: expected a function that JAX can trace, got TracerBoolConversionError",
    ),
    "too few action names": (
        in_spec(action_names=("stay",)),
        "toy: spec.action_names: expected 3 names, got 1",
    ),
    "no horizon": (
        in_spec(horizon=0),
        "toy: spec.horizon: expected an int of at least 1, got 0",
    ),
    "no layout of the flat state": (
        in_spec(state_layout=()),
        "toy: spec.state_layout: expected 2 entries, got 0",
    ),
    "a layout of another state": (
        in_view(state=lambda s: late(s, 2.5)),
        "toy: spec.state_layout at index 2 of the episode: expected the entries of view.state, [2.5",
    ),
    "a layout of what is no field": (
        in_spec(state_layout=(StateBlock((Entries("width", 2),)),)),
        "toy: spec.state_layout at index 0 of the episode: the formula 'width' fails with NameError",
    ),
    "range upside down": (
        in_spec(fields={"height": Field((2,), "height", "meter", 1.0, 0.0)}),
        "toy: spec.fields['height'] range: expected low <= high, got (1.0, 0.0)",
    ),
    "another value under jit": (
        in_view(state=lambda s: s.height + traced(s.height)),
        "toy: jit(vmap(f)) against plain calls, at view.state: expected [0.0, 0.0",
    ),
    "field out of range": (
        in_view(fields=lambda s: {"height": late(s, 9.0)}),
        "toy: view.fields['height'] at index 2 of the episode: expected finite, in [0, 4], got [9.0, 9.0]",
    ),
    "obs not finite": (
        in_view(obs=lambda s: late(s, jnp.inf)[:, None]),
        "toy: view.obs at index 2 of the episode: expected finite numbers, got [inf, inf]",
    ),
    "reward not finite": (
        after_step(reward=lambda sound: jnp.where(sound.state.t < 3, 0.0, jnp.nan)),
        "toy: step.reward at index 2 of the episode: expected finite numbers, got [nan]",
    ),
    "an agent without an action": (
        in_view(avail=lambda s: jnp.broadcast_to(s.t < 2, (2, 3))),
        "toy: view.avail at index 2 of the episode: expected an available action for each agent, got",
    ),
    "horizon a step too late": (
        after_step(truncated=lambda sound: sound.state.t > HORIZON),
        "toy: first truncation: expected at step 4, the horizon, got never",
    ),
    "horizon a step too early": (
        after_step(truncated=lambda sound: sound.state.t >= HORIZON - 1),
        "toy: first truncation: expected at step 4, the horizon, got at step 3",
    ),
    "scene out of bounds": (
        in_scene(center=(5.0, 0.0)),
        "toy: center in scene.shapes: expected in (-1.0, -1.0, 1.0, 1.0), got (5.0, 0.0)",
    ),
    "scene shows an agent that is not there": (
        in_scene(agent=2),
        "toy: agent in scene.shapes: expected None or 0 to 1, got 2",
    ),
    "a kind of shape that nobody draws": (
        in_scene(kind="star"),
        "toy: kind in scene.shapes: expected circle, square or ring, got star",
    ),
    "a bar that is more than full": (
        in_scene(bars=(Bar(0.5, "red"), Bar(1.5, "red"))),
        "toy: share of a bar in scene.shapes: expected in [0, 1], got 1.5",
    ),
    "a line out of bounds": (
        TOY._replace(scene=lambda _: scene(None)._replace(lines=(Line((0.0, 0.0), (9.0, 0.0), "red"),))),
        "toy: scene.lines: expected in (-1.0, -1.0, 1.0, 1.0), got Line(start=(0.0, 0.0), end=(9.0, 0.0), color='red')",
    ),
    "an early end that the spec denies": (
        after_step(terminated=lambda sound: sound.state.t >= 2),
        "toy: spec.ends_early: expected True, as step.terminated depends on the state, got False",
    ),
    "an end that random play does not reach": (
        after_step(terminated=lambda sound: sound.state.height.sum() > 100.0),
        "toy: spec.ends_early: expected True, as step.terminated depends on the state, got False",
    ),
    "a key in the state": (
        TOY._replace(
            reset=lambda key: (reset(key), key),
            step=lambda key, state, actions: with_key(key, state, actions),
            view=lambda state: view(state[0]),
        ),
        "toy: state[1], which a replay keeps: expected its numbers, jax.random.key_data(key), got key<fry>",
    ),
    "a name that is none": (
        in_spec(name="my game"),
        "my game: spec.name: expected an identifier, got 'my game'",
    ),
    "a task that leads to another folder": (
        in_spec(task="../toy"),
        "toy: spec.task: expected letters, digits, _, - and ., got '../toy'",
    ),
    "two actions of one name": (
        in_spec(action_names=("stay", "climb", "climb")),
        "toy: spec.action_names: expected different names, got ('stay', 'climb', 'climb')",
    ),
    "notable states that cannot be traced": (
        TOY._replace(notable=lambda key: {"in which all are up": 1 / 0}),
        "toy: notable: expected a function that JAX can trace, got ZeroDivisionError: division by zero",
    ),
    "no notable states": (
        TOY._replace(notable=lambda key: {}),
        "toy: notable: expected at least one state, or None in its place, got none",
    ),
    "a notable state of another structure": (
        TOY._replace(notable=lambda key: {"in which all are up": jnp.zeros(2)}),
        "toy: notable['in which all are up']: expected a state as of reset",
    ),
    "a notable state out of range": (
        TOY._replace(notable=lambda key: {"in which all are up": reset(key)._replace(height=jnp.full(2, 9.0))}),
        "toy: view.fields['height'] of notable['in which all are up']: expected finite, in [0, 4], got [9.0, 9.0]",
    ),
    "a later scene out of bounds": (
        TOY._replace(scene=lambda state: in_scene(center=(5.0 * int(state.t), 0.0)).scene(state)),
        "toy: center in scene.shapes: expected in (-1.0, -1.0, 1.0, 1.0), got (5.0, 0.0)",
    ),
    "scene without extent": (
        in_scene(bounds=(0.0, 0.0, 0.0, 0.0)),
        "toy: scene.bounds: expected x0 < x1 and y0 < y1, got (0.0, 0.0, 0.0, 0.0)",
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_environment_is_named_with_its_fault(fault):
    env, message = BROKEN[fault]
    with pytest.raises(EnvContractError, match=f"^{re.escape(message)}"):
        check_env(env)


def test_a_reset_that_counts_its_calls_is_not_pure():
    calls = []

    def counting(key):
        calls.append(1)
        return reset(key)._replace(height=jnp.full((2,), float(len(calls))))

    with pytest.raises(EnvContractError, match=r"^toy: reset, step and view, called twice with equal inputs, at state"):
        check_env(TOY._replace(reset=counting))


def test_a_view_that_remembers_the_last_step_is_not_pure():
    memory = [0.0]

    def remembering(key, state, actions):
        memory[0] = 0.0 if traced(actions) else 1.0
        return step(key, state, actions)

    def forgetful_reset(key):
        memory[0] = 0.0
        return reset(key)

    env = TOY._replace(
        reset=forgetful_reset, step=remembering, view=lambda s: view(s)._replace(state=s.height + memory[0])
    )
    with pytest.raises(EnvContractError, match=r"^toy: view of a state before and after a step, at state"):
        check_env(env)


def test_an_environment_without_pictures_passes():
    check_env(Env(SPEC, reset, step, view))


def test_a_sound_environment_passes_and_a_task_may_end_before_the_horizon():
    check_env(TOY)
    early = after_step(terminated=lambda sound: sound.state.t >= 2, truncated=lambda _: jnp.bool_(False))
    check_env(early._replace(spec=SPEC._replace(ends_early=True)))


def test_python_numbers_serve_as_arrays():
    check_env(after_step(terminated=lambda _: False))


def test_a_part_of_an_episode_is_checked_without_its_end():
    check_env(after_step(truncated=lambda _: jnp.bool_(False)), n_steps=HORIZON - 1)


# Which take longest to compile, or have tests of their contract elsewhere.
LARGE = ("football_lite", "smax", "rware", "lbf", "couriers", "jaxmarl", "mpe_adversary", "mpe_tag")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.thorough] if name in LARGE else []) for name in names()]
)
def test_every_environment_keeps_the_contract(name):
    check_env(make(name))


def test_spread_with_the_last_reward_dropped_keeps_the_contract():
    check_env(make("mpe_spread", drop_last_reward=True))
