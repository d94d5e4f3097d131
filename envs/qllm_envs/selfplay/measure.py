"""Episodes of every pair of team and opponent in the same starting states, and a table of their outcomes."""

from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float

from qllm_envs import opponents
from qllm_envs.opponents import network, scripts
from qllm_envs.opponents.scripts import TeamPolicy
from qllm_envs.selfplay import game
from qllm_envs.selfplay.game import TEAM, Game

KINDS = ("trained", "heuristic", "random", "still", "paper")  # the last is "trained" in the paper's order of actions
TITLES = {
    "prey": ("predators", "farthest |x| or |y| of the prey"),
    "adversary": ("good agents", "distance from the adversary to the goal"),
}


class Outcome(NamedTuple):
    """Outcome of one episode, or of many (leaves (episodes,))."""

    team_return: Float[Array, ""]  # summed over agents and steps
    largest: Float[Array, ""]  # of the game's measure over the states reached
    mean: Float[Array, ""]
    last: Float[Array, ""]


def play(the_game: Game, team: TeamPolicy, opponent: TeamPolicy, horizon: int, key: jax.Array) -> Outcome:
    """Play one episode. The key is consumed."""

    def turn(state, key):
        key_team, key_opponent = jax.random.split(key)
        team_obs, opponent_obs = the_game.observe(state)
        state = the_game.move(state, team(key_team, team_obs), opponent(key_opponent, opponent_obs))
        return state, (the_game.n_agents * the_game.reward(state)[0], the_game.measure(state))

    key_reset, key_turns = jax.random.split(key)
    _, (reward_t, measure_t) = jax.lax.scan(turn, the_game.reset(key_reset), jax.random.split(key_turns, horizon))
    return Outcome(reward_t.sum(), measure_t.max(), measure_t.mean(), measure_t[-1])


def play_many(
    the_game: Game, team: TeamPolicy, opponent: TeamPolicy, episodes: int, seed: int = 0, horizon: int = 25
) -> Outcome:
    """Return outcomes with leaves (episodes,). Equal seeds start in equal states, whoever plays."""
    keys = jax.random.split(jax.random.key(seed), episodes)
    return jax.jit(jax.vmap(partial(play, the_game, team, opponent, horizon)))(keys)


def opponent_of(role: str, n_agents: int, kind: str) -> TeamPolicy:
    kind, order = ("trained", "paper") if kind == "paper" else (kind, "corrected")
    return scripts.team(opponents.make(role, role, n_agents, kind, order))


def teams_of(role: str, n_agents: int) -> dict[str, TeamPolicy]:
    """Return the scripted teams, and the one that learned together with the opponent."""
    net = network.load(opponents.path_of(role, n_agents), "team")
    trained = network.policy(net, game.make(role, n_agents).layouts[TEAM])
    return {**scripts.TEAMS[role], "trained": scripts.team(trained)}


def cell(values: Array) -> str:
    mean, half = float(np.mean(values)), 1.96 * float(np.std(values, ddof=1)) / len(values) ** 0.5
    return f"{mean:.2f} ± {half:.2f}"


def table(role: str, n_agents: int, episodes: int, seed: int) -> str:
    """Return a table in Markdown: a row for each pair of team and opponent."""
    the_game = game.make(role, n_agents)
    who, what = TITLES[role]
    lines = [
        f"{n_agents} {who}, {episodes} episodes of 25 steps: mean and 95% interval; {what}.",
        "",
        f"| {who} | {role} | team return | mean over steps | largest | at the end |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for team_name, team in teams_of(role, n_agents).items():
        for kind in KINDS:
            outcome = play_many(the_game, team, opponent_of(role, n_agents, kind), episodes, seed)
            cells = map(cell, (outcome.team_return, outcome.mean, outcome.largest, outcome.last))
            lines.append(f"| {team_name} | {kind} | {' | '.join(cells)} |")
    return "\n".join(lines)
