"""What a run costs in a sweep of R runs: `python benchmarks/sweep.py --runs 1 5 20 100`.

MPE spread with the sizes of throughput.py; the runs differ in their learning rate, and with --tfcaf in their credit
function, of which each is evaluated for all runs. Timed are rollouts, each with the update after it, of all R runs as
one group; a turn has equally many updates of runs for every R, as a short one is a cold one. The widths take turns in
one process; how many times as fast as R runs one after another is turn by turn. Memory is the plan that
`qllm_jax.train` prints, beside what XLA plans: its temporary arrays at their peak and the state.
"""

import argparse
import statistics

import algorithms
import common
import jax.numpy as jnp
from algorithms import Program

from qllm_jax import config, experiment, plan
from qllm_jax.errors import UserError
from qllm_jax.experiment import Experiment

HEADINGS = (
    *("N", "runs", "compile, s", "ms per update and run (min to max)", "times as fast as one by one"),
    *("planned, MB", "by XLA, MB", "temporary, MB", "state, MB"),
)


def build(args: argparse.Namespace, runs: int) -> Experiment:
    """A sweep of that many runs, of one seed each. UserError if a credit function does not exist."""
    functions = args.tfcaf or ["mpe_spread"]
    if runs == 1:
        chosen = [f"algo.mixer.function={functions[0]}"] if args.tfcaf else []
    else:
        rates = [f"{1e-3 * (i + 1) / runs:.9f}" for i in range(-(-runs // len(functions)))]
        chosen = [f"sweep.lr=[{','.join(rates)}]", *([f"sweep.tfcaf=[{','.join(functions)}]"] if args.tfcaf else [])]
    sizes = [f"algo.hidden_dim={common.HIDDEN}", f"algo.n_envs={common.ENVS}", f"algo.batch_episodes={common.BATCH}"]
    task = ["env=mpe_spread", f"n_agents={args.agents}", "seeds=1", f"algo.buffer_episodes={args.buffer}"]
    built = experiment.build(config.load([f"algo={args.algo}", *task, *sizes, *chosen]))
    return built if len(built.seeds) == runs else experiment.at(built, 0, runs)


def times(programs: dict[int, Program], updates: int, repeats: int) -> dict[int, list[float]]:
    """Milliseconds of an update of one run, one number a turn; the first turn is a warm-up."""
    found: dict[int, list[float]] = {runs: [] for runs in programs}
    for turn in range(repeats + 1):
        for runs, program in programs.items():
            n = max(updates // runs, 1)
            (*state, _), seconds = common.seconds(program.chunk, *program.state, program.hp, jnp.asarray(n))
            program.state[:] = state
            if turn:
                found[runs].append(1e3 * seconds / n / runs)
    return found


def cells(runs: int, program: Program, own: list[float], single: list[float], planned: int) -> list[str]:
    """A row of the table, without N."""
    ratios = [alone / ms for alone, ms in zip(single, own, strict=True)]
    return [
        *(str(runs), f"{program.compile_s:.1f}"),
        f"{statistics.median(own):.2f} ({min(own):.2f} to {max(own):.2f})",
        f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
        *(f"{size / 1e6:.0f}" for size in (planned, program.temporary + program.kept)),
        *(f"{size / 1e6:.0f}" for size in (program.temporary, program.kept)),
    ]


def main() -> None:
    args = arguments()
    functions = f", functions {', '.join(args.tfcaf)}" if args.tfcaf else ""
    turns = f"{args.updates} updates of runs a turn, {args.repeats} turns"
    task = f"{args.algo} on MPE spread, N={args.agents}{functions}, {turns}"
    print(common.head(task, "flax", "optax"), flush=True)
    programs, planned = {}, {}
    for runs in sorted({1, *args.runs}):
        built = build(args, runs)
        planned[runs] = plan.make(built).total
        programs[runs] = algorithms.compile_program(built)
        print(f"{runs} runs compiled", flush=True)
    found = times(programs, args.updates, args.repeats)
    rows = [[str(args.agents), *cells(runs, programs[runs], found[runs], found[1], planned[runs])] for runs in planned]
    print("\n".join(f"| {' | '.join(line)} |" for line in (HEADINGS, ["---"] * len(HEADINGS), *rows)))


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
    try:
        build(args, max(args.runs))
    except UserError as error:
        parser.error(str(error))
    return args


if __name__ == "__main__":
    main()
