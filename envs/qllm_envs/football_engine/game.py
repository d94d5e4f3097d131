"""One game of the engine, with the observations, rewards and ends of the QLLM release's wrapper."""

import importlib.util
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from qllm_envs.football_engine.tasks import GAME_MODES, LIMIT, OBS_DIM, n_agents_of

MISSING = (
    "football_engine needs Google Research Football: install the Debian packages that docs/football_engine.md lists, "
    'then pip install "setuptools<81" wheel psutil six and pip install --no-build-isolation "qllm-jax[football]"'
)
LEFT_OWNS, RIGHT_OWNS = 0, 1  # of `ball_owned_team`; -1: nobody


class Outcome(NamedTuple):
    """Outcome of one step of a game."""

    obs: np.ndarray  # (N, 115) float32
    reward: float  # the sum over the agents
    end: str  # the reason of the end; "" if the episode goes on

    @property
    def won(self) -> bool:
        """True if the episode ended with a goal of the agents."""
        return self.end == "goal"


class Game:
    """One game in this process, which plays one episode after the other. It changes in place, as the engine does."""

    def __init__(self, task: str, limit: int = LIMIT, make: Callable[[str, int], Any] | None = None) -> None:
        """Start the engine, in 0.3 to 0.6 s. `make(task, n_agents)` gives its environment; None: `engine`."""
        self.limit, self.steps, self.owner = limit, 0, -1
        self.env = (make or engine)(task, n_agents_of(task))

    def reset(self, seed: int) -> np.ndarray:
        """Start the episode of a seed and return its observations (N, 115). Same seed and actions, same episode."""
        return simple115(self.reset_raw(seed))

    def reset_raw(self, seed: int) -> list[dict[str, Any]]:
        """Start the episode of a seed and return the raw observations, one for each agent."""
        # The engine keeps the first episode's order of teams for all others: with both values given, an episode
        # depends on its seed alone.
        values = {"game_engine_random_seed": seed, "reverse_team_processing": bool(seed % 2)}
        self.env.unwrapped._config.update(values)
        self.steps, self.owner = 0, -1
        return self.env.reset()

    def step(self, actions: Sequence[int] | np.ndarray) -> Outcome:
        """Play one step. Nothing is played after an end: call `reset`."""
        raw, rewards, end = self.step_raw(actions)
        return Outcome(simple115(raw), float(np.sum(rewards)), end)

    def step_raw(self, actions: Sequence[int] | np.ndarray) -> tuple[list[dict[str, Any]], np.ndarray, str]:
        """Play one step and return raw observations, rewards (N,) and the reason of the end, "" for none."""
        raw, rewards, done, _ = self.env.step([int(action) for action in actions])
        self.steps += 1
        end = end_of(raw[0], self.owner) if done else "limit" if self.steps >= self.limit else ""
        if raw[0]["ball_owned_team"] != -1:
            self.owner = raw[0]["ball_owned_team"]
        return raw, np.asarray(rewards), end

    def close(self) -> None:
        """Free the engine."""
        self.env.close()


def installed() -> bool:
    """True if the engine can be imported."""
    return all(importlib.util.find_spec(name) for name in ("gfootball", "gfootball_engine"))


def engine(task: str, n_agents: int, **options: Any) -> Any:
    """Return the engine's own environment with raw observations. ValueError if the engine is not installed.

    `options` are values of the engine's configuration.
    """
    if not installed():
        raise ValueError(MISSING)
    from gfootball import env  # pyright: ignore[reportMissingImports]

    return env.create_environment(
        env_name=task,
        representation="raw",
        rewards="scoring,checkpoints",
        number_of_left_players_agent_controls=n_agents,
        other_config_options=options,
    )


def end_of(raw: dict[str, Any], owner: int) -> str:
    """Reason for which the engine ended an episode; `owner` is the last team that had the ball before this step."""
    scored, conceded = raw["score"]
    if scored or conceded:
        return "goal" if scored else "conceded"
    if raw["game_mode"]:
        return GAME_MODES[raw["game_mode"]]
    if owner != -1 and raw["ball_owned_team"] not in (-1, owner):
        return "lost" if raw["ball_owned_team"] == RIGHT_OWNS else "regained"
    return "limit"


def simple115(raw: Sequence[dict[str, Any]]) -> np.ndarray:
    """Observations (N, 115) in the engine's layout simple115, of its version 1: teams follow each other unpadded."""
    first = raw[0]
    teams = [first[f"{team}_team{what}"] for team in ("left", "right") for what in ("", "_direction")]
    rows = np.zeros((len(raw), OBS_DIM), np.float32)
    flat = np.concatenate([np.ravel(part) for part in teams])
    rows[:, :88] = -1.0
    rows[:, : len(flat)] = flat
    rows[:, 88:91], rows[:, 91:94] = first["ball"], first["ball_direction"]
    rows[:, 94 + 1 + first["ball_owned_team"]] = 1.0
    for row, player in zip(rows, raw, strict=True):
        if player["active"] != -1:
            row[97 + player["active"]] = 1.0
    rows[:, 108 + first["game_mode"]] = 1.0
    return rows
