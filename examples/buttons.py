"""The smallest game, to copy: agents press a button or wait, and are paid 1 in each step in which all of them press."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from qllm_envs import Entries, Env, Field, Spec, StateBlock, Step, View

HORIZON = 10


class State(NamedTuple):
    """Buttons pressed in the step before, and the number of steps taken."""

    pressed: jax.Array  # (N,) 0.0 or 1.0
    t: jax.Array  # ()


def make(*, n_agents: int = 3) -> Env:
    """Return the game for `n_agents`."""
    spec = Spec(
        name="buttons",
        task=f"buttons_n{n_agents}",
        n_agents=n_agents,
        n_actions=2,
        action_names=("wait", "press"),
        obs_dim=1,
        state_dim=n_agents,
        horizon=HORIZON,
        fields={"agent_pressed": Field((n_agents,), "1 for each agent that has just pressed", "none", 0.0, 1.0)},
        state_layout=(StateBlock((Entries("agent_pressed[i]", 1),), letter="i", repeats=n_agents),),
        reward="1 in a step in which all agents press.",
        source="examples/buttons.py",
    )

    def reset(key: jax.Array) -> State:
        del key  # every episode starts alike
        return State(jnp.zeros(n_agents), jnp.int32(0))

    def step(key: jax.Array, state: State, actions: jax.Array) -> Step:
        del key
        pressed, t = actions.astype(jnp.float32), state.t + 1
        return Step(State(pressed, t), pressed.min(), jnp.bool_(False), t >= HORIZON)

    def view(state: State) -> View:
        avail = jnp.ones((n_agents, 2), bool)
        return View(state.pressed[:, None], avail, state.pressed, {"agent_pressed": state.pressed})

    return Env(spec, reset, step, view)
