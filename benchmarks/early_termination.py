"""Time saved by skipping steps after termination: `python benchmarks/early_termination.py smac_3s_vs_5z`.

Where episodes may end early, the rollouts of all runs on a device stop when the last episode ends, and an update reads
the shortest of a few lengths that covers all episodes of the batch (core/lockstep.py). A task is a file of configs/env,
played by uniformly random agents, or a run folder, played by its best parameters; its runs are on one device. The team
does not learn while it is timed (learning rate 0, fixed epsilon).

Shares are of all slots, horizon times episodes: slots after the end, and the part of them that rollouts still play and
updates still read. Times are of the program as it is and of the "full" program, which is told that no episode ends
early and plays and reads to the horizon; both get the same episodes and batches, in turn.
"""

import argparse
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import common
import jax
import jax.numpy as jnp
import numpy as np

from qllm_jax import config
from qllm_jax.core import lockstep
from qllm_jax.core.rollout import rollout
from qllm_jax.core.types import Clock, Hp, Params
from qllm_jax.errors import UserError
from qllm_jax.program import compiled, devices, experiment
from qllm_jax.program.experiment import Experiment
from qllm_jax.program.one_run import RunState
from qllm_jax.run import folder, load

TASKS = ("smac_3s_vs_5z", "lbf_15x15_4p_3f", "lbf_8x8_2p_2f_coop")


class Team(NamedTuple):
    """Parameters that play the environment of an experiment."""

    policy: str
    exp: Experiment
    params: Params  # all that the method learns, leaves (R, ...)
    epsilon: float


def open_task(task: str, settings: list[str]) -> Team:
    """Open the best team of a run folder, or random agents in an environment with `settings`. UserError for neither."""
    run = load.load_run(task) if (Path(task) / folder.CONFIG).is_file() else None
    exp = run.exp if run else experiment.build(replace(config.load([f"env={task}", *settings]), devices=1))
    algo, spec = exp.config.algo, exp.env.spec
    if not spec.ends_early:
        raise UserError(f"no episode of {spec.task} ends early: there is no step to skip")
    if algo.batch_episodes <= algo.n_envs:
        raise UserError(f"batch_episodes={algo.batch_episodes} must be above n_envs={algo.n_envs}: see `times`")
    if run:
        return Team(f"best of {run.path.name}", exp, run.params, algo.eval_epsilon)
    return Team("random", exp, experiment.init(exp)[1].learner.params, 1.0)


def lengths(team: Team, episodes: int) -> np.ndarray:
    """Lengths (rollouts, R, E) of at least `episodes` episodes, and of at least a batch of each run, in steps."""
    exp, algo = team.exp, team.exp.config.algo
    shape = (exp.n_runs, algo.n_envs)
    n = -(-max(episodes, algo.batch_episodes * exp.n_runs) // (exp.n_runs * algo.n_envs))
    terminal = exp.config.env["time_limit_is_terminal"]

    def length(params: Params, key: jax.Array) -> jax.Array:
        episode = rollout(exp.env, exp.agent, exp.learner.act, params, key, jnp.asarray(team.epsilon), terminal)
        return jnp.sum(episode.mask_t)

    of_runs = lockstep.vmap(lambda params, keys: lockstep.vmap(length, (None, 0))(params, keys), (0, 0))
    played = jax.jit(lambda params, keys: jax.lax.map(lambda keys: of_runs(params, keys), keys))
    return np.asarray(played(team.params["agent"], jax.random.split(jax.random.key(0), (n, *shape))))


def handled(exp: Experiment, steps: np.ndarray) -> tuple[float, float]:
    """Return the mean steps that a rollout plays and that an update reads, from lengths (rollouts, R, E)."""
    horizon, batch = exp.env.spec.horizon, exp.config.algo.batch_episodes
    of_runs = np.moveaxis(steps, 1, 0).reshape(steps.shape[1], -1)
    n = of_runs.shape[1] // batch
    longest = of_runs[:, : n * batch].reshape(-1, n, batch).max((0, 2))
    choices = np.asarray((horizon,) if exp.learner.reads_padding else lockstep.prefix_lengths(horizon))
    return float(steps.max((1, 2)).mean()), float(choices[np.searchsorted(choices, longest)].mean())


def playing(team: Team) -> tuple[Clock, RunState, Hp]:
    """Return a start from which the team plays without learning."""
    clock, state = experiment.init(team.exp)
    learner = state.learner._replace(params=jax.tree.map(jnp.copy, team.params))  # programs donate the copy
    fixed = jnp.full_like(team.exp.hp.epsilon_start, team.epsilon)
    hp = team.exp.hp._replace(lr=jnp.zeros_like(fixed), epsilon_start=fixed, epsilon_end=fixed)
    return clock, state._replace(learner=learner), hp


def times(team: Team, repeats: int) -> dict[str, list[float]]:
    """Return the milliseconds of the parts of an iteration of all runs, by program and part, one per round.

    Rollouts are those before the first update; there are none if one rollout fills a batch. An update is an iteration
    less its rollout. All programs of a round continue from the same counters and parameters, so that they play the same
    episodes and read the same batches.
    """
    exp, algo, (clock, state, hp) = team.exp, team.exp.config.algo, playing(team)
    full = experiment.build(exp.config, exp.mixer, exp.env._replace(spec=exp.env.spec._replace(ends_early=False)))
    n = jnp.asarray(compiled.warmup_rollouts(algo.n_envs, algo.batch_episodes, exp.learner.n_recent))
    programs = {
        name: (common.compiled(p.warmup, clock, state, hp)[0], common.compiled(p.chunk, clock, state, hp, n)[0])
        for name, p in (("", exp.program), ("full_", full.program))
    }
    clock, state = programs[""][0](clock, state, hp)  # less than a batch: an iteration's first rollout completes it
    found: dict[str, list[float]] = {f"{name}{part}_ms": [] for name in programs for part in ("rollout", "update")}
    for number in range(repeats + 1):  # the first warms up
        after = clock
        for name, (rollouts, iterations) in programs.items():
            (_, state), rolled = common.seconds(rollouts, clock, state, hp)
            (after, state, _), both = common.seconds(iterations, clock, state, hp, n)
            if number:
                found[f"{name}rollout_ms"].append(1e3 * rolled / int(n))
                found[f"{name}update_ms"].append(1e3 * (both - rolled) / int(n))
        clock = after
    return found


def measure(team: Team, episodes: int, repeats: int) -> dict[str, Any]:
    """Measure one team: a row of the report."""
    spec, algo, steps = team.exp.env.spec, team.exp.config.algo, lengths(team, episodes)
    mean, (played, read), found = float(steps.mean()), handled(team.exp, steps), times(team, repeats)
    ours, full = (np.add(found[f"{name}rollout_ms"], found[f"{name}update_ms"]).tolist() for name in ("", "full_"))
    sizes = {"agents": spec.n_agents, "horizon": spec.horizon, "seeds": team.exp.n_runs, "envs": algo.n_envs}
    return {
        "task": spec.task,
        "policy": team.policy,
        **sizes,
        "batch": algo.batch_episodes,
        "episodes": steps.size,
        "early_share": float(np.mean(steps < spec.horizon)),
        "length_steps": mean,
        "masked_share": 1 - mean / spec.horizon,
        "masked_share_margin": 1.96 * float(steps.std()) / spec.horizon / steps.size**0.5,  # of 95%
        "played_masked_share": (played - mean) / spec.horizon,
        "read_masked_share": (read - mean) / spec.horizon,
        **found,
        "speed_to_full": common.ratios(full, ours),
    }


def part(row: dict[str, Any], name: str) -> str:
    """Format the time of a part of an iteration, and its speed relative to the full program."""
    ratio = statistics.median(common.ratios(row[f"full_{name}"], row[name]))
    return f"{common.spread(row[name])}, {ratio:.2f} x"


COLUMNS = {
    "task": lambda row: row["task"],
    "policy": lambda row: row["policy"],
    "N": lambda row: str(row["agents"]),
    "horizon": lambda row: str(row["horizon"]),
    "runs, environments, batch": lambda row: f"{row['seeds']}, {row['envs']}, {row['batch']}",
    "episodes": lambda row: f"{row['episodes']:,}",
    "end early": lambda row: f"{row['early_share']:.1%}",
    "mean length": lambda row: f"{row['length_steps']:.1f}",
    "slots after the end": lambda row: f"{row['masked_share']:.1%} (95% ± {row['masked_share_margin']:.1%})",
    "still played": lambda row: f"{row['played_masked_share']:.1%}",
    "still read": lambda row: f"{row['read_masked_share']:.1%}",
    "rollout, ms, times as fast as full": lambda row: part(row, "rollout_ms"),
    "update, ms, times as fast as full": lambda row: part(row, "update_ms"),
    "iteration, times as fast as full": lambda row: common.spread(row["speed_to_full"]),
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
    settings = ["algo=matched_qllm", "seeds=1", "algo.n_envs=8", "algo.batch_episodes=32", "algo.buffer_episodes=64"]
    parser.add_argument("tasks", nargs="*", default=TASKS, help=f"environments or run folders ({' '.join(TASKS)})")
    parser.add_argument("--episodes", type=common.positive, default=2000, help="episodes for the shares (2000)")
    parser.add_argument("--repeats", type=common.positive, default=7, metavar="R", help="rounds of timing (7)")
    parser.add_argument("--settings", nargs="+", metavar="key=value", default=settings, help=" ".join(settings))
    args = parser.parse_args()
    args.teams = [open_task(task, args.settings) for task in args.tasks]
    return args


if __name__ == "__main__":
    common.run(main)
