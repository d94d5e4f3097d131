"""What an update costs with each algorithm: `python benchmarks/algorithms.py --agents 6 25`.

Presets as they are on MPE spread: `matched_*` share network, parallel environments and, but for on-policy methods, the
batch. Timed is what `qllm_jax.train` runs between two evaluations: one rollout and the update after it. The programs
take turns in one process; ratios to the first algorithm are turn by turn. Memory is what XLA plans for a program:
its temporary arrays at their peak, and the state that stays (parameters, optimizer, replay).
"""

import argparse
import statistics
from typing import Any, NamedTuple

import common
import jax
import jax.numpy as jnp

from qllm_jax import config, experiment
from qllm_jax.errors import UserError
from qllm_jax.experiment import Experiment

HEADINGS = (
    "N",
    "algorithm",
    "compile, s",
    "ms per update (min to max)",
    "times the first",
    "temporary, MB",
    "state, MB",
)


class Program(NamedTuple):
    """A compiled loop of iterations and where it stands."""

    chunk: Any  # (clock, runs, hp, n) -> clock, runs, metrics
    state: list[Any]  # [clock, runs]: replaced by each call, since its buffers are donated
    hp: Any
    compile_s: float
    temporary: int  # bytes
    kept: int  # bytes


def build(algo: str, agents: int, seeds: int) -> Experiment:
    """The program of a preset, as `qllm_jax.train` builds it. UserError if there is none."""
    return experiment.build(config.load([f"algo={algo}", "env=mpe_spread", f"n_agents={agents}", f"seeds={seeds}"]))


def compile_program(exp: Experiment) -> Program:
    """Ready for the first update."""
    program, start = exp.program, (exp.root, exp.seeds)
    state = list(program.warmup(*program.init(*start), exp.hp))
    chunk, compile_s = common.compiled(program.chunk, *state, exp.hp, jnp.asarray(1))
    planned = chunk.memory_analysis()
    kept = sum(leaf.nbytes for leaf in jax.tree.leaves(state) if not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key))
    return Program(chunk, state, exp.hp, compile_s, planned.temp_size_in_bytes, kept)


def times(programs: dict[str, Program], updates: int, repeats: int) -> dict[str, list[float]]:
    """Milliseconds of one iteration, one number a round; the first round is a warm-up."""
    found: dict[str, list[float]] = {name: [] for name in programs}
    for turn in range(repeats + 1):
        for name, program in programs.items():
            (*state, _), seconds = common.seconds(program.chunk, *program.state, program.hp, jnp.asarray(updates))
            program.state[:] = state
            if turn:
                found[name].append(1e3 * seconds / updates)
    return found


def cells(agents: int, name: str, program: Program, found: dict[str, list[float]], seeds: int) -> list[str]:
    """A row of the table; times are per seed."""
    own, first = found[name], next(iter(found.values()))
    ratios = [a / b for a, b in zip(own, first, strict=True)]
    per_seed = [ms / seeds for ms in own]
    return [
        *(str(agents), name, f"{program.compile_s:.1f}"),
        f"{statistics.median(per_seed):.2f} ({min(per_seed):.2f} to {max(per_seed):.2f})",
        f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
        *(f"{size / 1e6:.0f}" for size in (program.temporary, program.kept)),
    ]


def main() -> None:
    args = arguments()
    task = f"MPE spread, {args.seeds} seeds a program, {args.updates} updates a turn, {args.repeats} turns"
    print(common.head(task, "flax", "optax"), flush=True)
    rows = []
    for agents, experiments in args.experiments.items():
        programs = {}
        for name, exp in experiments.items():
            programs[name] = compile_program(exp)
            print(f"N={agents}: {name} compiled", flush=True)
        found = times(programs, args.updates, args.repeats)
        rows += [cells(agents, name, program, found, args.seeds) for name, program in programs.items()]
    print("\n".join(f"| {' | '.join(line)} |" for line in (HEADINGS, ["---"] * len(HEADINGS), *rows)))


def arguments() -> argparse.Namespace:
    parser = common.parser(__doc__)
    presets = [name for name in config.group_names("algo") if name.startswith("matched_")]
    every = ["matched_qmix", *sorted(set(presets) - {"matched_qmix"})]
    parser.add_argument("--algos", nargs="+", default=every, help="presets; the first is what ratios are to (QMIX)")
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
