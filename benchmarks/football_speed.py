"""Speed of the football engine beside its port: `python benchmarks/football_speed.py --games 1 64 --envs 1 64 1024`.

Random actions, resets included; env steps per second of wall time. The engine plays `--games` games in `--processes`
processes (the cores); a game takes about 50 MiB, and a number that does not fit into memory is refused. The port plays
`--envs` environments in one program, shared out over as many devices of the CPU as there are processes, or over the
GPUs; its compile time is apart. `--games` needs the engine: docs/football_engine.md.
"""

import argparse
import math
import os
import time
from typing import Any

import common
import jax
import jax.numpy as jnp
import numpy as np

import qllm_envs
from qllm_envs.argparse_types import above_zero
from qllm_envs.football_engine import N_ACTIONS, TASKS, Games, game

GAME_BYTES = 50 * 2**20  # resident memory of one more game in a process: 155 MiB for one, 552 MiB for nine


def engine(task: str, n_games: int, processes: int, seconds: float) -> dict[str, Any]:
    """Row of the engine. SystemExit if the games do not fit into the memory that is free."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if n_games * GAME_BYTES > free:
        need, have = (x / 2**30 for x in (n_games * GAME_BYTES, free))
        raise SystemExit(f"--games {n_games} need about {need:.0f} GiB, and {have:.0f} GiB are free")
    rng, seed, steps = np.random.default_rng(0), n_games, 0
    with Games(task, n_games, processes) as games:
        games.reset({lane: lane for lane in range(n_games)})
        start = time.perf_counter()
        while (taken := time.perf_counter() - start) < seconds:
            actions = rng.integers(0, N_ACTIONS, (n_games, games.n_agents)).tolist()
            ended = [lane for lane, out in games.step(dict(enumerate(actions))).items() if out.end]
            steps += n_games
            games.reset({lane: seed + i for i, lane in enumerate(ended)})
            seed += len(ended)
    cores = min(processes, n_games)
    return {"system": f"engine, {cores} processes", "task": task, "envs": n_games, "env_steps_per_s": steps / taken}


def port(task: str, n_envs: int, repeats: int) -> dict[str, Any]:
    """Row of the port: episodes of the horizon, in which an environment that ends is reset."""
    env = qllm_envs.make("football_lite", scenario=task)

    def one(key: jax.Array) -> jax.Array:
        def step(carry: tuple[Any, jax.Array], key: jax.Array) -> tuple[tuple[Any, jax.Array], None]:
            state, total = carry
            key_act, key_env, key_reset = jax.random.split(key, 3)
            actions = jax.random.randint(key_act, (env.spec.n_agents,), 0, N_ACTIONS)
            out = env.step(key_env, state, actions)
            seen = env.view(out.state).obs.sum()  # observations are part of the work
            ends = out.terminated | out.truncated
            fresh = env.reset(key_reset)
            state = jax.tree.map(lambda new, old: jnp.where(ends, new, old), fresh, out.state)
            return (state, total + out.reward + 0.0 * seen), None

        keys = jax.random.split(key, env.spec.horizon)
        return jax.lax.scan(step, (env.reset(key), jnp.zeros(())), keys)[0][1]

    devices = jax.devices()[: math.gcd(n_envs, jax.device_count())]
    mesh = jax.sharding.Mesh(devices, "envs")
    shared = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("envs"))
    keys = jax.device_put(jax.random.split(jax.random.key(0), n_envs), shared)
    run, compile_s = common.compiled(jax.vmap(one), keys)
    common.seconds(run, keys)
    times = [common.seconds(run, keys)[1] for _ in range(repeats)]
    speeds = [n_envs * env.spec.horizon / each for each in times]
    row = {"system": f"port, {len(devices)} devices", "task": task, "envs": n_envs}
    return row | {"env_steps_per_s": float(np.median(speeds)), "compile_s": compile_s}


COLUMNS = {
    "task": lambda row: row["task"],
    "system": lambda row: row["system"],
    "environments": lambda row: f"{row['envs']:,}",
    "env steps per s": lambda row: f"{row['env_steps_per_s']:,.0f}",
    "compile, s": lambda row: f"{row['compile_s']:.0f}" if "compile_s" in row else "",
}


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = common.parser(__doc__)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS)[:2])
    parser.add_argument("--games", nargs="*", type=common.positive, default=[], help="games of the engine")
    parser.add_argument(
        "--envs", nargs="*", type=common.positive, default=[1, 64, 1024], help="environments of the port"
    )
    parser.add_argument("--processes", type=common.positive, default=os.cpu_count() or 1)
    parser.add_argument("--seconds", type=above_zero, default=10.0, help="of a measurement of the engine")
    parser.add_argument(
        "--repeats", type=common.positive, default=3, help="measurements of the port, of which the median"
    )
    given = parser.parse_args()
    if given.games and not game.installed():
        parser.error(game.MISSING)
    return given


def main() -> None:
    """Measure, print a table."""
    given = arguments()
    jax.config.update("jax_num_cpu_devices", given.processes)
    report = common.begin(__file__, given.out, "env steps per second with random actions", common.describe("gfootball"))
    for task in given.tasks:
        for n in given.games:
            common.add(report, engine(task, n, given.processes, given.seconds))
        for n in given.envs:
            common.add(report, port(task, n, given.repeats))
    print(common.table(COLUMNS, report.rows))


if __name__ == "__main__":
    main()
