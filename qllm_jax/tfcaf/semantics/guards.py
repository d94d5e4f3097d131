"""Guards: the operations of a traced program that have a singular point which the state may reach.

A division by 0, a root or logarithm of 0 and an overflow are all the 0 of one value, the singular value of the guard.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from qllm_jax.tfcaf.jaxprs import Visit, bind, walk

EXP_LIMIT = 88.0  # exp of more is inf in float32

# Operation -> the value whose 0 makes it or its derivative singular, computed from its operands.
_SINGULAR: dict[str, Callable[..., jax.Array]] = {
    **dict.fromkeys(("div", "rem"), lambda x, y: y),
    **dict.fromkeys(("log", "log10", "log2", "sqrt", "rsqrt", "integer_pow"), lambda x: x),
    **dict.fromkeys(("exp", "exp2", "expm1", "sinh", "cosh"), lambda x: EXP_LIMIT - jnp.abs(x)),
    **dict.fromkeys(("acos", "asin"), lambda x: (1.0 - x) * (1.0 + x)),
    "atan2": lambda x, y: x * x + y * y,
    "log1p": lambda x: 1.0 + x,
    "pow": lambda x, y: x,
    "tan": jnp.cos,
}

# Operations that are continuous in their operands: a value that is negative here and positive there is 0 in between.
_CONTINUOUS = frozenset(
    """
    abs add add_any atan broadcast_in_dim clamp concatenate convert_element_type copy copy_p cos cosh cumlogsumexp
    cummax cummin cumprod cumsum dot_general exp exp2 expm1 logistic max min mul neg pad reduce_max reduce_min
    reduce_prod reduce_sum reshape rev sin sinh slice sort split sqrt square squeeze stack stop_gradient sub tanh tile
    transpose unstack
    """.split()  # noqa: SIM905
)
# Continuous if only the first operand varies: division by a constant, an entry at a constant index, a power.
_CONTINUOUS_IN_FIRST = frozenset({"div", "dynamic_slice", "gather", "integer_pow"})


class Traits(NamedTuple):
    """Properties of a value that are known without running the program."""

    varies: bool  # with the state
    jumps: bool  # is not continuous in the state
    whole: bool  # depends on a field of whole numbers


class Guard(NamedTuple):
    """An operation with a singular point, at 0 of `singular_value`, that the state may reach."""

    position: int  # among all operations in order
    line: int | None
    name: str  # of the primitive
    traits: Traits  # of the singular value


CONSTANT = Traits(varies=False, jumps=False, whole=False)


def guards(program: Any, whole: Sequence[bool], file: str) -> list[Guard]:
    """Return all guards of `program` in order. `whole`: the inputs of the program that hold whole numbers."""
    found: list[Guard] = []

    def step(visit: Visit, operands: Sequence[Traits]) -> list[Traits]:
        if (traits := _watched(visit.equation, operands)).varies:
            found.append(Guard(visit.position, visit.line(file), visit.name, traits))
        joined = _join(operands)
        jumps = joined.jumps or (joined.varies and not _is_continuous(visit.equation, operands))
        return [joined._replace(jumps=jumps)] * len(visit.equation.outvars)

    walk(program, [Traits(True, False, is_whole) for is_whole in whole], step, lambda value: CONSTANT)
    return found


def singular_values(program: Any, found: Sequence[Guard], inputs: list[jax.Array]) -> list[jax.Array]:
    """Return the singular value of each guard on one state."""
    wanted, values = {guard.position for guard in found}, []

    def step(visit: Visit, operands: list) -> Sequence[Any]:
        if visit.position in wanted:
            values.append(_SINGULAR[visit.name](*operands))
        return bind(visit.equation, operands)

    walk(program, inputs, step)
    return values


def _watched(equation: Any, operands: Sequence[Traits]) -> Traits:
    """Traits of the singular value of an operation; constant if it has none."""
    name = equation.primitive.name
    is_float = bool(equation.invars) and jnp.issubdtype(equation.invars[0].aval.dtype, jnp.floating)
    if name not in _SINGULAR or not is_float or (name == "integer_pow" and equation.params["y"] >= 0):
        return CONSTANT
    return {"div": operands[-1], "rem": operands[-1], "atan2": _join(operands)}.get(name, operands[0])


def _is_continuous(equation: Any, operands: Sequence[Traits]) -> bool:
    name = equation.primitive.name
    if name == "convert_element_type" and not jnp.issubdtype(equation.params["new_dtype"], jnp.floating):
        return False  # rounds
    if name == "sort" and len(operands) > 1:
        return False  # permutes the other operands
    if name in _CONTINUOUS_IN_FIRST:
        return not _join(operands[1:]).varies
    return name in _CONTINUOUS or (name == "select_n" and not operands[0].varies)


def _join(operands: Sequence[Traits]) -> Traits:
    return Traits(*(any(traits[i] for traits in operands) for i in range(len(Traits._fields))))
