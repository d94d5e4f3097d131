"""What each entry of the flat state is in terms of the named arrays, found by looking at states of many episodes.

So a description comes from the code that makes the state, and not from a text beside it. R rows, one a state; S entries
of the flat state; F and G terms.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from jaxtyping import Float

from qllm_envs import Env
from qllm_jax.generation import sightings, terms
from qllm_jax.generation.lines import ROUNDING, lines
from qllm_jax.generation.terms import Meaning, Term

UNKNOWN = Meaning("unknown", "is not described; do not use it")
ZERO = Meaning("zero", "0 in all states that were looked at")

Found = list[Meaning | None]  # one for each column


def meanings(env: Env) -> list[Meaning]:
    """What each entry of the flat state of an environment is: what twice as many states do not change."""
    found: list[Meaning] = []
    for seen in sightings.look(env):
        before, found = found, explain(seen)
        if found == before:
            break
    return found


def explain(seen: sightings.Seen) -> list[Meaning]:
    """What each entry of the flat state is: the simplest that fits, and of equal ones the first by the spec's order."""
    names = terms.entries(seen.fields)
    switches, tests = terms.switches(names), list(terms.comparisons(names))
    ways: list[Callable[[np.ndarray], Found]] = [
        lambda columns: [None if column.any() else ZERO for column in columns.T],
        partial(_equal, names),
        partial(_equal, [test._replace(meaning=terms.as_number(test.meaning)) for test in tests]),
        partial(_differences, names),
        partial(_both, tests, switches),
        partial(lines, names, switches),
    ]
    found: Found = [None] * seen.state.shape[1]
    for way in ways:
        left = [i for i, meaning in enumerate(found) if meaning is None]
        for i, meaning in zip(left, way(seen.state[:, left]), strict=True):
            found[i] = meaning
    return [meaning or UNKNOWN for meaning in found]


def _equal(known: list[Term], columns: Float[np.ndarray, "R S"]) -> Found:
    by_key = {_key(term.values): term.meaning for term in reversed(known)}  # the first of equal ones counts
    return [by_key.get(_key(column)) for column in columns.T]


def _key(column: np.ndarray) -> bytes:
    return (np.asarray(column, np.float32) + 0.0).tobytes()  # which makes -0 a 0


def _differences(names: list[Term], columns: Float[np.ndarray, "R S"]) -> Found:
    values = _stacked(names)
    along = values @ _ray(len(columns))  # (F,)

    def pair(i: int, j: int) -> Term:
        return Term(terms.joined("{} - {}", names[i].meaning, names[j].meaning), values[i] - values[j])

    return _pairs(columns, along[:, None] - along[None], pair)


def _both(tests: list[Term], switches: list[Term], columns: Float[np.ndarray, "R S"]) -> Found:
    if not tests or not switches:
        return [None] * columns.shape[1]

    def pair(i: int, j: int) -> Term:
        test, switch = tests[i], switches[j]
        both = terms.joined("{} and {}", test.meaning, switch.meaning)
        return Term(terms.as_number(both), test.values & switch.values)

    products = (_stacked(tests) * _ray(len(columns))[None]) @ _stacked(switches).T
    return _pairs(columns, products, pair)


def _pairs(
    columns: Float[np.ndarray, "R S"], products: Float[np.ndarray, "F G"], pair: Callable[[int, int], Term]
) -> Found:
    """Columns that two terms make. `products` are those of all pairs with `_ray`: only where they agree with that of a
    column, its rows are compared, as there may be 300,000 pairs.
    """
    found: Found = []
    for column, product in zip(columns.T, _ray(len(columns)) @ columns, strict=True):
        slack = ROUNDING * (np.abs(products).max() + np.abs(column).max())
        near = (pair(i, j) for i, j in np.argwhere(np.abs(products - product) <= slack))
        found.append(next((term.meaning for term in near if _key(term.values) == _key(column)), None))
    return found


def _stacked(known: list[Term]) -> Float[np.ndarray, "F R"]:
    return np.array([term.values for term in known], np.float32)


def _ray(n_rows: int) -> Float[np.ndarray, " R"]:
    """A random direction, of length 1 or so."""
    return np.random.default_rng(0).normal(size=n_rows) / np.sqrt(n_rows)
