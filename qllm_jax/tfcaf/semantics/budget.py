"""L7: the operations of a traced program against an allow-list, and its sizes against a budget."""

import math
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from qllm_jax.tfcaf.jaxprs import inner, operations
from qllm_jax.tfcaf.static.vocabulary import SMALLER
from qllm_jax.tfcaf.verdict import Location, TfcafError

MAX_OPERATIONS = 3000  # compile time grows with it, and Python loops are unrolled
MAX_CONSTANTS = 2**20  # bytes of arrays that are built into the program
MAX_ENTRIES = 2**20  # of one array, for one state; training holds it for thousands of states at once
MAX_FLOPS = 2e7  # for one state

# Operations of the allowed functions of jnp and of their gradients. Left out above all: callbacks to Python, custom
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


def verify(program: Any, end: Location) -> dict[str, float]:
    """Return the sizes of the program of one state.

    Raises `TfcafError` if an operation is not allowed or a size is over its budget.
    """
    found = list(operations(program, end.file))
    largest, flops = 0, 0.0
    for equation, line in found:
        location = end._replace(line=line or end.line)
        name = equation.primitive.name
        if name not in PRIMITIVES:
            problem = f"the operation `{name}` of JAX is not allowed"
            raise TfcafError("STATIC", location, problem, "use elementwise operations, sums, products and sorts")
        entries = max((math.prod(out.aval.shape) for out in equation.outvars), default=0)
        if entries > MAX_ENTRIES:
            hint = "compare agents with agents or landmarks only; sizes come from the state's shapes"
            raise TfcafError("BUDGET", location, f"an array of {entries:,} entries for one state", hint)
        largest, flops = max(largest, entries), flops + _flops(equation, entries)
    constants = sum(np.asarray(constant).nbytes for constant in program.consts)
    for problem, too_much in (
        (f"{len(found):,} operations, more than {MAX_OPERATIONS:,}", len(found) > MAX_OPERATIONS),
        (f"{flops:.1e} floating-point operations for one state, more than {MAX_FLOPS:.0e}", flops > MAX_FLOPS),
        (f"{constants:,} bytes of constants, more than {MAX_CONSTANTS:,}", constants > MAX_CONSTANTS),
    ):
        if too_much:
            raise TfcafError("BUDGET", end, f"the program is too large: {problem}", SMALLER)
    return {"operations": len(found), "largest_array": largest, "flops": flops, "constant_bytes": constants}


@contextmanager
def processor_time(limit_s: float) -> Iterator[None]:
    """Raise `TimeoutError` in a block that takes more processor time than that. Only in a main thread."""

    def stop(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
        signal.signal(signal.SIGVTALRM, before)


def _flops(equation: Any, entries: int) -> float:
    if inner(equation) is not None:
        return 0.0  # its operations are counted one by one
    if equation.primitive.name != "dot_general":
        return float(entries)
    (contracted, _), _ = equation.params["dimension_numbers"]
    return 2.0 * entries * math.prod(equation.invars[0].aval.shape[axis] for axis in contracted)
