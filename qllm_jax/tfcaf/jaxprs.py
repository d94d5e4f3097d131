"""Traced programs (jaxprs): their operations in order, calls opened, each with the line of the source that made it."""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

# Primitives that hold a program of their own, which is opened.
CALLS = frozenset("closed_call custom_jvp_call custom_vjp_call custom_vjp_call_jaxpr jit pjit".split())  # noqa: SIM905


class Visit(NamedTuple):
    """An operation that `walk` comes to."""

    position: int  # among all operations in order
    equation: Any
    outermost: Any  # the call that holds it, not itself in another, or the equation itself

    @property
    def name(self) -> str:
        """Name of the primitive."""
        return self.equation.primitive.name

    def line(self, file: str) -> int | None:
        """Return the line of `file` that made the operation, or None."""
        return line_of(self.outermost, file)


Step = Callable[[Visit, list], Sequence[Any]]  # (operation, operands) -> outputs


def inner(equation: Any) -> Any:
    """Return the program that an operation calls, such as that of a jitted function, or None."""
    if equation.primitive.name not in CALLS:
        return None
    return next(value for value in equation.params.values() if hasattr(value, "eqns") or hasattr(value, "jaxpr"))


def operations(program: Any, file: str = "", line: int | None = None) -> Iterator[tuple[Any, int | None]]:
    """Yield all operations in order, those of branches included, with the line of `file` that made each.

    A line is that of the outermost call, because JAX caches inner programs.
    """
    for equation in getattr(program, "jaxpr", program).eqns:
        at = line or line_of(equation, file)
        yield equation, at
        for called in _inner_programs(equation):
            yield from operations(called, file, at)


def digest(program: Any) -> str:
    """Return a digest of a closed program: its operations, their parameters and its constants."""
    plain = program.pretty_print(use_color=False)  # `str` has colors on a terminal and in a notebook
    text = re.sub(r"0x[0-9a-f]+", "0x", plain)  # addresses of JAX's own functions
    found = hashlib.sha256(text.encode())
    for constant in constants(program):
        found.update(np.asarray(constant).tobytes())
    return found.hexdigest()


def constants(program: Any) -> Iterator[Any]:
    """Yield the arrays that are built into a closed program, those of inner programs included."""
    yield from getattr(program, "consts", ())
    for equation in getattr(program, "jaxpr", program).eqns:
        for called in _inner_programs(equation):
            yield from constants(called)


def _inner_programs(equation: Any) -> Sequence[Any]:
    """Return the program that an operation calls, or those of its branches."""
    called = inner(equation)
    return equation.params.get("branches", ()) if called is None else (called,)


def line_of(equation: Any, file: str) -> int | None:
    """Return the line of `file` that made an operation, or None."""
    frames = getattr(equation.source_info.traceback, "frames", ())
    return next((frame.line_num for frame in frames if frame.file_name == file), None)


def primitives(program: Any) -> list[str]:
    """Return the names of the primitives of all operations in order."""
    return [equation.primitive.name for equation, _ in operations(program)]


def walk(program: Any, inputs: Sequence[Any], step: Step, lift: Callable[[Any], Any] = lambda value: value) -> list:
    """Interpret a program: return its outputs on `inputs`, where `step` does each operation.

    `lift` makes a value of a constant. Calls are opened; branches are not.
    """
    position = -1

    def run(closed: Any, given: Sequence[Any], outer: Any) -> list:
        nonlocal position
        jaxpr, constants = getattr(closed, "jaxpr", closed), getattr(closed, "consts", ())
        values = dict(zip(jaxpr.invars, given, strict=True)) | dict(
            zip(jaxpr.constvars, map(lift, constants), strict=True)
        )
        read = lambda v: lift(v.val) if hasattr(v, "val") else values[v]
        for equation in jaxpr.eqns:
            operands, outermost = [read(v) for v in equation.invars], outer or equation
            if (called := inner(equation)) is not None:
                outputs = run(called, operands, outermost)
            else:
                position += 1
                outputs = step(Visit(position, equation, outermost), operands)
            values.update(zip(equation.outvars, outputs, strict=True))
        return [read(v) for v in jaxpr.outvars]

    return run(program, inputs, None)


def bind(equation: Any, operands: Sequence[Any]) -> Sequence[Any]:
    """Return the outputs of an operation that is not a call."""
    outputs = equation.primitive.bind(*operands, **equation.params)
    return outputs if equation.primitive.multiple_results else [outputs]
