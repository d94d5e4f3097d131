"""Forms of the agents' recurrent core: `python benchmarks/recurrent_core.py --agents 25 --batch 32 --runs 5`.

Comments in qllm_jax/core/gru.py and agents.py rest on this measurement: forward and gradient of a GRU over all slots of
a batch, for R vmapped runs, inside a scan of a few iterations as in training, so that allocation is amortized. The
gradient is taken of the weights and of a gain on the inputs, which stands for the layer below: it has to reach the
inputs, but no gradient of their size is kept. All forms are first checked to give the same outputs and gradients.
"""

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, cast

import common
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import workload

from qllm_jax.core.gru import GruParams, gru_cell

TOLERANCE = 1e-4
plain_cell = cast(Any, gru_cell).fun  # the same formula without the hand-written backward pass


class Weights(NamedTuple):
    """Learned weights."""

    gain: jax.Array  # (H,) of the inputs
    gru: GruParams


Core = Callable[[Weights, jax.Array], jax.Array]  # (weights, inputs (T, rows, H)) -> hidden states (T, rows, H)


def inside(cell: Callable[..., jax.Array], weights: Weights, x: jax.Array) -> jax.Array:
    """Scan a cell that projects its input itself."""

    def step(hidden: jax.Array, x_t: jax.Array) -> tuple[jax.Array, jax.Array]:
        hidden = cell(weights.gru, hidden, x_t * weights.gain[None])
        return hidden, hidden

    return jax.lax.scan(step, jnp.zeros_like(x[0]), x)[1]


def hoisted(unroll: int, weights: Weights, x: jax.Array) -> jax.Array:
    """Project the inputs of all slots in one matmul before the scan; plain autodiff."""
    gru = weights.gru
    projected = (x * weights.gain[None, None]) @ gru.in_kernel + gru.in_bias[None, None]  # (T, rows, 3H)

    def step(hidden: jax.Array, projected_t: jax.Array) -> tuple[jax.Array, jax.Array]:
        reset_x, update_x, new_x = jnp.split(projected_t, 3, -1)
        reset_h, update_h, new_h = jnp.split(hidden @ gru.hidden_kernel + gru.hidden_bias[None], 3, -1)
        reset, update = jax.nn.sigmoid(reset_x + reset_h), jax.nn.sigmoid(update_x + update_h)
        hidden = (1.0 - update) * jnp.tanh(new_x + reset * new_h) + update * hidden
        return hidden, hidden

    return jax.lax.scan(step, jnp.zeros_like(x[0]), projected, unroll=unroll)[1]


def flax_cell(params: GruParams, hidden: jax.Array, x: jax.Array) -> jax.Array:
    """Apply flax.linen.GRUCell to our weights. Its reset and update gates have one bias, the sum of our two."""
    both = params.in_bias + params.hidden_bias
    in_kernels, hidden_kernels = jnp.split(params.in_kernel, 3, -1), jnp.split(params.hidden_kernel, 3, -1)
    biases = [*jnp.split(both, 3)[:2], jnp.split(params.in_bias, 3)[2]]
    named = {f"i{gate}": {"kernel": k, "bias": b} for gate, k, b in zip("rzn", in_kernels, biases, strict=True)}
    named |= {f"h{gate}": {"kernel": kernel} for gate, kernel in zip("rzn", hidden_kernels, strict=True)}
    named["hn"]["bias"] = jnp.split(params.hidden_bias, 3)[2]
    out: Any = nn.GRUCell(hidden.shape[-1]).apply({"params": named}, hidden, x)
    return out[0]


def forms(slots: int) -> dict[str, tuple[Core, Callable[..., Any]]]:
    """Return (core, map over runs) by name."""
    return {
        "(a) gru_cell, input projection inside": (partial(inside, gru_cell), jax.vmap),
        "(a) by lax.map over runs": (partial(inside, gru_cell), over_runs),
        "(b) the same, plain autodiff": (partial(inside, plain_cell), jax.vmap),
        "(c) projections before the scan": (partial(hoisted, 1), jax.vmap),
        f"(c) projections before, unroll {slots}": (partial(hoisted, slots), jax.vmap),
        "(d) flax.linen.GRUCell": (partial(inside, flax_cell), jax.vmap),
    }


def over_runs(function: Callable[..., Any]) -> Callable[..., Any]:
    """Map over runs by lax.map instead of vmap."""
    return lambda *inputs: jax.lax.map(lambda each: function(*each), inputs)


def loss(core: Core, weights: Weights, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return a loss of the hidden states of all slots, which the head reads as well, and these states."""
    hidden = core(weights, x)
    return jnp.sum(hidden**2) / hidden.shape[1], hidden


def iterations(core: Core, mapped: Callable[..., Any], n: int) -> Callable[[Weights, jax.Array], Weights]:
    """Return `n` gradient steps of all runs as a function; weights and x have a leading axis R."""
    gradient = mapped(jax.grad(lambda weights, x: loss(core, weights, x)[0]))

    def run(weights: Weights, x: jax.Array) -> Weights:
        def step(weights: Weights, _: None) -> tuple[Weights, None]:
            return jax.tree.map(lambda w, g: w - 1e-6 * g, weights, gradient(weights, x)), None

        return jax.lax.scan(step, weights, None, length=n)[0]

    return run


def inputs(args: argparse.Namespace) -> tuple[Weights, jax.Array]:
    """Draw weights (R, ...) and inputs (R, T, rows, H)."""
    key, size, bound = jax.random.key(0), args.hidden, args.hidden**-0.5

    def draw(i: int, *shape: int) -> jax.Array:
        return jax.random.uniform(jax.random.fold_in(key, i), (args.runs, *shape), minval=-bound, maxval=bound)

    gru = GruParams(draw(0, size, 3 * size), draw(1, size, 3 * size), draw(2, 3 * size), draw(3, 3 * size))
    shape = (args.runs, args.slots, args.batch * args.agents, size)
    return Weights(1.0 + draw(4, size), gru), jax.random.normal(jax.random.fold_in(key, 5), shape)


def check(cores: dict[str, tuple[Core, Callable[..., Any]]], weights: Weights, x: jax.Array) -> float:
    """Return the largest difference of outputs and gradients from the first form, relative to the largest entry.

    SystemExit if it is above the tolerance.
    """
    found = []
    for core, mapped in cores.values():
        function = mapped(jax.grad(partial(loss, core), has_aux=True))
        found.append(jax.device_get(jax.tree.leaves(jax.jit(function)(weights, x))))
    worst = 0.0
    for name, arrays in zip(cores, found, strict=True):
        pairs = [(np.abs(a - b).max(), np.abs(b).max()) for a, b in zip(arrays, found[0], strict=True)]
        worst = max(worst, *(float(gap / max(size, 1e-12)) for gap, size in pairs))
        if not worst <= TOLERANCE or not all(np.isfinite(gap) for gap, _ in pairs):
            raise SystemExit(f"error: {name} differs from the first form by {worst:.1e}, more than {TOLERANCE:.0e}")
    return worst


COLUMNS = {
    "form": lambda row: row["form"],
    "ms (min to max)": lambda row: common.spread(row["iteration_ms"]),
    "times (a)": lambda row: common.spread(row["times_first"]),
    "floor, ms": lambda row: f"{row['floor_ms']:.2f}",
    "times the floor": lambda row: common.spread(row["times_floor"], ".1f"),
    "temporary, MB": lambda row: f"{row['temporary_bytes'] / 1e6:,.0f}",
    "compile, s": lambda row: f"{row['compile_s']:.1f}",
}


def main() -> None:
    args = arguments()
    task = f"GRU of {args.hidden}, {args.slots} slots, {args.batch} x {args.agents} rows, {args.runs} runs"
    task += f"; forward and gradient, {args.iterations} times in a scan"
    report = common.begin(__file__, args.out, task, common.describe("flax"))
    weights, x = inputs(args)
    cores = forms(args.slots)
    print(f"equal     outputs and gradients of all forms, to {check(cores, weights, x):.1e} of the largest entry\n")
    programs = {name: common.compiled(iterations(*form, args.iterations), weights, x) for name, form in cores.items()}
    calls = {name: partial(program, weights, x) for name, (program, _) in programs.items()}
    common.in_turn(calls, 1)  # warm-up
    times = common.in_turn(calls, args.repeats)
    # An input and a hidden matrix, each with a product forward and two backward.
    flops = 2 * 3 * 2 * args.runs * args.slots * args.batch * args.agents * args.hidden * 3 * args.hidden
    floor_ms, first = 1e3 * flops / workload.matmul_rate(), next(iter(times.values()))
    for name, (program, compile_s) in programs.items():
        ms = [1e3 * s / args.iterations for s in times[name]]
        row = {"form": name, "iteration_ms": ms, "times_first": common.ratios(times[name], first)}
        row |= {"floor_ms": floor_ms, "times_floor": [each / floor_ms for each in ms], "compile_s": compile_s}
        common.add(report, row | {"temporary_bytes": workload.temporary_bytes(program)})
    print(common.table(COLUMNS, report.rows))


def arguments() -> argparse.Namespace:
    parser = common.parser(__doc__)
    sizes = {"agents": 25, "batch": 32, "hidden": 64, "runs": 5, "slots": 26, "iterations": 4, "repeats": 7}
    for name, default in sizes.items():
        parser.add_argument(f"--{name}", type=common.positive, default=default, help=f"({default})")
    return parser.parse_args()


if __name__ == "__main__":
    main()
