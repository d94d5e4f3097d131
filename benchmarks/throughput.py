"""Training speed beside JaxMARL's and epymarl's QMIX: `python benchmarks/throughput.py --jaxmarl CLONE --agents 3 25`.

Peers are clones of github.com/FLAIROx/JaxMARL (its baselines are not in the wheel), run with the installed jaxmarl, and
of github.com/uoe-agents/epymarl, run with --epymarl-python, which has its packages; nothing is written into either. All
do the same work on MPE spread: 8 environments play an episode, then one update from 32 episodes; network of 64, mixer
and hypernetworks of 32. All seeds are one vmapped program (epymarl: one process per seed). The systems take turns, each
time in a fresh process; loops of updates are timed after a warm-up, and each timed loop is checked to have learned.

--evaluation adds each system's own evaluation, with its own episodes at its own interval. An update and an evaluation
are timed apart and added up as often as they happen: intervals are hundreds to thousands of updates.
"""

import argparse
import statistics
import sys
from pathlib import Path
from typing import Any

import common
import epymarl_qmix
import jaxmarl_qmix
import systems
import workload
from workload import Sizes

from qllm_jax import config
from qllm_jax.errors import UserError

PEERS = {"jaxmarl": jaxmarl_qmix.NAME, "epymarl": epymarl_qmix.NAME}  # argument -> system
NOTE = f"""Work is counted in updates. JaxMARL's episodes have 26 steps, one more than its max_steps (ours: 25), so that
one of its updates follows 208 environment steps, ours 200; all learn from 26 observations an episode. env-steps/s
counts the steps that a system took, all seeds together; speeds are compared by the time per update. Floor: the matrix
multiplications of the system's own update and rollout at the rate of a 2048^3 f32 matmul in the same process.
The peers' hypernetworks are of {workload.HYPER} here, as ours (JaxMARL ships 128, epymarl 64); JaxMARL's optimizer
(RAdam) and its replay of whole observations are its own."""


def work(job: dict[str, Any]) -> dict[str, Any]:
    """Build one system and time its updates. For a process of its own."""
    make = jaxmarl_qmix.make if job["system"] == jaxmarl_qmix.NAME else systems.ours
    return systems.measure(make(job), job)[0]


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of one system, measured in a fresh process."""
    return epymarl_qmix.measure(job) if job["system"] == epymarl_qmix.NAME else systems.in_process(__file__, job)


def compare(args: argparse.Namespace, agents: int, seeds: int) -> list[dict[str, Any]]:
    """Return one row per system. In a round each of our systems runs right before or after the peers."""
    peers = [name for key, name in PEERS.items() if getattr(args, key)]
    paths = {key: str(getattr(args, key)) for key in ("jaxmarl", "epymarl", "epymarl_python")}
    order = [args.algos[0], *peers, *args.algos[1:]]
    sizes = Sizes(agents, seeds, buffer=args.buffer)._asdict()
    rounds: list[dict[str, Any]] = []
    for number in range(args.repeats):
        rounds.append({})
        for system in order:
            job = {"system": system, "sizes": sizes, "updates": args.updates, "evaluation": args.evaluation, **paths}
            rounds[-1][system] = result = run(job)
            progress = f"N={agents} seeds={seeds} round {number + 1} of {args.repeats}: {system}"
            print(f"{progress} {result['update_ms']:.2f} ms", file=sys.stderr, flush=True)
    found = {system: [each[system] for each in rounds] for system in order}
    times = {system: [systems.whole_ms(each) for each in runs] for system, runs in found.items()}
    rows = [systems.row(agents, seeds, system, runs) for system, runs in found.items()]
    for each in rows:
        others = {key: name for key, name in PEERS.items() if name in found and name != each["system"]}
        each |= {f"speed_to_{key}": common.ratios(times[name], times[each["system"]]) for key, name in others.items()}
    return rows


def columns(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the columns of the table, with a ratio for each peer, and the evaluation if it was timed."""
    figure = lambda key, style=",.2f": lambda row: common.spread(row[key], style) if key in row else "-"
    middle = lambda key, style: lambda row: format(statistics.median(row[key]), style) if key in row else "-"
    evaluation = {
        "ms per evaluation and seed": figure("evaluation_ms", ",.1f"),
        "its episodes": lambda row: f"{row['evaluation_episodes']:,}",
        "updates between two": lambda row: f"{row['evaluation_every_updates']:,}",
        "ms per update with its share of evaluation": figure("whole_ms"),
    }
    peers = dict.fromkeys(key for row in rows for key in row if key.startswith("speed_to_"))
    return {
        "N": lambda row: str(row["agents"]),
        "seeds": lambda row: str(row["seeds"]),
        "system": lambda row: row["system"],
        "compile s": middle("compile_s", ".1f"),
        "ms per update and seed": figure("update_ms"),
        **(evaluation if "evaluation_ms" in rows[0] else {}),
        "env-steps/s": middle("env_steps_per_s", ",.0f"),
        **{f"times {key.removeprefix('speed_to_')}'s speed": figure(key) for key in peers},
        "floor ms": middle("floor_ms", ".2f"),
        "time over floor": middle("times_floor", ".1f"),
        "state MB": lambda row: f"{row['state_bytes'] / 1e6:,.0f}" if "state_bytes" in row else "-",
    }


def main() -> None:
    if systems.answer(work):
        return
    args = arguments()
    task = (
        f"MPE spread, 8 environments, updates of 32 episodes, network of 64, buffer of {args.buffer} episodes; "
        f"{args.repeats} processes, {systems.SAMPLES} loops of {args.updates} updates each"
    )
    head = systems.head("flax", "jaxmarl", "flashbax")
    head |= {key: common.clone_commit(getattr(args, key)) for key in PEERS if getattr(args, key)}
    report = common.begin(__file__, args.out, task, head)
    print(f"{NOTE}\n", flush=True)
    for agents in args.agents:
        for seeds in args.seeds:
            common.add(report, *compare(args, agents, seeds))
    print(common.table(columns(report.rows), report.rows))


def arguments() -> argparse.Namespace:
    parser, many = common.parser(__doc__), {"nargs": "+", "type": common.positive}
    parser.add_argument("--jaxmarl", type=Path, metavar="CLONE", help="of FLAIROx/JaxMARL")
    parser.add_argument("--epymarl", type=Path, metavar="CLONE", help="of uoe-agents/epymarl")
    parser.add_argument("--epymarl-python", type=Path, metavar="PYTHON", help="that has epymarl's packages")
    parser.add_argument("--agents", **many, default=[3, 25], metavar="N", help="numbers of agents (3 25)")
    parser.add_argument("--seeds", **many, default=[1, 5], metavar="S", help="numbers of vmapped seeds (1 5)")
    parser.add_argument("--updates", type=common.positive, default=20, help="updates in a timed loop (20)")
    parser.add_argument("--repeats", type=common.positive, default=3, help="processes of each system (3)")
    parser.add_argument("--buffer", type=common.positive, default=1000, help="episodes of replay, all systems (1000)")
    parser.add_argument("--algos", nargs="+", default=["matched_qllm", "matched_qmix"], help="of ours")
    parser.add_argument("--evaluation", action="store_true", help="add each system's evaluation at its defaults")
    args = parser.parse_args()
    check(args)
    return args


def check(args: argparse.Namespace) -> None:
    """Raise UserError for arguments that cannot be run."""
    if (args.epymarl is None) != (args.epymarl_python is None):
        raise UserError("--epymarl and --epymarl-python are given together or not at all")
    for algo in args.algos:
        config.load([f"algo={algo}"])
    if args.jaxmarl:
        jaxmarl_qmix.check(args.jaxmarl, Sizes(1, buffer=args.buffer), args.updates)
    if args.epymarl:
        epymarl_qmix.check(args.epymarl, args.epymarl_python)


if __name__ == "__main__":
    common.run(main)
