"""Estimate of the memory that a traced program needs besides its inputs, from its jaxpr: before it is compiled.

A value counts from the equation that makes it to the last one that reads it. Broadcasts and iotas count nothing, since
XLA makes them on the fly, and updates in place use the memory of their operand. Other fusion and padding are ignored.
"""

import math
from typing import Any

from jax.extend import core

from qllm_jax.core.jaxprs import inner_jaxprs

NO_MEMORY = ("broadcast_in_dim", "iota", "copy", "reshape", "squeeze", "stop_gradient")
IN_PLACE = ("scatter", "dynamic_update_slice", "while", "scan", "pallas_call")
LOOPS = ("while", "scan")


def peak_bytes(jaxpr: Any) -> int:
    """Largest number of bytes that are alive at once, with outputs and without inputs."""
    last = last_reads(jaxpr)
    held: dict[Any, int] = {}  # bytes of values that were made here and are read later
    live = peak = 0
    for i, eqn in enumerate(jaxpr.eqns):
        dying = [v for v in eqn.invars if isinstance(v, core.Var) and last.get(v) == i]
        made = output_bytes(eqn, dying)
        inner = max((peak_bytes(sub) for sub in inner_jaxprs(eqn)), default=0)
        # The outputs of a loop exist beside its body; those of a call are made in it.
        during = sum(made) + inner if eqn.primitive.name in LOOPS else max(sum(made), inner)
        peak = max(peak, live + during)
        for var, size in zip(eqn.outvars, made, strict=True):
            if last.get(var, -1) > i:
                held[var] = size
                live += size
        live -= sum(held.pop(var, 0) for var in set(dying))
    return peak


def per_device(jaxpr: Any) -> Any:
    """The program of one device: the body of the `shard_map` if there is one, else the same jaxpr."""
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "shard_map":
            return next(inner_jaxprs(eqn))
    return jaxpr


def output_bytes(eqn: Any, dying: list[Any]) -> list[int]:
    """New bytes for each output: 0 if XLA makes it on the fly, or if it reuses the memory of a dying operand."""
    name = eqn.primitive.name
    if name in NO_MEMORY:
        return [0] * len(eqn.outvars)
    reusable = [var.aval for var in dying] if name.startswith(IN_PLACE) else []
    sizes = []
    for out in eqn.outvars:
        reused = next((aval for aval in reusable if same_layout(aval, out.aval)), None)
        if reused is not None:
            reusable.remove(reused)
        sizes.append(0 if reused is not None else n_bytes(out.aval))
    return sizes


def last_reads(jaxpr: Any) -> dict[Any, int]:
    """Index of the last equation that reads each variable; the number of equations for outputs."""
    last = {var: i for i, eqn in enumerate(jaxpr.eqns) for var in eqn.invars if isinstance(var, core.Var)}
    return last | {var: len(jaxpr.eqns) for var in jaxpr.outvars if isinstance(var, core.Var)}


def same_layout(a: Any, b: Any) -> bool:
    """True if two values have the same shape and type."""
    return (a.shape, a.dtype) == (b.shape, b.dtype)


def n_bytes(x: Any) -> int:
    """Bytes of an array or of a shape; a typed key counts with its words."""
    if not hasattr(x, "dtype"):
        return 0
    return math.prod(x.shape) * (x.dtype.itemsize or 0)
