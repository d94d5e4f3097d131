"""The traced program of a credit function (a jaxpr): what operations it has, and whether that is within budget."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from qllm_jax.tfcaf.verdict import Place, TfcafError

MAX_OPERATIONS = 3000  # compile time grows with it, and Python loops are unrolled
MAX_CONSTANTS = 2**20  # bytes of arrays that are built into the program
MAX_ENTRIES = 2**20  # of one array, for one state; training holds it for thousands of states at once
MAX_FLOPS = 2e7  # for one state

# What the allowed functions of jnp and their gradients are made of. Left out above all: callbacks to Python, custom
# calls, random bits, loops whose length depends on values, and matrix decompositions (see CONTRIBUTING.md). `cond` is
# how jnp chooses by platform; its branches are looked into.
PRIMITIVES = frozenset(
    """
    abs acos add add_any and argmax argmin asin atan atan2 broadcast_in_dim ceil clamp closed_call concatenate cond
    convert_element_type copy copy_p cos cosh cumlogsumexp cummax cummin cumprod cumsum custom_jvp_call custom_vjp_call
    custom_vjp_call_jaxpr div dot_general dynamic_slice dynamic_update_slice eq exp exp2 expm1 floor gather ge gt
    integer_pow iota is_finite jit le log log10 log1p log2 logistic lt max min mul ne neg not or pad pjit
    platform_index pow reduce_and reduce_max reduce_min reduce_or reduce_precision reduce_prod reduce_sum rem reshape
    rev round rsqrt scatter scatter-add scatter-max scatter-min scatter-mul select_n sign sin sinh slice sort split
    sqrt square squeeze stack stop_gradient sub tan tanh tile transpose unstack xor
    """.split()  # noqa: SIM905
)
# Those that hold a program of their own, which is opened.
CALLS = frozenset("closed_call custom_jvp_call custom_vjp_call custom_vjp_call_jaxpr jit pjit".split())  # noqa: SIM905


class Operation(NamedTuple):
    equation: Any
    line: int | None  # of the credit function


def inner(equation: Any) -> Any:
    """The program that an operation calls, such as that of a jitted function, or None."""
    if equation.primitive.name not in CALLS:
        return None
    return next(value for value in equation.params.values() if hasattr(value, "eqns") or hasattr(value, "jaxpr"))


def operations(program: Any, file: str = "", line: int | None = None) -> Iterator[Operation]:
    """All operations in order, calls opened. A line is that of the outermost call: inner programs are cached."""
    for equation in getattr(program, "jaxpr", program).eqns:
        at = line or line_of(equation, file)
        yield Operation(equation, at)
        called = inner(equation)
        for program in equation.params.get("branches", ()) if called is None else (called,):
            yield from operations(program, file, at)


def line_of(equation: Any, file: str) -> int | None:
    """The line of `file` that made an operation, or None."""
    frames = getattr(equation.source_info.traceback, "frames", ())
    return next((frame.line_num for frame in frames if frame.file_name == file), None)


def primitives(program: Any) -> list[str]:
    return [operation.equation.primitive.name for operation in operations(program)]


def verify(program: Any, end: Place) -> dict[str, float]:
    """Sizes of the program of one state. `TfcafError` if an operation is not allowed or a size is over its budget."""
    found = list(operations(program, end.file))
    largest, flops = 0, 0.0
    for operation in found:
        place = end._replace(line=operation.line or end.line)
        name = operation.equation.primitive.name
        if name not in PRIMITIVES:
            problem = f"the operation `{name}` of JAX is not allowed"
            raise TfcafError("STATIC", place, problem, "use elementwise operations, sums, products and sorts")
        entries = max((math.prod(out.aval.shape) for out in operation.equation.outvars), default=0)
        if entries > MAX_ENTRIES:
            hint = "compare agents with agents or landmarks only; sizes come from the state's shapes"
            raise TfcafError("BUDGET", place, f"an array of {entries:,} entries for one state", hint)
        largest, flops = max(largest, entries), flops + _flops(operation.equation, entries)
    constants = sum(np.asarray(constant).nbytes for constant in program.consts)
    for problem, too_much in (
        (f"{len(found):,} operations, more than {MAX_OPERATIONS:,}", len(found) > MAX_OPERATIONS),
        (f"{flops:.1e} floating-point operations for one state, more than {MAX_FLOPS:.0e}", flops > MAX_FLOPS),
        (f"{constants:,} bytes of constants, more than {MAX_CONSTANTS:,}", constants > MAX_CONSTANTS),
    ):
        if too_much:
            hint = "use array operations in place of Python loops, and smaller arrays"
            raise TfcafError("BUDGET", end, f"the program is too large: {problem}", hint)
    return {"operations": len(found), "largest_array": largest, "flops": flops, "constant_bytes": constants}


def _flops(equation: Any, entries: int) -> float:
    if inner(equation) is not None:
        return 0.0  # its operations are counted one by one
    if equation.primitive.name != "dot_general":
        return float(entries)
    (contracted, _), _ = equation.params["dimension_numbers"]
    return 2.0 * entries * math.prod(equation.invars[0].aval.shape[axis] for axis in contracted)
