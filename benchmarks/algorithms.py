"""Time and memory of an update by algorithm: `python benchmarks/algorithms.py --agents 6 25`.

Presets run unchanged on MPE spread: `matched_*` share the network, the number of parallel environments and, except for
on-policy methods, the batch. One iteration is timed: a rollout and the update after it. The programs take turns in one
process; ratios to the first algorithm are taken turn by turn. Memory is the plan of XLA: temporary arrays at their
peak, and the state (parameters, optimizer, replay). The floor is the matrix multiplications of a program at the rate
of a 2048^3 f32 matmul in the same process.
"""

import argparse

import common
import loops
import workload

from qllm_jax import config
from qllm_jax.errors import UserError
from qllm_jax.program import devices, experiment
from qllm_jax.program.experiment import Experiment


def build(algo: str, agents: int, seeds: int) -> Experiment:
    """Build the experiment of a preset as `qllm_jax.train` does. UserError if the preset does not exist."""
    return experiment.build(config.load([f"algo={algo}", "env=mpe_spread", f"n_agents={agents}", f"seeds={seeds}"]))


COLUMNS = {
    "N": lambda row: str(row["agents"]),
    "algorithm": lambda row: row["system"],
    "compile, s": lambda row: f"{row['compile_s']:.1f}",
    "ms per update (min to max)": lambda row: common.spread(row["update_ms"]),
    "times the first": lambda row: common.spread(row["times_first"]),
    "floor, ms": lambda row: f"{row['floor_ms']:.2f}",
    "times the floor": lambda row: common.spread(row["times_floor"], ".1f"),
    "temporary, MB": lambda row: f"{row['temporary_bytes'] / 1e6:.0f}",
    "state, MB": lambda row: f"{row['state_bytes'] / 1e6:.0f}",
}


def main() -> None:
    devices.use_cores()
    args = arguments()
    task = f"MPE spread, {args.seeds} seeds a program, {args.updates} updates a turn, {args.repeats} turns"
    report = common.begin(__file__, args.out, task, common.describe("flax", "optax"))
    for agents, experiments in args.experiments.items():
        programs = {}
        for name, exp in experiments.items():
            programs[name] = loops.start(exp)
            print(f"N={agents}: {name} compiled", flush=True)
        found = loops.times(programs, args.updates, args.repeats)
        rate, first = workload.matmul_rate(), found[args.algos[0]]
        for name, loop in programs.items():
            row = {
                "agents": agents,
                "seeds": args.seeds,
                "system": name,
                "times_first": common.ratios(found[name], first),
            }
            common.add(report, row | loops.figures(loop, found[name], args.seeds, rate))
    print(common.table(COLUMNS, report.rows))


def arguments() -> argparse.Namespace:
    parser = common.parser(__doc__)
    presets = [name for name in config.group_names("algo") if name.startswith("matched_")]
    every = ["matched_qmix", *sorted(set(presets) - {"matched_qmix"})]
    parser.add_argument("--algos", nargs="+", default=every, help="presets; ratios are to the first (QMIX)")
    parser.add_argument("--agents", type=common.positive, nargs="+", default=[6, 25], metavar="N")
    parser.add_argument("--seeds", type=common.positive, default=1, help="runs in one program (1)")
    parser.add_argument("--updates", type=common.positive, default=5, help="of one turn (5)")
    parser.add_argument("--repeats", type=common.positive, default=5, help="turns (5)")
    args = parser.parse_args()
    try:
        args.experiments = {n: {name: build(name, n, args.seeds) for name in args.algos} for n in args.agents}
    except UserError as error:
        parser.error(str(error))
    return args


if __name__ == "__main__":
    main()
