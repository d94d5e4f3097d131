"""Measurements on a GPU in one command of ten minutes: `python benchmarks/gpu.py --jaxmarl CLONE --out gpu.json`.

In this order: versions and rates of the device; milliseconds of an iteration of the main task (25 agents, 5 seeds) in
each form of the program; JaxMARL's QMIX on the same work; the main task trained to its end; our other algorithms;
iterations of 3, 6 and 25 agents, 64 and 128 hidden units and 1 to 100 runs; cells of a study until the time is up.
Every result is printed and stored as soon as it is there. Each item has a process and a deadline of its own, and one
that fails stops no other. Nothing is downloaded. --items and --forms leave others out: `--items sizes --forms pallas
--no-graphs` times every algorithm of --algos at all sizes, where with "algos" the sizes are of the first alone.

Forms: "before" is the program of a CPU, "scan" has rollouts and returns in few kernels, "pallas" also has the unroll
of the networks as one kernel; "float32" is the same without TF32, which XLA takes for matmuls else. "graphs" puts the
launches of loops into command buffers of XLA. On a machine without a GPU take small sizes: `--agents 2 --hidden 4
--runs 1 2 --seeds 2 --buffer 16 --steps 2000 --minutes 2`.
"""

import argparse
import itertools
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import common
import gpu_items
import jaxmarl_qmix
import systems
from workload import Sizes

from qllm_envs.argparse_types import above_zero
from qllm_jax import config
from qllm_jax.errors import UserError
from qllm_jax.studies import plan

RESERVE_S = 5.0  # before the end, to stop the last process
WHOLE, STUDY = "whole", "study"
MAIN, OTHERS, SIZES = "main", "algos", "sizes"  # of --items, with JaxMARL's


class Clock:
    """Seconds that are left of the time given."""

    def __init__(self, minutes: float) -> None:
        self.end = time.monotonic() + 60 * minutes - RESERVE_S

    def left(self, share: float = 1.0) -> float:
        return max(share * (self.end - time.monotonic()), 0.0)


def rows_of(job: dict[str, Any], limit_s: float) -> Iterator[dict[str, Any]]:
    """Rows that a process of its own prints, as they come; it is stopped after `limit_s`."""
    started = subprocess.Popen(
        [sys.executable, __file__, "--worker", json.dumps(job)], stdout=subprocess.PIPE, text=True
    )
    timer = threading.Timer(limit_s, started.kill)
    timer.start()
    assert started.stdout is not None
    for line in started.stdout:
        if line.startswith("{"):
            yield json.loads(line)
    timer.cancel()
    if started.wait():
        print(f"{job['item']} ended with code {started.returncode}", flush=True)


def whole(args: argparse.Namespace, limit_s: float) -> dict[str, Any]:
    """Train the main task by `qllm_jax.train`, to its end or until the limit."""
    options = [
        *gpu_items.overrides(args.algos[0], args.sizes),
        f"total_steps={args.steps}",
        f"run_dir={args.folder}/main",
    ]
    start = time.monotonic()
    code = command(["-m", "qllm_jax.train", *options], limit_s)
    ended = (
        "to its end" if code == 0 else f"stopped after {limit_s:.0f} s" if code is None else f"failed with code {code}"
    )
    named = {
        "agents": args.sizes.agents,
        "seeds": args.sizes.seeds,
        "hidden": args.sizes.hidden,
        "system": args.algos[0],
    }
    return {"item": WHOLE, **named, "steps": args.steps, "whole_s": time.monotonic() - start, "ended": ended}


def study(args: argparse.Namespace, limit_s: float) -> dict[str, Any]:
    """Train cells of a study for the rest of the time. Its results are in the folder."""
    options = [f"results={args.folder}/results", f"run_dir={args.folder}/runs", f"max_hours={limit_s / 3600:.4f}"]
    start = time.monotonic()
    command(["-m", "qllm_jax.study", args.study, *options], limit_s)
    cells = len(list((args.folder / "results").glob("**/*.json")))
    return {"item": STUDY, "system": args.study, "cells": cells, "whole_s": time.monotonic() - start}


def command(arguments: list[str], limit_s: float) -> int | None:
    """Exit code of a command of this Python; None if it was stopped. What it prints is shown."""
    try:
        return subprocess.run([sys.executable, *arguments], timeout=limit_s, check=False).returncode
    except subprocess.TimeoutExpired:
        return None


COLUMNS = {
    "N": lambda row: str(row["agents"]),
    "hidden": lambda row: str(row["hidden"]),
    "runs": lambda row: str(row["seeds"]),
    "system": lambda row: row["system"],
    "form": lambda row: row["form"] + (", graphs" if row["graphs"] else ""),
    "compile, s": lambda row: f"{row['compile_s']:.0f}",
    "kernels": lambda row: f"{row['kernels']:,}" if row["kernels"] else "-",
    "ms per iteration": lambda row: common.spread(row["iteration_ms"]),
    "ms per run": lambda row: common.spread([ms / row["seeds"] for ms in row["iteration_ms"]], ",.3f"),
    "env-steps/s": lambda row: common.spread(row["env_steps_per_s"], ",.0f"),
    "temporary, MB": lambda row: f"{row['temporary_bytes'] / 1e6:,.0f}",
}


def main() -> None:
    if sys.argv[1:2] == ["--worker"]:
        gpu_items.work(json.loads(sys.argv[2]))
        return
    args = arguments()
    clock = Clock(args.minutes)
    args.folder.mkdir(parents=True, exist_ok=True)
    machine = systems.in_process(gpu_items.__file__, {"matmul": args.matmul})
    head = machine["head"] | {"command": common.command(), "rates": machine["rates"]}
    head |= {"jaxmarl": common.clone_commit(args.jaxmarl)} if args.jaxmarl else {}
    report = common.begin(__file__, args.out, f"MPE spread on one device, {args.minutes} minutes", head)
    for job, share in jobs(args):
        limit_s = clock.left(share)
        print(f"\n{job['item']}: {limit_s:.0f} s at most, {clock.left():.0f} s left", flush=True)
        if limit_s < 1:
            break
        special = {WHOLE: whole, STUDY: study}.get(job["item"])
        for row in [special(args, limit_s)] if special else rows_of(job | {"limit_s": limit_s}, limit_s + RESERVE_S):
            common.add(report, row)
            print(line(row), flush=True)
    timed = [row for row in report.rows if "iteration_ms" in row]
    print("\n" + common.table(COLUMNS, timed))


def line(row: dict[str, Any]) -> str:
    """A row as one line of text."""
    if "iteration_ms" in row:
        return common.table(COLUMNS, [row]).splitlines()[-1]
    return ", ".join(
        f"{key} {value:.3f}" if isinstance(value, float) else f"{key} {value}" for key, value in row.items()
    )


def jobs(args: argparse.Namespace) -> list[tuple[dict[str, Any], float]]:
    """The items in order, each with the share of the time left that it may take."""
    settings, sizes = {"algo": args.algos[0], "samples": args.samples}, args.sizes
    forms = [{"form": form, "graphs": graphs} for graphs in args.graphs for form in args.forms]
    main_task = [{"sizes": sizes._asdict()} | form for form in forms]
    theirs = {"item": jaxmarl_qmix.NAME, "jaxmarl": str(args.jaxmarl), "sizes": sizes._asdict(), **settings}
    one = [{"sizes": sizes._asdict(), "form": args.forms[0], "graphs": False}]
    others = [({"item": algo, "programs": one, **settings, "algo": algo}, 0.2) for algo in args.algos[1:]]
    each = args.algos if OTHERS not in args.items else args.algos[:1]  # where all sizes are asked for, of all
    share = 0.8 if args.study else 1.0
    of_sizes = {"item": SIZES, "programs": list(matrix(args, forms)), **settings}
    found = {
        MAIN: [({"item": "main task", "programs": main_task, "kernels": args.top, **settings}, 0.5)],
        jaxmarl_qmix.NAME: [(theirs, 0.4)] if args.jaxmarl else [],
        WHOLE: [({"item": WHOLE}, 0.5)],
        OTHERS: others,
        SIZES: [(of_sizes | {"algo": algo}, share / (len(each) - i)) for i, algo in enumerate(each)],
        STUDY: [({"item": STUDY}, 1.0)] if args.study else [],
    }
    return [job for item, of_item in found.items() if item in args.items for job in of_item]


def matrix(args: argparse.Namespace, forms: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The programs of all sizes: the first form of each, then the others; the narrow network and few agents first."""
    for form, hidden, agents, runs in itertools.product(forms, args.hidden, args.agents, args.runs):
        sizes = args.sizes._replace(agents=agents, seeds=runs, hidden=hidden)
        if sizes != args.sizes or MAIN not in args.items:
            yield {"sizes": sizes._asdict()} | form


def arguments() -> argparse.Namespace:
    parser, many = common.parser(__doc__), {"nargs": "+", "type": common.positive}
    parser.add_argument("--jaxmarl", type=Path, metavar="CLONE", help="of FLAIROx/JaxMARL: time its QMIX as well")
    parser.add_argument(
        "--algos", nargs="+", default=["matched_qllm", "matched_qmix"], help="of ours, the main one first"
    )
    items = [MAIN, jaxmarl_qmix.NAME, WHOLE, OTHERS, SIZES, STUDY]
    parser.add_argument("--items", nargs="+", choices=items, default=items, help="what is measured (all)")
    parser.add_argument(
        "--forms", nargs="+", choices=gpu_items.FORMS, default=list(gpu_items.FORMS), help="of programs (all)"
    )
    parser.add_argument(
        "--no-graphs", dest="graphs", action="store_const", const=(False,), default=(False, True), help="leave them out"
    )
    parser.add_argument("--agents", **many, default=[6, 25, 3], metavar="N", help="numbers of agents (6 25 3)")
    parser.add_argument("--hidden", **many, default=[64, 128], metavar="H", help="hidden units (64 128)")
    parser.add_argument("--runs", **many, default=[1, 100, 20, 5], metavar="R", help="numbers of runs (1 100 20 5)")
    parser.add_argument("--seeds", type=common.positive, default=5, help="of the main task (5)")
    parser.add_argument("--envs", type=common.positive, default=8, help="parallel environments (8)")
    parser.add_argument("--batch", type=common.positive, default=32, help="episodes of a batch (32)")
    parser.add_argument("--buffer", type=common.positive, default=1000, help="episodes of replay (1000)")
    parser.add_argument(
        "--steps", type=common.positive, default=2_000_000, help="of each seed of the main task (2000000)"
    )
    parser.add_argument("--samples", type=common.positive, default=3, help="timed loops of a program (3)")
    parser.add_argument("--matmul", type=common.positive, default=8192, help="size of the large matmuls (8192)")
    parser.add_argument("--top", type=common.positive, default=12, help="kernels of the main task to list (12)")
    parser.add_argument("--study", metavar="NAME", help="a study of which cells are trained in the time that is left")
    parser.add_argument("--minutes", type=above_zero, default=10.0, help="for all (10)")
    parser.add_argument(
        "--folder", type=Path, default=Path("gpu_runs"), help="of runs and of the study's results: a new one"
    )
    args = parser.parse_args()
    args.sizes = Sizes(max(args.agents), args.seeds, args.envs, args.batch, args.hidden[0], args.buffer)
    check(args)
    return args


def check(args: argparse.Namespace) -> None:
    """Raise UserError for arguments that cannot be measured."""
    for algo in args.algos:
        config.load([f"algo={algo}"])
    if args.study:
        plan.load(args.study)
    for item, option in ((STUDY, "study"), (jaxmarl_qmix.NAME, "jaxmarl")):
        if getattr(args, option) and item not in args.items:
            raise UserError(f"--{option} is not read, as --items leaves {item} out")
    if not jobs(args):
        raise UserError(f"nothing is left to measure: {STUDY} needs --study, {jaxmarl_qmix.NAME} --jaxmarl")
    if args.buffer < (least := max(args.batch, args.envs)):
        raise UserError(f"--buffer must hold a batch and a rollout: at least {least} episodes")
    if args.folder.exists() and (not args.folder.is_dir() or any(args.folder.iterdir())):
        raise UserError(f"--folder {args.folder} must be new or empty: runs of another measurement are not continued")
    if args.jaxmarl:
        jaxmarl_qmix.check(args.jaxmarl, args.sizes, gpu_items.MOST_UPDATES)


if __name__ == "__main__":
    common.run(main)
