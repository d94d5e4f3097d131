"""Views of a football match: observations of Google Research Football (simple115, version 1), fields, flat state.

Axis letters: A agents, N players of their team, R opponents, P = N + R players.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from qllm_envs._football import control
from qllm_envs._football.constants import (
    ACTION_NAMES,
    FORWARD,
    HALF_LENGTH,
    HALF_WIDTH,
    MIDFIELDER,
    SEEN_SCALE,
    STEP,
    Rules,
    roles,
)
from qllm_envs._football.movement import MARGIN
from qllm_envs._football.state import State, norm
from qllm_envs.core import Entries, Field, StateBlock, View

OBS_DIM, OF_PLAYERS, MOST_PLAYERS, N_MODES = 115, 88, 11, 7  # of simple115
MISSING = -1.0  # in place of players that a team does not have
MAX_SPEED, MAX_BALL_SPEED, MAX_HEIGHT = 10.0, 80.0, 40.0  # bounds of fields; nothing reaches them
BALL_SCALE = np.concatenate([SEEN_SCALE, np.ones(1, np.float32)])
X, Y = (repr(float(f"{1 / scale:.1f}")) for scale in SEEN_SCALE)  # 54.4 and -83.6


def view(rules: Rules, state: State) -> View:
    """Return the view of a state. Buttons and buffered kicks are not in it."""
    fields, n = _fields(rules, state), rules.n_agents
    row = _shared(rules, state)
    active = jnp.eye(rules.n_left, MOST_PLAYERS)[control.players(rules, state)]
    mode = jnp.broadcast_to(jnp.eye(N_MODES)[0], (n, N_MODES))
    obs = jnp.concatenate([jnp.broadcast_to(row, (n, len(row))), active, mode], -1)
    avail = jnp.ones((n, len(ACTION_NAMES)), bool)
    return View(obs, avail, obs.reshape(-1), fields)


def _shared(rules: Rules, state: State) -> Float[Array, " shared"]:
    """The part of an observation that all agents have in common."""
    n, scale = rules.n_left, jnp.asarray(SEEN_SCALE)
    pos, vel = state.pos * scale[None], state.vel * scale[None] * STEP
    players = jnp.concatenate([each.reshape(-1) for each in (pos[:n], vel[:n], pos[n:], vel[n:])])
    missing = jnp.full((OF_PLAYERS - len(players),), MISSING)
    ball = [state.ball.pos * jnp.asarray(BALL_SCALE), state.ball.vel * jnp.asarray(BALL_SCALE) * STEP]
    return jnp.concatenate([players, missing, *ball, jax.nn.one_hot(state.owner_team + 1, 3)])


def layout(rules: Rules) -> tuple[StateBlock, ...]:
    """Layout of the flat state, the observations of all agents, as `view` builds it."""
    n, r = rules.n_left, rules.n_right
    own, player = ("team", "agent_player[i]") if rules.hops else ("agent", "i")
    scale, step = f"[1 / {X}, 1 / {Y}]", f"[{STEP} / {X}, {STEP} / {Y}]"
    filler = (Entries("-1", OF_PLAYERS - 4 * (n + r)),) if n + r < OF_PLAYERS // 4 else ()
    return (
        StateBlock(
            (
                Entries(f"{own}_pos * {scale}", 2 * n),
                Entries(f"{own}_vel * {step}", 2 * n),
                Entries(f"opponent_pos * {scale}", 2 * r),
                Entries(f"opponent_vel * {step}", 2 * r),
                *filler,
                Entries(f"ball_pos * [1 / {X}, 1 / {Y}, 1]", 3),
                Entries(f"ball_vel * [{STEP} / {X}, {STEP} / {Y}, {STEP}]", 3),
                Entries("[ball_owner_team == k - 1 for k in range(3)]", 3),
                Entries(f"[{player} == j for j in range(11)]", MOST_PLAYERS),
                Entries("[1, 0, 0, 0, 0, 0, 0]", N_MODES),
            ),
            "i",
            rules.n_agents,
        ),
    )


def _fields(rules: Rules, state: State) -> dict[str, Array]:
    n, role = rules.n_left, roles(rules.scenario)
    player = control.players(rules, state)
    goal = jnp.array([HALF_LENGTH, 0.0])
    pos, vel = state.pos[player], state.vel[player]
    ball = jnp.clip(state.ball.pos, -200.0, 200.0)
    team = {"agent_player": player, "team_pos": state.pos[:n], "team_vel": state.vel[:n], "team_role": role[:n]}
    return {
        "agent_pos": pos,
        "agent_vel": vel,
        "agent_role": jnp.asarray(role)[player],
        "agent_has_ball": (state.owner_team == 0) & (player == state.owner),
        "agent_goal_distance": norm(pos - goal[None]),
        "agent_ball_distance": norm(pos - ball[None, :2]),
        "opponent_pos": state.pos[n:],
        "opponent_vel": state.vel[n:],
        "opponent_role": jnp.asarray(role[n:]),
        "ball_pos": ball,
        "ball_vel": state.ball.vel,
        "ball_owner_team": state.owner_team,
        "ball_owner": jnp.where(state.owner >= n, state.owner - n, state.owner),
        "ball_goal_distance": norm(ball[:2] - goal),
    } | ({name: jnp.asarray(value) for name, value in team.items()} if rules.hops else {})


def described(rules: Rules) -> dict[str, Field]:
    """Return `Spec.fields`."""
    n, r = rules.n_agents, rules.n_right
    reach = HALF_LENGTH + MARGIN
    most = float(np.hypot(2 * reach, HALF_WIDTH + MARGIN))
    axes = (
        f"x grows towards the goal that is attacked, whose middle is ({HALF_LENGTH:g}, 0), and is 0 at the halfway "
        f"line; y is 0 in the middle and {HALF_WIDTH:g} at the touch line on the left hand side of the attack"
    )
    role = "role of each {who}, fixed: 0 goalkeeper, 1 central back, 5 central midfielder"
    last = float(MIDFIELDER)
    if rules.hops:
        role = (
            "role of each {who}: 0 goalkeeper, 1 central back, 2 and 3 left and right back, 5 central midfielder, "
            "6 and 7 left and right wing, 9 forward"
        )
        last = float(FORWARD)
    owner = "owns the ball: has it at the feet and touched it last"
    whose = "team that owns the ball: -1 nobody, 0 the agents, 1 the opponents; a ball that was passed is nobody's"
    ball_vel = "velocity (vx, vy, vz) of the ball; vz is upwards"
    index = (
        "index, within the team that owns the ball, of the player who owns it; -1 if nobody does. It is an index of "
        "agents only if ball_owner_team is 0"
    )
    agent_pos = (
        f"position (x, y) of each agent, row i for agent i; agent 0 is the goalkeeper and starts on his own goal line, "
        f"at (-{HALF_LENGTH:g}, 0), far from the attack; {axes}"
    )
    if rules.hops:
        agent_pos = f"position (x, y) of each agent, row i for agent i: of the player whom he controls now; {axes}"
        whose = whose.replace("0 the agents", "0 the agents' team")
        index = (
            "index, within the team that owns the ball, of the player who owns it; -1 if nobody does. It is an index "
            "of team_pos if ball_owner_team is 0, and never one of agents"
        )
    opponent_pos = "position (x, y) of each opponent, row j for opponent j; opponent 0 is the goalkeeper"
    goal_distance = "distance of each agent to the middle of the goal that is attacked"
    fields = {
        "agent_pos": Field((n, 2), agent_pos, "m", -reach, reach),
        "agent_vel": Field((n, 2), "velocity (vx, vy) of each agent, row i for agent i", "m/s", -MAX_SPEED, MAX_SPEED),
        "agent_role": Field((n,), role.format(who="agent"), "number of a role", 0.0, last),
        "agent_has_ball": Field((n,), f"True for the one agent, if any, that {owner}", "True or False", 0.0, 1.0),
        "agent_goal_distance": Field((n,), goal_distance, "m", 0.0, most),
        "agent_ball_distance": Field((n,), "distance of each agent to the ball along the ground", "m", 0.0, 400.0),
        "opponent_pos": Field((r, 2), opponent_pos, "m", -reach, reach),
        "opponent_vel": Field((r, 2), "velocity (vx, vy) of each opponent", "m/s", -MAX_SPEED, MAX_SPEED),
        "opponent_role": Field((r,), role.format(who="opponent"), "number of a role", 0.0, last),
        "ball_pos": Field((3,), "position (x, y, z) of the ball; z is its height, 0.11 at rest", "m", -200.0, 200.0),
        "ball_vel": Field((3,), ball_vel, "m/s", -MAX_BALL_SPEED, MAX_BALL_SPEED),
        "ball_owner_team": Field((), whose, "number of a team", -1.0, 1.0),
        "ball_owner": Field((), index, "index of a player", -1.0, max(rules.n_left, r) - 1.0),
        "ball_goal_distance": Field((), "distance of the ball to the middle of that goal", "m", 0.0, 400.0),
    }
    return fields | (_of_team(rules, reach, role, last) if rules.hops else {})


def _of_team(rules: Rules, reach: float, role: str, last: float) -> dict[str, Field]:
    """Fields of all players of the agents' team, of whom the agents control a few."""
    n = rules.n_left
    player = (
        "index, in team_pos, of the player whom each agent controls; no two agents control the same. It changes: when "
        "the ball gets to a player of the team whom nobody controls, one of the agents is handed that player and "
        "leaves his own, who then plays by fixed rules"
    )
    pos = "position (x, y) of each player of the agents' team, controlled or not; player 0 is the goalkeeper"
    vel = "velocity (vx, vy) of each player of the agents' team"
    return {
        "agent_player": Field((rules.n_agents,), player, "index of a player", 0.0, n - 1.0),
        "team_pos": Field((n, 2), pos, "m", -reach, reach),
        "team_vel": Field((n, 2), vel, "m/s", -MAX_SPEED, MAX_SPEED),
        "team_role": Field((n,), role.format(who="player of that team"), "number of a role", 0.0, last),
    }
