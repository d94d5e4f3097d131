"""The two kernels of `gru_unroll.py`, forward and backward, in Pallas (lowered to Triton).

A program of the grid takes BLOCK rows of one run and one network through all slots. Triton unrolls every product, so
hidden states are split into COLUMNS and an operand is used up before the next is read: then no register spills to
memory (ptxas says so for 64 and 128 units). The weights are read in each slot, from the cache of the multiprocessor,
which holds those of a network with 128 units (192 KB).
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton
from jaxtyping import Array, Float

from qllm_jax.errors import UserError

NARROWEST = 16  # hidden units, which are a power of two
BLOCK = 16  # rows of a program
COLUMNS = 32  # hidden units of a product
MAX_SIZE = 2**31  # numbers of an array, as Triton's indices have 32 bits


class Inputs(NamedTuple):
    """Inputs of one network's recurrence. In the kernels all have a leading axis G: runs, with weights of their own."""

    projected: Float[Array, "slots rows 3 hidden"]  # inputs of the gates, without biases
    hidden_kernel: Float[Array, "hidden 3 hidden"]
    in_bias: Float[Array, "3 hidden"]
    hidden_bias: Float[Array, "3 hidden"]
    first: Float[Array, "rows hidden"]  # the hidden state before the first slot


class Saved(NamedTuple):
    """Values of a forward pass that only its backward pass reads."""

    gates: Float[Array, "slots rows 3 hidden"]  # reset, update, new
    new_hidden: Float[Array, "slots rows hidden"]  # the part of `new` that `reset` scales


class Forward(NamedTuple):
    """Results of one network's forward pass."""

    hidden: Float[Array, "slots rows hidden"]  # after each slot
    saved: Saved | None


class Kept(NamedTuple):
    """Inputs of one network's backward pass."""

    hidden_kernel: Float[Array, "hidden 3 hidden"]
    first: Float[Array, "rows hidden"]
    hidden: Float[Array, "slots rows hidden"]
    saved: Saved
    d_hidden: Float[Array, "slots rows hidden"]


class Gradients(NamedTuple):
    """Results of one network's backward pass."""

    saved: Saved  # by the inputs of the gates, and by the part of `new` that `reset` scales
    first: Float[Array, "rows hidden"]
    biases: Float[Array, "blocks 4 hidden"]  # sums of `saved` over slots and the rows of a block


# Kinds of arrays, see `_arrays`.
INPUTS = Inputs._make(("gates", "kernel", "bias", "bias", "rows"))
SAVED = Saved._make(("gates", "states"))
KEPT = Kept._make(("kernel", "rows", "states", SAVED, "states"))


def forward(networks: tuple[Inputs, ...], save: tuple[bool, ...], interpret: bool) -> tuple[Forward, ...]:
    """Hidden states by network, and for those to `save` what `backward` reads, written over `projected`."""
    ins = tuple(INPUTS for _ in networks)
    outs = tuple(Forward._make(("states", SAVED if kept else None)) for kept in save)
    gates_of = lambda i: len(jax.tree.leaves(outs[:i])) + 1
    overwritten = {len(INPUTS) * i: gates_of(i) for i, kept in enumerate(save) if kept}
    return _launch(_forward, "gru_forward", networks, ins, outs, networks[0].projected.shape, overwritten, interpret)


def backward(networks: tuple[Kept, ...], interpret: bool) -> tuple[Gradients, ...]:
    """Gradients by network. Those of the gates are written over what `forward` saved."""
    ins = tuple(KEPT for _ in networks)
    outs = tuple(Gradients._make((SAVED, "rows", "sums")) for _ in networks)
    n_in, n_out = len(jax.tree.leaves(KEPT)), len(jax.tree.leaves(outs[0]))
    first_saved = len(jax.tree.leaves(KEPT[: KEPT.index(SAVED)]))
    overwritten = {n_in * i + first_saved + k: n_out * i + k for i in range(len(networks)) for k in range(len(SAVED))}
    shape = networks[0].saved.gates.shape
    return _launch(_backward, "gru_backward", networks, ins, outs, shape, overwritten, interpret)


def _arrays(shape: tuple[int, ...]) -> dict[str, tuple[tuple[int, ...], pl.BlockSpec]]:
    """Shape of each kind of array, and the part of it that the program of block b and group g reads or writes."""
    groups, slots, rows, _, size = shape
    blocks, part = pl.cdiv(rows, BLOCK), pl.BlockSpec
    return {
        "gates": (shape, part((None, slots, BLOCK, 3, size), lambda b, g, _: (g, 0, b, 0, 0))),
        "states": ((groups, slots, rows, size), part((None, slots, BLOCK, size), lambda b, g, _: (g, 0, b, 0))),
        "rows": ((groups, rows, size), part((None, BLOCK, size), lambda b, g, _: (g, b, 0))),
        "kernel": ((groups, size, 3, size), part((None, size, 3, size), lambda b, g, _: (g, 0, 0, 0))),
        "bias": ((groups, 3, size), part((None, 3, size), lambda b, g, _: (g, 0, 0))),
        "sums": ((groups, blocks, 4, size), part((None, None, 4, size), lambda b, g, _: (g, b, 0, 0))),
    }


def _launch(
    body: Callable[[Any, Any, "Block"], None], name: str, operands: Any, ins: Any, outs: Any, shape: tuple[int, ...],
    overwritten: dict[int, int], interpret: bool,
) -> Any:  # fmt: skip
    """One launch for all networks, each with `body` on its references. `ins` and `outs` are the kinds of arrays."""
    if math.prod(shape) >= MAX_SIZE:
        raise UserError(f"unroll=pallas takes less than 2^31 numbers, not {shape}: set a smaller group, or unroll=scan")
    arrays = _arrays(shape)
    specs = lambda kinds: jax.tree.map(lambda kind: arrays[kind][1], kinds)

    def kernel(in_refs: Any, *out_refs: Any) -> None:
        network, start = pl.program_id(2), pl.program_id(0) * BLOCK
        for i in range(len(ins)):
            block = Block(shape[-1], None if shape[2] % BLOCK == 0 else shape[2] - start, interpret)
            pl.when(network == i)(partial(body, in_refs[i], out_refs[i], block))

    return pl.pallas_call(
        kernel,
        out_shape=jax.tree.map(lambda kind: jax.ShapeDtypeStruct(arrays[kind][0], jnp.float32), outs),
        grid=(pl.cdiv(shape[2], BLOCK), shape[0], len(ins)),
        in_specs=[specs(ins)],
        out_specs=specs(outs),
        input_output_aliases=overwritten,
        compiler_params=triton.CompilerParams(num_warps=min(8, max(2, shape[-1] // 16)), num_stages=1),
        interpret=interpret,
        name=name,
    )(operands)


class Block(NamedTuple):
    """The rows and columns of a program."""

    size: int
    rows_left: Any  # from the first row of the block on; None: all blocks are full
    interpret: bool

    @property
    def columns(self) -> list[Any]:
        """Columns of the hidden state that are computed at once."""
        width = min(COLUMNS, self.size)
        return [pl.ds(start, width) for start in range(0, self.size, width)]

    def mask(self, columns: Any) -> Any:
        """True for the rows that exist; None for all."""
        row = jax.lax.broadcasted_iota(jnp.int32, (BLOCK, columns.size), 0)
        return None if self.rows_left is None else row < self.rows_left

    def load(self, ref: Any, *index: Any) -> jax.Array:
        """Rows at an index that ends with columns; zeros for those that do not exist."""
        if self.rows_left is None:
            return ref[index]
        return triton.load(ref.at[_traced(index)], mask=self.mask(index[-1]), other=0.0)

    def store(self, ref: Any, value: jax.Array, *index: Any) -> None:
        """Write the rows that exist."""
        triton.store(ref.at[_traced(index)], value, mask=self.mask(index[-1]))

    def barrier(self) -> None:
        """Wait until all threads have read what is then overwritten."""
        if not self.interpret:
            triton.debug_barrier()


def _traced(index: tuple[Any, ...]) -> tuple[Any, ...]:
    # The interpreter knows no masks with Python's integers as indices.
    return tuple(jnp.int32(i) if isinstance(i, int) else i for i in index)


ALL = slice(None)


def _forward(ins: Inputs, outs: Forward, block: Block) -> None:
    load, store, columns = block.load, block.store, block.columns

    def slot(t: jax.Array, hidden: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        sums = [[ins.hidden_bias[k, column][None] for k in range(3)] for column in columns]
        for row, part in zip(columns, hidden, strict=True):
            for of_column, column in zip(sums, columns, strict=True):
                for k in range(3):
                    of_column[k] += _dot(part, ins.hidden_kernel[row, k, column])
        after = []
        for before, (reset_h, update_h, new_h), column in zip(hidden, sums, columns, strict=True):
            reset_x, update_x, new_x = (
                load(ins.projected, t, ALL, k, column) + ins.in_bias[k, column][None] for k in range(3)
            )
            reset, update = jax.nn.sigmoid(reset_x + reset_h), jax.nn.sigmoid(update_x + update_h)
            new = jnp.tanh(new_x + reset * new_h)
            after.append((1.0 - update) * new + update * before)
            store(outs.hidden, after[-1], t, ALL, column)
            if outs.saved:
                block.barrier()
                for k, gate in enumerate((reset, update, new)):
                    store(outs.saved.gates, gate, t, ALL, k, column)
                store(outs.saved.new_hidden, new_h, t, ALL, column)
        return tuple(after)

    first = tuple(load(ins.first, ALL, column) for column in columns)
    jax.lax.fori_loop(0, outs.hidden.shape[0], slot, first)


def _backward(ins: Kept, outs: Gradients, block: Block) -> None:
    load, store, columns, slots = block.load, block.store, block.columns, ins.hidden.shape[0]

    def at_column(t: jax.Array, column: Any, d_after: jax.Array) -> tuple[tuple[jax.Array, ...], jax.Array]:
        """Gradients by the 4 inputs of the gates, and the part of the hidden state's that passes by the gates."""
        reset, update, new = (load(ins.saved.gates, t, ALL, k, column) for k in range(3))
        new_h, d_out = load(ins.saved.new_hidden, t, ALL, column), load(ins.d_hidden, t, ALL, column) + d_after
        earlier = load(ins.hidden, jnp.maximum(t - 1, 0), ALL, column)
        before = jnp.where(t == 0, load(ins.first, ALL, column), earlier)
        d_new = d_out * (1.0 - update) * (1.0 - new**2)
        d_update = d_out * (before - new) * update * (1.0 - update)
        d_reset = d_new * new_h * reset * (1.0 - reset)
        block.barrier()
        for k, d in enumerate((d_reset, d_update, d_new)):
            store(outs.saved.gates, d, t, ALL, k, column)
        store(outs.saved.new_hidden, d_new * reset, t, ALL, column)
        return (d_reset, d_update, d_new, d_new * reset), d_out * update

    def slot(i: jax.Array, carry: tuple[Any, Any]) -> tuple[Any, Any]:
        d_after, sums = carry
        found = [at_column(slots - 1 - i, column, d) for column, d in zip(columns, d_after, strict=True)]
        d_before = [passed for _, passed in found]
        for column, ((d_reset, d_update, _, d_new_h), _) in zip(columns, found, strict=True):
            for k, d in enumerate((d_reset, d_update, d_new_h)):
                for j, row in enumerate(columns):
                    d_before[j] += _dot(d, ins.hidden_kernel[row, k, column], transposed=True)
        return tuple(d_before), jax.tree.map(jnp.add, sums, tuple(d for d, _ in found))

    zeros = tuple(jnp.zeros((BLOCK, column.size)) for column in columns)
    d_first, sums = jax.lax.fori_loop(0, slots, slot, (zeros, tuple((zero,) * 4 for zero in zeros)))
    for column, d, sums_of_column in zip(columns, d_first, sums, strict=True):
        store(outs.first, d, ALL, column)
        for k, each in enumerate(sums_of_column):
            outs.biases[k, column] = jnp.sum(each, 0)


def _dot(x: jax.Array, weights: jax.Array, transposed: bool = False) -> jax.Array:
    # Without the precision Triton would round to TF32.
    return jax.lax.dot_general(x, weights, (((1,), (1 if transposed else 0,)), ((), ())), jax.lax.Precision.HIGHEST)
