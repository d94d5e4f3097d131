"""Kernels of an iteration on a GPU, counted without one: `python benchmarks/gpu_program.py seeds=5 --agents 3 25`.

The networks of a team are so small that on a GPU an iteration takes about as long as the launches of its kernels, 2 to
4 microseconds each, however many seeds there are. XLA compiles for a described GPU on any machine, and the schedule
that it gives is the one that the GPU would run: the number of kernels and the temporary memory are exact. Times are not
known. One iteration is a rollout of all environments and one update; loops that may stop early count to the horizon.

The first arguments, without dashes, are those of qllm_jax.train. Each algorithm of --algos is compiled with them; the
first is the one that the others are compared with. --jaxmarl adds JaxMARL's QMIX from a clone, with the sizes of that
first one and without its test. The compiler needs the extra `cuda12` (3 GB), but neither a GPU nor a driver.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import common
import gpu_kernels
import gpu_targets
import jax
import jax.numpy as jnp
import jaxmarl_qmix
import systems
import workload
from workload import Sizes

from qllm_jax import config
from qllm_jax.config import Config
from qllm_jax.core import rollout_gpu
from qllm_jax.core.gru import MAX_KERNEL_HIDDEN
from qllm_jax.errors import UserError
from qllm_jax.program import experiment

ALGOS = ("matched_vdn", "matched_qllm", "matched_qmix", "matched_qplex", "matched_coma")


def work(job: dict[str, Any]) -> dict[str, Any]:
    """Compile one system for a GPU and return its figures. For a process of its own."""
    found, function, inputs, trips = (theirs if job["system"] == jaxmarl_qmix.NAME else ours)(job)
    program, compile_s = gpu_targets.compiled(job["device"], function, *inputs)
    text, memory = program.as_text(), program.memory_analysis()
    loop = gpu_kernels.iteration(gpu_kernels.read(text))
    return found | {
        "kernels": loop.per_trip(trips),
        "loops": gpu_kernels.lines(loop),
        "temporary_bytes": memory.temp_size_in_bytes,
        "state_bytes": memory.argument_size_in_bytes,
        "compile_s": compile_s,
        "launches": gpu_kernels.launches(text) if job["launches"] else [],
    }


def ours(job: dict[str, Any]) -> tuple[dict[str, int], Any, tuple[Any, ...], int]:
    """Sizes, the loop over iterations, shapes of its inputs, and the most trips of a loop that may stop early."""
    settings = load(job["overrides"])
    if settings.unroll == "auto":  # as it would be on the GPU
        narrow = settings.algo.hidden_dim <= MAX_KERNEL_HIDDEN
        settings = replace(settings, unroll="pallas" if narrow else "scan")
    exp = experiment.build(settings, platform="gpu")
    state = jax.eval_shape(exp.program.init, exp.root, exp.seeds, exp.choice)
    trips = exp.env.spec.horizon // rollout_gpu.trip_length(exp.env)
    named = {"agents": exp.env.spec.n_agents, "seeds": settings.seeds}
    return named, exp.program.chunk, (*state, exp.hp, jnp.asarray(1)), trips


def theirs(job: dict[str, Any]) -> tuple[dict[str, int], Any, tuple[Any, ...], int]:
    """The same of JaxMARL's QMIX."""
    train, settings = jaxmarl_qmix.load(job, evaluation=False)
    keys = jax.random.split(jax.random.PRNGKey(0), job["sizes"]["seeds"])
    entered = jaxmarl_qmix.enter(train, keys[0])
    named, inputs = {key: job["sizes"][key] for key in ("agents", "seeds")}, (keys, jax.eval_shape(entered.first, keys))
    return named, entered.advance, (*inputs, jnp.asarray(1)), settings["NUM_STEPS"]


def overrides(args: argparse.Namespace, algo: str, more: Sequence[str] = ()) -> list[str]:
    """The arguments of `qllm_jax.train` for one system."""
    given = [*args.overrides, *more]
    return given if algo == jaxmarl_qmix.NAME else [*workload.as_learned(algo, given), f"algo={algo}"]


def load(overrides: list[str]) -> Config:
    """The configuration of one program on one GPU."""
    return config.load([*overrides, "devices=1"])


def compare(args: argparse.Namespace, more: list[str]) -> list[dict[str, Any]]:
    """Return one row per system. `more` are overrides after those of the command line."""
    settings, rows = load(overrides(args, args.algos[0], more)), []
    names = {"device": gpu_targets.name(args.device)}
    for system in [*args.algos, *([jaxmarl_qmix.NAME] if args.jaxmarl else [])]:
        print(f"{', '.join(more) or 'compiling'}: {system}", file=sys.stderr, flush=True)
        job = {"system": system, "device": args.device, "launches": args.launches, "jaxmarl": str(args.jaxmarl)}
        job |= {"overrides": overrides(args, system, more), "sizes": sizes(settings)._asdict()}
        found = systems.in_process(__file__, job)
        for line in found.pop("launches"):
            print(line)
        first = rows[0]["kernels"] if rows else found["kernels"]
        rows.append(names | {"system": system} | found | {"kernels_more": found["kernels"] - first})
        print(f"\n{tree(rows[-1])}\n", flush=True)
    return rows


def sizes(settings: Config) -> Sizes:
    """The sizes that a peer is given."""
    algo = settings.algo
    rest = (algo.n_envs, algo.batch_episodes, algo.hidden_dim, algo.buffer_episodes)
    return Sizes(settings.n_agents or 0, settings.seeds, *rest)


def tree(row: dict[str, Any]) -> str:
    """The loops of an iteration as text, with the kernels of a trip."""
    lines = [f"{row['system']}, {row['agents']} agents, {row['seeds']} seeds: {row['kernels']:,} kernels an iteration"]
    for loop in row["loops"]:
        trips = "?" if loop["trips"] is None else loop["trips"]
        lines.append(f"{'  ' * (1 + loop['depth'])}{trips} x {loop['kernels']:<4} {loop['loop']}")
    return "\n".join(lines)


COLUMNS = {
    "N": lambda row: str(row["agents"]),
    "seeds": lambda row: str(row["seeds"]),
    "system": lambda row: row["system"],
    "kernels": lambda row: f"{row['kernels']:,}",
    "more than the first": lambda row: f"{row['kernels_more']:+,}",
    "in loops": lambda row: ", ".join(
        f"{loop['trips'] or '?'} x {loop['kernels']}" for loop in row["loops"] if not loop["depth"]
    ),
    "temporary, MB": lambda row: f"{row['temporary_bytes'] / 1e6:,.0f}",
    "state, MB": lambda row: f"{row['state_bytes'] / 1e6:,.0f}",
}


def main() -> None:
    if systems.answer(work):
        return
    args = arguments()
    gpu_targets.prepare()
    task = f"Kernels of one iteration, compiled for {gpu_targets.name(args.device)}; {' '.join(args.overrides)}"
    head = common.describe("flax", "jaxmarl") | ({"jaxmarl": common.clone_commit(args.jaxmarl)} if args.jaxmarl else {})
    report = common.begin(__file__, args.out, task, head)
    for more in [[f"n_agents={n}"] for n in args.agents] or [[]]:
        common.add(report, *compare(args, more))
    print(common.table(COLUMNS, report.rows))


def arguments() -> argparse.Namespace:
    parser = common.parser(__doc__)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="settings as of qllm_jax.train")
    parser.add_argument("--algos", nargs="+", default=list(ALGOS), help="presets; the first is compared with")
    parser.add_argument("--agents", type=common.positive, nargs="+", default=[], metavar="N", help="values of n_agents")
    parser.add_argument("--device", choices=[*gpu_targets.TARGETS], default="h100", help="GPU to compile for (h100)")
    parser.add_argument("--jaxmarl", type=Path, metavar="CLONE", help="of FLAIROx/JaxMARL: its QMIX as well")
    parser.add_argument("--launches", action="store_true", help="print every kernel with its source")
    args = parser.parse_args()
    check(args)
    return args


def check(args: argparse.Namespace) -> None:
    """Raise UserError for arguments that cannot be compiled."""
    first, *_ = [load(overrides(args, algo)) for algo in args.algos]
    if args.jaxmarl:
        if first.env["name"] != "mpe_spread":
            raise UserError(f"JaxMARL is compared on env=mpe_spread alone, not on {first.env['name']}")
        if (horizon := first.env["horizon"]) != workload.HORIZON:
            raise UserError(f"JaxMARL is compared with env.horizon={workload.HORIZON}, not {horizon}")
        jaxmarl_qmix.check(args.jaxmarl, sizes(first), updates=1)
    gpu_targets.check()


if __name__ == "__main__":
    common.run(main)
