"""Football: attacks on a goal with a goalkeeper, after Google Research Football (Kurach et al. 2020,
arxiv.org/abs/1907.11180). Not that game: the rules and formulas of its engine 2.10.2 that make the problem, and fitted
tables in place of its recorded strides. docs/football.md has what is kept, simplified and dropped; results carry the
name football_lite.

The task is that of QLLM's paper: the agents are all players of the left team, their own goalkeeper among them, or four
of its eleven players; the reward is the sum over agents of scoring and checkpoints; an episode ends with a goal, the
ball out of play, the loss of the ball, or after 150 steps. Buttons that stay pressed and kicks that wait for the ball
are hidden from observations.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from qllm_envs import options
from qllm_envs._football import game, scene
from qllm_envs._football import view as seen
from qllm_envs._football.constants import (
    ACTION_NAMES,
    BALL_RADIUS,
    HALF_LENGTH,
    HORIZON,
    SCENARIOS,
    Rules,
    rules,
)
from qllm_envs._football.state import GOAL, Ball, State
from qllm_envs.core import Env, Spec

__all__ = ["State", "make"]

NAME = "football_lite"
# Compiled as a whole: called one by one, the thousands of small operations of a step would each be compiled.
_RESET, _STEP, _VIEW = (jax.jit(function, static_argnums=0) for function in (game.reset, game.step, seen.view))


def make(*, scenario: str = "academy_3_vs_1_with_keeper", horizon: int = HORIZON) -> Env:
    """Return a match of a scenario, of at most `horizon` steps of 0.1 s.

    `scenario` is academy_3_vs_1_with_keeper (4 agents: 3 attackers and their goalkeeper against a defender and a
    goalkeeper), academy_pass_and_shoot_with_keeper (3 agents: 2 attackers and their goalkeeper against the same), or
    academy_counterattack_easy (4 agents in a team of 11 against 11; control hops to the player at the ball).
    """
    chosen = rules(
        options.choice(NAME, "scenario", scenario, SCENARIOS), options.integer(NAME, "horizon", horizon, low=1)
    )
    return Env(
        spec=_spec(chosen),
        reset=partial(_RESET, chosen),
        step=partial(_STEP, chosen),
        view=partial(_VIEW, chosen),
        scene=partial(scene.scene, chosen),
        won=_won,
        notable=partial(_notable, chosen),
    )


def _won(state: State) -> Bool[Array, ""]:
    return state.ended == GOAL


def _spec(chosen: Rules) -> Spec:
    return Spec(
        name=NAME,
        n_agents=chosen.n_agents,
        n_actions=len(ACTION_NAMES),
        obs_dim=seen.OBS_DIM,
        state_dim=seen.OBS_DIM * chosen.n_agents,
        horizon=chosen.horizon,
        ends_early=True,
        fields=seen.described(chosen),
        action_names=ACTION_NAMES,
        reward=_reward_sentence(chosen),
        source="after Google Research Football 2.10.2 (Kurach et al. 2020, arxiv.org/abs/1907.11180)",
        task=f"{NAME}_{SCENARIOS[chosen.scenario].short}",
        state_layout=seen.layout(chosen),
    )


def _reward_sentence(chosen: Rules) -> str:
    n = chosen.n_agents
    return (
        f"The sum over all {n} agents of 1 for a goal of theirs, -1 for a goal against them, and 0.1 for each of 10 "
        "checkpoints, once an episode: lines at ever smaller distances to the opponents' goal, which only the agent "
        f"that owns the ball collects; a goal pays every agent those it has not collected, so that it makes {2 * n} "
        "over the episode."
    )


def _notable(chosen: Rules, key: jax.Array) -> dict[str, State]:
    start = game.reset(chosen, key)
    goal = jnp.array([HALF_LENGTH, 0.0])
    at = lambda x, y, z=BALL_RADIUS: jnp.array([x, y, z])
    still = lambda pos: Ball(pos, jnp.zeros(3), jnp.zeros(3))
    owned = lambda player: {"owner": jnp.int32(player), "owner_team": jnp.int32(0)}
    attacker = chosen.agents[1]
    place = start.pos.at[attacker].set(goal - jnp.array([8.0, 0.0]))
    crossed = at(HALF_LENGTH + 0.3, 1.0, 0.5)
    seen_goal = start._replace(ball=still(crossed), ended=jnp.int32(GOAL))
    keeper = chosen.n_left
    return {
        "in which the ball is in the goal": seen_goal,
        "in which agent 1 has the ball in front of the goal": start._replace(
            pos=place, ball=still(at(HALF_LENGTH - 7.5, 0.0)), **owned(attacker)
        ),
        "in which the agents' goalkeeper has the ball": start._replace(
            ball=still(at(-HALF_LENGTH + 0.5, 0.0)), **owned(0)
        ),
        "in which the opponents' goalkeeper holds the ball": start._replace(
            ball=still(at(HALF_LENGTH - 1.0, 0.0, 1.1)), owner=jnp.int32(keeper), owner_team=jnp.int32(1)
        ),
        "in which the ball is high in the air": start._replace(
            ball=Ball(at(45.0, 5.0, 5.0), jnp.array([8.0, -3.0, 4.0]), jnp.zeros(3))
        ),
        "in which all players stand in one place": start._replace(pos=jnp.broadcast_to(goal, start.pos.shape)),
    }
