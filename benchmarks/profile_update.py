"""Time of an iteration by part: `python benchmarks/profile_update.py --agents 25 --seeds 5 --algo matched_qllm`.

A few iterations of the training program (rollout and update) run under jax.profiler. The time of every XLA operation
is attributed to a part of the source by the metadata of the compiled program: the functions on its stack and its
`op_name`. A fusion counts for the source of its last operation. The process keeps to one CPU core, where the times of
operations add up to the wall time; on several cores XLA hands parts of an operation to threads that the trace does not
name (--all-cores shows that). Take two seeds or more: with one seed XLA drops the source of most matmuls.
"""

import argparse
import collections
import inspect
import os
import re
import statistics
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, cast

import common
import compiled_text
import jax.numpy as jnp
import optax
import profiler_trace
import workload
from workload import Sizes

import qllm_envs
from qllm_jax.core import agent_network, agents, buffer, gru
from qllm_jax.learners import value
from qllm_jax.program import one_run

CONTAINERS = {"while", "conditional", "call", "async-start", "async-done"}  # their time is that of what they hold


class Op(NamedTuple):
    """An operation of the compiled program."""

    opcode: str
    name: str  # `Line.op_name`
    stack: tuple[str, ...]  # `Program.stack`
    matmul: bool  # it is a matrix multiplication or a fusion around one
    over_rows: bool  # that sums over the first axis of its left operand: a weight gradient, x.T @ d

    def within(self, *starts: str) -> bool:
        """True if a frame of the stack starts with one of `starts`."""
        return any(frame.startswith(starts) for frame in self.stack)


def of_function(function: Callable[..., Any]) -> str:
    """Return the start of a frame of a function, "file:function:"."""
    code = inspect.unwrap(function).__code__
    return f"{code.co_filename}:{code.co_qualname}:"


def of_module(module: ModuleType) -> str:
    """Return the start of the frames of a file, "file:"."""
    return f"{module.__file__}:"


def of_package(package: ModuleType) -> str:
    """Return the start of the frames of a package, "folder/"."""
    return f"{Path(str(package.__file__)).parent}/"


# Taken from the functions themselves, so that no rename leaves them stale.
COLLECT, NETWORK = of_function(one_run.collect), of_function(agent_network.AgentNetwork.__call__)
TEAM_VALUES, AGENTS, GRU, BUFFER = of_function(value.team_values), *map(of_module, (agents, gru, buffer))
OPTAX, ENVS = map(of_package, (optax, qllm_envs))
# What a custom gradient makes has as its source the line that calls the function.
GRU_CALL = f"{cast(Any, gru.gru_cell).__name__}("


def part_of(op: Op) -> str:
    """Return the part of the source that an operation belongs to."""
    if not op.name:  # with one seed XLA drops the source of a matmul together with its axis of length 1
        return "matmuls without a named source" if op.matmul else "copies and fills by the compiler"
    if op.within(BUFFER):
        return "buffer"
    if op.within(COLLECT):
        return "rollout: network" if op.within(NETWORK) else "rollout: environment and actions"
    if op.within(OPTAX):
        return "optimizer"
    if op.within(TEAM_VALUES):
        return "credit / mixer"
    if op.within(ENVS):
        return "observations"
    if op.within(NETWORK):
        return network_part(op)
    if op.within(AGENTS):
        return "stacking of scans (values kept for the backward pass)"
    return "other"


def network_part(op: Op) -> str:
    """Return the part of the agents' network in the update."""
    backward = "transpose(" in op.name
    if not op.matmul:
        return f"gates and activations (elementwise), {'backward' if backward else 'forward'}"
    recurrent = op.within(GRU) or GRU_CALL in op.stack[0]
    layer = "recurrent matmuls" if recurrent else "head" if "/head/" in op.name else "first layer"
    if not backward:
        return f"{layer}, forward"
    return f"{layer}, weight gradients" if op.over_rows else f"{layer}, input gradients"


def read_ops(text: str) -> dict[str, Op]:
    """Read all operations of a compiled program from its text. Stacks are empty if the text has no stack tables."""
    program = compiled_text.read(text)
    return {line.name: read_op(program, line) for lines in program.computations.values() for line in lines}


def read_op(program: compiled_text.Program, line: compiled_text.Line) -> Op:
    """Read one operation, with what it calls."""
    called = [each.text for name in line.called("calls") for each in program.computations.get(name, ())]
    # `dot` on CPU; a call of a library on GPU spells the axis "lhs_contracting_dimensions":["1"].
    shape = r'= \(?\w+\[([\d,]*)\].*lhs_contracting_dim\w+"?[=:][\[{]"?(\d+)'
    product = re.search(shape, "\n".join([line.text, *called]))
    last = product[1].count(",") if product else 0  # operands have as many axes as the result
    over_rows = bool(product) and int(product[2]) < last
    return Op(line.opcode, line.op_name, program.stack(line), product is not None, over_rows)


def main() -> None:
    args = arguments()
    if not args.all_cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # before the backend starts its threads
    parts = workload.build(args.algo, Sizes(args.agents, args.seeds, buffer=args.buffer))
    task = f"{args.algo}, MPE spread, {args.agents} agents, {args.seeds} seeds, {args.iterations} iterations, "
    task += "all cores" if args.all_cores else "one CPU core"
    found = common.begin(__file__, args.out, task, common.describe("flax", "optax"))
    program, n, plain = parts.program, jnp.asarray(args.iterations), []
    state = program.warmup(*program.init(parts.root, parts.seeds, parts.choice), parts.hp)
    chunk, _ = common.compiled(program.chunk, *state, parts.hp, n)
    for _ in range(4):
        (*state, _), elapsed = common.seconds(chunk, *state, parts.hp, n)
        plain.append(elapsed)
    ((*state, _), traced), events = profiler_trace.record(lambda: common.seconds(chunk, *state, parts.hp, n))
    ops, totals = read_ops(chunk.as_text()), collections.defaultdict(float)
    for event in events:
        if event.op in ops and ops[event.op].opcode not in CONTAINERS:
            totals[part_of(ops[event.op])] += event.microseconds
    wall, slowed = (1e3 * s / args.iterations for s in (statistics.median(plain[1:]), traced))
    common.add(found, *rows(totals, args.iterations))
    print("\n" + (common.table(COLUMNS, found.rows) if found.rows else NOTHING))
    print(f"\nwall time {wall:.2f} ms per iteration of all seeds, {slowed:.2f} under the profiler")


def rows(totals: dict[str, float], iterations: int) -> list[dict[str, Any]]:
    """Return a row per part, the largest first, and their sum last; no rows without any time."""
    total = sum(totals.values())
    parts = {**dict(sorted(totals.items(), key=lambda item: -item[1])), "sum of operations": total} if total else {}
    return [{"part": k, "iteration_ms": us / 1e3 / iterations, "share": us / total} for k, us in parts.items()]


NOTHING = "The profiler named no operation of the compiled program on this backend."
COLUMNS = {
    "part": lambda row: row["part"],
    "ms per iteration": lambda row: f"{row['iteration_ms']:.2f}",
    "share": lambda row: f"{row['share']:.1%}",
}


def arguments() -> argparse.Namespace:
    parser = common.parser(__doc__)
    parser.add_argument("--agents", type=common.positive, default=25, metavar="N", help="agents (25)")
    parser.add_argument("--seeds", type=common.positive, default=5, metavar="R", help="vmapped seeds (5)")
    parser.add_argument("--algo", default="matched_qllm", help="preset of configs/algo (matched_qllm)")
    parser.add_argument("--iterations", type=common.positive, default=4, help="iterations to trace (4)")
    parser.add_argument("--buffer", type=common.positive, default=1000, help="episodes of replay (1000)")
    parser.add_argument("--all-cores", action="store_true", help="do not keep to one CPU core")
    return parser.parse_args()


if __name__ == "__main__":
    common.run(main)
