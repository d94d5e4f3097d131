"""The port football_lite beside recorded traces of the engine: `python benchmarks/football_parity.py ball runs kicks`.

    python benchmarks/football_parity.py all --out parity.json

Prints one row for each gate: the figure of the port, that of the engine where there is one, and if the gate is met. The
traces are those of football_record.py, so the engine is not needed. Parts: ball, runs, kicks, shots, idle, teams,
actions, and episodes_TASK. `episodes` compares fixed policies by two-sample tests with effect sizes.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import common
import football_games as games
import football_port as port
import football_record as record
import numpy as np
from football_rows import Row, loss, of_numbers, of_shares
from scipy import stats

DATA = Path(__file__).parents[1] / "tests" / "envs" / "football_data"
# Gates.
BALL_POSITION, BALL_SPEED = 0.05, 0.05  # m, m/s, over 2 s
RUN_SPEED, RUN_DISTANCE = 0.4, 0.05  # m/s after the third step; share of the distance after 2 s
KICK_DELAY, KICK_SPEED, KICK_ARRIVAL = 1, 0.05, 0.15  # steps, share, s
SHOT_RANK, SHOT_MEAN = 0.9, 0.15
PATH = 1.5  # m at steps PATH_STEPS
PATH_STEPS = slice(5, 21)


def load(name: str) -> dict[str, np.ndarray]:
    """The arrays of a recorded part. SystemExit if it has not been recorded."""
    file = DATA / f"{name}.npz"
    if not file.exists():
        raise SystemExit(f"{file} does not exist: python benchmarks/football_record.py {name}")
    return dict(np.load(file))


def named(ends: np.ndarray) -> list[str]:
    """The names of recorded ends."""
    return [games.ENDS[int(end)] for end in ends]


def ball() -> list[Row]:
    """Flights of 2 s from the first free sample of a kick."""
    recorded = load("ball")
    worst: dict[str, tuple[float, float]] = {}
    flights = np.split(recorded["flights"], np.cumsum(recorded["lengths"])[:-1])
    for name, samples in zip(recorded["names"], flights, strict=True):
        ours = np.asarray(port.flown(samples[0]))[: len(samples) - 1]
        gaps = [
            float(np.linalg.norm((ours - samples[1:, :6])[:, part], axis=-1).max()) for part in (slice(3), slice(3, 6))
        ]
        kind = str(name).split(",")[0]
        before = worst.get(kind, (0.0, 0.0))
        worst[kind] = (max(before[0], gaps[0]), max(before[1], gaps[1]))
    gate = f"{BALL_POSITION * 100:g} cm, {BALL_SPEED:g} m/s"
    text = lambda gaps: f"{gaps[0] * 100:.2f} cm, {gaps[1]:.3f} m/s"
    met = lambda gaps: gaps[0] < BALL_POSITION and gaps[1] < BALL_SPEED
    return [Row("ball", f"largest error, {kind}", "", text(gaps), gate, met(gaps)) for kind, gaps in worst.items()]


def runs() -> list[Row]:
    """Mean speed by step and distance after 2 s, from rest or from the turn on, and how far a dribbled ball is."""
    recorded = load("runs")
    cases = [str(case) for case in recorded["cases"]]
    ours, rows = port.runs(recorded["runs"], cases), []
    for case, engine, own in zip(cases, recorded["runs"], ours, strict=True):
        start = record.TURN_AT if case in ("stop", "turn_45", "turn_90", "turn_180") else 0
        mean = [np.linalg.norm(x[:, start:, 2:4], axis=-1).mean(0) for x in (engine, own)]
        n = min(21, len(mean[0]))
        rmse = float(np.sqrt(np.mean((mean[0][4:] - mean[1][4:]) ** 2)))
        far = [float(np.linalg.norm(x[:, start + n - 1, :2] - x[:, start, :2], axis=-1).mean()) for x in (engine, own)]
        off = abs(far[1] - far[0]) / max(far[0], 1.0)
        rows.append(
            Row("runs", f"{case}: speed after step 3", "", f"RMSE {rmse:.2f} m/s", f"{RUN_SPEED} m/s", rmse < RUN_SPEED)
        )
        gate = f"{RUN_DISTANCE:.0%}"
        rows.append(
            Row("runs", f"{case}: distance after 2 s", f"{far[0]:.2f} m", f"{far[1]:.2f} m", gate, off < RUN_DISTANCE)
        )
        if case.endswith("_ball"):
            ahead = [np.linalg.norm(x[:, :n, 4:6] - x[:, :n, :2], axis=-1).mean(0) for x in (engine, own)]
            text = [f"{x.mean():.2f} m, {x.max():.2f} m at most" for x in ahead]
            rows.append(Row("runs", f"{case}: distance of the ball", text[0], text[1], "", True))
    return rows


def kicks() -> list[Row]:
    """Delay, speed and arrival by kind and distance; means over the seeds."""
    recorded = load("kicks")["kicks"]
    means = [np.nanmean(x, 3) for x in (recorded, port.kicks())]
    limits = {"delay_steps": KICK_DELAY, "speed": KICK_SPEED, "arrival_s": KICK_ARRIVAL}
    rows = []
    for k, kind in enumerate(record.KINDS):
        for walking, how in enumerate(("standing", "walking")):
            for column, limit in limits.items():
                c = record.COLUMNS.index(column)
                engine, own = (x[k, :, walking, c] for x in means)
                if column == "arrival_s" and kind == "shot":
                    continue  # a shot has no receiver
                gap = np.abs(own - engine) / (engine if column == "speed" else 1.0)
                met = int(np.sum(gap <= limit + 1e-6))
                text = lambda x: " ".join(f"{each:.2f}" for each in x)
                gate = f"{limit:g}" + (" (share)" if column == "speed" else "")
                what = f"{kind}, {how}: {column} at {'/'.join(f'{d:g}' for d in record.DISTANCES)} m"
                rows.append(
                    Row("kicks", what, text(engine), text(own), f"{gate}: {met} of {len(gap)}", met == len(gap))
                )
    return rows


def shots() -> list[Row]:
    """Share of goals by the shooter's position and held direction."""
    recorded = load("shots")
    held = [str(name) for name in recorded["held"]]
    engine, own = recorded["goals"] / int(recorded["shots"]), port.shots(held)
    ranked: Any = stats.spearmanr(engine.ravel(), own.ravel())
    rank = float(ranked.statistic)
    gap = float(np.mean(np.abs(engine - own)))
    cells = engine.size
    return [
        Row("shots", f"rank correlation of {cells} cells", "", f"{rank:.2f}", f"> {SHOT_RANK}", rank > SHOT_RANK),
        Row("shots", "mean difference of a cell", "", f"{gap:.3f}", f"< {SHOT_MEAN}", gap < SHOT_MEAN),
        Row("shots", "mean share of goals", f"{engine.mean():.3f}", f"{own.mean():.3f}", "", True),
    ]


def idle() -> list[Row]:
    """Mean paths of defender and keeper, and the time of the loss, where no agent acts."""
    recorded, rows = load("idle"), []
    for task in ("academy_3_vs_1_with_keeper", "academy_pass_and_shoot_with_keeper"):
        path, lengths, ends = port.idle(task, games.IDLE_EPISODES)
        theirs = recorded[f"{task}_path"]
        for i, who in enumerate(("keeper", "defender")):
            gap = float(np.nanmax(np.linalg.norm(path[PATH_STEPS, i] - theirs[PATH_STEPS, i], axis=-1)))
            rows.append(Row("idle", f"{task}: {who}, steps 5 to 20", "", f"{gap:.2f} m", f"{PATH} m", gap < PATH))
        engine = recorded[f"{task}_length"], named(recorded[f"{task}_end"])
        rows.append(loss("idle", f"{task}: loss", engine, (lengths, ends), games.IDLE_EPISODES))
    return rows


def teams() -> list[Row]:
    """Two whole teams where no agent acts: mean distances of mean paths, the loss, and hops of control."""
    recorded = load("teams")
    path, lengths, ends, hops = port.teams(games.TEAMS, games.TEAM_EPISODES)
    gap = np.linalg.norm(path - recorded["path"], axis=-1)[PATH_STEPS].max(0)
    free = [i for i in range(1, 11) if i not in recorded["first"]]
    groups = {
        "their goalkeeper": [11],
        "their ten others": range(12, 22),
        "own goalkeeper": [0],
        "own six others": free,
    }
    rows = []
    for who, players in groups.items():
        some = gap[list(players)]
        figure = f"{some.mean():.2f} m" + (f" in the mean, {some.max():.2f} m at most" if len(some) > 1 else "")
        rows.append(Row("teams", f"{who}, steps 5 to 20", "", figure, f"{PATH} m", bool(some.mean() < PATH)))
    engine = recorded["length"], named(recorded["end"])
    rows.append(loss("teams", "loss", engine, (lengths, ends), games.TEAM_EPISODES))
    theirs, own = (f"{x.mean():.2f} in an episode" for x in (recorded["hops"], hops))
    return [*rows, Row("teams", "hops of control in random play", theirs, own, "", True)]


def actions() -> list[Row]:
    """Result of every action from the same states: where the ball goes in a second, and who has it."""
    recorded = load("actions")
    theirs, own = recorded["after"], port.tried(recorded)
    start = recorded["ball"][:, None, :2]
    moved = [x[..., :2] - start for x in (theirs, own)]
    gap = np.linalg.norm(moved[0] - moved[1], axis=-1)
    far = (np.abs(moved[0]) > 1.0) & (np.abs(moved[1]) > 1.0)
    sign = float(np.mean((np.sign(moved[0]) == np.sign(moved[1]))[far]))
    owner = float(np.mean(theirs[..., 2] == own[..., 2]))
    middle = f"{np.median(gap):.2f} m"
    return [
        Row("actions", "sign of the ball's way over 1 m agrees", "", f"{sign:.2f}", "", True),
        Row("actions", "owner's team after 1 s agrees", "", f"{owner:.2f}", "", True),
        Row("actions", "distance of the balls after 1 s, median", "", middle, "", True),
    ]


def episodes(task: str) -> list[Row]:
    """Fixed policies: goals, losses, returns, lengths and possession, by two-sample tests."""
    recorded, rows = load(f"episodes_{task}"), []
    for name in games.football_policies.POLICIES:
        theirs = recorded[name]
        ends = ["out" if end in port.OUT else end for end in named(theirs[:, 2])]
        own, own_ends = port.episodes(task, name, len(theirs))
        numbers = {"return": 0, "length": 1, "own_left": 4}
        marks = {end: [np.array(x) == end for x in (ends, own_ends)] for end in ("goal", "lost", "out", "limit")}
        rows += [of_shares(task, name, end, both) for end, both in marks.items()]
        for column, i in numbers.items():
            rows.append(of_numbers(task, name, column, theirs[:, i], own[:, i if i < 2 else i - 1]))
    if games.BUILTIN in recorded:
        theirs = recorded[games.BUILTIN]
        goals = float(np.mean(theirs[:, 2] == games.ENDS.index("goal")))
        figure = f"goals {goals:.3f}, return {theirs[:, 0].mean():.2f}, length {theirs[:, 1].mean():.0f}"
        rows.append(Row("episodes", f"{task}, built-in AI", figure, "none in the port", "", True))
    return rows


PARTS: dict[str, Callable[[], list[Row]]] = {f.__name__: f for f in (ball, runs, kicks, shots, idle, teams, actions)}
PARTS |= {f"episodes_{task}": (lambda task=task: episodes(task)) for task in games.TASKS}
COLUMNS: dict[str, Callable[[dict[str, Any]], str]] = {
    "part": lambda row: row["part"],
    "what": lambda row: row["what"],
    "engine": lambda row: row["engine"],
    "port": lambda row: row["port"],
    "gate": lambda row: row["gate"],
    "met": lambda row: ("yes" if row["ok"] else "**no**") if row["gate"] else "",
}


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = common.parser(__doc__)
    parser.add_argument("parts", nargs="+", choices=[*PARTS, "all"])
    return parser.parse_args()


def main() -> None:
    """Print the rows of the parts that are named."""
    given = arguments()
    report = common.begin(__file__, given.out, "the port beside recorded traces of the engine", common.describe())
    for name in PARTS if "all" in given.parts else given.parts:
        common.add(report, *(row._asdict() for row in PARTS[name]()))
    print(common.table(COLUMNS, report.rows))
    gates = [row for row in report.rows if row["gate"]]
    print(f"\n{sum(row['ok'] for row in gates)} of {len(gates)} gates met")


if __name__ == "__main__":
    main()
