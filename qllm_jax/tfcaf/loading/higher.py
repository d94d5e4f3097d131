"""Higher-order functions of JAX, as credit functions have them: `jax.vmap`, and loops of a known length.

Loops and choices are unrolled into the program of the credit function: all that the gates look for in a program, they
find in them too. Their bounds are whole numbers that are known while the function is traced.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from qllm_jax.tfcaf.loading.indexing import Site, Watch
from qllm_jax.tfcaf.static.vocabulary import bounded_range

BOUNDS = "the bounds of jax.lax.fori_loop are whole numbers, as x.shape[0] is"


def functions(watch: Watch | None) -> dict[str, Callable[..., Any]]:
    """Return the functions by dotted name. With a `watch`, indices inside of a mapped function are recorded there."""

    def vmap(fun: Callable[..., Any], in_axes: Any = 0, out_axes: Any = 0) -> Callable[..., Any]:
        if watch is None:
            return jax.vmap(fun, in_axes, out_axes)
        return partial(_watched, fun, in_axes, out_axes, watch)

    return {
        "jax.vmap": vmap,
        "jax.lax.cond": _cond,
        "jax.lax.fori_loop": _fori_loop,
        "jax.lax.scan": _scan,
        "jax.lax.select": lambda pred, on_true, on_false: jnp.where(pred, on_true, on_false),
    }


def _watched(fun: Callable[..., Any], in_axes: Any, out_axes: Any, watch: Watch, *args: Any) -> Any:
    """Map `fun`, and record the sites inside of it with what holds for any of its calls."""
    found: list[Site] = []

    def run(*args: Any) -> tuple[Any, list[jax.Array]]:
        start = len(watch.sites)
        outcome = fun(*args)
        found[:] = watch.sites[start:]
        del watch.sites[start:]  # they hold values of one call, which mean nothing outside of it
        return outcome, [site.bad for site in found]

    outcome, bad = jax.vmap(run, in_axes, (out_axes, 0))(*args)
    watch.sites.extend(site._replace(bad=each.any()) for site, each in zip(found, bad, strict=True))
    return outcome


def _fori_loop(lower: Any, upper: Any, body_fun: Callable[[Any, Any], Any], init_val: Any) -> Any:
    if not (isinstance(lower, int) and isinstance(upper, int)):
        raise TypeError(BOUNDS)
    value = init_val
    for i in bounded_range(lower, upper):
        value = body_fun(jnp.int32(i), value)
    return value


def _scan(f: Callable[[Any, Any], Any], init: Any, xs: Any = None, length: Any = None) -> Any:
    leaves = jax.tree.leaves(xs)
    steps = leaves[0].shape[0] if leaves else length
    if not isinstance(steps, int) or any(leaf.shape[0] != steps for leaf in leaves):
        raise TypeError("jax.lax.scan goes over arrays of one length, or over a length that is a whole number")
    carry, rows = init, []
    for i in bounded_range(steps):
        carry, row = f(carry, jax.tree.map(lambda x, i=i: x[i], xs))
        rows.append(row)
    return carry, jax.tree.map(lambda *parts: jnp.stack([jnp.asarray(part) for part in parts]), *rows)


def _cond(pred: Any, true_fun: Callable[..., Any], false_fun: Callable[..., Any], *operands: Any) -> Any:
    """Compute both and choose, as every `cond` does once training maps over states."""
    return jax.tree.map(lambda yes, no: jnp.where(pred, yes, no), true_fun(*operands), false_fun(*operands))
