"""The text of a program that XLA compiled: its computations, their operations, and the source of each."""

import linecache
import re
from typing import NamedTuple

TABLES = ("FileNames", "FunctionNames", "FileLocations", "StackFrames")


class Line(NamedTuple):
    """An operation, as one line of the text."""

    name: str
    opcode: str
    text: str

    @property
    def op_name(self) -> str:
        """The `op_name` of its metadata: transformations, scopes, primitive. "" if there is none."""
        found = re.search(r'op_name="([^"]*)"', self.text)
        return found[1] if found else ""

    def called(self, keys: str) -> list[str]:
        """Names of the computations that it calls under one of the keys, which are separated by "|"."""
        found = re.findall(rf"(?:{keys})=(?:\{{([^}}]*)\}}|%?([\w.\-]+))", self.text)
        return [name.strip().removeprefix("%") for many, one in found for name in (many or one).split(",")]


class Program(NamedTuple):
    """The operations of each computation, the name of the program's own, and the tables of stacks, if it has them."""

    computations: dict[str, list[Line]]
    entry: str
    tables: dict[str, dict[str, str]]

    def stack(self, line: Line) -> tuple[str, ...]:
        """The stack of an operation as "file:function:line of source", innermost first; only that has its line."""
        number = lambda row, key: re.findall(rf"{key}=(\d+)", row)[0]
        found, stack = re.search(r"stack_frame_id=(\d+)", line.text), []
        frame = found[1] if found else ""
        while frame in self.tables["StackFrames"]:
            location = self.tables["FileLocations"][number(self.tables["StackFrames"][frame], "file_location_id")]
            file = self.tables["FileNames"][number(location, "file_name_id")].strip('"')
            function = self.tables["FunctionNames"][number(location, "function_name_id")].strip('"')
            source = linecache.getline(file, int(number(location, "line"))).strip()
            stack.append(f"{file}:{function}:{source if not stack else ''}")
            frame = str(int(number(self.tables["StackFrames"][frame], "parent_frame_id")) - 1)  # counts from one
        return tuple(stack)


def read(text: str) -> Program:
    """Read a program from `compiled.as_text()`."""
    found = {name: re.search(rf"^{name}\n((?:\d+ .*\n)+)", text, re.M) for name in TABLES}
    tables = {k: dict(line.split(" ", 1) for line in m[1].splitlines()) if m else {} for k, m in found.items()}
    computations: dict[str, list[Line]] = {}
    entry = current = ""
    for line in text.splitlines():
        if head := re.match(r"(ENTRY )?%?([\w.\-]+) \(.*\) -> .*\{$", line):
            current = head[2]
            computations[current] = []
            entry = current if head[1] else entry
        elif op := re.match(r"\s+(?:ROOT )?%?([\w.\-]+) = .*? ([\w\-]+)\(", line):
            computations[current].append(Line(op[1], op[2], line.strip()))
    return Program(computations, entry, tables)
