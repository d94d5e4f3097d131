"""Walking through a traced program (a jaxpr) operation by operation, to see what it computes on the way."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from qllm_jax.tfcaf.semantics.program import inner, line_of

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
# The same if only the first operand varies: division by a constant, an entry at a constant place, a power.
_CONTINUOUS_IN_FIRST = frozenset({"div", "dynamic_slice", "gather", "integer_pow"})


class Kind(NamedTuple):
    """What is known of a value without running the program."""

    varies: bool  # with the state
    jumps: bool  # is not continuous in the state
    whole: bool  # depends on a field of whole numbers


class Guard(NamedTuple):
    """An operation with a singular point, at 0 of `singular_value`, that the state may reach."""

    place: int  # among all operations in order
    line: int | None
    name: str  # of the primitive
    kind: Kind  # of the singular value


CONSTANT = Kind(varies=False, jumps=False, whole=False)


def walk(program: Any, inputs: Sequence[Any], step: Callable[..., Sequence[Any]], lift: Callable[[Any], Any]) -> list:
    """The outputs of `program`, where `step(place, equation, operands, outermost)` does each operation.

    `lift` makes a value of a constant. `outermost` is the call that the operation is part of, or itself.
    """
    place = -1

    def run(closed: Any, given: Sequence[Any], outer: Any) -> list:
        nonlocal place
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
                place += 1
                outputs = step(place, equation, operands, outermost)
            values.update(zip(equation.outvars, outputs, strict=True))
        return [read(v) for v in jaxpr.outvars]

    return run(program, inputs, None)


def bind(equation: Any, operands: Sequence[Any]) -> Sequence[Any]:
    """The outputs of an operation that is no call."""
    outputs = equation.primitive.bind(*operands, **equation.params)
    return outputs if equation.primitive.multiple_results else [outputs]


def singular_value(equation: Any, operands: Sequence[Any]) -> jax.Array:
    """The value that a guard watches."""
    return _SINGULAR[equation.primitive.name](*operands)


def guards(program: Any, whole: Sequence[bool], file: str) -> list[Guard]:
    """All guards in order. `whole` says which inputs of the program hold whole numbers."""
    found: list[Guard] = []

    def step(place: int, equation: Any, kinds: Sequence[Kind], outermost: Any) -> list[Kind]:
        if (kind := _watched(equation, kinds)).varies:
            found.append(Guard(place, line_of(outermost, file), equation.primitive.name, kind))
        joined = _join(kinds)
        return [joined._replace(jumps=joined.jumps or (joined.varies and not _is_continuous(equation, kinds)))] * len(
            equation.outvars
        )

    walk(program, [Kind(True, False, is_whole) for is_whole in whole], step, lambda value: CONSTANT)
    return found


def _watched(equation: Any, kinds: Sequence[Kind]) -> Kind:
    name = equation.primitive.name
    is_float = bool(equation.invars) and jnp.issubdtype(equation.invars[0].aval.dtype, jnp.floating)
    if name not in _SINGULAR or not is_float or (name == "integer_pow" and equation.params["y"] >= 0):
        return CONSTANT
    return {"div": kinds[-1], "rem": kinds[-1], "atan2": _join(kinds)}.get(name, kinds[0])


def _is_continuous(equation: Any, kinds: Sequence[Kind]) -> bool:
    name = equation.primitive.name
    if name == "convert_element_type" and not jnp.issubdtype(equation.params["new_dtype"], jnp.floating):
        return False  # rounds
    if name == "sort" and len(kinds) > 1:
        return False  # carries places along
    if name in _CONTINUOUS_IN_FIRST:
        return not _join(kinds[1:]).varies
    return name in _CONTINUOUS or (name == "select_n" and not kinds[0].varies)


def _join(kinds: Sequence[Kind]) -> Kind:
    return Kind(*(any(kind[i] for kind in kinds) for i in range(len(Kind._fields))))
