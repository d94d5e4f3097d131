"""How much memory a traced program needs beside its inputs, from its jaxpr: before anything is compiled, on any device.

Values are counted from where they are made to where they are last read. What XLA makes on the fly (broadcasts, iotas)
counts nothing, and updates in place take their operand's memory; other fusion is not foreseen, padding neither.
"""

import math
from collections.abc import Iterator
from typing import Any

from jax.extend import core

FREE = ("broadcast_in_dim", "iota", "copy", "reshape", "squeeze", "stop_gradient")
IN_PLACE = ("scatter", "dynamic_update_slice", "while", "scan")
LOOPS = ("while", "scan")


def peak(jaxpr: Any) -> int:
    """Bytes at the fullest moment, outputs included and inputs not."""
    last = last_reads(jaxpr)
    held: dict[Any, int] = {}  # what was made here and is read later
    live = most = 0
    for i, eqn in enumerate(jaxpr.eqns):
        dying = [v for v in eqn.invars if isinstance(v, core.Var) and last.get(v) == i]
        made = made_by(eqn, dying)
        inner = max((peak(sub) for sub in jaxprs(eqn)), default=0)
        # The outputs of a loop are beside its body; those of a call are made in it.
        during = sum(made) + inner if eqn.primitive.name in LOOPS else max(sum(made), inner)
        most = max(most, live + during)
        for var, size in zip(eqn.outvars, made, strict=True):
            if last.get(var, -1) > i:
                held[var] = size
                live += size
        live -= sum(held.pop(var, 0) for var in set(dying))
    return most


def of_one_device(jaxpr: Any) -> Any:
    """The program that each device runs: what is inside of a `shard_map` if all of it is in one, else the same."""
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "shard_map":
            return next(jaxprs(eqn))
    return jaxpr


def made_by(eqn: Any, dying: list[Any]) -> list[int]:
    """Bytes that each output takes: none where it is free, or takes the place of an operand that dies."""
    name = eqn.primitive.name
    if name in FREE:
        return [0] * len(eqn.outvars)
    given = [var.aval for var in dying] if name.startswith(IN_PLACE) else []
    sizes = []
    for out in eqn.outvars:
        place = next((aval for aval in given if same(aval, out.aval)), None)
        if place is not None:
            given.remove(place)
        sizes.append(0 if place is not None else size_of(out.aval))
    return sizes


def last_reads(jaxpr: Any) -> dict[Any, int]:
    """The equation that reads a variable last; behind all of them for outputs."""
    last = {var: i for i, eqn in enumerate(jaxpr.eqns) for var in eqn.invars if isinstance(var, core.Var)}
    return last | {var: len(jaxpr.eqns) for var in jaxpr.outvars if isinstance(var, core.Var)}


def jaxprs(eqn: Any) -> Iterator[Any]:
    """The programs inside an equation: bodies of loops, branches, calls."""
    for value in eqn.params.values():
        for each in value if isinstance(value, tuple | list) else (value,):
            inner = getattr(each, "jaxpr", each)
            if hasattr(inner, "eqns"):
                yield inner


def same(a: Any, b: Any) -> bool:
    """Whether two values fit one place."""
    return (a.shape, a.dtype) == (b.shape, b.dtype)


def size_of(x: Any) -> int:
    """Bytes of an array or of its shape; a typed key is counted with its words."""
    if not hasattr(x, "dtype"):
        return 0
    return math.prod(x.shape) * (x.dtype.itemsize or 0)
