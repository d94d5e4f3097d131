"""Ranges of what a program computes: no value leaves its own, and comparisons are forced to what theirs allow."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qllm_jax.tfcaf import jaxprs
from qllm_jax.tfcaf.semantics import conditions, intervals, probes


def arithmetic(x: jax.Array) -> list[jax.Array]:
    """Operations that have a rule of intervals; x is (6,), with numbers of both signs."""
    y = x[::-1]
    near = jnp.maximum(jnp.abs(y), 0.5)
    return [
        x + y, x - y, x * y, -x, jnp.abs(x - 0.25), jnp.maximum(x, y), jnp.minimum(x, 0.1), x / near, x**2,
        (x - 2.0) ** 2, jnp.exp(3.0 * x), jnp.tanh(x), jnp.sin(5.0 * x), jnp.cos(5.0 * x), jax.nn.sigmoid(x),
        jnp.sqrt(jnp.abs(x)), jnp.cumsum(x), jnp.cumsum(x + 2.0), jnp.sum(x), jnp.sum(x - 2.0),
        jnp.clip(x, -0.1, 0.3), jnp.where(x > 0, x, 7.0), jnp.concatenate([x, 3.0 * y]), jnp.argmax(x),
        (x > 0).astype(jnp.float32), jnp.square(x - 0.5), jnp.sort(x), jax.lax.clamp(-0.5, x, 0.5), jnp.roll(x, 1),
        jnp.take(x, jnp.array([1, 2])), jnp.stack([x, y]).max(0),
    ]  # fmt: skip


def outside(function: Callable, draws: int = 200) -> list[str]:
    """Operations of a program, on x (6,) from -1 to 1, that leave the interval which is known of them."""
    box = probes.box(-1.0, 1.0, np.full((1, 6), 0.5, np.float32))  # no whole numbers
    program, found = jax.make_jaxpr(function)(jnp.zeros(6)), []
    names: list[str] = []

    def run(x: jax.Array) -> list:
        outputs = []

        def step(visit, operands):
            made = jaxprs.bind(visit.equation, operands)
            names[visit.position :] = [visit.name]
            outputs.append([jnp.stack([each.min(), each.max()]) for each in map(jnp.asarray, made)])
            return made

        jaxprs.walk(program, [x], step)
        return outputs

    corners = np.random.default_rng(0).choice([-1.0, 1.0], (draws, 6))
    x = np.concatenate([np.random.default_rng(1).uniform(-1, 1, (draws, 6)), corners]).astype(np.float32)
    reached = jax.jit(jax.vmap(run))(x)
    for name, (_, _, (low, high)), outputs in zip(
        names, intervals.of_operations(program, {"x": box}), reached, strict=True
    ):
        slack = 1e-5 * max(1.0, abs(low) if np.isfinite(low) else 0.0, abs(high) if np.isfinite(high) else 0.0)
        found += [name for each in outputs if each.min() < low - slack or each.max() > high + slack]
    return found


def test_values_stay_in_the_intervals_that_are_known_of_them():
    assert outside(arithmetic) == []


LARGE = {"exp": lambda x: jnp.exp(800.0 + x), "squares": lambda x: ((((((x + 1e6) ** 2) ** 2) ** 2) ** 2) ** 2) ** 2}


@pytest.mark.parametrize("large", LARGE.values(), ids=LARGE)
def test_numbers_beyond_the_floats_have_an_interval(large: Callable):
    box = probes.box(-1.0, 1.0, np.full((1, 6), 0.5, np.float32))
    *_, last = intervals.of_operations(jax.make_jaxpr(large)(jnp.zeros(6)), {"x": box})
    assert last.outcome[1] == np.inf


def test_places_in_an_order_stay_in_their_interval():
    assert outside(jnp.argsort) == []


@pytest.mark.parametrize(
    "clamped",
    [
        lambda x: jax.lax.clamp(-9.0 + 0.0 * x, x + 5.0, x),
        lambda x: jax.lax.clamp(x + 2.0, x, 9.0 + x),
        lambda x: jax.lax.clamp(x + 2.0, x, x - 2.0),
    ],
)
def test_a_clamp_with_bounds_that_vary_stays_in_its_interval(clamped: Callable):
    assert outside(clamped) == []


@pytest.mark.parametrize(
    ("name", "a", "b", "values"),
    [
        ("lt", (0.0, 1.0), (2.0, 3.0), [1.0]),  # it holds everywhere
        ("lt", (2.0, 3.0), (0.0, 1.0), [0.0]),
        ("gt", (2.0, 3.0), (0.0, 1.0), [1.0]),
        ("lt", (1.0, 2.0), (0.0, 1.0), [0.0]),
        ("le", (1.0, 2.0), (0.0, 1.0), [0.0, 1.0]),
        ("ge", (0.0, 1.0), (1.0, 2.0), [0.0, 1.0]),
        ("gt", (0.0, 2.0), (1.0, 1.0), [0.0, 1.0]),
    ],
)
def test_comparisons_are_forced_to_what_their_ranges_allow(name, a, b, values):
    assert conditions._outcomes(name, a, b) == values


def test_conditions_that_a_loop_repeats_leave_room_for_those_of_other_lines():
    forced = [conditions.Forced(i, 1, "gt", float(i % 2)) for i in range(400)]
    forced += [conditions.Forced(400 + i, 2 + i, "lt", 0.0) for i in range(10)]
    chosen = conditions._chosen(forced)
    assert len(chosen) == conditions.MOST
    assert chosen == sorted(chosen)
    assert set(forced[400:]) < set(chosen)
    assert conditions._chosen(forced[:100]) == forced[:100]
