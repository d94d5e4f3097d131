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

from qllm_jax import config
from qllm_jax.program import devices, experiment
from qllm_jax.program.experiment import Experiment


def build(algo: str, agents: int, seeds: int) -> Experiment:
    """Build the experiment of a preset as `qllm_jax.train` does. UserError if the preset does not exist."""
    return experiment.build(config.load([f"algo={algo}", "env=mpe_spread", f"n_agents={agents}", f"seeds={seeds}"]))


COLUMNS = {
    "N": lambda row: str(row["agents"]),
    "algorithm": lambda row: row["system"],
    "ms per update (min to max)": lambda row: common.spread(row["update_ms"]),
    "times the first": lambda row: common.spread(row["times_first"]),
    **loops.COLUMNS,
}


def main() -> None:
    devices.use_cores()
    args = arguments()
    task = f"MPE spread, {args.seeds} seeds a program, {args.updates} updates a turn, {args.repeats} turns"
    report = common.begin(__file__, args.out, task, common.describe("flax", "optax"))
    for agents, experiments in args.experiments.items():
        found = loops.measure(experiments, args.updates, args.repeats)
        first = found[args.algos[0]]["update_ms"]
        for name, figures in found.items():
            times_first = common.ratios(figures["update_ms"], first)
            row = {"agents": agents, "seeds": args.seeds, "system": name, "times_first": times_first}
            common.add(report, row | figures)
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
    args.experiments = {n: {name: build(name, n, args.seeds) for name in args.algos} for n in args.agents}
    return args


if __name__ == "__main__":
    common.run(main)
