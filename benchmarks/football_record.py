"""Record traces of the football engine for the parity tests: `python benchmarks/football_record.py ball runs kicks`.

    python benchmarks/football_record.py shots idle episodes_academy_3_vs_1_with_keeper

Each part is one .npz file of the folder: flights of the ball (ball), curves of a run (runs), delay, speed and arrival
of kicks (kicks), goals by the shooter's position (shots), paths of the opponents while nobody attacks (idle), of two
whole teams (teams), results
of every action from the same state (actions), and statistics of fixed policies on a task (episodes_TASK). Scenes are in
football_lab.py, with the units; whole games (the last three) in football_games.py. Needs the engine:
docs/football_engine.md.
"""

import argparse
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from football_games import Arrays, actions, episodes, idle, pool, teams
from football_lab import GOAL_X, SCALE, STEP, Lab, Point, Scene, Seen, speed

from qllm_envs.football_engine import TASKS, game

SEEDS = range(10)
KINDS = ("short_pass", "long_pass", "high_pass", "shot")
COLUMNS = ("delay_steps", "speed", "elevation_deg", "arrival_s")
PRESS = (2, 8)  # step of the button of a standing and of a walking player
KICK_STEPS = 58
DISTANCES = (6.0, 10.0, 15.0, 20.0, 30.0)
RUNS = ("walk", "sprint", "stop", "turn_45", "turn_90", "turn_180", "walk_ball", "sprint_ball", "dribble_ball")
TURN_AT = 25  # steps of sprinting before a stop or a turn
RUN_STEPS = 45
SHOT_DX, SHOT_Y, HELD = (
    (8.0, 12.0, 16.0, 20.0, 25.0),
    (0.0, 4.0, 8.0, 12.0, 16.0),
    ("right", "bottom_right", "top_right"),
)
SHOT_PRESS, SHOT_STEPS, SHOTS = 4, 45, 50
AWAY: tuple[Point, ...] = ((-45.0, 25.0), (-48.0, 28.0), (-45.0, -25.0))  # players that take no part
FOE = (-50.0, -30.0)


def scene_of(players: Iterable[Point], ball: Point, stops: bool = False) -> Scene:
    """A scene with the teams of academy_3_vs_1_with_keeper: those who take no part stand far away."""
    outfield = tuple(players)
    return Scene(((-55.0, 0.0), *outfield, *AWAY[len(outfield) :]), ((GOAL_X, 0.0), FOE), ball, stops)


def ball() -> Arrays:
    """Flights of kicks by a standing and a running player, 2.1 s or until somebody is near or the line is crossed."""
    flights: list[np.ndarray] = []
    names: list[str] = []
    for kind in KINDS:
        for steps in (0, 12):
            on = Lab(scene_of([(-32.0, 3.0), (14.0, 3.0)], (-31.5, 3.0)))
            for seed in (4, 11):
                views = on.play(seed, steps + 40, kick_at(on, 2 + steps, kind))
                flights.append(flight(views))
                names.append(f"{kind}, {'running' if steps else 'standing'}, seed {seed}")
            on.close()
    lengths = [len(each) for each in flights]
    return {"flights": np.concatenate(flights), "lengths": lengths, "names": names}


def flight(views: list[Seen]) -> np.ndarray:
    """Samples (n, 9) of a free ball: position, velocity, and spin as the engine's angles in rad/s."""
    first, samples = leaving(views), []
    assert first, "the ball was not kicked"
    start = first + 1
    for view in views[start : start + 22]:
        gaps = np.linalg.norm(np.concatenate([view.left, view.right]) - view.ball[:2], axis=-1)
        if samples and (gaps.min() < 2.0 or abs(view.ball[0]) > GOAL_X - 0.5):
            break
        samples.append(np.concatenate([view.ball, view.ball_velocity, view.ball_rotation * SCALE * 10 * 1000]))
    return np.array(samples)


def kick_at(on: Lab, press: int, kind: str, held: str = "right") -> Callable[[int, Seen], list[int]]:
    """Player 1 holds a direction from the start and presses a kick at a step."""
    return lambda t, _: on.only(1, kind) if t == press else on.only(1, held) if t < press else [0] * on.n


def leaving(views: list[Seen]) -> int | None:
    """The first view in which the ball flies: faster than 9 m/s. None if it never does."""
    return next((i for i, view in enumerate(views) if speed(view.ball_velocity) > 9.0), None)


def runs() -> Arrays:
    """Player 1 and the ball, by case and seed, after each step: (x, y, vx, vy, ball x, ball y, ball vx, ball vy)."""
    found = []
    for case in RUNS:
        at_feet = case.endswith("_ball")
        on = Lab(scene_of([(-30.0, 0.0)], (-29.5, 0.0) if at_feet else (-47.5, 28.0)))
        rows = []
        for seed in SEEDS:
            # Idle steps before, for other phases of the engine's clips. In the first half second after a reset the
            # engine itself walks the player nearest to the ball towards it.
            first = (1 if at_feet else 12) + seed % 5
            pressed = run_buttons(case, first)
            views = on.play(seed, first + RUN_STEPS, lambda t, _: on.only(1, pressed.get(t, "idle")))[first:]  # noqa: B023
            rows.append([[*v.left[1], *v.left_velocity[1], *v.ball[:2], *v.ball_velocity[:2]] for v in views])
        found.append(rows)
        on.close()
    return {"runs": np.array(found), "cases": RUNS, "turn_at": TURN_AT}


def run_buttons(case: str, first: int) -> dict[int, str]:
    """Buttons of a case by step: the direction, then sprint or dribble, and at TURN_AT what the case is named after."""
    kind = case.removesuffix("_ball")
    second = {"walk": "idle", "dribble": "dribble"}.get(kind, "sprint")
    turn = {"stop": "release_direction", "turn_45": "top_right", "turn_90": "top", "turn_180": "left"}
    return {first: "right", first + 1: second} | ({first + TURN_AT: turn[kind]} if kind in turn else {})


def kicks() -> Arrays:
    """Delay, speed, elevation and arrival of each kick: (kind, distance, standing or walking, seed, COLUMNS)."""
    found = np.full((len(KINDS), len(DISTANCES), 2, len(SEEDS), 4), np.nan)
    for k, kind in enumerate(KINDS):
        for d, distance in enumerate(DISTANCES):
            on = Lab(scene_of([(0.0, 0.0), (distance, 0.0)], (0.5, 0.0)))
            for walking in (0, 1):
                for seed in SEEDS:
                    found[k, d, walking, seed] = one_kick(on, seed, kind, walking)
            on.close()
    return {
        "kicks": found,
        "kinds": KINDS,
        "distances": DISTANCES,
        "columns": COLUMNS,
    }


def one_kick(on: Lab, seed: int, kind: str, walking: int) -> tuple[float, ...]:
    """COLUMNS of one kick of player 1."""
    press = PRESS[walking]
    action = kick_at(on, press, kind, "right" if walking else "idle")
    return measured_kick(on.play(seed, KICK_STEPS, action), press)


def measured_kick(views: list[Seen], press: int) -> tuple[float, ...]:
    """COLUMNS of a kick that was pressed in view `press`; nan for a kick or an arrival that did not happen."""
    left = leaving(views[press:])
    if left is None:
        return (np.nan,) * 4
    velocity = views[press + left].ball_velocity
    elevation = np.degrees(np.arctan2(velocity[2], np.hypot(*velocity[:2])))
    flying = views[press + left + 1 :]
    arrival = next((i + 1 for i, view in enumerate(flying) if view.owner_team == 0 and view.owner != 1), np.nan)
    return left, float(speed(velocity)), float(elevation), arrival * STEP


def shots() -> Arrays:
    """Share of goals (dx, y, held direction) of a lone player who walks at the goal line and shoots."""
    cells = [(dx, y, held) for dx in SHOT_DX for y in SHOT_Y for held in HELD]
    with pool() as workers:
        goals = np.array(workers.map(one_shot_cell, cells, chunksize=1))
    return {
        "goals": goals.reshape(len(SHOT_DX), len(SHOT_Y), len(HELD)),
        "dx": SHOT_DX,
        "y": SHOT_Y,
        "held": HELD,
        "shots": SHOTS,
    }


def one_shot_cell(cell: tuple[float, float, str]) -> int:
    """Number of goals of a cell's shots."""
    dx, y, held = cell
    on = Lab(scene_of([(GOAL_X - dx, y)], (GOAL_X - dx + 0.5, y), stops=True))
    goals, pressed = 0, shot_buttons(held)
    for seed in range(SHOTS):
        on.reset(seed)
        for t in range(SHOT_STEPS):
            raw, _, done, _ = on.env.step(on.only(1, pressed.get(t, "idle")))
            if done:
                goals += raw[0]["score"][0] > 0
                break
    on.close()
    return goals


def shot_buttons(held: str) -> dict[int, str]:
    """Buttons of a shot by step: walk at the goal line, turn to the held direction, shoot."""
    return dict.fromkeys(range(SHOT_PRESS - 1), "right") | {SHOT_PRESS - 1: held, SHOT_PRESS: "shot"}


PARTS: dict[str, Callable[[], Arrays]] = {f.__name__: f for f in (ball, runs, kicks, shots, idle, teams, actions)}
PARTS |= {f"episodes_{task}": partial(episodes, task) for task in TASKS}


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", choices=PARTS)
    parser.add_argument("--folder", type=Path, default=Path("tests/envs/football_data"))
    given = parser.parse_args()
    if not given.folder.is_dir():  # said now, not after a part has been recorded
        parser.error(f"--folder {given.folder} is no folder")
    if not game.installed():
        parser.error(game.MISSING)
    return given


def main() -> None:
    """Record the parts that are named."""
    given = arguments()
    for name in given.parts:
        start = time.time()
        arrays: Arrays = {key: compact(value) for key, value in PARTS[name]().items()}
        np.savez_compressed(given.folder / f"{name}.npz", **arrays)
        print(f"{name}: {given.folder / name}.npz in {time.time() - start:.0f} s", flush=True)


def compact(value: Any) -> np.ndarray:
    """An array with floats of 32 bits."""
    array = np.asarray(value)
    return array.astype(np.float32) if array.dtype == np.float64 else array


if __name__ == "__main__":
    main()
