"""Speed of an environment beside its peers: `python benchmarks/env_step.py env=mpe_spread n_agents=25 --envs 1 64`.

`env=` names a file of configs/env; n_agents= and env.KEY= change it, as for `python -m qllm_jax.train`. Whole episodes
of random actions are timed: reset, step and observe, every observation written out as a rollout would keep it. Actions
are drawn beforehand, and steps after the end of an episode are not counted.

Our environment and JaxMARL's (particle worlds, SMAX) or jumanji's (RobotWarehouse) are one compiled program each,
vmapped over environments, on one device, whose threads share all cores; the table gives the number of busy cores. Both
run every episode to the horizon. Where episodes end early, most of these steps are not counted; lines below the table
give the share. JaxMARL is called through `step_env`, without the reset that `step` adds to every step. RobotWarehouse
is another task than rware's: a collision ends its episode, and it is played on all the same, with all steps counted.
The original package (lbforaging, mpe2, rware) plays one environment in this process. Opponents in our environments act
by their policy, and so do SMAX's enemies; the opponents of other peers get random actions. All take turns, so that a
machine that slows down slows all; compile time is reported apart. The floor of a program is the time to write its
observations, rewards and ends to memory, and nothing else.

Memory is the plan of XLA for a program: actions, results and temporary arrays. `--peaks` adds the highest resident
memory of a process that imports, compiles and plays one system only, and the resident memory before that.
"""

import argparse
import importlib
import inspect
import statistics
from collections.abc import Callable
from typing import Any

import common
import env_peers
import env_programs
import jax
import jax.numpy as jnp
import systems
import workload
from env_peers import Game

import qllm_envs
from qllm_envs import Env
from qllm_jax import config
from qllm_jax.errors import UserError
from qllm_jax.program import experiment


def work(job: dict[str, Any]) -> dict[str, Any]:
    """Build and play one system; return the memory peaks of this process."""
    env, game = opened(job["overrides"])
    jax.block_until_ready(jnp.zeros(()))  # the backend has started
    before = workload.peaks()["peak_bytes"]
    env_programs.build(job["system"], job["envs"], env, game, job["seed"]).play()
    return {"idle_bytes": before, **workload.peaks()}


def columns(rows: list[dict[str, Any]]) -> dict[str, Callable[[dict[str, Any]], str]]:
    """Return the columns of the table, with a ratio for each peer, and peaks if they were read."""
    peers = dict.fromkeys(key for row in rows for key in row if key.startswith("speed_to_"))
    ratio = lambda key: lambda row: common.spread(row[key]) if key in row else "-"
    megabytes = lambda size: "-" if size is None else f"{size / 1e6:,.1f}"
    peak = lambda row: f"{megabytes(row['peak_bytes'])} ({megabytes(row['idle_bytes'])})"
    return {
        "environments": lambda row: f"{row['envs']:,}",
        "system": lambda row: row["system"],
        "env-steps/s": lambda row: common.spread(row["env_steps_per_s"], ",.0f"),
        **{f"times {key.removeprefix('speed_to_')}": ratio(key) for key in peers},
        "times the floor": ratio("times_floor"),
        "compile, s": lambda row: "-" if row["compile_s"] is None else f"{row['compile_s']:.2f}",
        "cores busy": lambda row: f"{statistics.median(row['cores_busy']):.1f}",
        "memory planned, MB": lambda row: megabytes(row["planned_bytes"]),
        **({"peak of a process, MB (before)": peak} if all("peak_bytes" in row for row in rows) else {}),
    }


def not_counted(rows: list[dict[str, Any]]) -> list[str]:
    """Return a line for each system that runs steps after the end of episodes."""
    return [
        f"{row['system']} x {row['envs']:,} runs {statistics.median(row['env_steps_per_s']) / row['counted']:,.0f} "
        f"steps a second, of which {row['counted']:.1%} come before the end of an episode"
        for row in rows
        if row["counted"] < 1
    ]


def left_out(game: Game, sizes: list[int], peer_sizes: list[int]) -> list[str]:
    """Return a sentence for each peer that is missing, or missing at some sizes."""
    sentences, without = env_peers.missing(game["name"]), [f"{n:,}" for n in sizes if n not in peer_sizes]
    if without:
        peer, sizes_text = env_peers.IN_JAX[game["name"]], " and ".join(without)
        sentences.append(f"{peer} is left out with {sizes_text} environments, as --peer-envs says")
    return sentences


def opened(overrides: list[str]) -> tuple[Env, Game]:
    """Build the environment of a configuration; return it with all its options, defaults included. UserError."""
    settings = config.load(overrides)
    if qllm_envs.source_digest(settings.env["name"]):
        raise UserError(f"env={settings.env['name']}: the options of an environment from outside are not known here")
    module = importlib.import_module(f"qllm_envs.{settings.env['name']}")
    defaults = {name: parameter.default for name, parameter in inspect.signature(module.make).parameters.items()}
    given = config.environment(settings.env, settings.n_agents)
    return experiment.make_env(settings.env, settings.n_agents), defaults | given


def main() -> None:
    if systems.answer(work):
        return
    args = arguments()
    env, game = args.built
    given = " ".join(f"{key}={value}" for key, value in game.items() if key != "time_limit_is_terminal")
    packages = [name for name in env_peers.of(game["name"]) if env_peers.installed(name)]
    rounds = f"{args.repeats} rounds of at least {args.ms} ms a system"
    task = f"{env.spec.task} ({given}), {env.spec.horizon} steps an episode; {rounds}"
    report = common.begin(__file__, args.out, task, common.describe(*packages))
    print("\n".join([*left_out(game, args.envs, args.peer_envs), ""]), flush=True)
    listed = env_programs.listed(game, args.envs, args.peer_envs)
    job = {"overrides": args.overrides, "seed": args.seed}
    peaks = [
        systems.in_process(__file__, {**job, "system": name, "envs": n_envs}) if args.peaks else {}
        for name, n_envs in listed
    ]
    found = [env_programs.build(name, n_envs, env, game, args.seed) for name, n_envs in listed]
    rows = env_programs.take_turns(found, args.repeats, args.ms / 1e3)
    common.add(report, *(row | more for row, more in zip(rows, peaks, strict=True)))
    print("\n".join([common.table(columns(report.rows), report.rows), "", *not_counted(report.rows)]))


def arguments() -> argparse.Namespace:
    parser = common.parser(__doc__)
    parser.add_argument("overrides", nargs="+", metavar="key=value", help="env=NAME first, then n_agents=, env.KEY=")
    many = {"type": common.positive, "metavar": "B"}
    parser.add_argument("--envs", nargs="+", **many, default=[1, 64, 1024], help="environments at once (1 64 1024)")
    parser.add_argument("--peer-envs", nargs="*", **many, help="those of --envs that a peer in JAX gets, too (all)")
    parser.add_argument("--peaks", action="store_true", help="start a process for the peak of each system's memory")
    parser.add_argument("--repeats", type=common.positive, default=5, metavar="R", help="rounds (5)")
    parser.add_argument("--ms", type=common.positive, default=300, help="a system's least time in a round (300)")
    parser.add_argument("--seed", type=common.natural, default=0, help="of actions (0)")
    args = parser.parse_args()
    args.envs = list(dict.fromkeys(args.envs))
    args.built = opened(args.overrides)
    check_peer(parser, args)
    return args


def check_peer(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuse sizes for a peer that does not exist, and sizes that are not in --envs, which are the default."""
    name = args.built[1]["name"]
    if args.peer_envs is not None and name not in env_peers.IN_JAX:
        parser.error(f"--peer-envs is for environments with a peer in JAX ({', '.join(env_peers.IN_JAX)}): not {name}")
    for n_envs in args.peer_envs or []:
        if n_envs not in args.envs:
            parser.error(f"--peer-envs {n_envs}: choose from --envs, which is {' '.join(map(str, args.envs))}")
    args.peer_envs = args.envs if args.peer_envs is None else args.peer_envs


if __name__ == "__main__":
    common.run(main)
