"""What masked steps behind the end of an episode cost: `python benchmarks/early_termination.py lbf_8x8_2p_2f_coop`.

A rollout plays every episode to the horizon, and an update learns from all of its slots; what comes after the end is
masked. Each task is a file of configs/env, played by uniformly random agents, or the folder of a run, played by its
best parameters (all seeds). Measured are the share of slots behind the end, and the time of an iteration's rollout and
of its gradient update (all seeds of the run as one program), which do not depend on the policy.

Rollouts with auto-reset, and updates from packed sequences, would do the same work in that share less of the time at
the very best: if resets, bookkeeping and uneven lengths cost nothing. That is the bound; its two parts add up to the
share itself.
"""

import argparse
import statistics
from pathlib import Path
from typing import Any, NamedTuple

import common
import jax
import jax.numpy as jnp
import numpy as np

from qllm_jax import config, devices, experiment, folder, runs
from qllm_jax import saved as saved_runs
from qllm_jax.errors import UserError
from qllm_jax.experiment import Experiment
from qllm_jax.rollout import rollout
from qllm_jax.types import Params

TASKS = ("lbf_15x15_4p_3f", "lbf_8x8_2p_2f_coop", "lbf_10x10_3p_3f")


class Team(NamedTuple):
    """Who plays what."""

    policy: str
    exp: Experiment
    params: Params  # of the agents, leaves (R, ...)
    epsilon: float


class Times(NamedTuple):
    """Milliseconds in one iteration of all runs, one number a round."""

    rollout: list[float]
    update: list[float]


def open_task(task: str, settings: list[str]) -> Team:
    """A run folder's best team, or random agents in an environment with `settings`. UserError if it is neither."""
    run = saved_runs.open_run(task) if (Path(task) / folder.CONFIG).is_file() else None
    exp = run.exp if run else experiment.build(config.load([f"env={task}", *settings]))
    algo = exp.config.algo
    if algo.batch_episodes <= algo.n_envs:
        raise UserError(f"batch_episodes={algo.batch_episodes} must be above n_envs={algo.n_envs}: see `times`")
    if run:
        return Team(f"best of {run.path.name}", exp, run.params["agent"], algo.eval_epsilon)
    return Team("random", exp, jax.jit(jax.vmap(exp.agent.init))(jax.random.split(exp.root, exp.config.seeds)), 1.0)


def lengths(team: Team, episodes: int) -> np.ndarray:
    """Steps of at least `episodes` episodes up to their ends, all seeds together."""
    exp, n_runs = team.exp, team.exp.config.seeds
    limit_ends = exp.config.env["time_limit_is_terminal"]

    def length(params: Params, key: jax.Array) -> jax.Array:
        episode = rollout(exp.env, exp.agent, exp.learner.act, params, key, jnp.asarray(team.epsilon), limit_ends)
        return jnp.sum(episode.mask_t)

    keys = jax.random.split(jax.random.key(0), (n_runs, -(-episodes // n_runs)))
    return np.asarray(jax.jit(jax.vmap(jax.vmap(length, (None, 0))))(team.params, keys)).reshape(-1)


def times(exp: Experiment, repeats: int) -> Times:
    """Rollouts alone and whole iterations in turn; their difference is the update.

    Rollouts are those before the first update, of which there are none if one rollout fills a batch.
    """
    algo, program = exp.config.algo, exp.program
    n = runs.warmup_rollouts(algo.n_envs, algo.batch_episodes, exp.learner.n_recent)
    state = program.init(exp.root, exp.seeds)
    rollouts, _ = common.compiled(program.warmup, *state, exp.hp)
    iterations, _ = common.compiled(program.chunk, *state, exp.hp, jnp.asarray(n))
    found = Times([], [])
    for number in range(repeats + 2):  # the first fills the buffer up to a batch, the second is the warm-up
        state, rolled = common.seconds(rollouts, *state, exp.hp)
        (*state, _), both = common.seconds(iterations, *state, exp.hp, jnp.asarray(n))
        if number > 1:
            found.rollout.append(1e3 * rolled / n)
            found.update.append(1e3 * (both - rolled) / n)
    return found


def measure(team: Team, episodes: int, repeats: int) -> dict[str, Any]:
    """A row of the report."""
    spec, algo = team.exp.env.spec, team.exp.config.algo
    steps, found = lengths(team, episodes), times(team.exp, repeats)
    sizes = {"agents": spec.n_agents, "horizon": spec.horizon, "envs": algo.n_envs, "batch": algo.batch_episodes}
    return {
        "task": spec.task,
        "policy": team.policy,
        **sizes,
        "episodes": len(steps),
        "early_share": float(np.mean(steps < spec.horizon)),
        "length_steps": float(steps.mean()),
        "masked_share": 1 - float(steps.mean()) / spec.horizon,
        "masked_share_margin": 1.96 * float(steps.std()) / spec.horizon / len(steps) ** 0.5,  # of 95%
        "rollout_ms": found.rollout,
        "update_ms": found.update,
    }


def saved(row: dict[str, Any], part: str) -> str:
    """A cell: what a part could save at the very best, and its share of an iteration."""
    whole = statistics.median(row["rollout_ms"]) + statistics.median(row["update_ms"])
    most = row["masked_share"] * statistics.median(row[part])
    return f"{most:.2f} ms, {most / whole:.1%}"


COLUMNS = {
    "task": lambda row: row["task"],
    "policy": lambda row: row["policy"],
    "N": lambda row: str(row["agents"]),
    "horizon": lambda row: str(row["horizon"]),
    "episodes": lambda row: f"{row['episodes']:,}",
    "end early": lambda row: f"{row['early_share']:.1%}",
    "mean length": lambda row: f"{row['length_steps']:.1f}",
    "slots behind the end": lambda row: f"{row['masked_share']:.1%} (95% ± {row['masked_share_margin']:.1%})",
    "environments, batch": lambda row: f"{row['envs']}, {row['batch']}",
    "rollout, ms": lambda row: common.spread(row["rollout_ms"]),
    "update, ms": lambda row: common.spread(row["update_ms"]),
    "saved at most by rollouts, of an iteration": lambda row: saved(row, "rollout_ms"),
    "by updates": lambda row: saved(row, "update_ms"),
}


def main() -> None:
    devices.use_cores()
    args = arguments()
    task = f"iterations of one rollout and one update, {args.repeats} rounds; "
    task += f"settings {' '.join(args.settings)} (a run folder has its own)"
    report = common.begin(__file__, args.out, task, common.describe("flax", "optax"))
    for team in args.teams:
        common.add(report, measure(team, args.episodes, args.repeats))
    print("\n" + common.table(COLUMNS, report.rows))


def arguments() -> argparse.Namespace:
    parser = common.parser(__doc__)
    parser.add_argument("tasks", nargs="*", default=TASKS, help=f"environments or run folders ({' '.join(TASKS)})")
    parser.add_argument("--episodes", type=common.positive, default=2000, help="episodes for the share (2000)")
    parser.add_argument("--repeats", type=common.positive, default=7, metavar="R", help="rounds of timing (7)")
    parser.add_argument(
        "--settings",
        nargs="+",
        metavar="key=value",
        default=["algo=matched_qllm", "seeds=1", "algo.n_envs=8", "algo.batch_episodes=32"],
        help="of the training program (algo=matched_qllm seeds=1 algo.n_envs=8 algo.batch_episodes=32)",
    )
    args = parser.parse_args()
    try:
        args.teams = [open_task(task, args.settings) for task in args.tasks]
    except UserError as error:
        parser.error(str(error))
    return args


if __name__ == "__main__":
    main()
