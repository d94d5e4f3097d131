"""Memory of a training job: `python benchmarks/memory.py --agents 25 --seeds 5 --buffer 5000`.

A fresh process builds the job as `qllm_jax.train` does, plays until the replay is full, trains a few updates, evaluates
and writes a checkpoint. After each stage its peak is read: of the resident memory of the process, and on an accelerator
of the device's. The table adds the bytes of each item of the state, and of the temporary arrays that XLA plans.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import common
import jax
import jax.numpy as jnp
import systems
import workload
from workload import Sizes

from qllm_jax import config
from qllm_jax.core.types import Clock
from qllm_jax.program import compiled, devices
from qllm_jax.program.experiment import Experiment
from qllm_jax.run import checkpoint
from qllm_jax.run.checkpoint import HostState, TrainState

GIB = 2**30


def work(job: dict[str, Any]) -> dict[str, Any]:
    """Return the rows of one job: stages with their peaks, and items of the state with their bytes."""
    devices.use_cores()
    jax.block_until_ready(jnp.zeros(()))  # the backend has started
    stages = [{"stage": "imports and backend", **workload.peaks()}]
    exp = workload.build(job["algo"], Sizes(**job["sizes"]))
    shapes = compiled.shapes(exp.program, exp.root, exp.seeds, exp.choice)
    chunk, _ = common.compiled(exp.program.chunk, *shapes, exp.hp, jnp.asarray(1))
    stages.append({"stage": "compiled", **workload.peaks()})
    state = jax.block_until_ready(exp.program.init(exp.root, exp.seeds, exp.choice))
    stages.append({"stage": "initialized", **workload.peaks()})
    state = fill(exp, *state)
    stages.append({"stage": "replay full", **workload.peaks()})
    clock, runs, _ = jax.block_until_ready(chunk(*state, exp.hp, jnp.asarray(job["updates"])))
    stages.append({"stage": f"{job['updates']} updates", **workload.peaks()})
    runs, _ = jax.block_until_ready(exp.program.evaluate(clock, runs, exp.config.eval_episodes))
    stages.append({"stage": "evaluated", **workload.peaks()})
    with tempfile.TemporaryDirectory() as folder:
        checkpoint.save(Path(folder), TrainState(clock, runs), HostState(0, 0, 0.0))
    stages.append({"stage": "checkpoint written", **workload.peaks()})
    sizes = items(runs) | {"temporary arrays of an iteration, as planned": workload.temporary_bytes(chunk, runs)}
    return {"rows": [*stages, *({"item": name, "bytes": size} for name, size in sizes.items())]}


def fill(exp: Experiment, clock: Clock, runs: Any) -> tuple[Clock, Any]:
    """Play until the replay is full, as memory that was never written need not be resident."""
    while int(clock.episodes) < exp.config.algo.buffer_episodes:
        before = int(clock.episodes)
        clock, runs = exp.program.warmup(clock, runs, exp.hp)
        if int(clock.episodes) == before:
            raise SystemExit(f"error: one rollout of {exp.config.algo.name} fills a batch: none comes before learning")
    return clock, jax.block_until_ready(runs)


def items(runs: Any) -> dict[str, int]:
    """Return the bytes of the parts of the state, all runs together."""
    learner = runs.learner
    return {
        "replay": workload.state_bytes(runs.storage),
        "parameters": workload.state_bytes(learner.params),
        "target and best parameters": workload.state_bytes((learner.target_params, runs.best_params)),
        "optimizer": workload.state_bytes(learner.opt_state),
        "reward statistics and best return": workload.state_bytes((learner.reward_stats, runs.best_return)),
    }


COLUMNS = {
    "N": lambda row: str(row["agents"]),
    "runs": lambda row: str(row["seeds"]),
    "replay, episodes": lambda row: f"{row['buffer']:,}",
    "what": lambda row: row["item"] if "item" in row else f"peak, {row['stage']}",
    "MiB": lambda row: f"{row.get('bytes', row.get('peak_bytes')) / 2**20:,.1f}",
    "device, MiB": lambda row: f"{row['device_peak_bytes'] / 2**20:,.1f}" if "device_peak_bytes" in row else "-",
}


def main() -> None:
    if systems.answer(work):
        return
    args = arguments()
    task = f"{args.algo}, MPE spread; replay played full, {args.updates} updates, an evaluation, a checkpoint"
    report = common.begin(__file__, args.out, task, systems.head("flax", "optax", "orbax-checkpoint"))
    for agents in args.agents:
        for seeds in args.seeds:
            sizes = Sizes(agents, seeds, buffer=args.buffer)._asdict()
            job = {"algo": args.algo, "sizes": sizes, "updates": args.updates}
            common.add(report, *({**sizes, **row} for row in systems.in_process(__file__, job)["rows"]))
            most = max(
                row.get("peak_bytes", 0) for row in report.rows if (row["agents"], row["seeds"]) == (agents, seeds)
            )
            print(f"N={agents} seeds={seeds}: {most / GIB:.2f} GiB at the peak", flush=True)
    print("\n" + common.table(COLUMNS, report.rows))


def arguments() -> argparse.Namespace:
    parser, many = common.parser(__doc__), {"nargs": "+", "type": common.positive}
    parser.add_argument("--agents", **many, default=[25], metavar="N", help="numbers of agents (25)")
    parser.add_argument("--seeds", **many, default=[5], metavar="R", help="numbers of vmapped runs (5)")
    parser.add_argument("--buffer", type=common.positive, default=5000, help="episodes of replay (5000)")
    parser.add_argument("--algo", default="matched_qllm", help="preset of configs/algo (matched_qllm)")
    parser.add_argument("--updates", type=common.positive, default=5, help="updates after the replay is full (5)")
    args = parser.parse_args()
    config.load([f"algo={args.algo}"])
    if args.buffer < Sizes(1).batch:
        parser.error(f"--buffer must hold a batch: at least {Sizes(1).batch} episodes")
    return args


if __name__ == "__main__":
    common.run(main)
