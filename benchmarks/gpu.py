"""The paper's spread job on an accelerator: `python benchmarks/gpu.py --jaxmarl CLONE --whole --out gpu.json`.

25 agents, 5 seeds, 2M environment steps each, network of 128, updates of 64 episodes of 25 steps, 8 environments, 5000
episodes of replay. The wall time of the job is extrapolated from timed loops of updates and from evaluations, each in a
fresh process that has the device alone; --whole runs the job of the first algorithm to its end as well, with its logs
and checkpoints. Shares of the peak are a program's matrix multiplications a second, over those of one large matmul in
float32, TF32 and bfloat16 (and over --peak-tflops). Then come the kernels by their time, from jax.profiler.

JaxMARL's QMIX does the same work with the same sizes; it stores observations, about 22 GB of them at these sizes. On a
machine without an accelerator take small sizes: `--agents 3 --seeds 2 --buffer 600 --matmul 1024`.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import common
import jax.numpy as jnp
import jaxmarl_qmix
import profiler_trace
import systems
import workload
from workload import Sizes

from qllm_jax import config
from qllm_jax.errors import UserError

MACHINE = "machine"
JOB = Sizes(agents=25, seeds=5, envs=8, batch=64, hidden=128, buffer=5000)
TRACED = 4  # updates under the profiler
KINDS = {  # of a large matmul: type of the operands, precision
    "float32": (jnp.float32, "float32"),
    "tf32": (jnp.float32, "tensorfloat32"),
    "bfloat16": (jnp.bfloat16, None),
}


def work(job: dict[str, Any]) -> dict[str, Any]:
    """Return the rates of the machine, or the figures and kernels of one system. For a process of its own."""
    if job["system"] == MACHINE:
        rates = {name: workload.matmul_rate(job["matmul"], 5, *kind) for name, kind in KINDS.items()}
        return {"head": common.describe("flax", "jaxmarl", "flashbax"), "rates": rates}
    system = (jaxmarl_qmix.make if job["system"] == jaxmarl_qmix.NAME else systems.ours)(job)
    figures, state = systems.measure(system, job)
    (_, elapsed), events = profiler_trace.record(lambda: common.seconds(system.run, state, TRACED))
    kernels = profiler_trace.kernels(events)
    return {"figures": figures | {"flops": system.flops, "traced_ms": 1e3 * elapsed / TRACED}, "kernels": kernels}


def rows(args: argparse.Namespace, name: str, rates: dict[str, float]) -> list[dict[str, Any]]:
    """Return the rows of one system: its speed, then its kernels with the longest time."""
    paths = {"jaxmarl": str(args.jaxmarl), "steps": args.steps, "updates": args.updates, "evaluation": True}
    job = {"system": name, "sizes": args.sizes._asdict(), **paths}
    rounds = [systems.in_process(__file__, job) for _ in range(args.repeats)]
    runs, sizes = [each["figures"] for each in rounds], args.sizes
    speed = systems.row(sizes.agents, sizes.seeds, name, runs) | {"envs": sizes.envs, "batch": sizes.batch}
    speed |= {
        "hidden": sizes.hidden,
        "buffer": sizes.buffer,
        "steps": args.steps,
        "job_s": [job_s(args, each) for each in runs],
    }
    flop_per_s = [1e3 * each["flops"] / each["update_ms"] for each in runs]
    speed |= {f"share_of_{kind}": [each / rate for each in flop_per_s] for kind, rate in rates.items()}
    kernels, traced = rounds[-1]["kernels"], runs[-1]["traced_ms"]
    total = sum(microseconds for _, microseconds in kernels.values()) / 1e3 / TRACED
    speed |= {"kernels_ms": total, "traced_ms": traced}
    longest = [
        {"system": name, "kernel": kernel, "calls": calls / TRACED, "iteration_ms": microseconds / 1e3 / TRACED}
        for kernel, (calls, microseconds) in list(kernels.items())[: args.top]
    ]
    return [speed, *(row | {"share": row["iteration_ms"] / total} for row in longest)]


def job_s(args: argparse.Namespace, figures: dict[str, Any]) -> float:
    """Extrapolate the wall time of the job: compiling, and the updates and evaluations of all seeds."""
    updates = -(-args.steps // figures["steps_per_update"])
    return figures["compile_s"] + 1e-3 * args.sizes.seeds * updates * systems.whole_ms(figures)


def whole_s(args: argparse.Namespace) -> float:
    """Measure the wall time of the job, run to its end by `qllm_jax.train` in a process of its own."""
    overrides = workload.overrides(args.algos[0], args.sizes)
    with tempfile.TemporaryDirectory() as folder:
        options = [*overrides, f"total_steps={args.steps}", f"run_dir={Path(folder) / 'run'}"]
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "qllm_jax.train", *options], capture_output=True, text=True, check=False
        )
        elapsed = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"{done.stderr[-3000:]}\nerror: the whole job ended with code {done.returncode}")
    return elapsed


def columns(rates: dict[str, float]) -> dict[str, Any]:
    """Return the columns of the table of speeds."""
    share = lambda kind: lambda row: common.spread(row[f"share_of_{kind}"], ".2%")
    return {
        "system": lambda row: row["system"],
        "compile, s": lambda row: common.spread(row["compile_s"], ".1f"),
        "ms per update and seed": lambda row: common.spread(row["update_ms"]),
        "ms per evaluation and seed": lambda row: common.spread(row["evaluation_ms"]),
        "env-steps/s": lambda row: common.spread(row["env_steps_per_s"], ",.0f"),
        "times jaxmarl's speed": lambda row: (
            common.spread(row["speed_to_jaxmarl"]) if "speed_to_jaxmarl" in row else "-"
        ),
        "job extrapolated, s": lambda row: common.spread(row["job_s"], ",.0f"),
        "job run whole, s": lambda row: f"{row['whole_s']:,.0f}" if "whole_s" in row else "-",
        **{f"share of {kind}": share(kind) for kind in rates},
        "kernels, of the wall time": lambda row: f"{row['kernels_ms'] / row['traced_ms']:.0%}",
        "state, MB": lambda row: f"{row['state_bytes'] / 1e6:,.0f}",
    }


KERNELS = {
    "system": lambda row: row["system"],
    "kernel": lambda row: row["kernel"],
    "calls per iteration": lambda row: f"{row['calls']:,.0f}",
    "ms per iteration": lambda row: f"{row['iteration_ms']:.3f}",
    "share": lambda row: f"{row['share']:.1%}",
}


def main() -> None:
    if systems.answer(work):
        return
    args = arguments()
    machine = systems.in_process(__file__, {"system": MACHINE, "matmul": args.matmul})
    rates = machine["rates"] | ({"given peak": 1e12 * args.peak_tflops} if args.peak_tflops else {})
    sizes = ", ".join(f"{key} {value}" for key, value in args.sizes._asdict().items())
    task = (
        f"MPE spread, {sizes}, {args.steps:,} steps a seed; loops of {args.updates} updates, {args.repeats} processes"
    )
    head = machine["head"] | {"command": common.command()}
    head["rates"] = ", ".join(f"{kind} {rate / 1e12:,.2f} TFLOP/s" for kind, rate in rates.items())
    head |= {"jaxmarl": common.clone_commit(args.jaxmarl)} if args.jaxmarl else {}
    report = common.begin(__file__, args.out, task, head)
    found = [rows(args, name, rates) for name in [*args.algos, *([jaxmarl_qmix.NAME] if args.jaxmarl else [])]]
    if args.jaxmarl:
        for speed, *_ in found[:-1]:
            speed["speed_to_jaxmarl"] = common.ratios(found[-1][0]["whole_ms"], speed["whole_ms"])
    if args.whole:
        found[0][0]["whole_s"] = whole_s(args)
    common.add(report, *(row for each in found for row in each))
    print("\n" + common.table(columns(rates), [speed for speed, *_ in found]))
    print("\n" + common.table(KERNELS, [row for _, *kernels in found for row in kernels]))


def arguments() -> argparse.Namespace:
    parser = common.parser(__doc__)
    parser.add_argument("--jaxmarl", type=Path, metavar="CLONE", help="of FLAIROx/JaxMARL: time its QMIX as well")
    parser.add_argument("--algos", nargs="+", default=["matched_qllm", "matched_qmix"], help="of ours")
    for size, value in JOB._asdict().items():
        parser.add_argument(f"--{size}", type=common.positive, default=value, help=f"of the job ({value})")
    parser.add_argument("--steps", type=common.positive, default=2_000_000, help="of each seed (2000000)")
    parser.add_argument("--updates", type=common.positive, default=50, help="in a timed loop (50)")
    parser.add_argument("--repeats", type=common.positive, default=2, help="processes of each system (2)")
    parser.add_argument("--whole", action="store_true", help="run the job of the first algorithm to its end as well")
    parser.add_argument("--matmul", type=common.positive, default=8192, help="size of the large matmuls (8192)")
    parser.add_argument("--peak-tflops", type=common.positive, help="of the device, as its maker gives it")
    parser.add_argument("--top", type=common.positive, default=12, help="kernels to list (12)")
    args = parser.parse_args()
    args.sizes = Sizes(**{size: getattr(args, size) for size in Sizes._fields})
    try:
        for algo in args.algos:
            config.load([f"algo={algo}"])
    except UserError as error:
        parser.error(str(error))
    if args.jaxmarl and (refused := jaxmarl_qmix.refusal(args.jaxmarl, args.sizes, args.updates, args.steps)):
        parser.error(refused)
    if args.buffer < (least := max(args.batch, args.envs)):
        parser.error(f"--buffer must hold a batch and a rollout: at least {least} episodes")
    return args


if __name__ == "__main__":
    main()
