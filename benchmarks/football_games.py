"""Whole games of the football engine for football_record.py: idle games, actions from one state, fixed policies."""

import multiprocessing as mp
import os
from typing import Any

import football_lab as lab
import football_policies
import numpy as np
from football_lab import SCALE

from qllm_envs.football_engine import N_ACTIONS, TASKS, Game
from qllm_envs.football_engine.game import engine

Arrays = dict[str, Any]
FOLLOWED = ("keeper", "defender", "ball", "own player 1", "own player 2")
IDLE_STEPS, IDLE_EPISODES = 40, 200
TRIED_STATES, TRIED_STEPS = 60, 10
TEAMS, TEAM_EPISODES = "academy_counterattack_easy", 40
STARTS = ("pos", "vel", "ball", "held", "sprint", "dribble", "owner")  # of the states of `actions`
EPISODES = 500
N_LEFT = {task: 11 if "counterattack" in task else n for task, n in TASKS.items()}  # players of the own team
BUILTIN = "builtin"  # the engine's own AI in the agents' place; the port has none
ENDS = (
    "goal",
    "conceded",
    "lost",
    "regained",
    "limit",
    "kick_off",
    "goal_kick",
    "free_kick",
    "corner",
    "throw_in",
    "penalty",
)


def idle() -> Arrays:
    """Mean paths of those FOLLOWED over episodes that go on, lengths and ends, where no agent acts."""
    arrays: Arrays = {}
    for task in ("academy_3_vs_1_with_keeper", "academy_pass_and_shoot_with_keeper"):
        game = Game(task)
        paths = np.full((IDLE_EPISODES, IDLE_STEPS + 1, len(FOLLOWED), 2), np.nan)
        lengths, ends = [], []
        for seed in range(IDLE_EPISODES):
            raw, end = game.reset_raw(seed), ""
            while not end:
                if game.steps <= IDLE_STEPS:
                    view = lab.seen(raw[0])
                    paths[seed, game.steps] = [*view.right[:2], view.ball[:2], *view.left[1:3]]
                raw, _, end = game.step_raw([0] * TASKS[task])
            lengths.append(game.steps)
            ends.append(ENDS.index(end))
        game.close()
        mean = np.nanmean(paths, 0)  # over the episodes that go on
        arrays |= {f"{task}_path": mean, f"{task}_length": lengths, f"{task}_end": ends}
    return arrays | {"players": FOLLOWED, "ends": ENDS}


def teams() -> Arrays:
    """Mean paths (T + 1, 23, 2) of all players and the ball where no agent acts, in the task with two whole teams.

    Besides, lengths and ends of these episodes, and how often control hops in an episode of random actions.
    """
    game = Game(TEAMS)
    paths = np.full((TEAM_EPISODES, IDLE_STEPS + 1, 23, 2), np.nan)
    lengths, ends, hops, players = [], [], [], []
    for acts in (False, True):
        for seed in range(TEAM_EPISODES):
            raw, end, rng, players = game.reset_raw(seed), "", np.random.default_rng(seed), []
            while not end:
                players.append([each["active"] for each in raw])
                if game.steps <= IDLE_STEPS and not acts:
                    view = lab.seen(raw[0])
                    paths[seed, game.steps] = [*view.left, *view.right, view.ball[:2]]
                raw, _, end = game.step_raw(team_actions(rng) if acts else [0] * TASKS[TEAMS])
            hopped = int((np.diff(players, axis=0) != 0).any(1).sum())
            if acts:
                hops.append(hopped)
            else:
                lengths.append(game.steps)
                ends.append(ENDS.index(end))
    game.close()
    return {"path": np.nanmean(paths, 0), "length": lengths, "end": ends, "hops": hops, "first": players[0]}


def team_actions(rng: np.random.Generator) -> list[int]:
    """Random actions of a step, the same for the engine and the port."""
    return rng.integers(0, N_ACTIONS, TASKS[TEAMS]).tolist()


def actions() -> Arrays:
    """States of random play, and the ball (x, y) and its owner's team after each of the 19 actions of one player.

    The player nearest to the ball acts once, nobody else does, and TRIED_STEPS steps are played from the same state.
    """
    task = "academy_3_vs_1_with_keeper"
    game, rng = Game(task), np.random.default_rng(0)
    states, tried, seed = [], [], 0
    while len(states) < TRIED_STATES:
        raw, end = game.reset_raw(seed), ""
        for _ in range(int(rng.integers(2, 40))):
            raw, _, end = game.step_raw(rng.integers(0, N_ACTIONS, TASKS[task]).tolist())
            if end:
                break
        seed += 1
        if not end:
            states.append(start_of(raw))
            tried.append(tried_from(game, raw))
    game.close()
    return {name: np.array(rows) for name, rows in zip(STARTS, zip(*states, strict=True), strict=True)} | {
        "after": tried
    }


def start_of(raw: list[Any]) -> tuple[np.ndarray, ...]:
    """Arrays of STARTS: all that a port needs to continue from here, but what the engine does not tell."""
    view = lab.seen(raw[0])
    sticky = np.array([each["sticky_actions"] for each in raw])  # eight directions, sprint, dribble
    held = np.where(sticky[:, :8].any(-1), 1 + sticky[:, :8].argmax(-1), 0)
    players = np.concatenate([view.left, view.right]), np.concatenate([view.left_velocity, view.right_velocity])
    angles = view.ball_rotation * SCALE * 10 * 1000
    owner = np.array([view.owner_team, view.owner])
    return *players, np.concatenate([view.ball, view.ball_velocity, angles]), held, sticky[:, 8], sticky[:, 9], owner


def tried_from(game: Game, raw: list[Any]) -> list[list[float]]:
    """Ball (x, y), owner's team and mark of an end after each action, all from the present state."""
    view, n = lab.seen(raw[0]), len(raw)
    player = 1 + int(np.argmin(np.linalg.norm(view.left[1:] - view.ball[:2], axis=-1)))
    state, rows = game.env.get_state(), []
    for action in range(N_ACTIONS):
        game.env.set_state(state)
        after, _, done, _ = game.env.step([action if i == player else 0 for i in range(n)])
        for _ in range(TRIED_STEPS - 1):
            if done:
                break
            after, _, done, _ = game.env.step([0] * n)
        seen = lab.seen(after[0])
        rows.append([*seen.ball[:2], seen.owner_team, float(done)])
    return rows


def episodes(task: str) -> Arrays:
    """Return, length, end, and share of steps that each side owns the ball, of each episode of each policy."""
    names = (*football_policies.POLICIES, BUILTIN)
    count = {name: IDLE_EPISODES if name == "idle" else EPISODES for name in names}  # idle games hardly differ
    parts = [(task, name, start, start + 50) for name in names for start in range(0, count[name], 50)]
    with pool() as workers:
        rows = workers.starmap(play_episodes, parts, chunksize=1)
    by_name = {name: [row for part, row in zip(parts, rows, strict=True) if part[1] == name] for name in names}
    arrays: Arrays = {name: np.concatenate(rows) for name, rows in by_name.items()}
    return arrays | {"columns": ("return", "length", "end", "own_none", "own_left", "own_right"), "ends": ENDS}


def play_episodes(task: str, name: str, start: int, stop: int) -> np.ndarray:
    """Rows (stop - start, 6) of the episodes of some seeds. Own shares are of the length."""
    make = builtin_engine if name == BUILTIN else None
    game, rows = Game(task, make=make), []
    for seed in range(start, stop):
        obs, end, total, owned = game.reset(seed), "", 0.0, np.zeros(3)
        rng = np.random.default_rng(seed)
        while not end:
            outcome = game.step(action_of(task, name, obs, game.steps, rng))
            obs, end, total = outcome.obs, outcome.end, total + outcome.reward
            owned += obs[0, 94:97]
        rows.append([total, game.steps, ENDS.index(end), *owned / game.steps])
    game.close()
    return np.array(rows)


def action_of(task: str, name: str, obs: np.ndarray, t: int, rng: np.random.Generator) -> Any:
    """Actions (N,) of a policy or of the built-in AI."""
    if name == BUILTIN:
        return [N_ACTIONS] * len(obs)
    return football_policies.POLICIES[name](np, obs, t, N_LEFT[task], rng.random(len(obs)))


def builtin_engine(task: str, n_agents: int) -> Any:
    """The engine with one more action, by which its own AI plays in an agent's place."""
    return engine(task, n_agents, action_set="v2")


def pool() -> Any:
    """Processes for all cores."""
    return mp.get_context("spawn").Pool(os.cpu_count())
