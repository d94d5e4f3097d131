"""Scaling of training along its axes: `python benchmarks/scaling.py`, a few minutes on two cores.

One axis at a time is changed around a point (8 agents, 8 environments, batches of 32 episodes, 4 runs): agents N,
environments E, batch B in episodes, runs R. One iteration is timed: a rollout of E episodes and the update after it,
all runs as one program. The points of an axis take turns. Memory is the plan of XLA: temporary arrays at their peak,
and the state (parameters, optimizer, replay). The floor is the matrix multiplications of a program at the rate of a
2048^3 f32 matmul in the same process.
"""

import argparse
from typing import Any

import common
import loops
import workload
from workload import Sizes

from qllm_jax.program import devices

AXES = {  # of Sizes -> values
    "agents": [2, 4, 8, 16, 32],
    "envs": [2, 8, 32, 128],
    "batch": [8, 32, 128],
    "seeds": [1, 2, 4, 8, 16],
}
POINT = Sizes(agents=8, seeds=4)


def measure(args: argparse.Namespace, axis: str, values: list[int]) -> list[dict[str, Any]]:
    """Return a row for each value of an axis; other sizes are those of the point."""
    points = {value: args.point._replace(**{axis: value}) for value in values}
    experiments = {value: workload.build(args.algo, sizes) for value, sizes in points.items()}
    rows = []
    for value, figures in loops.measure(experiments, args.updates, args.repeats).items():
        sizes = points[value]
        speeds = [1e3 * workload.HORIZON * sizes.envs / ms for ms in figures["update_ms"]]
        rows.append({"axis": axis, "value": value, **sizes._asdict(), "env_steps_per_s": speeds, **figures})
    return rows


COLUMNS = {
    "axis": lambda row: row["axis"],
    "N": lambda row: str(row["agents"]),
    "E": lambda row: str(row["envs"]),
    "B": lambda row: str(row["batch"]),
    "R": lambda row: str(row["seeds"]),
    "ms per update and run (min to max)": lambda row: common.spread(row["update_ms"]),
    "env-steps/s, all runs": lambda row: common.spread(row["env_steps_per_s"], ",.0f"),
    **loops.COLUMNS,
}


def main() -> None:
    devices.use_cores()
    args = arguments()
    point = ", ".join(f"{key} {value}" for key, value in args.point._asdict().items())
    task = f"{args.algo}, MPE spread, around {point}; {args.repeats} turns of {args.updates} updates"
    report = common.begin(__file__, args.out, task, common.describe("flax", "optax"))
    for axis in AXES:
        if values := list(dict.fromkeys(getattr(args, f"{axis}_values"))):
            print(f"{axis}: {', '.join(map(str, values))}", flush=True)
            common.add(report, *measure(args, axis, values))
    print("\n" + common.table(COLUMNS, report.rows))


def arguments() -> argparse.Namespace:
    parser = common.parser(__doc__)
    for axis, values in AXES.items():
        help_text = f"values of the axis; none leaves it out ({' '.join(map(str, values))})"
        parser.add_argument(
            f"--{axis}", dest=f"{axis}_values", type=common.positive, nargs="*", default=values, help=help_text
        )
    for size, value in POINT._asdict().items():
        parser.add_argument(f"--at-{size}", type=common.positive, default=value, help=f"of the point ({value})")
    parser.add_argument("--algo", default="matched_qllm", help="preset of configs/algo (matched_qllm)")
    parser.add_argument("--updates", type=common.positive, default=4, help="of one turn (4)")
    parser.add_argument("--repeats", type=common.positive, default=3, help="turns (3)")
    args = parser.parse_args()
    args.point = Sizes(**{size: getattr(args, f"at_{size}") for size in Sizes._fields})
    largest = max([args.point.batch, args.point.envs, *args.batch_values, *args.envs_values])
    if args.point.buffer < largest:
        parser.error(f"--at-buffer must hold every batch and every rollout: at least {largest} episodes")
    workload.build(args.algo, args.point)
    return args


if __name__ == "__main__":
    common.run(main)
