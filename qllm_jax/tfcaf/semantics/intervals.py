"""Interval arithmetic on a program over the usual ranges of its inputs: which guards cannot be at their 0.

One interval stands for all entries of a value. What is not known has no bounds, so that only guards are left out of a
search that `jnp.maximum`, a square plus a number and the like keep away from 0.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from qllm_jax.tfcaf.jaxprs import Visit, walk
from qllm_jax.tfcaf.semantics.guards import EXP_LIMIT, Guard
from qllm_jax.tfcaf.semantics.probes import Box

Interval = tuple[float, float]
ANY: Interval = (-math.inf, math.inf)
AWAY = 1e-6  # of 0: a singular value above that is not searched

_KEPT = frozenset(
    """
    broadcast_in_dim copy copy_p dynamic_slice expand_dims gather pad reduce_max reduce_min reshape rev slice
    squeeze stop_gradient tile transpose
    """.split()  # noqa: SIM905
)


class Ranged(NamedTuple):
    """An operation and its intervals."""

    visit: Visit
    operands: list[Interval]
    outcome: Interval  # exact: the type of whole numbers may not hold it


def can_be_singular(program: Any, boxes: dict[str, Box], guards: Sequence[Guard]) -> list[bool]:
    """True for each guard whose singular value is not known to stay away from 0 in the usual ranges."""
    found = of_operations(program, boxes)
    return [_may_be_zero(guard.name, found[guard.position].operands) for guard in guards]


def of_operations(program: Any, boxes: dict[str, Box]) -> list[Ranged]:
    """Return all operations of a program in order, with their intervals."""
    found: list[Ranged] = []

    def step(visit: Visit, operands: list[Interval]) -> list[Interval]:
        outcome = _interval(visit.equation, operands)
        found.append(Ranged(visit, operands, outcome))
        # Each output of a sort permutes one operand: the places that jnp.argsort gives, not the numbers that it sorts.
        return operands if visit.name == "sort" else [outcome] * len(visit.equation.outvars)

    usual = [boxes[name].usual for name in sorted(boxes)]
    walk(program, [_ends(low, high) for low, high in usual], step, _constant)
    return found


def _ends(low: np.ndarray, high: np.ndarray) -> Interval:
    return (float(low.min()), float(high.max())) if low.size else (0.0, 0.0)  # it has no entries


def _constant(value: Any) -> Interval:
    array = np.asarray(value)
    if not array.size or array.dtype.kind not in "biuf" or not np.isfinite(array).all():
        return ANY
    return float(array.min()), float(array.max())


def _may_be_zero(name: str, operands: Sequence[Interval]) -> bool:
    if name in ("exp", "exp2", "expm1", "sinh", "cosh"):
        return max(-operands[0][0], operands[0][1]) > EXP_LIMIT - 1.0
    if name in ("div", "rem"):
        low, high = operands[-1]
        return low <= AWAY and high >= -AWAY
    if name in ("log", "log10", "log2", "sqrt", "rsqrt", "integer_pow", "pow"):
        # The hint for a root is jnp.maximum(x, 1e-12): no smaller number is 0 by accident.
        return operands[0][0] < (1e-13 if name in ("sqrt", "rsqrt") else AWAY)
    return True


def _interval(equation: Any, operands: Sequence[Interval]) -> Interval:
    name = equation.primitive.name
    if name in _KEPT:
        return _joined(operands[:2]) if name in ("pad", "gather") else operands[0]
    if name in ("concatenate", "select_n", "sort"):
        return _joined(operands[name == "select_n" :])
    if name == "convert_element_type":
        return operands[0] if operands[0] != ANY else _truth(equation.invars[0])
    if name in ("argmax", "argmin", "iota"):
        sizes = (equation.invars or equation.outvars)[0].aval.shape
        return 0.0, float(max(sizes, default=1))
    if name in ("cumsum", "reduce_sum"):
        count = math.prod(equation.invars[0].aval.shape)
        if name == "reduce_sum":
            return _sorted([count / max(math.prod(equation.outvars[0].aval.shape), 1) * end for end in operands[0]])
        return _sorted([end * times for end in operands[0] for times in (1, count)])
    if name == "integer_pow":
        return _power(operands[0], equation.params["y"])
    rule = _RULES.get(name)
    found = rule(*operands) if rule else ANY
    return found if all(not math.isnan(end) for end in found) else ANY


def _truth(variable: Any) -> Interval:
    return (0.0, 1.0) if variable.aval.dtype == np.bool_ else ANY


def _joined(operands: Sequence[Interval]) -> Interval:
    return min(low for low, _ in operands), max(high for _, high in operands)


def _sorted(ends: Sequence[float]) -> Interval:
    return (min(ends), max(ends)) if not any(map(math.isnan, ends)) else ANY


def _times(a: Interval, b: Interval) -> Interval:
    return _sorted([x * y for x in a for y in b])


def _power(a: Interval, y: int) -> Interval:
    if y != 2:
        return ANY
    low, high = _abs(a)
    return low * low, high * high  # `**` raises an error for what is beyond the floats


def _abs(a: Interval) -> Interval:
    return max(a[0], -a[1], 0.0), max(-a[0], a[1])


def _exp(a: Interval) -> Interval:
    low = math.exp(min(a[0], 80.0)) if a[0] > -80.0 else 0.0
    return low, math.exp(a[1]) if a[1] < 80.0 else math.inf


_RULES: dict[str, Callable[..., Interval]] = {
    "abs": _abs,
    "add": lambda a, b: (a[0] + b[0], a[1] + b[1]),
    "add_any": lambda a, b: (a[0] + b[0], a[1] + b[1]),
    "clamp": lambda low, x, high: (min(max(x[0], low[0]), high[0]), min(max(x[1], low[1]), high[1])),
    "cos": lambda a: (-1.0, 1.0),
    "div": lambda a, b: _times(a, (1.0 / b[1], 1.0 / b[0])) if b[0] > 0.0 else ANY,
    "exp": _exp,
    "logistic": lambda a: (0.0, 1.0),
    "max": lambda a, b: (max(a[0], b[0]), max(a[1], b[1])),
    "min": lambda a, b: (min(a[0], b[0]), min(a[1], b[1])),
    "mul": _times,
    "neg": lambda a: (-a[1], -a[0]),
    "sin": lambda a: (-1.0, 1.0),
    "sqrt": lambda a: (math.sqrt(max(a[0], 0.0)), math.sqrt(max(a[1], 0.0))),
    "square": lambda a: _power(a, 2),
    "sub": lambda a, b: (a[0] - b[1], a[1] - b[0]),
    "tanh": lambda a: (-1.0, 1.0),
}
