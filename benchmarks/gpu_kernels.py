"""Kernels of a program that XLA compiled for a GPU, counted in the text of its schedule.

Each operation of the schedule that is no bookkeeping is a launch: a fusion, a copy, a call of a library or a kernel
written by hand. A loop whose length XLA knows launches its body that often.
"""

import re
from typing import NamedTuple

import profile_update

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
    bodies, entry = _bodies(text)
    ops = profile_update.read_ops(text)

    def loop(body: str, source: str, trips: int | None) -> Loop:
        own, loops = 0, []
        for line in bodies[body]:
            opcode = _opcode(line)
            if opcode == "while":
                known = re.search(r'known_trip_count":\{"n":"(\d+)"', line)
                length = int(known[1]) if known else None
                loops.append(loop(_called(line, "body")[0], _source(ops, _name(line)), length))
            elif opcode in CALLS:
                # Of the branches of a condition the one with the most counts.
                inner = max(
                    (loop(name, "", 1) for name in _called(line, CALLS[opcode])), key=lambda each: each.per_trip(1)
                )
                own, loops = own + inner.own, [*loops, *inner.loops]
            else:
                own += opcode not in NO_KERNEL
        return Loop(source, trips, own, tuple(loops))

    return loop(entry, "program", 1)


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
    bodies, entry = _bodies(text)

    def listed(body: str, indent: str) -> list[str]:
        found = []
        for line in bodies[body]:
            opcode, source = _opcode(line), re.search(r'op_name="([^"]*)"', line)
            if opcode not in NO_KERNEL:
                found.append(f"{indent}{_name(line):<40}{source[1][-100:] if source else ''}".rstrip())
            for name in _called(line, {**CALLS, "while": "body"}.get(opcode, "none")):
                found += listed(name, indent + "    ")
        return found

    return listed(entry, "")


def _bodies(text: str) -> tuple[dict[str, list[str]], str]:
    """Operations of each computation, and the name of the program's."""
    found: dict[str, list[str]] = {}
    entry = name = ""
    for line in text.splitlines():
        if head := re.match(r"(ENTRY )?%?([\w.\-]+) \(.*\) -> .*\{$", line):
            name = head[2]
            found[name] = []
            entry = name if head[1] else entry
        elif line.startswith("}"):
            name = ""
        elif name and line.startswith("  "):
            found[name].append(line.strip())
    return found, entry


def _name(line: str) -> str:
    return line.removeprefix("ROOT ").split(" = ", 1)[0].removeprefix("%")


def _opcode(line: str) -> str:
    """The word before the operands: after the result's type, which may be a tuple in brackets."""
    rest, depth = line.split(" = ", 1)[1], 0
    for at, char in enumerate(rest):
        depth += (char in "([{") - (char in ")]}")
        if char == " " and not depth:
            return rest[at + 1 :].split("(", 1)[0]
    raise ValueError(f"not an operation: {line!r}")


def _called(line: str, keys: str) -> list[str]:
    """Names of the computations that an operation calls under one of the keys."""
    found = [
        name for many, one in re.findall(rf"(?:{keys})=(?:\{{([^}}]*)\}}|%?([\w.\-]+))", line) for name in [many or one]
    ]
    return [name.strip().removeprefix("%") for names in found for name in names.split(",")]


def _source(ops: dict[str, profile_update.Op], name: str) -> str:
    """The innermost function on the stack of an operation, "file: function"."""
    stack = ops[name].stack if name in ops else ()
    if not stack:
        return "not named"
    file, function, _ = stack[0].split(":", 2)
    return f"{file.rsplit('/', 1)[-1]}: {function.rsplit('.', 1)[-1]}"
