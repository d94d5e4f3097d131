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
from typing import NamedTuple

import common
import jax
import jax.numpy as jnp
import numpy as np

from qllm_jax import config, experiment, folder, runs, saved
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
    run = saved.open_run(task) if (Path(task) / folder.CONFIG).is_file() else None
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


HEADINGS = (
    *("task", "policy", "N", "horizon", "episodes", "end early", "mean length", "slots behind the end"),
    *("environments, batch", "rollout, ms", "update, ms", "saved at most by rollouts, of an iteration", "by updates"),
)


def cells(team: Team, steps: np.ndarray, found: Times) -> list[str]:
    """A row of the table."""
    spec, algo = team.exp.env.spec, team.exp.config.algo
    share = 1 - steps.mean() / spec.horizon
    margin = 1.96 * steps.std() / spec.horizon / np.sqrt(len(steps))
    rolled, updated = (statistics.median(values) for values in found)
    return [
        *(spec.task, team.policy, str(spec.n_agents), str(spec.horizon), f"{len(steps):,}"),
        *(f"{np.mean(steps < spec.horizon):.1%}", f"{steps.mean():.1f}", f"{share:.1%} (95% ± {margin:.1%})"),
        f"{algo.n_envs}, {algo.batch_episodes}",
        *(f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})" for values in found),
        *(f"{share * ms:.2f} ms, {share * ms / (rolled + updated):.1%}" for ms in (rolled, updated)),
    ]


def main() -> None:
    args = arguments()
    print(common.head(f"iterations of one rollout and one update, {args.repeats} rounds", "flax", "optax"), flush=True)
    print(f"settings  {' '.join(args.settings)} (a run folder has its own)\n", flush=True)
    rows = (cells(team, lengths(team, args.episodes), times(team.exp, args.repeats)) for team in args.teams)
    lines = [HEADINGS, ["---"] * len(HEADINGS), *rows]
    print("\n".join(f"| {' | '.join(line)} |" for line in lines))


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
