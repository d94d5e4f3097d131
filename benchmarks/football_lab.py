"""Scenes of the football engine that were made up to measure one thing each: a kick, a run, a shot.

Positions are in meters from the middle of the pitch, x towards the goal that is attacked, y to the left of that, z up;
speeds in m/s; a step is 0.1 s. Needs the engine: docs/football_engine.md.
"""

import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from qllm_envs._football.constants import ACTION_NAMES
from qllm_envs.football_engine import game

SCALE = np.array([54.4, -83.6, 1.0])  # meters of a unit of an observation: READ from the engine's source
GOAL_X = 55.0
STEP = 0.1  # seconds
NUMBER = {name: i for i, name in enumerate(ACTION_NAMES)}
Point = tuple[float, float]


class Scene(NamedTuple):
    """Where all stand at the start. The first of each team is its goalkeeper; right players are given as seen."""

    left: tuple[Point, ...]
    right: tuple[Point, ...]
    ball: Point
    stops: bool = False  # True: as the tasks do, an episode ends with a goal, out of play, or a lost ball


class Seen(NamedTuple):
    """The world after a step, in meters and m/s."""

    ball: np.ndarray  # (3,)
    ball_velocity: np.ndarray  # (3,)
    ball_rotation: np.ndarray  # (3,) as the engine reports it: radians of a step
    left: np.ndarray  # (players, 2)
    left_velocity: np.ndarray
    right: np.ndarray
    right_velocity: np.ndarray
    owner_team: int  # -1: nobody
    owner: int
    score: tuple[int, int]
    mode: int


def seen(raw: dict[str, Any]) -> Seen:
    """Convert a raw observation."""
    rate = SCALE / STEP
    return Seen(
        raw["ball"] * SCALE, raw["ball_direction"] * rate, np.array(raw["ball_rotation"]),
        raw["left_team"] * SCALE[:2], raw["left_team_direction"] * rate[:2],
        raw["right_team"] * SCALE[:2], raw["right_team_direction"] * rate[:2],
        raw["ball_owned_team"], raw["ball_owned_player"], tuple(raw["score"]), raw["game_mode"],
    )  # fmt: skip


class Lab:
    """The engine on one scene. All left players are controlled."""

    def __init__(self, scene: Scene) -> None:
        """Register the scene as a scenario of the engine and start it."""
        self.scene, self.n = scene, len(scene.left)
        name = f"qllm_scene_{abs(hash(scene))}"
        module: Any = ModuleType(f"gfootball.scenarios.{name}")
        module.build_scenario = self.build
        sys.modules[module.__name__] = module
        self.env = game.engine(name, self.n)

    def build(self, builder: Any) -> None:
        """Place everybody: what the engine calls."""
        from gfootball.env import scenario_builder as engine  # pyright: ignore[reportMissingImports]

        config = builder.config()
        config.game_duration, config.deterministic, config.offsides = 3000, False, False
        stops = self.scene.stops
        config.end_episode_on_score = config.end_episode_on_out_of_play = stops
        config.end_episode_on_possession_change = stops
        builder.SetBallPosition(*given(self.scene.ball))
        for team, players, side in (
            (engine.Team.e_Left, self.scene.left, 1),
            (engine.Team.e_Right, self.scene.right, -1),
        ):
            builder.SetTeam(team)
            for i, (x, y) in enumerate(players):
                role = engine.Role.e_PlayerRole_GK if i == 0 else engine.Role.e_PlayerRole_CM
                builder.AddPlayer(*given((side * x, side * y)), role)

    def reset(self, seed: int, mirrored: bool = False) -> Seen:
        """Start the scene. `mirrored`: the engine handles the right team first."""
        values = {"game_engine_random_seed": seed, "reverse_team_processing": mirrored}
        self.env.unwrapped._config.update(values)
        return seen(self.env.reset()[0])

    def step(self, actions: Sequence[int]) -> Seen:
        """Play one step with one action for each left player."""
        return seen(self.env.step(list(actions))[0][0])

    def play(self, seed: int, n: int, action: Callable[[int, Seen], Sequence[int]]) -> list[Seen]:
        """Play `n` steps of `action(t, seen)`; n + 1 views."""
        views = [self.reset(seed)]
        for t in range(n):
            views.append(self.step(action(t, views[-1])))
        return views

    def only(self, player: int, name: str) -> list[int]:
        """The action `name` for one player, and idle for the others."""
        return [NUMBER[name] if i == player else 0 for i in range(self.n)]

    def close(self) -> None:
        """Free the engine."""
        self.env.close()


def given(point: Point) -> tuple[float, float]:
    """Convert a position to the units of the engine's scenarios."""
    return point[0] / SCALE[0], point[1] / SCALE[1]


def speed(velocity: np.ndarray) -> np.ndarray:
    """Length of the last axis."""
    return np.linalg.norm(velocity, axis=-1)
