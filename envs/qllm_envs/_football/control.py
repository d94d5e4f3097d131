"""Control of a team of which only some players are agents: it hops to the player at the ball (team.cpp of the engine).

An agent who is handed another player takes his pad along: what he holds stays held, and a kick that waits still waits.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from qllm_envs._football.constants import LEFT, Rules
from qllm_envs._football.state import Control, State

# All from the engine's team.cpp.
SOONER = 3.0  # times sooner than all controlled players that another has to be at the ball to be handed over
FAVOR = 0.8  # by which controlled players are favored to be the one who goes for the ball
SAFE, SAFE_MORE, SAFE_TIMES = 0.1, 0.2, 1.2  # s; a player who is that much sooner than all opponents is kept


def start(rules: Rules) -> Control | None:
    """Return who is controlled at first; None where that is the whole team, for good."""
    return Control(jnp.array(rules.agents), jnp.arange(rules.n_agents)) if rules.hops else None


def players(rules: Rules, state: State) -> Int[Array, " a"]:
    """The player of each agent."""
    return jnp.arange(rules.n_agents) if state.control is None else state.control.player


def controlled(rules: Rules, now: Control) -> Bool[Array, " n"]:
    """True for the players of the left team whom an agent controls."""
    return (jnp.arange(rules.n_left)[:, None] == now.player[None]).any(1)


def of_players(rules: Rules, state: State, actions: Int[Array, " a"]) -> Int[Array, " n"]:
    """Actions of the left team's players from those of the agents; players without an agent do nothing."""
    if state.control is None:
        return actions
    return jnp.zeros((rules.n_left,), actions.dtype).at[state.control.player].set(actions)


def weighed(rules: Rules, now: Control, rating: Array, time: Float[Array, " p"], best: Array, chosen: Array) -> Array:
    """The rating by which the player who goes for the ball is exchanged for a sooner one, with control looked at."""
    mine = controlled(rules, now)
    rating = rating * jnp.where(mine[best], FAVOR, 1.0) / jnp.where(mine[chosen], FAVOR, 1.0)
    safe = ~mine[best] & (time[chosen] < time[rules.n_left :].min() - SAFE)
    return jnp.where(safe, (rating + SAFE_MORE) * SAFE_TIMES, rating)


def hopped(rules: Rules, state: State, now: Control, has: Bool[Array, " p"]) -> State:
    """The state after a step's hand-over, if there is one, to the player who goes for the ball and has no agent.

    He has the ball alone, or is far sooner there than any controlled player. The goalkeeper is never handed over.
    """
    n, time, player = rules.n_left, state.time_to_ball, state.designated[LEFT]
    mine = controlled(rules, now)
    # The agent at the ball is not the next to be taken away from his player.
    waits = now.player[now.order[0]] == state.on_ball
    order = jnp.where(waits, jnp.roll(now.order, -1), now.order)
    alone = has[player] & ~has[n:].any()
    far_sooner = SOONER * time[player] < jnp.where(mine, time[:n], jnp.inf).min()
    hops = ~mine[player] & (player != 0) & (alone | far_sooner)
    agent = order[0]
    left = now.player[agent]

    def moved(pad: Array) -> Array:
        return jnp.where(hops, pad.at[player].set(pad[left]).at[left].set(jnp.zeros((), pad.dtype)), pad)

    return state._replace(
        buttons=jax.tree.map(moved, state.buttons),
        control=Control(
            jnp.where(hops, now.player.at[agent].set(player), now.player),
            jnp.where(hops, jnp.roll(order, -1), order),
        ),
    )
