"""Kernels of a program that XLA compiled for a GPU, counted in the text of its schedule.

Each operation of the schedule that is no bookkeeping is a launch: a fusion, a copy, a call of a library or a kernel
written by hand. A loop whose length XLA knows launches its body that often.
"""

import re
from typing import NamedTuple

import compiled_text
from compiled_text import Line, Program

# Operations that launch nothing, or whose launch is counted where they start.
NO_KERNEL = {
    "parameter",
    "tuple",
    "get-tuple-element",
    "bitcast",
    "constant",
    "after-all",
    "add-dependency",
    "opt-barrier",
    "partition-id",
    "replica-id",
    "copy-done",
    "async-update",
    "async-done",
}
CALLS = {  # operations that hold others, and the keys under which they name them
    "call": "to_apply",
    "async-start": "calls",
    "conditional": "branch_computations|true_computation|false_computation",
}
STEPS = "lockstep.py: scan_while_any"  # the loop over the steps of episodes that end early


class Loop(NamedTuple):
    """A loop of a program, or the program itself."""

    source: str  # the function that it comes from, "file: function"
    trips: int | None  # None: not known to XLA
    own: int  # kernels of one trip, without those of the loops in it
    loops: tuple["Loop", ...]

    def per_trip(self, trips: int) -> int:
        """Kernels of one trip. A loop over steps in it whose length is not known counts as `trips`, others as one."""
        times = lambda loop: loop.trips or (trips if loop.source.startswith(STEPS) else 1)
        return self.own + sum(times(loop) * loop.per_trip(1) for loop in self.loops)


def read(text: str) -> Loop:
    """Read a program from the text of its schedule."""
    program = compiled_text.read(text)

    def loop(body: str, source: str, trips: int | None) -> Loop:
        own, loops = 0, []
        for line in program.computations[body]:
            if line.opcode == "while":
                known = re.search(r'known_trip_count":\{"n":"(\d+)"', line.text)
                length = int(known[1]) if known else None
                loops.append(loop(line.called("body")[0], _source(program, line), length))
            elif line.opcode in CALLS:
                # Of the branches of a condition the one with the most counts.
                branches = (loop(name, "", 1) for name in line.called(CALLS[line.opcode]))
                inner = max(branches, key=lambda each: each.per_trip(1))
                own, loops = own + inner.own, [*loops, *inner.loops]
            else:
                own += line.opcode not in NO_KERNEL
        return Loop(source, trips, own, tuple(loops))

    return loop(program.entry, "program", 1)


def iteration(program: Loop) -> Loop:
    """Return the loop over iterations: the only one of the program itself, whose length is traced."""
    (found,) = [loop for loop in program.loops if loop.trips is None]
    return found


def lines(loop: Loop, depth: int = 0) -> list[dict[str, str | int | None]]:
    """Return a row for each loop within a loop, in the order of the program."""
    found = []
    for each in loop.loops:
        found.append({"loop": each.source, "depth": depth, "trips": each.trips, "kernels": each.per_trip(1)})
        found += lines(each, depth + 1)
    return found


def launches(text: str) -> list[str]:
    """Return the launches of a program as text, with the operation that each comes from; loops are indented."""
    program = compiled_text.read(text)

    def listed(body: str, indent: str) -> list[str]:
        found = []
        for line in program.computations[body]:
            if line.opcode not in NO_KERNEL:
                found.append(f"{indent}{line.name:<40}{line.op_name[-100:]}".rstrip())
            for name in line.called({**CALLS, "while": "body"}.get(line.opcode, "none")):
                found += listed(name, indent + "    ")
        return found

    return listed(program.entry, "")


def _source(program: Program, line: Line) -> str:
    """The innermost function on the stack of an operation, "file: function"."""
    stack = program.stack(line)
    if not stack:
        return "not named"
    file, function, _ = stack[0].split(":", 2)
    return f"{file.rsplit('/', 1)[-1]}: {function.rsplit('.', 1)[-1]}"
