"""Conditions of a credit function that may hold nowhere or everywhere, and its program as training compiles it.

A softmax over what is left divides by 0 once nothing is left, and random states have something left. So each comparison
of the program is taken to hold nowhere, and then everywhere: where weights or bias are not finite then, a search looks
for a state on which it does. A state that is found is tried like all others; without one there is a note.

Other steps have no slope that a search could follow: `&`, `|` and `any` of comparisons, signs, rounded numbers, counts
and entries of a table. They are taken to be 0, or at an end of their range, everywhere, a count to be each of its
numbers; there is a note.

The same compiled program has XLA's algebraic simplifier on, as in training: it reorders products, which can overflow in
one order and not in another. All other gates compile without it (see sandbox/process.py).
"""

from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from qllm_jax.tfcaf.jaxprs import Visit, bind, walk
from qllm_jax.tfcaf.semantics import intervals, search
from qllm_jax.tfcaf.semantics.compiling import SIMPLIFIED, run_once
from qllm_jax.tfcaf.semantics.intervals import Interval
from qllm_jax.tfcaf.semantics.probes import States
from qllm_jax.tfcaf.semantics.trial import Trial

ROWS = 6  # states on which a condition is forced
STARTS, STEPS = 6, 40  # of the search for a state
MARGIN = 1e-4  # how far beyond the end of a comparison the search goes
MOST = 150  # conditions that are forced, each to one value; a program with more gets a note
NOTED = 0.5  # share of the states on which a condition breaks the function, from which on there is a note

_COMPARISONS = frozenset({"eq", "ge", "gt", "le", "lt", "ne"})
_ORDERS = frozenset({"ge", "gt", "le", "lt"})
_TRUTHS = frozenset({"and", "or", "reduce_and", "reduce_or"})
_WHOLE = (
    _COMPARISONS | _TRUTHS | frozenset({"floor", "ceil", "round", "sign", "not"})
)  # their outputs are whole numbers
# Whole numbers of whole numbers.
_KEEPS_WHOLE = frozenset(
    """
    abs add broadcast_in_dim concatenate convert_element_type copy copy_p dot_general expand_dims max min mul neg pad
    reduce_max reduce_min reduce_sum reshape select_n slice squeeze sub transpose
    """.split()  # noqa: SIM905
)
COUNTS = 8  # largest range of a count that is forced to each of its numbers
_ROUNDED = frozenset({"ceil", "convert_element_type", "floor", "round", "sign"})


class Forced(NamedTuple):
    """A condition that breaks the function if it has one value everywhere."""

    position: int  # among all operations in order
    line: int | None
    name: str  # of the primitive
    value: float  # of a comparison 0.0, it holds nowhere, or 1.0, it holds everywhere
    share: float = 0.0  # of the states on which it is forced: there it breaks the function

    @property
    def compares(self) -> bool:
        """True for a comparison, of which a search can be made."""
        return self.name in _COMPARISONS


class Found(NamedTuple):
    """Outcome of the program as training compiles it, and the conditions that can break it."""

    finite: Bool[np.ndarray, " states"]
    dangers: list[Forced]
    left_out: int  # conditions that were not forced
    total: int


def run(trial: Trial, states: States, reached: int, file: str) -> Found:
    """Run the program on all states, and on some with each condition forced. The first `reached` states are play's."""
    conditions = _conditions(trial, file)
    forced = _chosen(conditions)
    total = len(next(iter(states.values())))
    rows = np.unique(np.linspace(0, max(reached or total, 1) - 1, ROWS).astype(int))
    position = np.concatenate([np.full(total, -1), np.repeat([each.position for each in forced], len(rows))])
    value = np.concatenate([np.zeros(total), np.repeat([each.value for each in forced], len(rows))])
    picked = np.concatenate([np.arange(total), *[rows] * len(forced)])
    inputs = [states[name][picked] for name in sorted(states)]
    finite = _finite(trial, {each.position for each in forced}, inputs, position.astype(int), value)
    share = 1.0 - finite[total:].reshape(len(forced), len(rows)).mean(-1)
    dangers = [each._replace(share=float(broken)) for each, broken in zip(forced, share, strict=True) if broken]
    return Found(finite[:total], dangers, len(conditions) - len(forced), len(conditions))


def ends(trial: Trial, dangers: Sequence[Forced], states: States) -> States:
    """Return states (P, ...) to which a search for such comparisons leads."""
    dangers = [each for each in dangers if each.compares]
    total = len(next(iter(states.values())))
    rows = np.unique(np.linspace(0, total - 1, STARTS).astype(int))
    starts = [(row, k, 1.0) for k in range(len(dangers)) for row in rows]
    margins = partial(_margins, trial, dangers)
    found = search.newton(trial, states, margins, starts, steps=STEPS, enough=MARGIN / 2)
    return search.unflatten(trial.boxes, found)


def notes(found: Found) -> list[str]:
    """Return a note for each line with such a condition, but for those that break the function by coincidence.

    One more says how many conditions were not forced.
    """
    dangers = [each for each in found.dangers if each.share >= NOTED]
    compared = {each.line for each in dangers if each.compares}
    chosen = [each for each in dangers if each.compares or each.line not in compared]
    noted = dict.fromkeys(f"line {each.line}: if {_named(each)}, the function would not be finite" for each in chosen)
    left = f"{found.left_out} of {found.total} outcomes of comparisons, counts and the like were not tried"
    return [*noted, left] if found.left_out else list(noted)


def _named(each: Forced) -> str:
    if each.compares or each.name in _TRUTHS:
        what = "comparison" if each.compares else "condition"
        return f"this {what} held {'everywhere' if each.value else 'nowhere'}"
    what = {"gather": "entries of this table were all", "reduce_sum": "this count was"}
    return f"{what.get(each.name, 'these whole numbers were all')} {each.value:g}"


def _chosen(found: list[Forced]) -> list[Forced]:
    """Return the conditions that are forced, in order.

    The first of a line go before its second, so that a loop, which repeats its conditions, hides none after it.
    """
    seen: Counter[tuple] = Counter()
    turns = []
    for each in found:
        key = (each.line, each.name, each.value)
        turns.append(seen[key])
        seen[key] += 1
    kept = sorted(range(len(found)), key=turns.__getitem__)[:MOST]
    return [found[i] for i in sorted(kept)]


class _Traits(NamedTuple):
    """Properties of a value that are known without running the program."""

    varies: bool  # with the state
    whole: bool  # holds whole numbers


def _conditions(trial: Trial, file: str) -> list[Forced]:
    """Return the conditions that depend on the state, with each value that they are forced to."""
    found: list[Forced] = []
    ranges = intervals.of_operations(trial.program, trial.boxes)

    def step(visit: Visit, traits: Sequence[_Traits]) -> list[_Traits]:
        equation, varies = visit.equation, any(each.varies for each in traits)
        if varies and equation.outvars[0].aval.size:
            _, operands, outcome = ranges[visit.position]
            values = _values(equation, traits, operands, outcome)
            found.extend(Forced(visit.position, visit.line(file), visit.name, value) for value in values)
        whole = visit.name in _WHOLE or (visit.name in _KEEPS_WHOLE and all(each.whole for each in traits))
        return [_Traits(varies, whole)] * len(equation.outvars)

    inputs = [_Traits(True, bool(trial.boxes[name].whole.all())) for name in sorted(trial.boxes)]
    walk(trial.program, inputs, step, lambda value: _Traits(False, bool((np.rint(value) == value).all())))
    return found


def _values(equation: Any, traits: Sequence[_Traits], operands: Sequence[Interval], outcome: Interval) -> list[float]:
    """Return the values to which an operation is forced; none if it is no condition."""
    name, (low, high) = equation.primitive.name, outcome
    if name in _ORDERS:
        return _outcomes(name, *operands)
    if name in _COMPARISONS or (name in _TRUTHS and equation.outvars[0].aval.dtype == jnp.bool_):
        return [0.0, 1.0]
    if name == "reduce_sum" and traits[0].whole and high - low <= COUNTS:
        return [float(value) for value in range(int(low), int(high) + 1)]
    if name in ("add", "sub") and all(each.whole for each in traits) and low <= 0 <= high:
        return [0.0]
    rounds = name in _ROUNDED and jnp.issubdtype(equation.invars[0].aval.dtype, jnp.floating)
    if name == "convert_element_type":
        rounds &= jnp.issubdtype(equation.outvars[0].aval.dtype, jnp.integer) and not traits[0].whole
    if not rounds and not (name == "gather" and not traits[0].varies):
        return []
    return sorted({value for value in (low, 0.0, high) if low <= value <= high and np.isfinite(value)})


def _outcomes(name: str, a: Interval, b: Interval) -> list[float]:
    """Return whether an order can hold nowhere (0.0) and everywhere (1.0), by the intervals of what it compares."""
    less, more = (a, b) if name in ("lt", "le") else (b, a)  # (low, high) of what is to be the smaller, the larger
    strict = name in ("lt", "gt")
    can_hold = less[0] < more[1] if strict else less[0] <= more[1]
    can_fail = less[1] >= more[0] if strict else less[1] > more[0]
    return [value for value, possible in ((0.0, can_fail), (1.0, can_hold)) if possible]


def _finite(trial: Trial, positions: set[int], inputs: list[np.ndarray], which: Any, values: Any) -> np.ndarray:
    def one(inputs: list[jax.Array], which: Int[Array, ""], value: Float[Array, ""]) -> jax.Array:
        def step(visit: Visit, operands: list) -> Sequence[Any]:
            outputs = bind(visit.equation, operands)
            if visit.position not in positions:
                return outputs
            return [jnp.where(which == visit.position, value.astype(outputs[0].dtype), outputs[0])]

        weights, bias = walk(trial.program, inputs, step)
        scale = jnp.float32(weights.size)  # as training multiplies them, unless it is told otherwise
        return jnp.isfinite(scale * weights).all() & jnp.isfinite(scale * bias)

    return run_once(one, inputs, jnp.asarray(which), jnp.asarray(values, jnp.float32), options=SIMPLIFIED)


def _margins(trial: Trial, dangers: Sequence[Forced], inputs: list[jax.Array]) -> list[jax.Array]:
    """Return for each danger a number, below `MARGIN` exactly where its comparison holds nowhere, or everywhere.

    It comes from the entry that is farthest from that.
    """
    values: dict[int, tuple[str, jax.Array]] = {}

    def step(visit: Visit, operands: list) -> Sequence[Any]:
        if visit.name in _COMPARISONS:
            values[visit.position] = (visit.name, _difference(*operands))
        return bind(visit.equation, operands)

    walk(trial.program, inputs, step)
    return [_margin(*values[each.position], bool(each.value)) + MARGIN for each in dangers]


def _difference(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.asarray(a).astype(jnp.float32) - jnp.asarray(b).astype(jnp.float32)


def _margin(name: str, difference: jax.Array, holds: bool) -> jax.Array:
    if name in ("eq", "ne"):
        apart = jnp.abs(difference)
        return apart.max() if (name == "eq") == holds else -apart.min()
    signed = difference if name in ("lt", "le") else -difference
    return signed.max() if holds else (-signed).max()
