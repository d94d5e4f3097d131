"""What an update costs with each algorithm: `python benchmarks/algorithms.py --agents 6 25`.

Presets as they are on MPE spread: `matched_*` share network, parallel environments and, but for on-policy methods, the
batch. Timed is what `qllm_jax.train` runs between two evaluations: one rollout and the update after it. The programs
take turns in one process; ratios to the first algorithm are turn by turn. Memory is what XLA plans for a program:
its temporary arrays at their peak, and the state that stays (parameters, optimizer, replay). The floor is the matrix
multiplications of a program at the rate of a 2048^3 f32 matmul in the same process.
"""

import argparse
from typing import Any, NamedTuple

import common
import jax.numpy as jnp
import workload

from qllm_jax import config, experiment
from qllm_jax.errors import UserError
from qllm_jax.experiment import Experiment


class Program(NamedTuple):
    """A compiled loop of iterations and where it stands."""

    chunk: Any  # (clock, runs, hp, n) -> clock, runs, metrics
    state: list[Any]  # [clock, runs]: replaced by each call, since its buffers are donated
    hp: Any
    facts: dict[str, Any]  # what is known before it is timed


def build(algo: str, agents: int, seeds: int) -> Experiment:
    """The program of a preset, as `qllm_jax.train` builds it. UserError if there is none."""
    return experiment.build(config.load([f"algo={algo}", "env=mpe_spread", f"n_agents={agents}", f"seeds={seeds}"]))


def compile_program(exp: Experiment) -> Program:
    """Ready for the first update."""
    program, start = exp.program, (exp.root, exp.seeds)
    state = list(program.warmup(*program.init(*start), exp.hp))
    chunk, compile_s = common.compiled(program.chunk, *state, exp.hp, jnp.asarray(1))
    facts = {
        "compile_s": compile_s,
        "temporary_bytes": workload.temporary_bytes(chunk),
        "state_bytes": workload.state_bytes(state),
        "iteration_flops": workload.iteration_flops(exp),
    }
    return Program(chunk, state, exp.hp, facts)


def times(programs: dict[str, Program], updates: int, repeats: int) -> dict[str, list[float]]:
    """Milliseconds of one iteration of all seeds, one number a round; the first round is a warm-up."""
    found: dict[str, list[float]] = {name: [] for name in programs}
    for turn in range(repeats + 1):
        for name, program in programs.items():
            (*state, _), seconds = common.seconds(program.chunk, *program.state, program.hp, jnp.asarray(updates))
            program.state[:] = state
            if turn:
                found[name].append(1e3 * seconds / updates)
    return found


def row(
    agents: int, seeds: int, name: str, program: Program, found: dict[str, list[float]], rate: float
) -> dict[str, Any]:
    """Of the report; times are per seed. `rate` in FLOP/s."""
    own, first = found[name], next(iter(found.values()))
    per_seed = [ms / seeds for ms in own]
    floor_ms = 1e3 * program.facts["iteration_flops"] / rate
    return {
        "agents": agents,
        "seeds": seeds,
        "system": name,
        "update_ms": per_seed,
        "floor_ms": floor_ms,
        "times_first": common.ratios(own, first),
        "times_floor": [ms / floor_ms for ms in per_seed],
        **program.facts,
    }


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
    args = arguments()
    task = f"MPE spread, {args.seeds} seeds a program, {args.updates} updates a turn, {args.repeats} turns"
    report = common.begin(__file__, args.out, task, common.describe("flax", "optax"))
    for agents, experiments in args.experiments.items():
        programs = {}
        for name, exp in experiments.items():
            programs[name] = compile_program(exp)
            print(f"N={agents}: {name} compiled", flush=True)
        found = times(programs, args.updates, args.repeats)
        rate = workload.matmul_rate()
        common.add(report, *(row(agents, args.seeds, name, each, found, rate) for name, each in programs.items()))
    print(common.table(COLUMNS, report.rows))


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
