"""Time and memory per run of a sweep of R runs: `python benchmarks/sweep.py --runs 1 5 20 100`.

MPE spread with the sizes of throughput.py; the runs differ in their learning rate, and with --tfcaf in their credit
function, each of which is evaluated for all runs. Iterations of all R runs as one group are timed; a turn has as many
updates of all runs together for every R, as a short turn is a cold one. The widths take turns in one process; the speed
relative to R runs one after another is taken turn by turn. Memory is the plan that `qllm_jax.train` prints, and the
plan of XLA: temporary arrays at their peak and the state.
"""

import argparse

import common
import loops
import workload
from workload import Sizes

from qllm_jax import config
from qllm_jax.program import devices, experiment
from qllm_jax.program.experiment import Experiment
from qllm_jax.scaling import memory_plan

COLUMNS = {
    "N": lambda row: str(row["agents"]),
    "runs": lambda row: str(row["runs"]),
    "ms per update and run (min to max)": lambda row: common.spread(row["update_ms"]),
    "times as fast as one by one": lambda row: common.spread(row["speed_to_one"]),
    "planned, MB": lambda row: f"{row['planned_bytes'] / 1e6:.0f}",
    "by XLA, MB": lambda row: f"{(row['temporary_bytes'] + row['state_bytes']) / 1e6:.0f}",
    **loops.COLUMNS,
}


def build(args: argparse.Namespace, runs: int) -> Experiment:
    """Build a sweep of `runs` runs, of one seed each. UserError if a credit function does not exist."""
    functions = args.tfcaf or ["mpe_spread"]
    if runs == 1:
        chosen = [f"algo.mixer.function={functions[0]}"] if args.tfcaf else []
    else:
        rates = [f"{1e-3 * (i + 1) / runs:.9f}" for i in range(-(-runs // len(functions)))]
        chosen = [f"sweep.lr=[{','.join(rates)}]", *([f"sweep.tfcaf=[{','.join(functions)}]"] if args.tfcaf else [])]
    sizes = workload.overrides(args.algo, Sizes(args.agents, buffer=args.buffer))
    built = experiment.build(config.load([*sizes, *chosen]))
    return built if built.n_runs == runs else experiment.slice_runs(built, 0, runs)


def main() -> None:
    devices.use_cores()
    args = arguments()
    functions = f", functions {', '.join(args.tfcaf)}" if args.tfcaf else ""
    turns = f"{args.updates} updates of runs a turn, {args.repeats} turns"
    task = f"{args.algo} on MPE spread, N={args.agents}{functions}, {turns}"
    report = common.begin(__file__, args.out, task, common.describe("flax", "optax"))
    experiments = {runs: build(args, runs) for runs in sorted({1, *args.runs})}
    found = loops.measure(experiments, args.updates, args.repeats, of_runs=True)
    for runs, figures in found.items():
        plan = memory_plan.make(experiments[runs])
        row = {"agents": args.agents, "runs": runs, "planned_bytes": plan.total * plan.devices}
        row["speed_to_one"] = common.ratios(found[1]["update_ms"], figures["update_ms"])
        common.add(report, row | figures)
    print(common.table(COLUMNS, report.rows))


def arguments() -> argparse.Namespace:
    parser = common.parser(__doc__)
    parser.add_argument("--runs", type=common.positive, nargs="+", default=[1, 5, 20, 100], metavar="R")
    parser.add_argument("--agents", type=common.positive, default=3, metavar="N")
    parser.add_argument("--algo", default="matched_qllm", help="preset (matched_qllm)")
    parser.add_argument("--tfcaf", nargs="+", help="credit functions to sweep over, beside learning rates (none)")
    parser.add_argument("--buffer", type=common.positive, default=1000, help="episodes of a run's replay (1000)")
    parser.add_argument("--updates", type=common.positive, default=200, help="of one turn, all runs together (200)")
    parser.add_argument("--repeats", type=common.positive, default=3, help="turns (3)")
    args = parser.parse_args()
    build(args, max(*args.runs, len(args.tfcaf or ())))  # with all functions
    return args


if __name__ == "__main__":
    common.run(main)
