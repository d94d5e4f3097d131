"""Policies that were trained in football_lite, in the port and in the engine.

    python benchmarks/football_transfer.py runs/football/vdn runs/football/qmix --episodes 200 --out transfer.json

One table: win rate and return of the policies of each run folder on `--episodes` episodes in the port and as many in
the engine, one row for each seed with 95% intervals over its episodes, and one for each configuration with intervals
over its seeds. Below them, for each task, the uniformly random policy, the idle team and the engine's own AI: in the
engine those of the recorded traces (football_record.py episodes_TASK), in the port as many episodes. Policies act as in
evaluation: greedily, or with the run's `eval_epsilon`. Needs the engine: docs/football_engine.md.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import common
import football_games as games
import football_parity as parity
import football_port as port
import jax
import numpy as np
from scipy.stats import binomtest

from qllm_jax import stats
from qllm_jax.commands import evaluate
from qllm_jax.core.types import Scores
from qllm_jax.program import run_axis
from qllm_jax.program.run_axis import Run
from qllm_jax.run import engine_play, load
from qllm_jax.run.final_evaluation import final_keys

Row = dict[str, Any]  # task, policy, and cells of the port and of the engine


def shares(marks: np.ndarray) -> str:
    """Share of marked episodes in percent, with Wilson's interval (Wilson 1927)."""
    test = binomtest(int(np.sum(marks)), len(marks))
    low, high = test.proportion_ci(method="wilson")
    return f"{test.statistic:.1%} ({low:.1%} to {high:.1%})"


def means(returns: np.ndarray) -> str:
    """Mean of the returns of episodes, with its t interval."""
    low, high = stats.interval(returns)
    return f"{returns.mean():.2f} ({low:.2f} to {high:.2f})"


def row(task: str, policy: str, *sides: tuple[np.ndarray, np.ndarray] | None) -> Row:
    """The row of one policy from its (won, returns) of episodes in the port and in the engine; None: not played."""
    cells: Row = {"task": task, "policy": policy}
    for name, side in zip(("port", "engine"), sides, strict=True):
        won, returns = side or (None, None)
        cells |= {
            f"{name}_episodes": 0 if won is None else len(won),
            f"{name}_win_rate": "" if won is None else shares(won),
            f"{name}_return": "" if returns is None else means(returns),
        }
    return cells


def mean_row(task: str, policy: str, sides: list[Scores]) -> Row:
    """The row of the mean over the seeds (R > 1) of one configuration, with t intervals over the seeds."""
    cells: Row = {"task": task, "policy": policy}
    for name, scores in zip(("port", "engine"), sides, strict=True):
        assert scores.won is not None
        cells |= {
            f"{name}_episodes": scores.won.size,
            f"{name}_win_rate": stats.percentage_with_interval(scores.won.mean(-1)).replace("95% CI ", ""),
            f"{name}_return": stats.mean_with_interval(scores.returns.mean(-1)).replace("95% CI ", ""),
        }
    return cells


def of_run(path: Path, which: str, episodes: int, n_games: int) -> tuple[str, list[Row]]:
    """The task of a run folder and its rows."""
    run = load.load_run(str(path), which)
    epsilon = run.exp.config.algo.eval_epsilon
    n_runs = run.exp.n_runs
    with engine_play.open_games(run.exp.env.spec, n_games) as opened:
        keys = final_keys(run.exp, 0)[:n_runs]
        theirs = engine_play.play(run.exp, run.params, keys, opened, episodes, epsilon)
    ours = evaluate.play(run, episodes, epsilon)
    task = dict(run.exp.env.spec.options).get("scenario", "academy_3_vs_1_with_keeper")
    return task, policy_rows(task, (path.name, run.which), run_axis.runs(run.exp.config), (ours, theirs))


def policy_rows(task: str, names: tuple[str, str], runs: Sequence[Run], sides: tuple[Scores, Scores]) -> list[Row]:
    """A row for each run, and after those of a configuration that of their mean, from scores (R, episodes).

    `names`: the folder, and which policies of it.
    """
    rows = []
    for label, indices in run_axis.indices_by_label(runs).items():
        name = ", ".join(filter(None, (names[0], label, names[1])))
        own = [jax.tree.map(lambda x: x[np.asarray(indices)], scores) for scores in sides]  # noqa: B023
        of_seed = lambda i: ((side.won[i], side.returns[i]) for side in own)  # noqa: B023
        rows += [row(task, f"{name}, seed {runs[at].seed}", *of_seed(i)) for i, at in enumerate(indices)]
        if len(indices) > 1:
            rows.append(mean_row(task, f"{name}, mean of {len(indices)}", own))
    return rows


def baselines(task: str, episodes: int) -> list[Row]:
    """Rows of the random policy, the idle team and the engine's own AI."""
    recorded, goal, rows = parity.load(f"episodes_{task}"), games.ENDS.index("goal"), []
    for name in ("random", "idle", games.BUILTIN):
        theirs = recorded[name][:, 2] == goal, recorded[name][:, 0]
        ours = None
        if name != games.BUILTIN:
            played, ends = port.episodes(task, name, episodes)
            ours = np.array(ends) == "goal", played[:, 0]
        rows.append(row(task, {games.BUILTIN: "the engine's own AI"}.get(name, name), ours, theirs))
    return rows


COLUMNS = {
    "task": lambda row: row["task"],
    "policy": lambda row: row["policy"],
    "episodes": lambda row: f"{row['port_episodes']}, {row['engine_episodes']}",
    "wins, port": lambda row: row["port_win_rate"],
    "wins, engine": lambda row: row["engine_win_rate"],
    "return, port": lambda row: row["port_return"],
    "return, engine": lambda row: row["engine_return"],
}


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = common.parser(__doc__)
    parser.add_argument("runs", nargs="+", type=Path, help="run folders of football_lite")
    parser.add_argument("--episodes", type=common.positive, default=200, help="episodes of each policy on each side")
    parser.add_argument("--which", default="best", choices=load.WHICH, help="policies of a run, as in evaluate")
    parser.add_argument("--games", type=common.positive, default=os.cpu_count() or 1, help="games at once")
    return parser.parse_args()


def main() -> None:
    """Play all, store each run's rows as they are there, and print the table."""
    given = arguments()
    report = common.begin(__file__, given.out, "port-trained policies in port and engine", common.describe("gfootball"))
    tasks: dict[str, None] = {}
    for path in given.runs:
        task, rows = of_run(path, given.which, given.episodes, given.games)
        tasks[task] = None
        common.add(report, *rows)
        print(f"{path} played", flush=True)
    for task in tasks:
        common.add(report, *baselines(task, given.episodes))
    print(common.table(COLUMNS, report.rows))


if __name__ == "__main__":
    common.run(main)
