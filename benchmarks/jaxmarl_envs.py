"""Speed of JaxMARL's environments through env=jaxmarl, beside JaxMARL's own `step_env`.

    python benchmarks/jaxmarl_envs.py                          all that run, 64 environments at once
    python benchmarks/jaxmarl_envs.py --ids hanabi --envs 1 1024

Each system is one compiled program on one device: resets, then steps of random actions, which are drawn beforehand and
may be unavailable; rewards, ends and observations of every step are written out. Ours also builds the view: padded
observations, availability, the flat state and the named fields, of which only what is written is computed. All steps
count, those after an end too, as nothing resets itself. Both take turns, so that a machine that slows down slows both.
"""

import argparse
import contextlib
import io
import statistics
from collections.abc import Callable
from typing import Any

import common
import env_peers
import env_programs
import jax
import numpy as np

import qllm_envs
from qllm_envs._jaxmarl.games import GAMES


def measure(name: str, n_envs: int, args: argparse.Namespace) -> dict[str, Any]:
    """Return the row of an environment: env steps a second of both systems, round by round."""
    from qllm_envs._jaxmarl import arguments as made_by  # here, as importing jaxmarl takes seconds

    env = qllm_envs.make("jaxmarl", id=name)
    spec = env.spec
    peer = made_by.made(name, made_by.find(name), None, None)
    rng = np.random.default_rng(args.seed)
    actions = rng.integers(0, spec.n_actions, (n_envs, args.steps, spec.n_agents), dtype=np.int32)
    inputs = jax.random.split(jax.random.key(args.seed), n_envs), jax.device_put(actions)
    with contextlib.redirect_stdout(io.StringIO()):  # JaxNav prints while it is traced
        ours, ours_s = common.compiled(jax.vmap(env_programs.ours(env)), *inputs)
        theirs, theirs_s = common.compiled(jax.vmap(env_programs.jaxmarl_episode(peer)), *inputs)
    programs = {"ours": lambda: ours(*inputs), "theirs": lambda: theirs(*inputs)}
    common.in_turn(programs, 1)  # the first call of a program is slower
    times = common.in_turn(programs, args.repeats)
    speed = {key: [n_envs * args.steps / second for second in seconds] for key, seconds in times.items()}
    return {
        "id": name,
        "envs": n_envs,
        "compile_s": ours_s,
        "peer_compile_s": theirs_s,
        "env_steps_per_s": speed["ours"],
        "peer_env_steps_per_s": speed["theirs"],
        "speed_to_jaxmarl": common.ratios(speed["ours"], speed["theirs"]),
    }


def columns() -> dict[str, Callable[[dict[str, Any]], str]]:
    """Return the columns of the table."""
    return {
        "id": lambda row: row["id"],
        "environments": lambda row: f"{row['envs']:,}",
        "env-steps/s": lambda row: common.spread(row["env_steps_per_s"], ",.0f"),
        "of JaxMARL's own": lambda row: common.spread(row["peer_env_steps_per_s"], ",.0f"),
        "ratio": lambda row: f"{statistics.median(row['speed_to_jaxmarl']):.2f}",
        "compile, s": lambda row: f"{row['compile_s']:.1f} and {row['peer_compile_s']:.1f}",
    }


def main() -> None:
    args = arguments()
    task = f"{args.steps} random steps after a reset; {args.repeats} rounds"
    report = common.begin(__file__, args.out, task, common.describe("jaxmarl"))
    print(flush=True)
    for name in args.ids:
        for n_envs in args.envs:
            common.add(report, measure(name, n_envs, args))
    print(common.table(columns(), report.rows))


def arguments() -> argparse.Namespace:
    parser = common.parser(__doc__)
    parser.add_argument("--ids", nargs="+", choices=GAMES, metavar="ID", default=list(GAMES), help="those to measure")
    parser.add_argument("--envs", nargs="+", type=common.positive, metavar="B", default=[64], help="at once (64)")
    parser.add_argument("--steps", type=common.positive, default=100, metavar="T", help="of an environment (100)")
    parser.add_argument("--repeats", type=common.positive, default=5, metavar="R", help="rounds (5)")
    parser.add_argument("--seed", type=common.natural, default=0, help="of keys and actions (0)")
    args = parser.parse_args()
    if not env_peers.installed(env_peers.JAXMARL):
        parser.error("jaxmarl is not installed: pip install jaxmarl")
    return args


if __name__ == "__main__":
    main()
