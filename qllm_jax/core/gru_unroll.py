"""The GRU of `gru.py` over all slots of an episode, as one GPU kernel forward and one backward (Pallas).

On a GPU a scan over `gru_cell` launches about 25 kernels a slot, and most of them take less time than their launch.
Here a block of rows keeps its hidden state in registers and goes through all slots by itself. What does not need the
hidden state is a matmul of all slots: projections of the inputs before the kernel, gradients of weights after it.

Products of hidden states and weights are IEEE float32. Matmuls outside of the kernels have the precision of all others
of the program (`jax_default_matmul_precision`). On a CPU the kernels are interpreted, which is slow and for tests.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float

from qllm_jax.core.gru import GruParams
from qllm_jax.core.gru_kernels import NARROWEST, Gradients, Inputs, Kept, backward, forward


def unroll(
    networks: tuple[GruParams, ...],
    hiddens: tuple[Float[Array, "rows hidden"], ...],
    xs: tuple[Float[Array, "slots rows inputs"], ...],
) -> tuple[Float[Array, "slots rows hidden"], ...]:
    """Hidden states after each slot, of several networks at once: `gru_cell` scanned over slots, for each of them.

    Any number of rows. For reverse differentiation only. Under `vmap` runs become an axis of the kernels' grid.
    UserError for inputs of the gates of 2^31 numbers or more.
    """
    size = hiddens[0].shape[-1]
    width = max(NARROWEST, 1 << (size - 1).bit_length())  # Triton's arrays are powers of two; units of zeros stay zero
    inputs = tuple(_inputs(*network, width) for network in zip(networks, hiddens, xs, strict=True))
    return tuple(hidden[..., :size] for hidden in _recurrence(inputs))


def _inputs(gru: GruParams, hidden: jax.Array, x: jax.Array, width: int) -> Inputs:
    size = hidden.shape[-1]
    by_gate = lambda w: _widen(w.reshape(*w.shape[:-1], 3, size), width)
    hidden_kernel = by_gate(jnp.pad(gru.hidden_kernel, ((0, width - size), (0, 0))))
    projected = by_gate(matmul(x, gru.in_kernel))
    return Inputs(projected, hidden_kernel, by_gate(gru.in_bias), by_gate(gru.hidden_bias), _widen(hidden, width))


def _widen(x: jax.Array, width: int) -> jax.Array:
    return jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, width - x.shape[-1])])


@jax.custom_vjp
def _recurrence(inputs: tuple[Inputs, ...]) -> tuple[jax.Array, ...]:
    results = _with_groups(partial(forward, save=(False,) * len(inputs)), inputs)
    return tuple(found.hidden for found in results)


def _recurrence_fwd(primals: Any) -> tuple[tuple[jax.Array, ...], Any]:
    # Only networks that are differentiated keep their gates: not the target network.
    save = tuple(any(leaf.perturbed for leaf in network) for network in primals)
    inputs = tuple(Inputs(*(leaf.value for leaf in network)) for network in primals)
    results = _with_groups(partial(forward, save=save), inputs)
    kept = tuple((each.hidden_kernel, each.first, *found) for each, found in zip(inputs, results, strict=True))
    return tuple(found.hidden for found in results), [each if each[-1] else None for each in kept]


def _recurrence_bwd(residuals: Any, d_hidden: Any) -> tuple[tuple[Any, ...]]:
    made = lambda d: jnp.zeros(d.shape) if isinstance(d, SymbolicZero) else d
    read = tuple(Kept._make((*kept, made(d))) for kept, d in zip(residuals, d_hidden, strict=True) if kept)
    found = iter(_with_groups(backward, read) if read else ())
    return (tuple(_gradients(kept, next(found)) if kept else None for kept in residuals),)


def _gradients(kept: tuple[Any, ...], of_kernel: Gradients) -> Inputs:
    _, first, hidden, _ = kept
    before = jnp.concatenate([first[None], hidden[:-1]])
    in_bias, new_hidden = jnp.split(jnp.sum(of_kernel.biases, 0), [3])
    gates = of_kernel.saved.gates
    hidden_kernel = _weight_gradient(before, gates.reshape(*gates.shape[:2], -1)).reshape(first.shape[-1], 3, -1)
    # The hidden state reaches the new value through the reset gate, which the input does not.
    after_reset = _weight_gradient(before, of_kernel.saved.new_hidden)
    return Inputs(
        projected=gates,
        hidden_kernel=hidden_kernel.at[:, 2].set(after_reset),
        in_bias=in_bias,
        hidden_bias=jnp.concatenate([in_bias[:2], new_hidden]),
        first=of_kernel.first,
    )


_recurrence.defvjp(_recurrence_fwd, _recurrence_bwd, symbolic_zeros=True)


@jax.custom_vjp
def matmul(x: Float[Array, "slots rows inputs"], weights: Float[Array, "inputs outputs"]) -> jax.Array:
    """`x @ weights`, whose gradient by the weights is a sum over slots of products over rows.

    Of one product over slots and rows XLA would split the sum itself, for which it copies the operands.
    """
    return x @ weights


def _weight_gradient(x: jax.Array, d_out: jax.Array) -> jax.Array:
    by_slot = jnp.einsum("tri,tro->tio", x, d_out)
    return jnp.sum(jax.lax.optimization_barrier(by_slot), 0)


matmul.defvjp(
    lambda x, weights: (x @ weights, (x, weights)),
    lambda kept, d_out: (d_out @ kept[1].T, _weight_gradient(kept[0], d_out)),
)


def _with_groups(kernel: Callable[..., Any], operands: Any) -> Any:
    """`kernel(operands)` with a leading axis of groups on all arrays: one, and under `vmap` one for each index."""

    @custom_vmap
    def call(operands: Any) -> Any:
        on_platform = {"cpu": partial(kernel, interpret=True), "cuda": partial(kernel, interpret=False)}
        return jax.lax.platform_dependent(operands, **on_platform)

    @call.def_vmap
    def _over_vmapped(axis_size: int, batched: Any, operands: Any) -> tuple[Any, Any]:
        every = lambda x, has_axis: x if has_axis else jnp.broadcast_to(x[None], (axis_size, *x.shape))
        merged = lambda x: x.reshape(-1, *x.shape[2:])
        out = call(jax.tree.map(lambda x, has_axis: merged(every(x, has_axis)), operands, batched[0]))
        out = jax.tree.map(lambda x: x.reshape(axis_size, -1, *x.shape[1:]), out)
        return out, jax.tree.map(lambda _: True, out)

    return jax.tree.map(lambda x: x[0], call(jax.tree.map(lambda x: x[None], operands)))
