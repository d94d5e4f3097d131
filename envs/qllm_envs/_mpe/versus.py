"""Tasks of a team against one opponent that the environment plays: the common part of `mpe_tag` and `mpe_adversary`.

A state is a NamedTuple with `agent_pos` and `agent_vel` (N, 2), `<role>_pos` and `<role>_vel` (2,) of the opponent, and
`t`, the number of steps taken.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from qllm_envs._mpe import task
from qllm_envs._mpe.task import Rules
from qllm_envs.core import Entries, Env, Field, Scene, Step, View

Policy = Callable[[jax.Array, Float[Array, " obs"]], Int[Array, ""]]  # of the opponent; the key is consumed


class Task(NamedTuple):
    """The parts in which two such tasks differ."""

    name: str
    scenario: str  # of mpe2
    reset: Callable[[int, jax.Array], Any]  # (n_agents, key) -> state
    move: Callable[[Any, Int[Array, " n"], Int[Array, ""]], Any]  # (state, actions, the opponent's action) -> state
    opponent_obs: Callable[[Any], Float[Array, " obs"]]
    reward: Callable[[Any], Float[Array, ""]]  # of the state after a step, summed over agents
    view: Callable[[Any], View]
    scene: Callable[[Any], Scene]
    obs_entries: Callable[[int], tuple[Entries, ...]]  # (n_agents) -> layout of the observation of agent i
    fields: Callable[[Rules], dict[str, Field]]
    reward_sentence: Callable[[Rules], str]
    notable: Callable[[Rules, jax.Array], dict[str, Any]]  # `Env.notable`


def make(parts: Task, rules: Rules, opponent: Policy) -> Env:
    """Return the environment of a task whose opponent plays a policy."""
    n_agents, fields, sentence = rules.n_agents, parts.fields(rules), parts.reward_sentence(rules)
    return Env(
        spec=task.spec(parts.name, rules, parts.obs_entries(n_agents), fields, sentence, parts.scenario),
        reset=partial(parts.reset, n_agents),
        step=partial(_step, parts, rules, opponent),
        view=parts.view,
        scene=parts.scene,
        notable=partial(parts.notable, rules),
    )


def _step(parts: Task, rules: Rules, opponent: Policy, key: jax.Array, state: Any, actions: Int[Array, " n"]) -> Step:
    moved = parts.move(state, actions, opponent(key, parts.opponent_obs(state)))
    return task.end_step(rules, state, moved, parts.reward(moved))


def bodies(state: Any, role: str) -> tuple[Float[Array, "n+1 2"], Float[Array, "n+1 2"]]:
    """Positions and velocities of the agents and, in the last row, of the opponent."""
    both = lambda what: jnp.concatenate([getattr(state, f"agent_{what}"), getattr(state, f"{role}_{what}")[None]])
    return both("pos"), both("vel")


def with_bodies(state: Any, role: str, pos: Float[Array, "n+1 2"], vel: Float[Array, "n+1 2"]) -> Any:
    """Return `state` with the positions and velocities of `bodies` replaced."""
    opponent = {f"{role}_pos": pos[-1], f"{role}_vel": vel[-1]}
    return state._replace(agent_pos=pos[:-1], agent_vel=vel[:-1], **opponent)
