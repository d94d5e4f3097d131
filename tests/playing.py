"""Common part of tests of the particle world: compiled environments, whole plays, facts of any play and picture."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from qllm_envs import Env, Scene, Step, View, make

KEY = jax.random.key(0)
NONE, LEFT, RIGHT, DOWN, UP = range(5)
STILL: dict[str, dict[str, Any]] = {  # the options of each task in which only the team acts
    "mpe_spread": {},
    "mpe_tag": {"opponent": "still"},
    "mpe_adversary": {"opponent": "still"},
}
close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5)


@functools.cache
def compiled(name: str, n_agents: int, **options: Any) -> Env:
    """The environment, `STILL` unless said otherwise, with its functions compiled once for all tests."""
    env = make(name, n_agents=n_agents, **STILL[name] | options)
    return env._replace(reset=jax.jit(env.reset), step=jax.jit(env.step), view=jax.jit(env.view))


@functools.cache
def player(name: str, n_agents: int, **options: Any) -> Callable[..., tuple[Step, View]]:
    """(state, actions (T, N)) -> steps and views, time first. `STILL` unless said otherwise."""
    env = make(name, n_agents=n_agents, **STILL[name] | options)

    def turn(state, actions):
        step = env.step(jax.random.fold_in(KEY, state.t), state, actions)
        return step.state, (step, env.view(step.state))

    return jax.jit(lambda state, actions: jax.lax.scan(turn, state, actions)[1])


def grid(draw: st.DrawFn, tenths: int, *shape: int) -> np.ndarray:
    """Positions on a grid with step 0.1, so that bodies in one place and contacts are common."""
    return draw(hnp.arrays(np.int32, shape, elements=st.integers(-tenths, tenths))) / 10


def any_actions(draw: st.DrawFn, n_agents: int) -> np.ndarray:
    """Actions (25, N) of an episode."""
    return draw(hnp.arrays(np.int32, (25, n_agents), elements=st.integers(0, 4)))


def assert_sound(env: Env, steps: Step, views: View, in_reach: bool = True) -> None:
    """A play is finite, its fields are within what the spec says, and the flat state is all observations.

    `in_reach=False` leaves the fields out, for states that the spec's reach does not cover.
    """
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((steps, views)))
    for name, field in env.spec.fields.items() if in_reach else ():
        assert (field.low <= views.fields[name]).all()
        assert (views.fields[name] <= field.high).all()
    np.testing.assert_array_equal(views.state, views.obs.reshape(len(views.obs), -1))


def assert_shown(scene: Scene, *centers: tuple[float, float]) -> None:
    """The agents are shown by number at `centers`, and the picture holds all shapes."""
    agents = [shape for shape in scene.shapes if shape.agent is not None]
    assert [(shape.agent, shape.label, shape.center) for shape in agents] == [
        (i, str(i), center) for i, center in enumerate(centers)
    ]
    x0, y0, x1, y1 = scene.bounds
    for shape in scene.shapes:
        (x, y), r = shape.center, shape.radius
        assert x0 <= x - r <= x + r <= x1
        assert y0 <= y - r <= y + r <= y1
